#!/usr/bin/env python3
"""build_caches.py REGISTRY export|import|gone FILE: what BuildKit's registry cache and kaniko ask of a registry, request by request.

`export` writes three generations of each cache (the manifest form and the index form of BuildKit, key tags of kaniko), each
over the one before, and notes in FILE what they hold; `import` reads the last as a build would that finds all of it, and
`gone` says how many blobs of the earlier generations are still there (0 is success). The order of requests, their headers and
what is tolerated follow the pushers and resolvers of containerd and go-containerregistry. Neither builder runs here.
"""
import argparse
import json
import os
import random
import subprocess
import sys
import time

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from conformance.checks import same
from conformance.client import INDEX, MANIFEST, OCTETS, Client, Problem, digest_of, expect, with_query

CACHE = "application/vnd.buildkit.cacheconfig.v0"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
GENERATIONS = 3

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("registry")
parser.add_argument("step", choices=("export", "import", "gone"))
parser.add_argument("file")
parser.add_argument("--prefix", default="caches")
arguments = parser.parse_args()
client = Client(arguments.registry)


def send(method, path, headers=(), body=None, **options):
    return client.send(method, client.url("/v2/" + path), headers, body, **options)


def descriptor(kind, data, **more):
    return {"mediaType": kind, "digest": digest_of(data), "size": len(data), **more}


def encode(value):
    return json.dumps(value, separators=(",", ":")).encode()


class Containerd:
    """Pushes and resolves as containerd does: HEAD, POST, one PUT; no PATCH."""

    def __init__(self, name):
        self.name = name

    def push_blob(self, data, source=None):
        digest = digest_of(data)
        reply = send("HEAD", f"{self.name}/blobs/{digest}", [("Accept", f"{LAYER}, */*")])
        if expect(reply, 200, 404).status == 200:
            same("Docker-Content-Digest", digest, reply.header("Docker-Content-Digest"))
            return "there"
        pairs = [("mount", digest), ("from", source)] if source else []
        reply = expect(client.send("POST", with_query(client.url(f"/v2/{self.name}/blobs/uploads/"), *pairs)), 201, 202)
        if reply.status == 201:
            return "mounted"
        url = with_query(reply.location(), ("digest", digest))
        reply = expect(client.send("PUT", url, [("Content-Type", OCTETS)], data), 200, 201, 202, 204)
        same("Docker-Content-Digest", digest, reply.header("Docker-Content-Digest"))
        return "sent"

    def push_manifest(self, tag, kind, data):
        reply = send("HEAD", f"{self.name}/manifests/{tag}", [("Accept", f"{kind}, */*")])
        if expect(reply, 200, 404).status == 200 and reply.header("Docker-Content-Digest") == digest_of(data):
            return
        reply = expect(send("PUT", f"{self.name}/manifests/{tag}", [("Content-Type", kind)], data), 200, 201, 202, 204)
        same("Docker-Content-Digest", digest_of(data), reply.header("Docker-Content-Digest"))

    def resolve(self, tag):
        """The manifest of a tag, by a mirror's address: each request says for which registry it is."""
        accept = [("Accept", f"{MANIFEST}, {INDEX}, */*")]
        reply = expect(send("HEAD", f"{self.name}/manifests/{tag}?ns=registry.example", accept), 200)
        digest, size = reply.header("Docker-Content-Digest"), int(reply.header("Content-Length"))
        reply = expect(send("GET", f"{self.name}/manifests/{digest}?ns=registry.example", accept), 200)
        same("size", size, len(reply.body))
        same("digest", digest, digest_of(reply.body))
        return reply.header("Content-Type"), json.loads(reply.body)

    def fetch(self, entry):
        reply = expect(send("GET", f"{self.name}/blobs/{entry['digest']}?ns=registry.example",
                            [("Accept", f"{entry['mediaType']}, */*"), ("Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")]), 200)
        body, encoding = reply.body, reply.header("Content-Encoding")
        if encoding:
            same("encoding", "zstd", encoding)
            body = subprocess.run(["zstd", "-dcq"], input=body, stdout=subprocess.PIPE, check=True).stdout
        same("size", entry["size"], len(body))
        same("digest", entry["digest"], digest_of(body))
        return body


def layers_of(generation, form):
    """Five layers, as of a build with mode=max: three stay from generation to generation, two are new."""
    return [random.Random(f"{form} {number if number < 3 else (number, generation)}").randbytes(200_000 + number * 1000) for number in range(5)]


def buildkit(form, generation):
    """One export. Returns the blobs of this generation, and how many were sent."""
    cache = Containerd(f"{arguments.prefix}/{form}")
    layers, sent = layers_of(generation, form), []
    for layer in layers:
        sent.append(cache.push_blob(layer, f"{arguments.prefix}/base"))
    entries = [descriptor(LAYER, layer, annotations={
        "buildkit/createdat": "2026-11-26T00:00:00Z", "containerd.io/uncompressed": digest_of(b"plain" + layer)}) for layer in layers]
    config = encode({
        "layers": [{"blob": entry["digest"], "parent": number - 1} for number, entry in enumerate(entries)],
        "records": [{"digest": digest_of(f"{number} {generation}".encode()), "layers": [{"layer": number, "createdAt": "2026-11-26T00:00:00Z"}],
                     "inputs": [[{"link": number - 1}]] if number else []} for number in range(len(layers))]})
    sent.append(cache.push_blob(config))
    if form == "manifest":
        kind, body = MANIFEST, {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CACHE, config), "layers": entries}
    else:
        kind, body = INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries + [descriptor(CACHE, config)]}
    cache.push_manifest("main", kind, encode(body))
    return [entry["digest"] for entry in entries] + [digest_of(config)], sent


class GoContainerRegistry:
    """Pushes as go-containerregistry does: HEAD, POST, PATCH, PUT."""

    def __init__(self, name):
        self.name = name

    def push_blob(self, data):
        digest = digest_of(data)
        if expect(send("HEAD", f"{self.name}/blobs/{digest}"), 200, 404).status == 200:
            return
        reply = expect(send("POST", f"{self.name}/blobs/uploads/", [("Content-Type", "application/json")]), 202)
        reply = expect(client.send("PATCH", reply.location(), [("Content-Type", OCTETS)], data, chunked=True), 202, 204, 201)
        expect(client.send("PUT", with_query(reply.location(), ("digest", digest)), body=b""), 201)

    def push(self, tag, layers, created):
        config = encode({"architecture": "amd64", "os": "linux", "created": created, "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [digest_of(b"plain" + layer) for layer in layers]}})
        for data in (*layers, config):
            self.push_blob(data)
        body = encode({"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, config),
                       "layers": [descriptor(LAYER, layer) for layer in layers]})
        expect(send("PUT", f"{self.name}/manifests/{tag}", [("Content-Type", MANIFEST)], body), 201)
        return [digest_of(layer) for layer in layers] + [digest_of(config)]

    def find(self, tag):
        """The image of a key, or nothing; never an error."""
        reply = send("GET", f"{self.name}/manifests/{tag}", [("Accept", f"{MANIFEST},application/vnd.docker.distribution.manifest.v2+json")])
        if expect(reply, 200, 404).status == 404:
            return None
        manifest = reply.json()
        config = expect(send("GET", f"{self.name}/blobs/{manifest['config']['digest']}"), 200)
        created = time.strptime(config.json()["created"], "%Y-%m-%dT%H:%M:%SZ")
        if time.mktime(created) < time.time() - 14 * 86400:
            return None
        return [expect(send("GET", f"{self.name}/blobs/{layer['digest']}"), 200).body for layer in manifest["layers"]]


def key(step, generation):
    """A key of 64 digits; the second step's depends on the generation."""
    return digest_of(f"{step} {generation if step else 0}".encode())[7:]


def kaniko(generation, now):
    cache = GoContainerRegistry(f"{arguments.prefix}/app/cache")
    send("GET", "")
    for step in range(2):
        if cache.find(key(step, generation)) is None:
            layer = random.Random(f"kaniko {key(step, generation)}").randbytes(150_000)
            cache.push(key(step, generation), [layer], now)


def export():
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    noted = {"manifest": [], "index": []}
    base = Containerd(f"{arguments.prefix}/base")
    base.push_blob(layers_of(0, "manifest")[0])
    for form in noted:
        for generation in range(GENERATIONS):
            blobs, sent = buildkit(form, generation)
            noted[form].append(blobs)
            wanted = 3 if generation else 6
            if generation == 0 and form == "manifest":
                same("the base's layer is mounted, not sent", "mounted", sent[0])
                wanted = 5
            same(f"{form}, generation {generation}: blobs sent", wanted, sent.count("sent"))
        print(f"ok BuildKit, {form} form: {GENERATIONS} exports, each over the one before; only what was new was sent")
    for generation in range(GENERATIONS):
        kaniko(generation, now)
    print("ok kaniko: key tags pushed into a name below the image's")
    json.dump(noted, open(arguments.file, "w"))


def read():
    noted = json.load(open(arguments.file))
    for form, kind in (("manifest", MANIFEST), ("index", INDEX)):
        cache = Containerd(f"{arguments.prefix}/{form}")
        found, body = cache.resolve("main")
        same("media type", kind, found)
        config = body["config"] if form == "manifest" else body["manifests"][-1]
        same("media type of the configuration", CACHE, config["mediaType"])
        records = json.loads(cache.fetch(config))["layers"]
        entries = body["layers"] if form == "manifest" else body["manifests"][:-1]
        same("layers", [entry["digest"] for entry in entries], [record["blob"] for record in records])
        same("the last generation", noted[form][-1], [entry["digest"] for entry in entries] + [config["digest"]])
        same("contents", layers_of(GENERATIONS - 1, form), [cache.fetch(entry) for entry in entries])
        print(f"ok BuildKit, {form} form: every layer of the last export is there")
    cache = GoContainerRegistry(f"{arguments.prefix}/app/cache")
    for generation in range(GENERATIONS):
        for step in range(2):
            layer = random.Random(f"kaniko {key(step, generation)}").randbytes(150_000)
            same("a hit", [layer], cache.find(key(step, generation)))
    same("a miss", None, cache.find("0" * 64))
    print("ok kaniko: each key is a hit, another is a miss")


def gone():
    noted, left = json.load(open(arguments.file)), 0
    for form, generations in noted.items():
        old = set(sum(generations[:-1], [])) - set(generations[-1])
        there = [digest for digest in old if send("HEAD", f"{arguments.prefix}/{form}/blobs/{digest}").status == 200]
        print(f"{form}: {len(there)} of {len(old)} blobs that only earlier generations had are there")
        left += len(there)
    return left


try:
    sys.exit({"export": export, "import": read, "gone": gone}[arguments.step]() or 0)
except Problem as problem:
    sys.exit(f"FAIL {problem}")
