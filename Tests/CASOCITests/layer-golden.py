#!/usr/bin/env python3
"""Another implementation of Layers.md, for the fixture of LayerGoldenTests.

Prints the DiffIDs that stand there: of the tree at /workspace/app for 1000:1000, and at the root for 0:0.
"""
import hashlib
import struct

TREE = {
    "README.md": b"# hello\n",
    "empty": {},
    "nothing": b"",
    "run": (b"#!/bin/sh\n", "executable"),
    "latest": "src/main.py",
    "src": {
        "main.py": b"print('hello')\n",
        "ünï": {"☃": b"\7" * 600},
        "n" * 120: b"\1",
        "far": "far/" * 30,
    },
}


def derived(content):
    return 946_684_800 + struct.unpack(">Q", hashlib.sha256(content).digest()[:8])[0] % 631_152_000


def octal(value, width):
    return b"%0*o\0" % (width - 1, value)


def padded(content):
    return content + bytes(-len(content) % 512)


def block(name, mode, owner, size, time, kind, target=b"", prefix=b""):
    fields = [
        name.ljust(100, b"\0"), octal(mode, 8), octal(owner, 8), octal(owner, 8), octal(size, 12), octal(time, 12),
        b" " * 8, kind, target.ljust(100, b"\0"), b"ustar\0" + b"00", bytes(64), octal(0, 8), octal(0, 8),
        prefix.ljust(155, b"\0"), bytes(12),
    ]
    whole = b"".join(fields)
    assert len(whole) == 512
    return whole[:148] + b"%06o\0 " % sum(whole) + whole[156:]


def record(key, value):
    rest = len(key) + len(value) + 3
    length = rest
    while rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)


def fits(text):
    return len(text) <= 100 and text.isascii()


def shown(text):
    return bytes(byte if byte < 0x80 else ord("_") for byte in text[:100])


def header(path, mode, owner, kind, size=0, time=0, target=b""):
    name, prefix, records = path + (b"/" if kind == b"5" else b""), b"", b""
    if not fits(target):
        records += record(b"linkpath", target)
    if not fits(name):
        places = [place for place in range(1, min(155, len(name) - 2) + 1) if name[place:place + 1] == b"/"]
        if places and name.isascii() and len(name) - places[-1] - 1 <= 100:
            prefix, name = name[:places[-1]], name[places[-1] + 1:]
        else:
            records += record(b"path", name)
    extended = b""
    if records:
        extended = block(b"././@PaxHeader", 0o644, 0, len(records), 0, b"x") + padded(records)
    return extended + block(shown(name), mode, owner, size, time, kind, shown(target), prefix)


def entries(folder, path, owner):
    for name in sorted(folder, key=str.encode):
        node, place = folder[name], path + name.encode()
        if isinstance(node, dict):
            yield header(place, 0o755, owner, b"5")
            yield from entries(node, place + b"/", owner)
        elif isinstance(node, str):
            target = node.encode()
            yield header(place, 0o777, owner, b"2", time=derived(target), target=target)
        else:
            content, mode = (node[0], 0o755) if isinstance(node, tuple) else (node, 0o644)
            yield header(place, mode, owner, b"0", len(content), derived(content)) + padded(content)


def layer(prefix, owner):
    parts = prefix.split("/") if prefix else []
    outer = b""
    for end in range(1, len(parts) + 1):
        outer += header("/".join(parts[:end]).encode(), 0o755, owner if end == len(parts) else 0, b"5")
    start = prefix.encode() + b"/" if prefix else b""
    return outer + b"".join(entries(TREE, start, owner)) + bytes(1024)


for arguments in [("workspace/app", 1000), ("", 0)]:
    print(hashlib.sha256(layer(*arguments)).hexdigest())
