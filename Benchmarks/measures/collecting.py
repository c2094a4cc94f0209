"""A collection that frees about half of a store while eight pushes run, and what a collection takes in memory."""
import os, random, shutil, statistics, subprocess, threading, time
from . import rig

PUSHES = 8
VICTIMS = 8
FILES = 600


def fill(path, seed, files=FILES):
    """Files that share nothing with those of another seed: text that compresses by half, and one large file of noise."""
    dice = random.Random(seed)
    for number in range(files):
        if number % 50 == 0:
            os.makedirs(f"{path}/part{number // 50}")
        with open(f"{path}/part{number // 50}/module{number}.py", "wb") as file:
            file.write(dice.randbytes(dice.randrange(1000, 20_000)).hex().encode())
    with open(f"{path}/weights.bin", "wb") as file:
        file.write(dice.randbytes(24 << 20))


class Pushes:
    """Eight pushes of new content at once, by processes of their own; how long each took."""

    def __init__(self, work, server, name):
        self.started, self.seconds = [], []
        self.sources = [f"{work}/sources/{name}-{number}" for number in range(PUSHES)]
        self.work, self.server, self.name = work, server, name

    def run(self):
        begin = time.monotonic()
        for number, source in enumerate(self.sources):
            settings = rig.environment(f"{self.work}/user{number}", CAS_SERVER=self.server.address)
            command = [rig.CAS, "push", source, "--to", f"bench/kept:{self.name}-{number}", "--large"]
            self.started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=settings))
        waiting = [threading.Thread(target=self.wait, args=(process, begin)) for process in self.started]
        for thread in waiting:
            thread.start()
        for thread in waiting:
            thread.join()
        return self

    def wait(self, process, begin):
        message = process.stderr.read()
        if process.wait():
            raise SystemExit(f"error: a push failed:\n{message.decode(errors='replace')}")
        self.seconds.append(time.monotonic() - begin)


def measure(work, rounds=3):
    server = rig.Server(f"{work}/store", f"{work}/server.log")
    settings = rig.environment(work, CAS_SERVER=server.address)
    # What a ref named before stays for 30 days unless a rule says otherwise; here it goes with the ref.
    rig.Run([rig.CAS, "rule", "set", "bench/**", "--history", "0s"], env=settings)
    for index in range(rounds):
        for name in (f"quiet{index}", f"busy{index}"):
            for number in range(PUSHES):
                fill(f"{work}/sources/{name}-{number}", hash((name, number)) & 0xFFFF_FFFF)
    quiet, busy, freed = [], [], []
    for index in range(rounds):
        for number in range(VICTIMS):
            source = f"{work}/victim"
            fill(source, 10**6 + index * 100 + number)
            rig.Run([rig.CAS, "push", source, "--to", f"bench/gone:{number}", "--large"], env=settings)
            shutil.rmtree(source)
        quiet += Pushes(work, server, f"quiet{index}").run().seconds
        for number in range(VICTIMS):
            rig.Run([rig.CAS, "rm", f"bench/gone:{number}"], env=settings)
        before, begin = rig.allocated(f"{work}/store"), time.monotonic()
        collection = subprocess.Popen([rig.CAS, "gc"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=settings)
        pushes = Pushes(work, server, f"busy{index}").run()
        still = collection.poll() is None
        output = collection.communicate()[0].decode(errors="replace")
        seconds = time.monotonic() - begin
        if collection.returncode:
            raise SystemExit(f"error: cas gc failed:\n{output}")
        # What the pushes added meanwhile is known from the round before: the same amount of new content.
        rig.Run([rig.CAS, "gc"], env=settings)
        after = rig.allocated(f"{work}/store")
        busy += pushes.seconds
        freed.append((before, after))
        rig.say(f"# round {index + 1}: collection {seconds:.1f} s ({'longer' if still else 'shorter'} than the pushes), pushes {max(pushes.seconds):.1f} s; store {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after, with what was pushed meanwhile")
    added = [rig.allocated(f"{work}/sources/busy0-{number}") for number in range(PUSHES)]
    rig.row("8 pushes without collection: median, slowest", statistics.median(quiet), "s", None, f"slowest {max(quiet):.2f} s")
    rig.row("8 pushes during collection: median, slowest", statistics.median(busy), "s", None, f"slowest {max(busy):.2f} s")
    rig.row("slowed by collection, median of all pushes", statistics.median(busy) / statistics.median(quiet), "ratio", 1.33)
    rig.row("slowed by collection, the slowest push", max(busy) / max(quiet), "ratio", 1.33)
    return server, settings, freed, added
