#!/usr/bin/env python3
"""oci_conformance.py [options] REGISTRY: the acceptance table of the OCI distribution specification, one line for each case.

REGISTRY is an address such as http://127.0.0.1:5000. Cases and their order are those of the conformance suite of
opencontainers/distribution-spec at 967efdc (2026-07-16). What is run is compared with two lists, so that none can get lost: the
cases that are checked here (cases.txt) and those that the suite itself had in a run (suite.txt); one of the suite's that is
not checked has to stand in INAPPLICABLE. 0 is returned if nothing failed, nothing was skipped and nothing lacks.
"""
import argparse
import collections
import os
import sys

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from conformance import client, table

LIST, SUITE = (os.path.join(os.path.dirname(os.path.abspath(__file__)), "conformance", name) for name in ("cases.txt", "suite.txt"))
# Cases of the suite that are not checked, and why.
INAPPLICABLE = {
    "tag-param-sha512/push/manifest-by-tag":
        "the suite does this where tag parameters are not taken; where they are, the tag is there already, by its SHA-512",
}
# Cases of the suite that only the newer profile has, with all below them.
NEWER = ("sha256 blobs/post cancel/blob-post-cancel", "sha512 blobs/post cancel/blob-post-cancel", "tag-param-sha256", "tag-param-sha512")
WORST = {"ok": 0, "disabled": 1, "skip": 2, "FAIL": 3}

parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("registry", nargs="?")
parser.add_argument("--profile", choices=("stable", "dev"), default="dev", help="version 1.1, or what its main branch adds")
parser.add_argument("--as-suite", action="store_true",
                    help="stop at the first way of pushing that works, as the suite does, and do not compare with the list")
parser.add_argument("--repositories", default="conformance/repo1,conformance/repo2", help="two names, with a comma")
parser.add_argument("--user", default=None, help="a name; the password stands in CONFORMANCE_PASSWORD")
parser.add_argument("--ca-file", default=None)
parser.add_argument("--write-list", action="store_true", help="write the list of cases anew; nothing is sent")
parser.add_argument("--quiet", action="store_true", help="only what is not ok, and the counts")
arguments = parser.parse_args()
if not arguments.registry and not arguments.write_list:
    parser.error("which registry?")


def read_list():
    """name -> how often the case is checked, in the profile; names that the profile lacks are left out."""
    wanted = {}
    for line in open(LIST):
        if line.startswith("#") or not line.strip():
            continue
        stable, dev, name = line.rstrip("\n").split("\t")
        count = int(stable if arguments.profile == "stable" else dev)
        if count:
            wanted[name] = count
    return wanted


def write_list():
    counts = {}
    for profile in ("stable", "dev"):
        run = table.Table(client.Client(""), profile, dry=True)
        run.run()
        counts[profile] = count(run)
    with open(LIST, "w") as file:
        print("# Checks in the profile stable, in the profile dev, name of the case; oci_conformance.py --write-list", file=file)
        for name in counts["dev"]:
            print(counts["stable"].get(name, 0), counts["dev"][name], name, sep="\t", file=file)


def count(run):
    """name -> how often it was checked; a group counts as one."""
    seen = collections.Counter(name for name, _, _ in run.outcomes)
    return {name: seen[name] or 1 for name in run.groups}


def main():
    if arguments.write_list:
        return write_list()
    registry = client.Client(arguments.registry, arguments.user, os.environ.get("CONFORMANCE_PASSWORD"), arguments.ca_file)
    first, second = arguments.repositories.split(",")
    run = table.Table(registry, arguments.profile, not arguments.as_suite, first, second)
    run.run()
    outcomes, reasons, seen = {}, collections.defaultdict(list), count(run)
    for name, outcome, why in run.outcomes:
        above = name
        while above:  # a group is as bad as the worst that it holds
            if WORST[outcome] >= WORST[outcomes.get(above, "ok")]:
                outcomes[above] = outcome
            above = above.rpartition("/")[0]
        if why and why not in reasons[name]:
            reasons[name].append(why)
    outcomes[table.ROOT] = max(outcomes.values(), key=WORST.get)
    for name in seen:
        times = f" (x{seen[name]})" if seen[name] > 1 else ""
        if not arguments.quiet or outcomes[name] not in ("ok", "disabled"):
            why = f": {'; '.join(reasons[name])[:500]}" if reasons[name] else ""
            print(f"{'skip' if outcomes[name] == 'disabled' else outcomes[name]} {name}{times}{why}")
    lost = [] if arguments.as_suite else compare(seen) + suite(seen, outcomes)
    counts = collections.Counter(outcome for _, outcome, _ in run.outcomes)
    print(f"{arguments.profile}: {len(run.outcomes)} checks of {len(seen)} cases: {counts['ok']} ok, {counts['FAIL']} failed, "
          f"{counts['skip']} skipped, {counts['disabled']} not in the profile; {registry.requests} requests")
    return 1 if counts["FAIL"] or counts["skip"] or lost else 0


def compare(names):
    lost, wanted = [], read_list()
    for name in sorted(set(wanted) | set(names)):
        if wanted.get(name, 0) != names.get(name, 0):
            lost.append(name)
            print(f"FAIL {name}: checked {names.get(name, 0)} times, {wanted.get(name, 0)} are expected")
    return lost


def suite(seen, outcomes):
    """Compares with what the suite had in its run; says what became of its cases, and returns those without a check."""
    names = [line.rstrip("\n") for line in open(SUITE) if line.strip() and not line.startswith("#")]
    lost, became = [], collections.Counter()
    for name in names:
        newer = any(name == case or name.startswith(case + "/") for case in NEWER)
        if name in INAPPLICABLE:
            became["do not apply"] += 1
            print(f"n/a  {name}: {INAPPLICABLE[name]}")
        elif arguments.profile == "stable" and newer:
            became["belong to the newer profile"] += 1
        elif name in seen:
            became["failed or skipped" if outcomes.get(name, "ok") in ("FAIL", "skip") else "went well"] += 1
        else:
            lost.append(name)
            print(f"FAIL {name}: the suite has this case, and nothing here checks it")
    for name in set(INAPPLICABLE) & set(seen):
        lost.append(name)
        print(f"FAIL {name}: it is checked, and stands among those that do not apply")
    said = ", ".join(f"{count} {what}" for what, count in became.items())
    print(f"the suite's own list: {len(names)} cases, {said}, {len(lost)} without a check")
    return lost


sys.exit(main())
