"""Test data: random blobs, layers, images, artifacts and indexes, in the sets that the acceptance table names."""
import base64
import gzip
import io
import json
import os
import secrets
import tarfile

from .client import INDEX, MANIFEST, OCTETS, digest_of

CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"
FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
EMPTY = "application/vnd.oci.empty.v1+json"
FIRST = "application/vnd.example.oci.conformance.v1"
SECOND = "application/vnd.example.oci.conformance.v2"
PLATFORMS = [{"architecture": "amd64", "os": "linux"}, {"architecture": "arm64", "os": "linux"}]


class DataSet:
    """Blobs, manifests in the order of pushing, tags, and what the referrers of each subject should be."""

    def __init__(self, name):
        self.name, self.descriptors = name, {}
        self.blobs, self.manifests, self.tags, self.referrers = {}, {}, {}, {}
        self.pushed_tags, self.bad, self.tag_parameters = set(), set(), False

    def blob(self, data, media_type=OCTETS, algorithm="sha256", inline=False):
        digest = digest_of(data, algorithm)
        self.blobs[digest] = data
        return self.describe(digest, data, media_type, inline)

    def random(self, size=2048, media_type=OCTETS, **options):
        return self.blob(os.urandom(size), media_type, **options)

    def describe(self, digest, data, media_type, inline=False):
        descriptor = {"mediaType": media_type, "digest": digest, "size": len(data)}
        if inline:
            descriptor["data"] = base64.b64encode(data).decode()
        self.descriptors[digest] = descriptor
        return digest

    def layer(self, number, compressed=True, **options):
        """A tar with one file; returns the layer's digest and that of its uncompressed bytes."""
        text = f"Contents of file {number}.\nA number: {secrets.randbits(63)}\n".encode()
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            entry = tarfile.TarInfo(f"./conformance-{number}.txt")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text))
        plain = buffer.getvalue()
        data, media_type = (gzip.compress(plain), LAYER + "+gzip") if compressed else (plain, LAYER)
        return self.blob(data, media_type, **options), digest_of(plain, options.get("algorithm", "sha256"))

    def config(self, platform, layers, extra=False, **options):
        body = {"author": "conformance", **platform, "config": {}, "rootfs": {"type": "layers", "diff_ids": layers}}
        return self.blob(self.encode(body, extra), CONFIG, **options)

    @staticmethod
    def encode(body, extra):
        if extra:
            body = {**body, f"org.{secrets.token_hex(8)}": secrets.token_hex(8)}
        return json.dumps(body, separators=(",", ":")).encode()

    def manifest(self, body, algorithm="sha256", tag=None, extra=False, unique=False, inline=False):
        if unique:
            body = {**body, "annotations": {**body.get("annotations", {}), f"org.example.{secrets.token_hex(8)}": secrets.token_hex(8)}}
        data = self.encode(body, extra)
        digest = digest_of(data, algorithm)
        self.manifests[digest] = data
        self.describe(digest, data, body["mediaType"], inline)
        if tag:
            self.tags[tag] = digest
        if "subject" in body:
            kind = body.get("artifactType") or (body["config"]["mediaType"] if "config" in body else "")
            goal = {"mediaType": body["mediaType"], "digest": digest, "size": len(data), "artifactType": kind,
                    "annotations": body.get("annotations", {})}
            self.referrers.setdefault(body["subject"]["digest"], []).append(goal)
        return digest

    @staticmethod
    def shared(artifact=None, subject=None, annotations=None):
        fields = {"artifactType": artifact, "subject": subject, "annotations": annotations}
        return {name: value for name, value in fields.items() if value}

    def image(self, layers=2, platform=PLATFORMS[0], compressed=True, artifact=None, subject=None, annotations=None,
              layer_type=None, layer_data=None, algorithm="sha256", inline=False, extra=False, **options):
        """An image, or an artifact with an empty configuration if `artifact` is given."""
        blobs = {"algorithm": algorithm, "inline": inline}
        found = []
        for number in range(layers):
            if not layer_type:
                found.append(self.layer(number, compressed, **blobs))
            elif layer_data is None:
                found.append((self.random(2048, layer_type, **blobs), None))
            else:
                found.append((self.blob(layer_data, layer_type, **blobs), None))
        if artifact:
            config = self.blob(b"{}", EMPTY, **blobs)
            descriptor = {**self.descriptors[config], "mediaType": EMPTY}
        else:
            config = self.config(platform, [plain for _, plain in found], extra, **blobs)
            descriptor = self.descriptors[config]
        body = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor,
                "layers": [self.descriptors[digest] for digest, _ in found],
                **self.shared(artifact, subject, annotations)}
        return self.manifest(body, algorithm, extra=extra, inline=inline, **options)

    def index(self, members, tag=None, artifact=None, subject=None, annotations=None, **options):
        body = {"schemaVersion": 2, "mediaType": INDEX,
                "manifests": [{**self.descriptors[digest], **({"platform": platform} if platform else {})}
                              for digest, platform in members],
                **self.shared(artifact, subject, annotations)}
        return self.manifest(body, tag=tag, **options)

    def platforms(self, platforms=PLATFORMS, **options):
        """An index of one image for each platform; what the index is given, its images are given too."""
        members = [(self.image(platform=platform, **options), platform) for platform in platforms]
        for name in ("layers", "layer_type"):
            options.pop(name, None)
        return self.index(members, **options)


def all_sets(sha512=True, tag_parameters=True):
    """The data sets, in the order in which they are tested."""
    sets = []

    def new(name):
        sets.append(DataSet(name))
        return sets[-1]

    new("image").image(tag="image")
    new("image-uncompressed").image(tag="image-uncompressed", compressed=False)
    new("large-manifest").image(
        tag="large-manifest", annotations={f"large-annotation-{number}": "A" * 10000 for number in range(390)})
    new("index").platforms(tag="index")
    data = new("nested-index")
    data.index([(data.platforms(), None), (data.platforms(), None)], tag="index-of-index")
    new("empty-index").platforms([], tag="index")
    artifact = {"artifact": FIRST, "layers": 1, "layer_type": FIRST}
    new("artifact").image(tag="artifact", **artifact)
    new("artifact-index").platforms(tag="artifact-index", **artifact)
    new("artifact-without-layers").image(
        tag="artifact-without-layers", artifact=FIRST, layers=1, layer_data=b"{}", layer_type=EMPTY)
    subjects(new, artifact)
    new("data-field").image(tag="data-field", inline=True)
    foreign(new("non-distributable-layers"))
    new("custom-fields").platforms(tag="custom-fields", extra=True)
    new("no-layers").image(tag="no-layers", layers=0)
    if sha512:
        new("sha512").platforms(algorithm="sha512")
    for algorithm in ("sha256", "sha512") if tag_parameters else ():
        if algorithm == "sha256" or sha512:
            data = new(f"tag-param-{algorithm}")
            data.platforms(tag=data.name, algorithm=algorithm)  # the index has two tags
            for number, digest in enumerate(data.manifests):
                data.tags[f"{data.name}-{number}"] = digest
            data.tag_parameters = True
    data = new("bad-digest-image")
    bad = data.image()
    data.bad.add(bad)
    data.manifests[bad] += b"  "
    return sets


def subjects(new, artifact):
    notes = {"annotations": {"org.opencontainers.conformance": "hello conformance test"}, "unique": True}
    data = new("artifacts-with-subject")
    subject = data.descriptors[data.image(tag="image")]
    data.image(subject=subject)
    data.image(subject=subject, tag="tagged-artifact1", **artifact, **notes)
    data.image(subject=subject, tag="tagged-artifact2", artifact=SECOND, layers=1, layer_type=OCTETS, **notes)
    data = new("index-with-subject")
    subject = data.descriptors[data.platforms(tag="index")]
    data.platforms(subject=subject, tag="tagged-artifact", **artifact, **notes)
    subject = {"mediaType": MANIFEST, "digest": digest_of(b"missing content"), "size": 123}
    new("missing-subject").image(subject=subject, tag="tagged-artifact", **artifact, **notes)


def foreign(data):
    """Two layers that lie elsewhere and are not pushed, and one that is."""
    layers, plain = [], []
    for media_type, size in ((FOREIGN + "+gzip", 123456), (FOREIGN, 12345)):
        digest = digest_of(os.urandom(256))
        layers.append({"mediaType": media_type, "digest": digest, "size": size,
                       "urls": [f"https://store.example.com/blobs/{digest.replace(':', '/')}"]})
        plain.append(digest)
    layer, uncompressed = data.layer(1)
    config = data.config(PLATFORMS[0], plain + [uncompressed])
    data.manifest({"schemaVersion": 2, "mediaType": MANIFEST, "config": data.descriptors[config],
                   "layers": layers + [data.descriptors[layer]]}, tag="non-distributable-image")
