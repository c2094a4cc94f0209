"""The ways of bringing a blob into a registry, each with the checks of the acceptance table."""
from urllib.parse import urljoin

from .client import OCTETS, Problem, expect, expect_body, expect_digest, with_query

SMALLEST_CHUNK = 1024
BODY = ("Content-Type", OCTETS)


class Blobs:
    def __init__(self, client, digest_header):
        self.client, self.digest_header = client, digest_header

    def url(self, repository, digest):
        return self.client.url(f"/v2/{repository}/blobs/{digest}")

    def begin(self, repository, *pairs, **options):
        url = with_query(self.client.url(f"/v2/{repository}/blobs/uploads/"), *pairs)
        return self.client.send("POST", url, **options)

    def check(self, reply, digest, data):
        """After a push: the digest's header, and the bytes behind the location that was returned."""
        expect_digest(reply, digest, self.digest_header)
        answer = self.client.send("GET", reply.location())
        try:
            expect_body(expect(answer, 200), data)
        except Problem as problem:
            raise Problem(f"GET of the returned location: {problem}") from None

    def put(self, url, digest, data, bad, headers=()):
        reply = self.client.send("PUT", with_query(url, ("digest", digest)), [BODY, *headers], data)
        return expect(reply, 400 if bad else 201)

    def post_only(self, repository, digest, data, bad=False):
        reply = self.begin(repository, ("digest", digest), headers=[BODY], body=data)
        expect(reply, 400 if bad else 201, 202)
        if reply.status == 202:
            self.put(reply.location(), digest, data, bad)
            raise Problem("no content in a POST: answered 202 and took a PUT", "unsupported")
        if not bad:
            self.check(reply, digest, data)

    def post_put(self, repository, digest, data, bad=False):
        reply = self.put(expect(self.begin(repository), 202).location(), digest, data, bad)
        if not bad:
            self.check(reply, digest, data)

    def stream(self, repository, digest, data, bad=False):
        url = expect(self.begin(repository), 202).location()
        url = expect(self.client.send("PATCH", url, [BODY], data, chunked=True), 202).location()
        reply = self.put(url, digest, b"", bad)
        if not bad:
            self.check(reply, digest, data)

    def chunked(self, repository, digest, data, bad=False, last_in_put=False, out_of_order=False):
        """In chunks with Content-Range. Returns the smallest chunk that the registry asks for."""
        reply = expect(self.begin(repository), 202)
        smallest = int(reply.header("OCI-Chunk-Min-Length") or 0)
        size = min(max(len(data) // 3 + 1, smallest, SMALLEST_CHUNK), len(data))
        sent, url = 0, reply.location()
        while sent < len(data):
            if out_of_order:
                url = self.out_of_order(url, digest, data, sent, size, last_in_put)
            end = min(sent + size, len(data))
            headers = [("Content-Range", f"{sent}-{end - 1}")]
            if last_in_put and end == len(data):
                reply = self.put(url, digest, data[sent:end], bad, headers)
            else:
                reply = expect(self.client.send("PATCH", url, [BODY, *headers], data[sent:end]), 202)
                url = reply.location()
            sent = end
        if not last_in_put or not data:
            reply = self.put(url, digest, b"", bad)
        if not bad:
            self.check(reply, digest, data)
        return smallest

    def out_of_order(self, url, digest, data, sent, size, last_in_put):
        """A chunk from elsewhere is refused with 416, then a GET says where to go on."""
        start = sent + size if sent + size < len(data) else 0
        end = min(start + size, len(data))
        method = "PATCH"
        if last_in_put and end == len(data):
            method, url = "PUT", with_query(url, ("digest", digest))
        headers = [BODY, ("Content-Range", f"{start}-{end - 1}")]
        reply = self.client.send(method, url, headers, data[start:end])
        try:
            expect(reply, 416)
        except Problem as problem:
            raise Problem(f"a chunk out of order: {problem}") from None
        if reply.header("Location"):
            url = urljoin(url, reply.header("Location"))
        reply = expect(self.client.send("GET", url), 204)
        found = reply.header("Range")
        if not found.startswith("0-") or not found[2:].isdigit():
            raise Problem(f"Range is '{found}' instead of '0-NUMBER'")
        if sent and int(found[2:]) != sent - 1:
            raise Problem(f"Range is '{found}' instead of '0-{sent - 1}'")
        return reply.location()

    def mount(self, repository, source, digest, data):
        pairs = [("from", source)] if source else []
        reply = expect(self.begin(repository, ("mount", digest), *pairs), 201, 202)
        location = reply.location()
        mounted = reply.status == 201
        if not mounted:
            reply = self.put(location, digest, data, False)
        self.check(reply, digest, data)
        if not mounted:
            raise Problem("not mounted: answered 202 and took a PUT", "unsupported")

    def mount_missing(self, repository, source, digest, data):
        try:
            self.mount(repository, source, digest, data)
        except Problem as problem:
            if problem.kind == "unsupported":
                return
            raise
        raise Problem("a blob that is nowhere was mounted")

    def cancel(self, repository):
        url = expect(self.begin(repository), 202).location()
        expect(self.client.send("DELETE", url), 204)

    def head(self, repository, digest, data):
        reply = expect(self.client.send("HEAD", self.url(repository, digest)), 200)
        self.check_length(reply, digest, data)

    def get(self, repository, digest, data):
        reply = expect(self.client.send("GET", self.url(repository, digest)), 200)
        expect_body(reply, data)
        self.check_length(reply, digest, data)

    def check_length(self, reply, digest, data):
        if reply.header("Content-Length") != str(len(data)):
            raise Problem(f"Content-Length is '{reply.header('Content-Length')}' instead of '{len(data)}'")
        expect_digest(reply, digest, self.digest_header)

    def range(self, repository, digest, data, text, start, end):
        """`end` is after the last byte; without a `start` the range can not be satisfied."""
        reply = self.client.send("GET", self.url(repository, digest), [("Range", f"bytes={text}")])
        if start is None:
            if reply.status == 200:
                expect_body(reply, data)
                raise Problem("no ranges: the whole blob was answered", "unsupported")
            expect(reply, 416)
            return
        if reply.status == 200:
            expect_body(reply, data)
            raise Problem("no ranges: the whole blob was answered", "unsupported")
        expect_body(expect(reply, 206), data[start:end])
        if reply.header("Content-Length") != str(end - start):
            raise Problem(f"Content-Length is '{reply.header('Content-Length')}'")
        stated = reply.header("Content-Range")
        if stated not in (f"bytes {start}-{end - 1}/{len(data)}", f"bytes {start}-{end - 1}/*"):
            raise Problem(f"Content-Range is '{stated}'")

    def delete(self, repository, digest):
        reply = expect(self.client.send("DELETE", self.url(repository, digest)), 202, 404, 405)
        if reply.status == 405:
            raise Problem("blobs can not be deleted: 405", "unsupported")
