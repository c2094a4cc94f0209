"""A collection that frees about half of a store while eight pushes run, and what a collection takes in memory."""
import os, random, shutil, statistics, subprocess, tempfile, threading, time
from . import rig

PUSHES = 8
VICTIMS = 12
FILES = 600


def fill(path, seed, files=FILES):
    """Files that share nothing with those of another seed: text that compresses by half, and one large file of noise."""
    dice = random.Random(seed)
    for number in range(files):
        if number % 50 == 0:
            os.makedirs(f"{path}/part{number // 50}")
        with open(f"{path}/part{number // 50}/module{number}.py", "wb") as file:
            file.write(dice.randbytes(dice.randrange(1000, 20_000)).hex().encode())
    with open(f"{path}/weights.bin", "wb") as file:
        file.write(dice.randbytes(24 << 20))


class Pushes:
    """Eight pushes of new content at once, by processes of their own; how long each took."""

    def __init__(self, work, server, name):
        self.started, self.seconds = [], []
        self.sources = [f"{work}/sources/{name}-{number}" for number in range(PUSHES)]
        self.work, self.server, self.name = work, server, name

    def run(self):
        begin = time.monotonic()
        for number, source in enumerate(self.sources):
            settings = rig.environment(f"{self.work}/user{number}", CAS_SERVER=self.server.address)
            command = [rig.CAS, "push", source, "--to", f"bench/kept:{self.name}-{number}", "--large"]
            self.started.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=settings))
        waiting = [threading.Thread(target=self.wait, args=(process, begin)) for process in self.started]
        for thread in waiting:
            thread.start()
        for thread in waiting:
            thread.join()
        return self

    def wait(self, process, begin):
        message = process.stderr.read()
        if process.wait():
            raise SystemExit(f"error: a push failed:\n{message.decode(errors='replace')}")
        self.seconds.append(time.monotonic() - begin)


def used(work):
    """What du says of the store, but for the client's executable that a server keeps for those who have none."""
    return rig.allocated(f"{work}/store") - rig.allocated(f"{work}/store/clients")


def measure(work, rounds=3):
    server = rig.Server(f"{work}/store", f"{work}/server.log")
    settings = rig.environment(work, CAS_SERVER=server.address)
    # What a ref named before stays for 30 days unless a rule says otherwise; here it goes with the ref.
    rig.Run([rig.CAS, "rule", "set", "bench/**", "--history", "0s"], env=settings)
    for index in range(rounds):
        for name in (f"quiet{index}", f"busy{index}"):
            for number in range(PUSHES):
                fill(f"{work}/sources/{name}-{number}", hash((name, number)) & 0xFFFF_FFFF)
    quiet, busy, freed = [], [], []
    for index in range(rounds):
        for number in range(VICTIMS):
            source = f"{work}/victim"
            fill(source, 10**6 + index * 100 + number)
            rig.Run([rig.CAS, "push", source, "--to", f"bench/gone:{number}", "--large"], env=settings)
            shutil.rmtree(source)
        start = used(work)
        quiet += Pushes(work, server, f"quiet{index}").run().seconds
        for number in range(VICTIMS):
            rig.Run([rig.CAS, "rm", f"bench/gone:{number}"], env=settings)
        time.sleep(2)  # Sealed packs are on their way to their place.
        before, begin = used(work), time.monotonic()
        collection = subprocess.Popen([rig.CAS, "gc"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=settings)
        pushes = Pushes(work, server, f"busy{index}").run()
        still = collection.poll() is None
        output = collection.communicate()[0].decode(errors="replace")
        seconds = time.monotonic() - begin
        if collection.returncode:
            raise SystemExit(f"error: cas gc failed:\n{output}")
        busy += pushes.seconds
        # Once more when nobody pushes: packs that were on their way to their place, and what a push could have relied on.
        rig.Run([rig.CAS, "gc"], env=settings)
        after = used(work)
        added = before - start
        freed.append((before + added - after) / before)
        rig.say(f"# round {index + 1}: collection {seconds:.1f} s ({'it outlasted' if still else 'outlasted by'} the pushes, {max(pushes.seconds):.1f} s); "
                f"store {before / 1e6:.0f} MB before, {after / 1e6:.0f} MB after, of which the pushes brought about {added / 1e6:.0f} MB")
        # The next round begins with an empty store.
        for name in (f"quiet{index}", f"busy{index}"):
            for number in range(PUSHES):
                rig.Run([rig.CAS, "rm", f"bench/kept:{name}-{number}"], env=settings)
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
