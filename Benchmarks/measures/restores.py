"""Restores of the first and the last of twelve monthly versions of one real project, by cas, restic, borg and casync.

The versions are wheels from PyPI. One directory becomes each of them in turn, as a checkout does: files that did not
change keep their times. Every tool stores each version, and then restores the first and the last by turns, each into
a directory of its own, and none on a disk is removed before the end. What was restored is compared with the wheel.
"""
import glob, os, shutil, statistics, subprocess, sys, tempfile, zipfile
from . import rig

# One major version, released once a month; about as large at its end as at its beginning.
PROJECT = "ansible"
PLACES = ("memory", "disk", "memory, cold cache")
VERSIONS = [f"11.{minor}.0" for minor in range(1, 13)]


def unpack(wheels, version, target):
    """Downloads a version unless it is there, and unpacks it."""
    if not glob.glob(f"{wheels}/{PROJECT}-{version}-*.whl"):
        rig.Run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, f"{PROJECT}=={version}"])
    with zipfile.ZipFile(glob.glob(f"{wheels}/{PROJECT}-{version}-*.whl")[0]) as wheel:
        wheel.extractall(target)
    return target


def weigh(path):
    """Files and bytes of a directory."""
    sizes = [os.path.getsize(os.path.join(base, name)) for base, _, names in os.walk(path) for name in names]
    return len(sizes), sum(sizes)


class Cas:
    name = "cas"

    def __init__(self, work, name="cas"):
        self.name, self.work = name, f"{work}/{name}"
        os.makedirs(self.work)
        self.server = rig.Server(f"{self.work}/store", f"{self.work}/server.log")
        self.environment = rig.environment(self.work, CAS_SERVER=self.server.address)

    def store(self, source, version):
        return rig.Run([rig.CAS, "push", source, "--to", f"bench/{PROJECT}:{version}", "--include", "**", "--large"], env=self.environment)

    def restore(self, version, target):
        return rig.Run([rig.CAS, "fetch", f"bench/{PROJECT}:{version}", target], env=self.environment)

    def size(self):
        # Not `clients/`, the executable that the server keeps for those who have none.
        return sum(rig.allocated(f"{self.work}/store/{name}") for name in ("active", "packs")) + os.path.getsize(f"{self.work}/store/catalog.sqlite")


class Restic:
    name = "restic"

    def __init__(self, work):
        self.repository = f"{work}/restic"
        self.environment = rig.environment(work, RESTIC_PASSWORD="x", RESTIC_REPOSITORY=self.repository)
        rig.Run(["restic", "-q", "init"], env=self.environment)

    def store(self, source, version):
        return rig.Run(["restic", "-q", "backup", "--host", "h", "--tag", version, "--compression", "auto", "."], env=self.environment, cwd=source)

    def restore(self, version, target):
        return rig.Run(["restic", "-q", "restore", "latest", "--host", "h", "--tag", version, "--target", target], env=self.environment)

    def size(self):
        return rig.allocated(self.repository)


class Borg:
    name = "borg"

    def __init__(self, work):
        self.repository = f"{work}/borg"
        self.environment = rig.environment(work, BORG_BASE_DIR=f"{work}/borg-base", BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK="yes")
        rig.Run(["borg", "init", "-e", "none", self.repository], env=self.environment)

    def store(self, source, version):
        return rig.Run(["borg", "create", "--compression", "zstd,3", "--files-cache", "ctime,size,inode", f"{self.repository}::{version}", "."], env=self.environment, cwd=source)

    def restore(self, version, target):
        os.makedirs(target)
        return rig.Run(["borg", "extract", f"{self.repository}::{version}"], env=self.environment, cwd=target)

    def size(self):
        return rig.allocated(self.repository)


class Casync:
    name = "casync"

    def __init__(self, work):
        self.work = f"{work}/casync"
        os.makedirs(self.work)

    def store(self, source, version):
        return rig.Run(["casync", "make", f"--store={self.work}/chunks.castr", f"{self.work}/{version}.caidx", source])

    def restore(self, version, target):
        return rig.Run(["casync", "extract", f"--store={self.work}/chunks.castr", f"{self.work}/{version}.caidx", target])

    def size(self):
        return rig.allocated(self.work)


def compare(expected, target):
    subprocess.run(["diff", "-rq", "--no-dereference", "-x", ".cas", expected, target], check=True)


def rounds(ways, pairs, memory, disk, repeat):
    """Medians of restores by (way, which, where); every way takes its turn in each round."""
    times = {}
    for turn in range(repeat):
        for where in PLACES:
            base, prepare = (disk if where == "disk" else memory), (rig.cold if "cold" in where else lambda: None)
            for way in ways:
                for which, (version, source) in (list(pairs.items()) if turn % 2 else list(pairs.items())[::-1]):
                    place = tempfile.mkdtemp(prefix="restored-", dir=base)
                    target = f"{place}/{PROJECT}"
                    prepare()
                    run = way.restore(version, target)
                    times.setdefault((way.name, which, where), []).append(run.wall)
                    if turn == 0:
                        compare(source, target)
                    if base == memory:
                        shutil.rmtree(place)
    return {key: statistics.median(value) for key, value in times.items()}


def print_ratios(medians, ways, bars, title=None):
    for where in PLACES:
        for way in ways:
            first, last = medians[way.name, "first", where], medians[way.name, "last", where]
            rig.row(f"restore to {where}: {title or way.name}, last / first", last / first, "ratio", bars.get(way.name), f"{first:.3f} s, {last:.3f} s")


def collect(way):
    """Lets the server do what it would do by itself in the background."""
    run = rig.Run([rig.CAS, "gc"], env=way.environment)
    rig.say(f"# {way.name}: cas gc took {run.wall:.2f} s; stored {way.size() / 1e6:.1f} MB")


def store_all(ways, work, memory):
    """Every version into every store; the directory that was stored, and the first and last version to compare with."""
    wheels = os.environ.get("CAS_BENCHMARK_WHEELS") or f"{work}/wheels"
    current, kept = f"{work}/{PROJECT}", {}
    seconds = {way.name: 0.0 for way in ways}
    for version in VERSIONS:
        source = unpack(wheels, version, f"{memory}/{version}")
        # As a checkout does: a file that did not change keeps its time.
        subprocess.run(["rsync", "-rlp", "--checksum", "--delete", f"{source}/", f"{current}/"], check=True)
        for way in ways:
            seconds[way.name] += way.store(current, version).wall
        if version in (VERSIONS[0], VERSIONS[-1]):
            kept[version] = source
        else:
            shutil.rmtree(source)
    rig.say("# storing twelve versions: " + ", ".join(f"{way.name} {seconds[way.name]:.1f} s, {way.size() / 1e6:.1f} MB" for way in ways))
    return current, {"first": (VERSIONS[0], kept[VERSIONS[0]]), "last": (VERSIONS[-1], kept[VERSIONS[-1]])}


def measure(work, repeat):
    rig.require("restic", "borg", "casync", "rsync")
    memory = tempfile.mkdtemp(prefix="cas-keeping.", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
    disk = f"{work}/restored"
    os.makedirs(disk)
    ways = [Cas(work), Restic(work), Borg(work), Casync(work)]
    # The last version alone in a store: by how much slower its restore is beside eleven others is what these cost.
    alone = Cas(work, "cas, last version alone")
    try:
        current, pairs = store_all(ways, work, memory)
        alone.store(current, pairs["last"][0])
        (files, size), (last_files, last_size) = weigh(pairs["first"][1]), weigh(pairs["last"][1])
        rig.say(f"# {PROJECT} {VERSIONS[0]}: {files} files, {size / 1e6:.1f} MB; {VERSIONS[-1]}: {last_files} files, {last_size / 1e6:.1f} MB")
        if "gc" in rig.Run([rig.CAS, "--help"]).output.split():
            before = rounds(ways[:1], pairs, memory, disk, repeat)
            print_ratios(before, ways[:1], {}, "cas before its background work")
            collect(ways[0])
        medians = rounds(ways, pairs, memory, disk, repeat)
        print_ratios(medians, ways, {"cas": 1.2})
        single = rounds([alone], {"last": pairs["last"]}, memory, disk, repeat)
        for where in PLACES:
            together, apart = medians["cas", "last", where], single[alone.name, "last", where]
            rig.row(f"restore to {where}: last of twelve / the same alone", together / apart, "ratio", None, f"{apart:.3f} s, {together:.3f} s")
    finally:
        shutil.rmtree(memory, ignore_errors=True)
        for way in (ways[0], alone):
            way.server.stop()
