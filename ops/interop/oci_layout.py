#!/usr/bin/env python3
"""oci_layout.py [--gzip] [--name TAG] [--platforms N] LAYOUT DIRECTORY[=PREFIX]...: an OCI layout of one layer for each directory.

Layers are plain tar unless --gzip is given, with sorted entries and no times, so that the same directories give the same digests.
With --platforms the tag names an index of N images that differ in their configuration. Prints the digest of what the tag names.
"""
import argparse
import gzip
import hashlib
import json
import os
import sys
import tarfile

IMAGE = "application/vnd.oci.image."

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--gzip", action="store_true")
parser.add_argument("--name", default="latest")
parser.add_argument("--platforms", type=int, default=1)
parser.add_argument("layout")
parser.add_argument("directories", nargs="+")
arguments = parser.parse_args()
blobs = os.path.join(arguments.layout, "blobs", "sha256")
os.makedirs(blobs, exist_ok=True)


class Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file):
        self.file, self.hash, self.size = file, hashlib.sha256(), 0

    def write(self, data):
        self.hash.update(data)
        self.size += len(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()


def paths(directory):
    for parent, directories, files in os.walk(directory):
        directories.sort()
        for name in sorted(directories + files):
            yield os.path.join(parent, name)


def layer(directory, prefix):
    """Writes the layer; returns its descriptor and the digest of its tar."""
    temporary = os.path.join(blobs, "new")

    def plain(entry):
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        return entry

    with open(temporary, "wb") as file:
        packed = Hashing(file)
        zipped = gzip.GzipFile(fileobj=packed, mode="wb", mtime=0, compresslevel=6, filename="") if arguments.gzip else packed
        plain_tar = Hashing(zipped)
        with tarfile.open(fileobj=plain_tar, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for path in sorted(paths(directory)):
                tar.add(path, os.path.join(prefix, os.path.relpath(path, directory)), recursive=False, filter=plain)
        if arguments.gzip:
            zipped.close()
    os.rename(temporary, os.path.join(blobs, packed.hash.hexdigest()))
    kind = IMAGE + "layer.v1.tar" + ("+gzip" if arguments.gzip else "")
    return descriptor(kind, packed.hash.hexdigest(), packed.size), "sha256:" + plain_tar.hash.hexdigest()


def descriptor(kind, digest, size):
    return {"mediaType": kind, "digest": "sha256:" + digest, "size": size}


def document(kind, value):
    data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(blobs, digest), "wb") as file:
        file.write(data)
    return descriptor(kind, digest, len(data))


def image(architecture, layers):
    config = document(IMAGE + "config.v1+json", {
        "architecture": architecture, "os": "linux", "config": {"Env": ["PATH=/usr/bin:/bin"], "Cmd": ["/bin/true"]},
        "rootfs": {"type": "layers", "diff_ids": [plain for _, plain in layers]},
        "history": [{"created_by": "oci_layout.py"} for _ in layers]})
    return document(IMAGE + "manifest.v1+json", {
        "schemaVersion": 2, "mediaType": IMAGE + "manifest.v1+json", "config": config,
        "layers": [layer for layer, _ in layers]})


layers = []
for item in arguments.directories:
    directory, _, prefix = item.partition("=")
    if not os.path.isdir(directory):
        sys.exit(f"error: {directory} is not a directory")
    layers.append(layer(directory, prefix.strip("/")))
architectures = ["amd64", "arm64", "riscv64", "s390x"][:arguments.platforms]
named = [{**image(name, layers), "platform": {"architecture": name, "os": "linux"}} for name in architectures]
top = named[0]
if arguments.platforms > 1:
    top = document(IMAGE + "index.v1+json", {"schemaVersion": 2, "mediaType": IMAGE + "index.v1+json", "manifests": named})
top = {**top, "annotations": {"org.opencontainers.image.ref.name": arguments.name}}
index = os.path.join(arguments.layout, "index.json")
known = []
if os.path.exists(index):
    known = [entry for entry in json.load(open(index))["manifests"]
             if entry["annotations"]["org.opencontainers.image.ref.name"] != arguments.name]
with open(index, "w") as file:
    json.dump({"schemaVersion": 2, "manifests": known + [top]}, file)
with open(os.path.join(arguments.layout, "oci-layout"), "w") as file:
    file.write('{"imageLayoutVersion":"1.0.0"}')
print(top["digest"])
