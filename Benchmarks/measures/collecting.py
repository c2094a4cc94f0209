"""A collection that frees about half of a store while eight pushes run, and what a collection takes in memory."""
import os, random, shutil, statistics, subprocess, tempfile, threading, time
from . import rig

PUSHES = 8
TURNS = 3
VICTIMS = 44
FILES = 300


def fill(path, seed, files=FILES):
    """Files that share nothing with those of another seed: text that compresses by half, and one large file of noise."""
    dice = random.Random(seed)
    for number in range(files):
        if number % 50 == 0:
            os.makedirs(f"{path}/part{number // 50}")
        with open(f"{path}/part{number // 50}/module{number}.py", "wb") as file:
            file.write(dice.randbytes(dice.randrange(1000, 20_000)).hex().encode())
    with open(f"{path}/weights.bin", "wb") as file:
        file.write(dice.randbytes(8 << 20))


class Pushes:
    """Eight who push at once, each some times one after the other and always new content; how long each push took."""

    def __init__(self, work, server, name):
        self.seconds, self.failures = [], []
        self.work, self.server, self.name = work, server, name

    def run(self):
        waiting = [threading.Thread(target=self.push, args=(number,)) for number in range(PUSHES)]
        for thread in waiting:
            thread.start()
        for thread in waiting:
            thread.join()
        if self.failures:
            raise SystemExit(f"error: a push failed:\n{self.failures[0]}")
        return self

    def push(self, number):
        settings = rig.environment(f"{self.work}/user{number}", CAS_SERVER=self.server.address)
        for turn in range(TURNS):
            name = f"{self.name}-{number}-{turn}"
            begin = time.monotonic()
            process = subprocess.run([rig.CAS, "push", f"{self.work}/sources/{name}", "--to", f"bench/kept:{name}", "--large"],
                                     stdin=subprocess.DEVNULL, capture_output=True, text=True, env=settings)
            self.seconds.append(time.monotonic() - begin)
            if process.returncode:
                self.failures.append(process.stderr)


def used(work):
    """What du says of the store, but for the client's executable that a server keeps for those who have none."""
    return rig.allocated(f"{work}/store") - rig.allocated(f"{work}/store/clients")


def measure(work, rounds=3):
    server = rig.Server(f"{work}/store", f"{work}/server.log")
    settings = rig.environment(work, CAS_SERVER=server.address)
    # What a ref named before stays for 30 days unless a rule says otherwise; here it goes with the ref.
    rig.Run([rig.CAS, "rule", "set", "bench/**", "--history", "0s"], env=settings)
    names = {index: [f"{kind}{index}-{number}-{turn}" for kind in ("quiet", "busy") for number in range(PUSHES) for turn in range(TURNS)] for index in range(rounds)}
    for index, sources in names.items():
        for place, name in enumerate(sources):
            fill(f"{work}/sources/{name}", index * 1000 + place)
    quiet, busy, freed = [], [], []
    for index in range(rounds):
        for number in range(VICTIMS):
            source = f"{work}/victim{index}-{number}"
            fill(source, 10**6 + index * 1000 + number)
            rig.Run([rig.CAS, "push", source, "--to", f"bench/gone:{number}", "--large"], settled=False, env=settings)
        start = used(work)
        subprocess.run(["sync"], check=True)
        quiet += Pushes(work, server, f"quiet{index}").run().seconds
        for number in range(VICTIMS):
            rig.Run([rig.CAS, "rm", f"bench/gone:{number}"], settled=False, env=settings)
        subprocess.run(["sync"], check=True)
        before, begin = used(work), time.monotonic()
        pushes = Pushes(work, server, f"busy{index}")
        pushing = threading.Thread(target=pushes.run)
        pushing.start()
        # One collection after the other as long as somebody pushes: what a push may rely on is left to a later one.
        collections = 0
        while pushing.is_alive():
            rig.Run([rig.CAS, "gc"], settled=False, env=settings)
            collections += 1
        pushing.join()
        seconds, during = time.monotonic() - begin, used(work)
        if pushes.failures:
            raise SystemExit(f"error: a push failed:\n{pushes.failures[0]}")
        busy += pushes.seconds
        added = before - start
        freed.append((before + added - during) / before)
        rig.Run([rig.CAS, "gc"], env=settings)
        rig.say(f"# round {index + 1}: {collections} collections in the {seconds:.1f} s of the pushes; store {before / 1e6:.0f} MB before, {during / 1e6:.0f} MB at their end, "
                f"of which they brought about {added / 1e6:.0f} MB; {used(work) / 1e6:.0f} MB after one collection more")
        # The next round begins with an empty store.
        for name in names[index]:
            rig.Run([rig.CAS, "rm", f"bench/kept:{name}"], settled=False, env=settings)
        rig.Run([rig.CAS, "gc"], env=settings)
    rig.row("8 pushes without collection: median, slowest", statistics.median(quiet), "s", None, f"slowest {max(quiet):.2f} s")
    rig.row("8 pushes during collection: median, slowest", statistics.median(busy), "s", None, f"slowest {max(busy):.2f} s")
    rig.row("slowed by collection, median of all pushes", statistics.median(busy) / statistics.median(quiet), "ratio", 1.33)
    rig.row("slowed by collection, the slowest push", max(busy) / max(quiet), "ratio", 1.33)
    rig.row("left of the store after a collection, most", 1 - min(freed), "of 1", 0.6, "as du sees it, without what was pushed meanwhile; freed: " + ", ".join(f"{part:.0%}" for part in freed))
    rig.row("the server's resident memory at its peak", server.memory("VmHWM") / 2**20, "MiB")
    server.stop()


def memory(work, files):
    """What a collection remembers: the growth of the server's own memory while it marks, by blob."""
    base = tempfile.mkdtemp(prefix="cas-keeping.", dir="/dev/shm" if os.path.isdir("/dev/shm") else work)
    try:
        for number in range(files):
            if number % 1000 == 0:
                folder = f"{base}/d{number // 100_000}/f{number // 1000}"
                os.makedirs(folder)
            with open(f"{folder}/m{number}", "w") as file:
                file.write(f"value = {number}\n")
        server = rig.Server(f"{work}/store", f"{work}/server.log")
        settings = rig.environment(work, CAS_SERVER=server.address)
        rig.Run([rig.CAS, "push", base, "--to", "bench/many", "--large", "--include", "**"], env=settings)
    finally:
        shutil.rmtree(base, ignore_errors=True)
    server.stop()
    size = os.path.getsize(f"{work}/store/catalog.sqlite")
    rig.row(f"catalog of a pushed tree of {files:,} files, bytes per file", size / files, "bytes", None, f"{size / 1e6:.0f} MB, all tables")
    server = rig.Server(f"{work}/store", f"{work}/server.log")
    rig.Run([rig.CAS, "usage"], env=rig.environment(work, CAS_SERVER=server.address))
    rest = most = server.memory("RssAnon")
    collection = subprocess.Popen([rig.CAS, "gc"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=rig.environment(work, CAS_SERVER=server.address))
    begin = time.monotonic()
    while collection.poll() is None:
        most = max(most, server.memory("RssAnon"))
        time.sleep(0.005)
    seconds = time.monotonic() - begin
    if collection.returncode:
        raise SystemExit(f"error: cas gc failed:\n{collection.stdout.read().decode(errors='replace')}")
    rig.row("a collection of it that frees nothing", seconds, "s", None, f"{files / seconds:,.0f} files in a second")
    rig.row("the server's memory of its own grew by, per file", (most - rest) / files, "bytes", None, f"from {rest / 2**20:.0f} to {most / 2**20:.0f} MiB")
    server.stop()
