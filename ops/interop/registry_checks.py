#!/usr/bin/env python3
"""registry_checks.py [options] REGISTRY [before|after FILE]: what the conformance suite does not look at, a line for each case.

`before` begins uploads and pushes, and writes to FILE what it began; then the server is killed and started again, and
`after` goes on with all of it.
"""
import argparse
import json
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from conformance.checks import same
from conformance.client import MANIFEST, OCTETS, Client, Problem, digest_of, expect, with_query
from conformance.hostile import BadInput
from conformance.sets import DataSet
from conformance.tars import odd_tars

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("registry")
parser.add_argument("step", nargs="?", choices=("before", "after"))
parser.add_argument("file", nargs="?")
parser.add_argument("--repository", default="checks/one", help="a name that nobody else uses")
parser.add_argument("--user", default=None, help="a name; the password stands in CONFORMANCE_PASSWORD")
parser.add_argument("--ca-file", default=None)
parser.add_argument("--only", default="", help="cases with this in their name")
arguments = parser.parse_args()
client = Client(arguments.registry, arguments.user, os.environ.get("CONFORMANCE_PASSWORD"), arguments.ca_file)
checks = BadInput(client, arguments.repository)
NAME = arguments.repository + "/restart"


def content(number):
    """The same bytes before and after; the first is a tar with large files."""
    return dict(odd_tars())["plain"] if number == 0 else bytes((number + at) % 251 for at in range(400_000 * number))


def patch(url, data, start, end):
    headers = [("Content-Type", OCTETS), ("Content-Range", f"{start}-{end - 1}")]
    return expect(client.send("PATCH", url, headers, data[start:end]), 202).location()


def before():
    uploads = []
    for number in range(4):
        url, data = expect(checks.send("POST", f"{NAME}/blobs/uploads/"), 202).location(), content(number)
        for start in range(0, len(data) // 2, 100_001):
            url = patch(url, data, start, min(start + 100_001, len(data) // 2))
        uploads.append((url, len(data) // 2))
    data = DataSet("image")
    digest = data.image()
    for blob in data.blobs.values():
        checks.blob(NAME, blob)
    _, tagged, _ = checks.image(NAME, "tagged")
    json.dump({"uploads": uploads, "manifest": data.manifests[digest].decode(), "tagged": tagged}, open(arguments.file, "w"))


def after():
    left = json.load(open(arguments.file))
    for number, (url, size) in enumerate(left["uploads"]):
        data = content(number)
        reply = expect(client.send("GET", url), 204)
        same(f"Range of upload {number}", f"0-{size - 1}", reply.header("Range")) if size else None
        url = patch(reply.location(), data, size, len(data)) if data else reply.location()
        expect(client.send("PUT", with_query(url, ("digest", digest_of(data))), body=b""), 201)
        same("content", data, expect(checks.send("GET", f"{NAME}/blobs/{digest_of(data)}"), 200).body)
    reply = expect(checks.send("GET", f"{NAME}/manifests/tagged"), 200)
    same("the tag", left["tagged"], digest_of(reply.body))
    # Blobs that were there before the crash are named by a manifest after it.
    expect(checks.manifest(NAME, "late", left["manifest"].encode(), MANIFEST), 201)


cases = [(name[6:].replace("_", " "), getattr(checks, name)) for name in dir(checks) if name.startswith("check_")]
if arguments.step:
    cases = [("begin before a crash", before)] if arguments.step == "before" else [("go on after a crash", after)]
failed = 0
for name, run in cases:
    if arguments.only not in name:
        continue
    try:
        run()
        print(f"ok {name}")
    except Problem as problem:
        failed += 1
        print(f"FAIL {name}: {problem}")
print(f"{len(cases)} checks, {failed} failed")
sys.exit(1 if failed else 0)
