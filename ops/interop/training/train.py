"""Fits a line to points. Each rank has a share of them; gradients are summed over the master's port.

    train.py            prints this program's digest, trains, prints what it found
    train.py --digest   prints the digest only
"""
import json
import pathlib
import sys

from learn import code

here = pathlib.Path(__file__).resolve().parent
digest = code.digest(here)
if sys.argv[1:] == ["--digest"]:
    print(digest)
    sys.exit()

from learn import data, exchange, model  # noqa: E402  (the digest needs no numpy)

settings = json.loads((here / "config.json").read_text())
with exchange.Ranks() as ranks:
    print(f"{ranks}: code {digest}", flush=True)
    points = data.load(here / "data" / "points.csv")[ranks.rank :: ranks.count]
    weights, before, after = model.fit(points, ranks, settings["steps"], settings["rate"])
    print(f"{ranks}: {settings['name']}: y = {weights[0]:.3f} x + {weights[1]:.3f}, loss {before:.3f} to {after:.3f}", flush=True)
