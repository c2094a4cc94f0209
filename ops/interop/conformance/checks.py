"""What the suite does not look at: paging, ranges, conditions, encodings, what belongs to which name."""
import concurrent.futures
import os
import re
import subprocess
from urllib.parse import urljoin, urlsplit

from .client import INDEX, MANIFEST, OCTETS, Client, Problem, digest_of, expect, with_query
from .sets import DataSet
from .tars import odd_tars


def same(what, wanted, got):
    if wanted != got:
        raise Problem(f"{what}: expected {wanted!r}, got {got!r}")


def error(reply, code, *statuses):
    """The status, and an error document with this code."""
    expect(reply, *statuses)
    codes = {entry.get("code") for entry in reply.json().get("errors", [])}
    same("code of the error", {code}, codes)


class Checks:
    """Every method whose name begins with `check_` is a case. `repository` is used by nobody else."""

    def __init__(self, client: Client, repository):
        self.client, self.repository, self.number = client, repository, 0

    def name(self):
        self.number += 1
        return f"{self.repository}/n{self.number}"

    def send(self, method, path, headers=(), body=None, **options):
        return self.client.send(method, self.client.url("/v2/" + path), headers, body, **options)

    def blob(self, name, data, chunked=True):
        url = expect(self.send("POST", f"{name}/blobs/uploads/"), 202).location()
        url = expect(self.client.send("PATCH", url, [("Content-Type", OCTETS)], data, chunked=chunked), 202).location()
        digest = digest_of(data)
        expect(self.client.send("PUT", with_query(url, ("digest", digest)), body=b""), 201)
        return digest

    def manifest(self, name, reference, data, kind=MANIFEST, *pairs, headers=()):
        url = with_query(self.client.url(f"/v2/{name}/manifests/{reference}"), *pairs)
        return self.client.send("PUT", url, [("Content-Type", kind), *headers], data)

    def image(self, name, tag, **options):
        """Pushes a small image; returns its set, its digest and its bytes."""
        data = DataSet("image")
        digest = data.image(**options)
        for blob in data.blobs.values():
            self.blob(name, blob)
        expect(self.manifest(name, tag, data.manifests[digest]), 201)
        return data, digest, data.manifests[digest]

    # Endpoints and headers

    def check_the_root(self):
        for method, path in (("GET", "/v2/"), ("HEAD", "/v2/"), ("GET", "/v2")):
            reply = expect(self.client.send(method, self.client.url(path)), 200)
            same("version", "registry/2.0", reply.header("Docker-Distribution-Api-Version"))

    def check_headers_of_uploads(self):
        name = self.name()
        reply = expect(self.send("POST", f"{name}/blobs/uploads/"), 202)
        same("Range after POST", "0-0", reply.header("Range"))
        same("a relative Location", "", urlsplit(reply.header("Location")).netloc)
        if not reply.header("Docker-Upload-UUID"):
            raise Problem("no Docker-Upload-UUID")
        reply = expect(self.client.send("PATCH", reply.location(), [("Content-Type", OCTETS)], b"x" * 100, chunked=True), 202)
        same("Range after PATCH", "0-99", reply.header("Range"))
        reply = expect(self.client.send("PUT", with_query(reply.location(), ("digest", digest_of(b"x" * 100))), body=b""), 201)
        same("a relative Location", "", urlsplit(reply.header("Location")).netloc)

    def check_headers_of_blobs(self):
        name, data = self.name(), os.urandom(5000)
        digest = self.blob(name, data)
        got, headed = (expect(self.send(method, f"{name}/blobs/{digest}"), 200) for method in ("GET", "HEAD"))
        for header, value in (("Content-Type", OCTETS), ("Content-Length", "5000"), ("Docker-Content-Digest", digest),
                              ("Accept-Ranges", "bytes"), ("ETag", f'"{digest}"')):
            same(f"{header} of GET", value, got.header(header))
            same(f"{header} of HEAD", value, headed.header(header))

    def check_headers_of_manifests(self):
        name = self.name()
        _, digest, data = self.image(name, "one")
        for reference in ("one", digest):
            got, headed = (expect(self.send(method, f"{name}/manifests/{reference}"), 200) for method in ("GET", "HEAD"))
            for header, value in (("Content-Type", MANIFEST), ("Content-Length", str(len(data))), ("Docker-Content-Digest", digest)):
                same(f"{header} of GET", value, got.header(header))
                same(f"{header} of HEAD", value, headed.header(header))

    def check_accept_is_not_obeyed(self):
        name = self.name()
        self.image(name, "one")
        expect(self.send("GET", f"{name}/manifests/one", [("Accept", "application/vnd.docker.distribution.manifest.v2+json")]), 200)

    def check_conditions(self):
        name = self.name()
        _, digest, _ = self.image(name, "one")
        blob = self.blob(name, b"something")
        for path, tag in ((f"{name}/blobs/{blob}", blob), (f"{name}/manifests/one", digest)):
            reply = expect(self.send("GET", path, [("If-None-Match", f'"{tag}"')]), 304)
            same("body of 304", b"", reply.body)
            expect(self.send("GET", path, [("If-None-Match", f'"{digest_of(b"other")}"')]), 200)

    def check_percent_encoding(self):
        name = self.name()
        digest = self.blob(name, b"encoded")
        expect(self.send("GET", f"{name}/blobs/{digest.replace(':', '%3A')}"), 200)

    # Tags, catalog, referrers

    def check_pages_of_tags(self):
        name = self.name()
        _, _, data = self.image(name, "t00")
        tags = [f"t{number:02}" for number in range(25)]
        for tag in tags[1:]:
            expect(self.manifest(name, tag, data), 201)
        found, url, pages = [], self.client.url(f"/v2/{name}/tags/list?n=10"), 0
        while url:
            reply = expect(self.client.send("GET", url), 200)
            found += reply.json()["tags"]
            pages += 1
            link = re.fullmatch(r'<([^>]+)>; *rel="?next"?', reply.header("Link"))
            url = urljoin(url, link.group(1)) if link else None
        same("tags of all pages", tags, found)
        same("pages", 3, pages)
        reply = expect(self.send("GET", f"{name}/tags/list?n=0"), 200)
        same("n=0", ([], ""), (reply.json()["tags"], reply.header("Link")))
        reply = expect(self.send("GET", f"{name}/tags/list?last=t10x"), 200)
        same("after a tag that is not there", tags[11:], reply.json()["tags"])
        reply = expect(self.send("GET", f"{name}/tags/list?n=25"), 200)
        same("all in one page", (tags, ""), (reply.json()["tags"], reply.header("Link")))

    def check_the_catalog(self):
        prefix = self.name()
        names = [f"{prefix}/{letter}" for letter in "abcde"]
        for name in names:
            self.image(name, "one")
        found, url = [], self.client.url("/v2/_catalog?n=2")
        for _ in range(1000):
            reply = expect(self.client.send("GET", url), 200)
            page = reply.json()["repositories"]
            if len(page) > 2:
                raise Problem(f"a page of {len(page)} names for n=2")
            found += page
            link = re.fullmatch(r'<([^>]+)>; *rel="?next"?', reply.header("Link"))
            if not link:
                break
            url = urljoin(url, link.group(1))
        same("names", names, [name for name in found if name.startswith(prefix + "/")])
        same("order", sorted(found), found)

    def check_ten_tags_at_once(self):
        name = self.name()
        data, digest, body = self.image(name, "zero")
        tags = [f"tag-{number}" for number in range(10)]
        reply = expect(self.manifest(name, digest, body, MANIFEST, *[("tag", tag) for tag in tags]), 201)
        said = [tag.strip() for line in reply.all("OCI-Tag") for tag in line.split(",")]
        same("OCI-Tag", tags, sorted(said))
        same("tags", tags + ["zero"], expect(self.send("GET", f"{name}/tags/list"), 200).json()["tags"])

    def check_referrers_of_anything(self):
        reply = expect(self.send("GET", f"{self.name()}/referrers/{digest_of(b'nothing')}"), 200)
        same("none", ([], INDEX), (reply.json()["manifests"], reply.header("Content-Type")))
        expect(self.send("GET", f"{self.name()}/referrers/sha256:abc"), 400)

    def check_digest_algorithms(self):
        name, data = self.name(), os.urandom(3000)
        url = expect(self.send("POST", f"{name}/blobs/uploads/?digest-algorithm=sha512"), 202).location()
        url = expect(self.client.send("PATCH", url, [("Content-Type", OCTETS)], data, chunked=True), 202).location()
        digest = digest_of(data, "sha512")
        reply = expect(self.client.send("PUT", with_query(url, ("digest", digest)), body=b""), 201)
        same("digest", digest, reply.header("Docker-Content-Digest"))
        same("the same blob", data, expect(self.send("GET", f"{name}/blobs/{digest_of(data)}"), 200).body)
        expect(self.send("POST", f"{name}/blobs/uploads/?digest=md5:{'0' * 32}", body=b"x"), 400)

    # Ranges and encodings

    def ranges(self, path, data, *ranges):
        """The parts of a multipart/byteranges answer, compared one by one."""
        text = ",".join(f"{start}-{end - 1}" for start, end in ranges)
        reply = expect(self.send("GET", path, [("Range", f"bytes={text}")]), 206)
        kind = reply.header("Content-Type")
        if not kind.startswith("multipart/byteranges"):
            raise Problem(f"Content-Type is '{kind}'")
        same("Content-Length", str(len(reply.body)), reply.header("Content-Length"))
        boundary = re.search(r'boundary="?([^";]+)', kind).group(1).encode()
        pieces = reply.body.split(b"--" + boundary)[1:-1]
        same("number of parts", len(ranges), len(pieces))
        for (start, end), piece in zip(ranges, pieces):
            head, _, body = piece.partition(b"\r\n\r\n")
            if f"bytes {start}-{end - 1}/{len(data)}".encode() not in head:
                raise Problem(f"no right Content-Range in {head!r}")
            same("bytes of a part", data[start:end], body[:-2])

    def check_many_ranges(self):
        name, data = self.name(), os.urandom(1 << 20)
        path = f"{name}/blobs/{self.blob(name, data)}"
        self.ranges(path, data, (0, 100), (5000, 5001), (1 << 19, 1 << 20))
        self.ranges(path, data, (5000, 6000), (0, 100), (5500, 7000))
        self.ranges(path, data, *[(number * 1000, number * 1000 + 7) for number in range(1024)])
        text = ",".join(f"{number * 100}-{number * 100 + 1}" for number in range(1100))
        reply = self.send("GET", path, [("Range", f"bytes={text}")])
        expect(reply, 400, 206)  # 400 is what makes containers/storage ask for fewer
        reply = expect(self.send("GET", path, [("Range", "bytes=2000000-3000000")]), 416)
        same("Content-Range of 416", f"bytes */{len(data)}", reply.header("Content-Range"))
        reply = expect(self.send("GET", path, [("Range", "bytes=10-19,2000000-3000000")]), 206)
        same("the part that is there", data[10:20], data[10:20] if data[10:20] in reply.body else reply.body)
        reply = expect(self.send("GET", path, [("Range", "pages=1-2")]), 200)
        same("another unit is ignored", data, reply.body)

    def check_content_encoding(self):
        name, tar = self.name(), dict(odd_tars())["plain"]
        path = f"{name}/blobs/{self.blob(name, tar)}"
        reply = expect(self.send("GET", path, [("Accept-Encoding", "zstd;q=1.0, gzip;q=0.8, deflate;q=0.5")]), 200)
        same("Content-Encoding", "zstd", reply.header("Content-Encoding"))
        unpacked = subprocess.run(["zstd", "-dcq"], input=reply.body, stdout=subprocess.PIPE, check=False).stdout
        same("what zstd makes of it", digest_of(tar), digest_of(unpacked))
        reply = expect(self.send("GET", path, [("Accept-Encoding", "zstd"), ("Range", "bytes=100-199")]), 206)
        same("a range is of the identity", ("", tar[100:200]), (reply.header("Content-Encoding"), reply.body))
        for refuses in ("identity", "gzip", "zstd;q=0, identity"):
            reply = expect(self.send("GET", path, [("Accept-Encoding", refuses)]), 200)
            same(f"for '{refuses}'", ("", tar), (reply.header("Content-Encoding"), reply.body))

    # Visibility

    def check_blobs_belong_to_names(self):
        first, second, data = self.name(), self.name(), os.urandom(4000)
        digest = self.blob(first, data)
        error(self.send("GET", f"{second}/blobs/{digest}"), "BLOB_UNKNOWN", 404)
        expect(self.send("POST", f"{second}/blobs/uploads/?mount={digest}&from={first}"), 201)
        expect(self.send("HEAD", f"{second}/blobs/{digest}"), 200)
        expect(self.send("DELETE", f"{first}/blobs/{digest}"), 202)
        expect(self.send("HEAD", f"{first}/blobs/{digest}"), 404)
        same("the other has it", data, expect(self.send("GET", f"{second}/blobs/{digest}"), 200).body)

    def check_deletes(self):
        name = self.name()
        _, digest, body = self.image(name, "one")
        expect(self.manifest(name, "two", body), 201)
        expect(self.send("DELETE", f"{name}/manifests/one"), 202)
        error(self.send("GET", f"{name}/manifests/one"), "MANIFEST_UNKNOWN", 404)
        expect(self.send("GET", f"{name}/manifests/two"), 200)
        expect(self.send("DELETE", f"{name}/manifests/{digest}"), 202)
        for reference in ("two", digest):
            expect(self.send("HEAD", f"{name}/manifests/{reference}"), 404)
        expect(self.send("DELETE", f"{name}/manifests/{digest}"), 404)

    def check_one_blob_from_many(self):
        name, data = self.name(), os.urandom(3_000_000)

        def push(number):
            other = type(self)(Client(self.client.registry, self.client.user, self.client.password), self.repository)
            other.client.context = self.client.context
            return other.blob(name, data, chunked=number % 2 == 0)

        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            digests = set(pool.map(push, range(8)))
        same("digests", {digest_of(data)}, digests)
        same("content", data, expect(self.send("GET", f"{name}/blobs/{digest_of(data)}"), 200).body)
