"""A small HTTP client for registries: one connection, exact headers, login as registries ask for it."""
import base64
import hashlib
import http.client
import json
import re
import ssl
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit, urlunsplit

OCTETS = "application/octet-stream"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Problem(Exception):
    """What a registry did wrong; `kind` is `fail`, or `unsupported` where the specification lets it refuse."""

    def __init__(self, text, kind="fail"):
        super().__init__(text)
        self.kind = kind


def digest_of(data, algorithm="sha256"):
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def with_query(url, *pairs):
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True) + list(pairs)
    return urlunsplit(parts._replace(query=urlencode(query)))


class Reply:
    """Status, headers and the whole body of one answer."""

    def __init__(self, status, headers, body, url):
        self.status, self.headers, self.body, self.url = status, headers, body, url

    def header(self, name):
        return self.headers.get(name) or ""

    def all(self, name):
        return self.headers.get_all(name) or []

    def location(self):
        if not self.header("Location"):
            raise Problem("no Location in the answer")
        return urljoin(self.url, self.header("Location"))

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Problem(f"the body is not JSON: {error}") from None


class Client:
    def __init__(self, registry, user=None, password=None, ca_file=None, timeout=60):
        self.registry = registry.rstrip("/")
        self.user, self.password, self.timeout = user, password, timeout
        self.context = ssl.create_default_context(cafile=ca_file)
        self.connections, self.logins, self.requests = {}, {}, 0

    def url(self, path):
        return self.registry + path

    def send(self, method, url, headers=(), body=None, chunked=False):
        """Sends one request, follows redirects and logs in where it is asked to."""
        headers = list(headers)
        key = self.login_key(method, url)
        for _ in range(6):
            login = self.logins.get(key)
            mine = headers + ([("Authorization", login)] if login else [])
            reply = self.exchange(method, url, mine, body, chunked)
            if reply.status == 401 and self.user is not None:
                fresh = self.log_in(reply)
                if fresh == login:
                    return reply
                self.logins[key] = fresh
            elif reply.status in (301, 302, 303, 307, 308) and (method in ("GET", "HEAD") or reply.status > 303):
                target = reply.location()
                if urlsplit(target).netloc != urlsplit(url).netloc:
                    key = self.login_key(method, target)
                url = target
            else:
                return reply
        raise Problem("redirected or asked to log in again and again")

    @staticmethod
    def login_key(method, url):
        parts = urlsplit(url)
        name = re.match(r"/v2/(.+?)/(?:blobs|manifests|tags|referrers)/", parts.path)
        sort = {"GET": "pull", "HEAD": "pull", "POST": "push", "PATCH": "push", "PUT": "push"}.get(method, method)
        return parts.netloc, name.group(1) if name else "", sort

    def exchange(self, method, url, headers, body, chunked):
        self.requests += 1
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        names = {name.lower() for name, _ in headers}
        for fresh in (False, True):
            connection = self.connections.pop((parts.scheme, parts.netloc), None)
            kept = connection is not None and not fresh
            if not kept:
                connection = self.connect(parts)
            try:
                connection.putrequest(method, target, skip_accept_encoding=True)
                if method == "GET" and "range" not in names and "accept-encoding" not in names:
                    connection.putheader("Accept-Encoding", "gzip")  # as Go's clients do by themselves
                for name, value in headers:
                    connection.putheader(name, value)
                if chunked and body:
                    connection.putheader("Transfer-Encoding", "chunked")
                elif body is not None or method in ("POST", "PUT", "PATCH"):
                    connection.putheader("Content-Length", str(len(body or b"")))
                connection.endheaders()
                try:
                    if chunked and body:
                        for at in range(0, len(body), 16384):
                            piece = body[at:at + 16384]
                            connection.send(b"%x\r\n%s\r\n" % (len(piece), piece))
                        connection.send(b"0\r\n\r\n")
                    elif body:
                        connection.send(body)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # answered before all was sent: the answer counts
                answer = connection.getresponse()
                data = answer.read()
            except (http.client.HTTPException, OSError) as error:
                connection.close()
                if kept and isinstance(error, (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError)):
                    continue  # an idle connection that the server had closed
                raise Problem(f"{method} {parts.path}: no proper answer: {error!r}") from None
            if answer.will_close:
                connection.close()
            else:
                self.connections[parts.scheme, parts.netloc] = connection
            return Reply(answer.status, answer.headers, data, url)
        raise Problem(f"{method} {parts.path}: the connection was closed twice")

    def connect(self, parts):
        if parts.scheme == "https":
            return http.client.HTTPSConnection(parts.netloc, timeout=self.timeout, context=self.context)
        return http.client.HTTPConnection(parts.netloc, timeout=self.timeout)

    def log_in(self, reply):
        challenge = reply.header("WWW-Authenticate")
        basic = "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
        if challenge.lower().startswith("basic"):
            return basic
        if not challenge.lower().startswith("bearer"):
            raise Problem(f"401 with the challenge '{challenge}'")
        fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
        pairs = [("service", fields.get("service", ""))]
        pairs += [("scope", fields["scope"])] if fields.get("scope") else []
        url = with_query(urljoin(reply.url, fields.get("realm", "")), *pairs)
        answer = self.exchange("GET", url, [("Authorization", basic), ("Accept", "application/json")], None, False)
        if answer.status != 200:
            raise Problem(f"the token service answers {answer.status}")
        found = answer.json()
        return "Bearer " + (found.get("access_token") or found.get("token") or "")


def expect(reply, *statuses):
    if reply.status not in statuses:
        wanted = " or ".join(map(str, statuses))
        raise Problem(f"status {reply.status} instead of {wanted}: {reply.body[:200]!r}")
    return reply


def expect_header(reply, name, value):
    if value not in reply.all(name):
        raise Problem(f"{name} is {reply.all(name)} instead of '{value}'")


def expect_body(reply, data):
    if reply.header("Content-Encoding"):
        raise Problem(f"the body is encoded: {reply.header('Content-Encoding')}")
    if reply.body != data:
        raise Problem(f"another body: {len(reply.body)} bytes, {len(data)} expected")


def expect_digest(reply, digest, required):
    found = reply.header("Docker-Content-Digest")
    if not found and required:
        raise Problem("no Docker-Content-Digest in the answer")
    if found and found != digest:
        raise Problem(f"Docker-Content-Digest is '{found}' instead of '{digest}'")
