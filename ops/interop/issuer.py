#!/usr/bin/env python3
"""issuer.py FOLDER: an issuer of identity tokens on loopback, as Kubernetes, GitHub and GitLab are to a server.

Prints its address. Serves /jwks, and GitHub's answer to a job that asks for a token (/actions?audience=A, with the
bearer text in FOLDER/request-token). A signed token for anybody: POST /mint with a JSON object of claims; `iss`, `iat`,
`exp` are set where they are missing. POST /rotate makes a new key; the keys of before stay in the JWKS.
"""
import http.server, json, os, pathlib, secrets, sys, time, urllib.parse

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
request_token = secrets.token_hex(16)
(folder / "request-token").write_text(request_token)
keys = []
github = {"sub": "repo:team/project:ref:refs/heads/main", "repository": "team/project", "repository_owner": "team",
          "ref": "refs/heads/main", "event_name": "push"}


def rotate():
    keys.append((f"key-{len(keys) + 1}", rsa.generate_private_key(public_exponent=65537, key_size=2048)))


def published():
    found = []
    for name, key in keys:
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key()))
        found.append({"kty": "RSA", "alg": "RS256", "use": "sig", "kid": name, "n": public["n"], "e": public["e"]})
    return {"keys": found}


def mint(claims, issuer):
    now = int(time.time())
    name, key = keys[-1]
    return jwt.encode({"iss": issuer, "iat": now, "nbf": now, "exp": now + 600, **claims}, key, algorithm="RS256", headers={"kid": name})


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, value, status=200):
        body = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/.well-known/openid-configuration":
            self.answer({"issuer": address, "jwks_uri": f"{address}/jwks", "id_token_signing_alg_values_supported": ["RS256"]})
        elif url.path == "/jwks":
            self.answer(published())
        elif url.path == "/actions":
            if self.headers.get("Authorization") != f"bearer {request_token}":
                return self.answer({"message": "not yours"}, 401)
            audience = urllib.parse.parse_qs(url.query).get("audience", [""])[0]
            self.answer({"count": 1, "value": mint({"aud": audience, **github}, address)})
        else:
            self.answer({"message": "nothing here"}, 404)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/mint":
            self.answer(mint(json.loads(body), address))
        elif self.path == "/rotate":
            rotate()
            self.answer(published())
        else:
            self.answer({"message": "nothing here"}, 404)

    def log_message(self, *_):
        pass


rotate()
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
address = f"http://127.0.0.1:{server.server_address[1]}"
print(address, flush=True)
server.serve_forever()
