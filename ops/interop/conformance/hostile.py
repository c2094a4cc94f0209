"""What bad input leads to: the specified codes, and nothing that becomes visible."""
import os
import re
import socket
from urllib.parse import urlsplit

from .checks import Checks, error, same
from .client import INDEX, OCTETS, Problem, digest_of, expect, with_query
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

    def check_names(self):
        for name in ("UPPER", "a/../b", "-a", "a..b", "a//b", "a/_b", "a/b-", "x" * 256, "a%00b", "%2e%2e/b"):
            reply = self.send("POST", f"{name}/blobs/uploads/")
            if reply.status not in (400, 404):
                raise Problem(f"the name {name[:20]!r} was answered {reply.status}")
        body = b'{"schemaVersion":2,"mediaType":"%s","manifests":[]}' % INDEX.encode()
        for tag in (".a", "-a", "a%20b", "a" * 129, "a%2Fb", "sha256:abc"):
            reply = self.manifest(self.name(), tag, body, INDEX)
            if reply.status not in (400, 404):
                raise Problem(f"the tag {tag[:20]!r} was answered {reply.status}")
        expect(self.manifest(self.name(), "_" + "a" * 127, body, INDEX), 201)

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

    def check_truncated_and_stalled_uploads(self):
        name, data = self.name(), os.urandom(500_000)
        sockets = []
        for number in range(3):
            url = urlsplit(expect(self.send("POST", f"{name}/blobs/uploads/"), 202).location())
            link = socket.create_connection((url.hostname, url.port), 20)
            if url.scheme == "https":
                link = self.client.context.wrap_socket(link, server_hostname=url.hostname)
            login = self.client.logins.get(self.client.login_key("PATCH", url.geturl()))
            head = f"PATCH {url.path}?{url.query} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: {OCTETS}\r\n"
            head += f"Authorization: {login}\r\n" if login else ""
            length = "Transfer-Encoding: chunked" if number == 1 else f"Content-Length: {len(data)}"
            body = b"%x\r\n%s" % (len(data), data[:300_000]) if number == 1 else data[:300_000]
            link.sendall(f"{head}{length}\r\n\r\n".encode() + body)
            sockets.append((link, url.geturl()))
        for link, _ in sockets[:2]:
            link.close()  # truncated; the third stays and stalls
        self.check_headers_of_uploads()
        for _, url in sockets[:2]:
            reply = self.client.send("GET", url)
            if reply.status == 204 and not re.fullmatch(r"0-\d+", reply.header("Range")):
                raise Problem(f"Range after a truncated upload is '{reply.header('Range')}'")
            expect(self.client.send("PUT", with_query(url, ("digest", digest_of(data))), body=b""), 400, 404, 416, 409)
        expect(self.send("HEAD", f"{name}/blobs/{digest_of(data)}"), 404)
        sockets[2][0].close()

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
