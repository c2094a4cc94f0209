"""The acceptance table: every case by its name, in the order of the suite."""
import os
import secrets
from contextlib import contextmanager

from .blobs import SMALLEST_CHUNK, Blobs
from .client import Client, Problem, digest_of
from .manifests import Manifests
from .sets import DataSet, all_sets

ROOT = "OCI Conformance Test"
RANGES = [("500-1499", 500, 1500), ("500-", 500, 2048), ("-500", 1548, 2048), ("2000-5000", 2000, 2048),
          ("500-0", None, None), ("5000-10000", None, None)]
BAD = {"bad digest post only": ("blob-post-only", "post_only", {}), "bad digest post+put": ("blob-post-put", "post_put", {}),
       "bad digest chunked": ("blob-patch-chunked", "chunked", {}),
       "bad digest chunked and put chunk": ("blob-patch-chunked", "chunked", {"last_in_put": True}),
       "bad digest stream": ("blob-patch-stream", "stream", {})}
WAYS = [("blob-post-put", "post_put"), ("blob-post-only", "post_only"),
        ("blob-patch-stream", "stream"), ("blob-patch-chunked", "chunked")]


class Table:
    """Runs the cases. `every_way`: sha512 blobs are pushed in each of the four ways, not in the first that works.
    `dry`: every case is counted as well, and nothing is sent."""

    def __init__(self, client: Client, profile="dev", every_way=True, first="conformance/repo1", second="conformance/repo2",
                 dry=False):
        self.newest, self.dry = profile == "dev", dry
        self.every_way, self.first, self.second = every_way, first, second
        self.blobs, self.manifests = Blobs(client, self.newest), Manifests(client, self.newest)
        self.path, self.outcomes, self.groups = [], [], [ROOT]

    # Names and outcomes

    @contextmanager
    def group(self, name):
        self.path.append(name)
        self.groups.append("/".join(self.path))
        yield
        self.path.pop()

    def note(self, outcome, why=""):
        self.outcomes.append(("/".join(self.path), outcome, why))

    def case(self, name, run, *arguments, then=None, **options):
        """One named case; `then` is a second check under the same name. Returns whether all went well."""
        with self.group(name):
            for step in [lambda: run(*arguments, **options)] + ([then] if then else []):
                try:
                    if not self.dry:
                        step()
                except Problem as problem:
                    self.note("skip" if problem.kind == "unsupported" else "FAIL", str(problem))
                    if then and step is not then:
                        self.note("skip", "not looked at")
                    return False
                self.note("ok")
        return True

    def run(self):
        self.case("ping", self.blobs.client.send, "GET", self.blobs.client.url("/v2/"))
        with self.group("empty"):
            self.case("tag list", self.manifests.tags, self.first)
            self.case("referrers", self.manifests.referrers, self.first, digest_of(secrets.token_bytes(16)))
        for algorithm in ("sha256", "sha512"):
            with self.group(f"{algorithm} blobs"):
                self.blob_cases(algorithm)
        for data in all_sets(tag_parameters=self.newest):
            with self.group(data.name):
                self.set_cases(data)
        self.errors()

    # Blobs

    def any_way(self, repository, digest, data):
        done, every = False, self.every_way and digest.startswith("sha512")
        for name, way in WAYS:
            done = self.case(name, getattr(self.blobs, way), repository, digest, data) or done
            if done and not every:
                break
        return done

    def read_blob(self, repository, digest, data):
        self.case("blob-head", self.blobs.head, repository, digest, data)
        self.case("blob-get", self.blobs.get, repository, digest, data)

    def delete_blob(self, repository, digest):
        def gone():
            reply = self.blobs.client.send("HEAD", self.blobs.url(repository, digest))
            if reply.status != 404:
                raise Problem(f"after its deletion: {reply.status} instead of 404")
        self.case("blob-delete", self.blobs.delete, repository, digest, then=gone)

    def blob_cases(self, algorithm):
        def some(size):
            data = os.urandom(size)
            return digest_of(data, algorithm), data

        missing = some(512)[0]
        self.case("get-missing", self.get_missing, missing)
        first, second, blobs = self.first, self.second, self.blobs
        smallest = SMALLEST_CHUNK

        def single(repository, digest, data):
            nonlocal smallest
            smallest = max(smallest, blobs.chunked(repository, digest, data))

        def push(name, step, run, *before, size=512, **options):
            digest, data = some(size)
            with self.group(name):
                for repository in before:
                    self.any_way(repository, digest, data)
                if self.case(step, run, first, digest, data, **options):
                    self.read_blob(first, digest, data)
                for repository in (first, *before):
                    self.delete_blob(repository, digest)

        push("post only", "blob-post-only", blobs.post_only)
        push("post+put", "blob-post-put", blobs.post_put)
        push("chunked single", "blob-patch-chunked", single)
        push("stream", "blob-patch-stream", blobs.stream)
        push("mount", "blob-mount", lambda to, *blob: blobs.mount(to, second, *blob), second)
        push("mount anonymous", "blob-mount-anonymous", lambda to, *blob: blobs.mount(to, None, *blob), second)
        push("mount missing", "blob-mount", lambda to, *blob: blobs.mount_missing(to, second, *blob))
        with self.group("post cancel"):
            if self.newest:
                self.case("blob-post-cancel", blobs.cancel, first)
            else:
                with self.group("blob-post-cancel"):
                    self.note("disabled", "not in this profile")
            self.delete_blob(first, missing)
        large = smallest * 3 - 5
        chunks = blobs.chunked
        push("chunked multi", "blob-patch-chunked", chunks, size=large)
        push("chunked multi and put chunk", "blob-patch-chunked", chunks, size=large, last_in_put=True)
        push("chunked out-of-order", "blob-patch-chunked", chunks, size=large, out_of_order=True)
        push("chunked out-of-order and put chunk", "blob-patch-chunked", chunks, size=large,
             out_of_order=True, last_in_put=True)
        self.ranges(*some(2048))
        for name, data in (("empty", b""), ("emptyJSON", b"{}")):
            digest = digest_of(data, algorithm)
            with self.group(name):
                self.any_way(first, digest, data)
                self.read_blob(first, digest, data)
                self.delete_blob(first, digest)
        for name, (step, way, options) in BAD.items():
            digest, data = some(large)
            with self.group(name):
                self.case(step, getattr(blobs, way), first, digest, data + b"oh no", bad=True, **options)

    def get_missing(self, digest):
        reply = self.blobs.client.send("GET", self.blobs.url(self.first, digest))
        if reply.status != 404:
            raise Problem(f"status {reply.status} instead of 404")

    def ranges(self, digest, data):
        with self.group("range requests"):
            if not self.any_way(self.first, digest, data):
                self.note("FAIL", "there is no blob to ask ranges of")
                return
            for text, start, end in RANGES:
                self.case(f"range {text}", self.blobs.range, self.first, digest, data, text, start, end)
            self.delete_blob(self.first, digest)

    # Sets of data

    def set_cases(self, data):
        repository = self.first
        readable = {digest: body for digest, body in data.manifests.items() if digest not in data.bad}
        with self.group("push"):
            self.push_set(data)
        self.case("tag-list", self.manifests.list_tags, repository, data.tags)
        for name, step in (("head", self.manifests.head), ("pull", self.manifests.get)):
            word = "manifest-head" if name == "head" else "manifest"
            with self.group(name):
                for tag, digest in data.tags.items():
                    self.case(f"{word}-by-tag", step, repository, tag, digest, data.manifests[digest])
                for digest, body in readable.items():
                    self.case(f"{word}-by-digest", step, repository, digest, digest, body)
                for digest, body in data.blobs.items():
                    way = self.blobs.head if name == "head" else self.blobs.get
                    self.case("blob-head" if name == "head" else "blob-get", way, repository, digest, body)
        if data.referrers:
            self.case("referrers", self.all_referrers, data)
        self.delete_set(data)

    def all_referrers(self, data):
        for subject, goals in data.referrers.items():
            self.manifests.check_referrers(self.first, subject, goals)

    def push_set(self, data):
        for digest, body in data.blobs.items():
            self.any_way(self.first, digest, body)
        for digest, body in data.manifests.items():
            tags = [tag for tag, target in data.tags.items() if target == digest] if data.tag_parameters else []

            def put():
                set_tags = self.manifests.put(self.first, digest, digest, body, digest in data.bad, tags)
                data.pushed_tags.update(tag for tag in tags if tag in set_tags)
                lost = [tag for tag in tags if tag not in set_tags]
                if lost:
                    raise Problem(f"no OCI-Tag for {', '.join(lost)}", "unsupported")
            if self.case("manifest-by-digest", put) and self.dry:
                data.pushed_tags.update(tags)
        for tag, digest in data.tags.items():
            # A tag set by a parameter is pushed once more; not with sha512, since by tag a manifest gets its SHA-256.
            if tag in data.pushed_tags and (not self.every_way or digest.startswith("sha512")):
                continue
            if self.case("manifest-by-tag", self.manifests.put, self.first, tag, digest, data.manifests[digest]):
                data.pushed_tags.add(tag)

    def delete_set(self, data):
        with self.group("delete"):
            for tag in data.tags:
                if tag in data.pushed_tags:
                    self.case("tag-delete", self.manifests.delete, self.first, tag,
                              then=lambda tag=tag: self.manifests.gone(self.first, tag))
            for digest in reversed(data.manifests):
                self.case("manifest-delete", self.manifests.delete, self.first, digest,
                          then=lambda digest=digest: self.manifests.gone(self.first, digest))
            for digest in data.blobs:
                self.delete_blob(self.first, digest)

    def errors(self):
        manifests, repository = self.manifests, self.first
        with self.group("missing-manifest"):
            self.case("by-digest", manifests.get_status, repository, digest_of(os.urandom(1024)), 404)
            self.case("by-tag", manifests.get_status, repository, f"missing-{secrets.token_hex(10)}", 404)
        with self.group("invalid-digest-format"):
            data, bad = DataSet("invalid-digest-format"), "sha256:baddigeststring"
            digest = data.image(layers=1)
            for blob, body in data.blobs.items():
                self.any_way(repository, blob, body)
            self.case("manifest-put", manifests.put, repository, bad, digest, data.manifests[digest], bad=True)
            self.case("manifest-get", manifests.get_status, repository, bad, 404, 400)
            self.delete_set(data)
