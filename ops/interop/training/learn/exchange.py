"""Sums of arrays over all ranks: rank 0 listens on the master's port, the others send to it and get the sum."""
import os
import socket
import time

import numpy


class Ranks:
    def __init__(self):
        environment = os.environ
        self.rank = int(environment.get("PET_NODE_RANK") or environment.get("JOB_COMPLETION_INDEX") or 0)
        self.count = int(environment.get("PET_NNODES") or environment.get("RANKS") or 1)
        address = environment.get("PET_MASTER_ADDR", "127.0.0.1"), int(environment.get("PET_MASTER_PORT") or 29500)
        self.peers = []
        if self.count == 1:
            return
        if self.rank == 0:
            with socket.create_server(("", address[1])) as listener:
                listener.settimeout(90)
                self.peers = [listener.accept()[0] for _ in range(self.count - 1)]
        else:
            self.peers = [connect(address)]

    def __str__(self):
        return f"rank {self.rank} of {self.count}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for peer in self.peers:
            peer.close()

    def sum(self, array):
        if self.rank == 0:
            for peer in self.peers:
                array = array + receive(peer, array)
        for peer in self.peers:
            peer.sendall(array.tobytes())
        if self.rank != 0:
            array = receive(self.peers[0], array)
        return array


def connect(address):
    end = time.monotonic() + 90
    while True:
        try:
            return socket.create_connection(address, timeout=90)
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def receive(peer, like):
    content = b""
    while len(content) < like.nbytes:
        part = peer.recv(like.nbytes - len(content))
        if not part:
            raise ConnectionError("another rank has ended")
        content += part
    return numpy.frombuffer(content, dtype=like.dtype).reshape(like.shape)
