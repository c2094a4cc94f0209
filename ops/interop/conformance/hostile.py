"""What bad input leads to: the specified codes, and nothing that becomes visible."""
import http.client
import json
import os
import socket
from urllib.parse import urlsplit

from .checks import Checks, error, same
from .client import INDEX, MANIFEST, OCTETS, Problem, digest_of, expect, with_query
from .sets import DataSet
from .tars import odd_tars


class BadInput(Checks):
    def check_codes(self):
        name, nothing = self.name(), digest_of(b"nothing")
        self.image(name, "one")
        error(self.send("GET", f"{name}/blobs/{nothing}"), "BLOB_UNKNOWN", 404)
        error(self.send("GET", f"{name}/manifests/{nothing}"), "MANIFEST_UNKNOWN", 404)
        error(self.send("GET", f"{self.repository}/never/tags/list"), "NAME_UNKNOWN", 404)
        error(self.send("PATCH", f"{name}/blobs/uploads/0123456789abcdef", body=b"x"), "BLOB_UPLOAD_UNKNOWN", 404)
        error(self.send("GET", f"{name}/blobs/uploads/..."), "BLOB_UPLOAD_UNKNOWN", 404)
        error(self.manifest(name, "two", b"{"), "MANIFEST_INVALID", 400)
        error(self.manifest(name, "two", b""), "MANIFEST_INVALID", 400)
        error(self.manifest(name, "two", b'{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[]}',
                            "application/vnd.docker.distribution.manifest.v1+prettyjws"), "MANIFEST_INVALID", 400)
        error(self.manifest(name, nothing, b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % INDEX.encode(), INDEX),
              "DIGEST_INVALID", 400)
        error(self.manifest(name, "two", b" " * (4 * 1024 * 1024 + 100_000)), "MANIFEST_INVALID", 413)
        expect(self.send("POST", f"{name}/manifests/one", body=b"x"), 404, 405)

    def check_names_outside_the_grammar(self):
        body = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % INDEX.encode()
        for name in ("UPPER", "a/../b", "-a", "a..b", "a.", "a//b", "a/_b", "a/b-", "a___b", "x" * 256, "a/" * 130 + "a", "a%00b",
                     "%2e%2e/b", "a%20b", "a:b", "a@b", "%C3%A4"):
            try:
                for method, path in (("POST", "blobs/uploads/"), ("GET", "tags/list"), ("GET", "manifests/one"),
                                     ("HEAD", f"blobs/{digest_of(b'x')}"), ("DELETE", "manifests/one"),
                                     ("PUT", f"blobs/uploads/0123456789abcdef?digest={digest_of(b'x')}"),
                                     ("GET", f"referrers/{digest_of(b'x')}")):
                    reply = self.send(method, f"{name}/{path}")
                    expect(reply, 400) if method == "HEAD" else error(reply, "NAME_INVALID", 400)
                error(self.manifest(name, "one", body, INDEX), "NAME_INVALID", 400)
            except Problem as problem:
                raise Problem(f"the name {name[:20]!r}: {problem}") from None
        error(self.send("GET", "%ff/tags/list"), "NAME_INVALID", 400)
        name = self.name()
        for tag, code in ((".a", "TAG_INVALID"), ("-a", "TAG_INVALID"), ("a%20b", "TAG_INVALID"), ("a" * 129, "TAG_INVALID"),
                          ("%C3%A4", "TAG_INVALID"), ("sha256:abc", "DIGEST_INVALID"), ("md5:" + "0" * 32, "DIGEST_INVALID")):
            error(self.manifest(name, tag, body, INDEX), code, 400)
            error(self.send("GET", f"{name}/manifests/{tag}"), "DIGEST_INVALID" if ":" in tag else "MANIFEST_UNKNOWN", 400, 404)
        expect(self.manifest(name, "a%2Fb", body, INDEX), 404)  # a path that is none
        error(self.manifest(name, digest_of(body), body, INDEX, ("tag", ".a")), "TAG_INVALID", 400)
        error(self.send("GET", f"{name}/tags/list"), "NAME_UNKNOWN", 404)
        expect(self.manifest(name, "_" + "a" * 127, body, INDEX), 201)

    def check_absent_blobs(self):
        name, data = self.name(), DataSet("absent")
        digest = data.image()
        first = next(iter(data.blobs.values()))
        self.blob(name, first)
        error(self.manifest(name, "one", data.manifests[digest]), "MANIFEST_BLOB_UNKNOWN", 400, 404)
        for reference in ("one", digest):
            expect(self.send("HEAD", f"{name}/manifests/{reference}"), 404)
        # What another name has does not count either.
        for blob in data.blobs.values():
            self.blob(name + "/other", blob)
        expect(self.manifest(name, "one", data.manifests[digest]), 400, 404)

    def check_wrong_digests(self):
        name, data = self.name(), os.urandom(2000)
        other = digest_of(b"other")
        url = expect(self.send("POST", f"{name}/blobs/uploads/"), 202).location()
        url = expect(self.client.send("PATCH", url, [("Content-Type", OCTETS)], data, chunked=True), 202).location()
        error(self.client.send("PUT", with_query(url, ("digest", other)), body=b""), "DIGEST_INVALID", 400)
        for digest in (other, digest_of(data)):
            expect(self.send("HEAD", f"{name}/blobs/{digest}"), 404)
        error(self.client.send("PUT", with_query(url, ("digest", "sha256:xyz")), body=b""), "DIGEST_INVALID", 400)

    def open(self, method, url, *headers):
        """A request whose head is sent and whose body is to come; the connection."""
        url = urlsplit(url)
        link = socket.create_connection((url.hostname, url.port), 20)
        if url.scheme == "https":
            link = self.client.context.wrap_socket(link, server_hostname=url.hostname)
        login = self.client.logins.get(self.client.login_key(method, url.geturl()))
        lines = [f"{method} {url.path}?{url.query} HTTP/1.1", f"Host: {url.netloc}", f"Content-Type: {OCTETS}", *headers]
        lines += [f"Authorization: {login}"] if login else []
        link.sendall("\r\n".join([*lines, "", ""]).encode())
        return link

    @staticmethod
    def answer(link, method, seconds=20):
        """What comes on such a connection: the status, and the codes of the errors."""
        link.settimeout(seconds)
        reply = http.client.HTTPResponse(link, method=method)
        try:
            reply.begin()
            text = reply.read()
        except (http.client.HTTPException, OSError) as problem:
            raise Problem(f"no answer: {problem!r}") from None
        return reply.status, *(entry["code"] for entry in json.loads(text)["errors"])

    def check_truncated_and_stalled_uploads(self):
        name, data = self.name(), os.urandom(500_000)
        sent, sockets = 300_000, []
        for number in range(3):
            url = expect(self.send("POST", f"{name}/blobs/uploads/"), 202).location()
            link = self.open("PATCH", url, "Transfer-Encoding: chunked" if number == 1 else f"Content-Length: {len(data)}")
            link.sendall((b"%x\r\n" % len(data) if number == 1 else b"") + data[:sent])
            sockets.append((link, url))
        for link, _ in sockets[:2]:
            link.close()  # truncated; the third stays and stalls
        self.check_headers_of_uploads()
        # The server ends the wait, and says so; what came until then can be gone on with.
        same("answer to a stalled body", (408, "BLOB_UPLOAD_INVALID"), self.answer(sockets[2][0], "PATCH", 120))
        sockets[2][0].close()
        digest = digest_of(data)
        for number, (_, url) in enumerate(sockets):
            reply = expect(self.client.send("GET", url), 204)
            same(f"Range of upload {number}", f"0-{sent - 1}", reply.header("Range"))
            expect(self.send("HEAD", f"{name}/blobs/{digest}"), 404)
            if number < 2:
                error(self.client.send("PUT", with_query(url, ("digest", digest)), body=b""), "DIGEST_INVALID", 400)
        expect(self.send("HEAD", f"{name}/blobs/{digest_of(data[:sent])}"), 404)
        error(self.send("GET", f"{name}/tags/list"), "NAME_UNKNOWN", 404)
        headers = [("Content-Type", OCTETS), ("Content-Range", f"{sent}-{len(data) - 1}")]
        url = expect(self.client.send("PATCH", url, headers, data[sent:]), 202).location()
        expect(self.client.send("PUT", with_query(url, ("digest", digest)), body=b""), 201)
        same("content", data, expect(self.send("GET", f"{name}/blobs/{digest}"), 200).body)

    def check_oversized_bodies(self):
        """Too large is refused before it comes, and leaves nothing."""
        name, digest = self.name(), digest_of(b"too large")
        begin = self.client.url(f"/v2/{name}/blobs/uploads/")
        url = expect(self.send("POST", f"{name}/blobs/uploads/"), 202).location()
        tag = self.client.url(f"/v2/{name}/manifests/one")
        error(self.manifest(name, "one", b""), "MANIFEST_INVALID", 400)  # logs in, where one has to
        whole = ("digest", digest)
        for method, target, size, code in (("PATCH", url, 2 << 40, "SIZE_INVALID"), ("PATCH", url, 1 << 62, "SIZE_INVALID"),
                                           ("PUT", with_query(url, whole), 2 << 40, "SIZE_INVALID"),
                                           ("POST", with_query(begin, whole), 2 << 40, "SIZE_INVALID"),
                                           ("PUT", tag, (4 << 20) + 1, "MANIFEST_INVALID")):
            link = self.open(method, target, f"Content-Length: {size}")
            same(f"{method} of {size} bytes", (413, code), self.answer(link, method))
            link.close()
        # Of unsaid length: refused where the limit is, or where the range ends.
        error(self.client.send("PUT", tag, [("Content-Type", MANIFEST)], b" " * ((4 << 20) + 1), chunked=True),
              "MANIFEST_INVALID", 413)
        for size in (500, 100_000):
            headers = [("Content-Type", OCTETS), ("Content-Range", "0-999")]
            error(self.client.send("PATCH", url, headers, b"x" * size, chunked=True), "SIZE_INVALID", 400)
        same("Range", "0-0", expect(self.client.send("GET", url), 204).header("Range"))
        expect(self.send("HEAD", f"{name}/blobs/{digest}"), 404)
        error(self.send("GET", f"{name}/tags/list"), "NAME_UNKNOWN", 404)
        expect(self.client.send("DELETE", url), 204)

    def check_odd_tars(self):
        """Whatever looks like a tar and is none comes back as it went in."""
        name = self.name()
        for what, data in odd_tars():
            try:
                path = f"{name}/blobs/{self.blob(name, data)}"
                same("content", digest_of(data), digest_of(expect(self.send("GET", path), 200).body))
                middle = len(data) // 2
                if data:
                    reply = expect(self.send("GET", path, [("Range", f"bytes={middle}-{middle + 600}")]), 206)
                    same("a range", data[middle:middle + 601], reply.body)
            except Problem as problem:
                raise Problem(f"{what}: {problem}") from None

    def check_odd_tars_in_chunks(self):
        name = self.name()
        for what, data in odd_tars():
            url = expect(self.send("POST", f"{name}/blobs/uploads/"), 202).location()
            for at in range(0, len(data), 70_001):
                piece = data[at:at + 70_001]
                headers = [("Content-Type", OCTETS), ("Content-Range", f"{at}-{at + len(piece) - 1}")]
                reply = self.client.send("PATCH", url, headers, piece)
                if reply.status != 202:
                    raise Problem(f"{what} at {at}: {reply.status} {reply.body[:200]!r}")
                url = reply.location()
            reply = self.client.send("PUT", with_query(url, ("digest", digest_of(data))), body=b"")
            if reply.status != 201:
                raise Problem(f"{what}: {reply.status} {reply.body[:200]!r}")
            body = expect(self.send("GET", f"{name}/blobs/{digest_of(data)}"), 200).body
            same(f"content of {what}", digest_of(data), digest_of(body))
