#!/usr/bin/env python3
"""identity_tokens.py FOLDER KIND [CLAIMS]: tokens as PyJWT signs them, with keys that stay in FOLDER.

KIND `keys` makes the keys of the names in CLAIMS (a JSON list; `ec-...` for a curve, RSA for others) and writes them
and the discovery document to FOLDER/www, to be served under the address in FOLDER/issuer. Any other KIND is
`KEY[:ALGORITHM]`; it prints a token of that key with the claims of a pod in the namespace `ml`, changed by the members
of CLAIMS (null takes one away). A `time` among them moves iat, nbf and exp by so many seconds.
"""
import json, pathlib, sys, time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

folder, kind = pathlib.Path(sys.argv[1]), sys.argv[2]
change = json.loads(sys.argv[3]) if len(sys.argv) > 3 else {}
issuer = (folder / "issuer").read_text().strip()


def private(name):
    path = folder / f"{name}.pem"
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1()) if name.startswith("ec-") else rsa.generate_private_key(65537, 2048)
        path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                           serialization.NoEncryption()))
    return serialization.load_pem_private_key(path.read_bytes(), None)


def public(name):
    algorithm = jwt.algorithms.ECAlgorithm if name.startswith("ec-") else jwt.algorithms.RSAAlgorithm
    jwk = json.loads(algorithm.to_jwk(private(name).public_key()))
    return {**jwk, "kid": name, "use": "sig"}


def put(path, value):
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(json.dumps(value))
    new.rename(path)


if kind == "keys":
    put(folder / "www/jwks.json", {"keys": [public(name) for name in change]})
    put(folder / "www/.well-known/openid-configuration", {"issuer": issuer, "jwks_uri": f"{issuer}/jwks.json"})
    sys.exit()

name, _, algorithm = kind.partition(":")
now = int(time.time()) + change.pop("time", 0)
claims = {
    "iss": issuer, "aud": ["cas"], "iat": now, "nbf": now, "exp": now + 600,
    "sub": "system:serviceaccount:ml:trainer",
    "kubernetes.io": {"namespace": "ml", "pod": {"name": "train-0", "uid": "b1"},
                      "serviceaccount": {"name": "trainer", "uid": "b2"}},
}
claims = {name: value for name, value in {**claims, **change}.items() if value is not None}
algorithm = algorithm or ("ES256" if name.startswith("ec-") else "RS256")
if algorithm == "none":
    key = None
elif algorithm.startswith("HS"):
    # The classic confusion: what everybody knows of the public key as the secret. PyJWT itself refuses PEM and DER.
    key = public(name)["n"].encode()
else:
    key = private(name)
print(jwt.encode(claims, key, algorithm=algorithm, headers={"kid": name}))
