#!/usr/bin/env python3
"""Writes directory-golden.txt: Directory messages as Google's protocol buffers library encodes them.

    python3 -m venv VENV && VENV/bin/pip install protobuf
    VENV/bin/python Tests/CASTreeTests/directory-golden.py > Tests/CASTreeTests/directory-golden.txt

The messages are those of build.bazel.remote.execution.v2 (remote_execution.proto), described here by
hand at run time: name, number and type of each field. Nothing of cas takes part.
"""
import hashlib
import random

import google.protobuf
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "build.bazel.remote.execution.v2"
STRING, INT64, BOOL, MESSAGE = 9, 3, 8, 11
MESSAGES = {
    "Digest": [("hash", 1, STRING), ("size_bytes", 2, INT64)],
    "FileNode": [("name", 1, STRING), ("digest", 2, "Digest"), ("is_executable", 4, BOOL)],
    "DirectoryNode": [("name", 1, STRING), ("digest", 2, "Digest")],
    "SymlinkNode": [("name", 1, STRING), ("target", 2, STRING)],
    "Directory": [
        ("files", 1, ["FileNode"]), ("directories", 2, ["DirectoryNode"]),
        ("symlinks", 3, ["SymlinkNode"]),
    ],
}


def classes():
    file = descriptor_pb2.FileDescriptorProto(name="re.proto", package=PACKAGE, syntax="proto3")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            repeated = isinstance(kind, list)
            kind = kind[0] if repeated else kind
            field = message.field.add(name=field_name, number=number, label=3 if repeated else 1)
            if isinstance(kind, str):
                field.type, field.type_name = MESSAGE, f".{PACKAGE}.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Directory"))


Directory = classes()


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def emit(title, files=(), directories=(), symlinks=()):
    message = Directory()
    print(f"case {title}")

    def ordered(nodes):
        return sorted(nodes, key=lambda node: node[0].encode())

    for name, key, size, executable in ordered(files):
        node = message.files.add(name=name, is_executable=executable)
        node.digest.hash, node.digest.size_bytes = key, size
        print("file", name.encode().hex(), key, size, int(executable))
    for name, key, size in ordered(directories):
        node = message.directories.add(name=name)
        node.digest.hash, node.digest.size_bytes = key, size
        print("directory", name.encode().hex(), key, size)
    for name, target in ordered(symlinks):
        message.symlinks.add(name=name, target=target)
        print("symlink", name.encode().hex(), target.encode().hex())
    print("message", message.SerializeToString(deterministic=True).hex())


EMPTY = digest("")
print(f"# directory-golden.py, protobuf {google.protobuf.__version__}; names and targets in hexadecimal")
emit("nothing")
emit("the example of Trees.md", [("a", EMPTY, 0, False)], symlinks=[("l", "a")])
emit("an executable", [("run", digest("run"), 3, True)])
emit("names that sort as unsigned bytes", [
    (name, digest(name), 1, False) for name in ("Z", "a", "a.b", "a-b", "a b", "~", "é", "z", "\U0001f600", "\uffff")])
emit("a composed and a decomposed name", [("\u00e9", EMPTY, 0, False), ("e\u0301", EMPTY, 0, False)])
emit("escaped bytes", [("a\uf7ffb", digest("x"), 1, False)], symlinks=[("l", "\uf780\uf7bf")])
for size in (1, 127, 128, 16383, 16384, 2**31 - 1, 2**31, 2**63 - 1):
    emit(f"a size of {size}", [("f", digest("f"), size, False)], [("d", digest("d"), size)])
emit("a long name and a long target", [("n" * 255, EMPTY, 0, False)], symlinks=[("l", "t" * 4095)])

generator = random.Random(2026)
alphabet = "abcXYZ019._- é漢\U0001f680\t\\"
for index in range(12):
    names = {"".join(generator.choices(alphabet, k=generator.randint(1, 12))) for _ in range(generator.randint(1, 8))}
    names = sorted(names - {".", ".."})
    generator.shuffle(names)
    kinds = [generator.randrange(3) for _ in names]
    size = lambda: generator.getrandbits(generator.randrange(1, 63))
    emit(
        f"random {index}",
        [(n, digest(n), size(), generator.random() < 0.4) for n, k in zip(names, kinds) if k == 0],
        [(n, digest(n), size()) for n, k in zip(names, kinds) if k == 1],
        [(n, "../" + n) for n, k in zip(names, kinds) if k == 2])
