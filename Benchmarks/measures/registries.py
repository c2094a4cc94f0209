"""cas and docker-registry side by side: images moved by skopeo, versions of a layer, many pulls at once, HEAD."""
import collections, http.client, json, os, random, shutil, signal, socket, statistics, subprocess, sys, time

from . import rig

LAYOUT = f"{rig.ROOT}/ops/interop/oci_layout.py"
Places = collections.namedtuple("Places", "disk memory")


class Peer:
    """docker-registry with a directory of its own; like rig.Server as far as it is used here."""

    def __init__(self, store, log):
        os.makedirs(store, exist_ok=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        with open(f"{log}.yml", "w") as file:
            file.write(f"version: 0.1\nlog: {{level: error}}\nstorage:\n  filesystem: {{rootdirectory: {store}}}\n  delete: {{enabled: true}}\n"
                       f"http: {{addr: \"127.0.0.1:{self.port}\"}}\n")
        clean = {key: value for key, value in os.environ.items() if not key.startswith("REGISTRY_")}
        self.process = subprocess.Popen(["docker-registry", "serve", f"{log}.yml"], stdout=open(log, "w"), stderr=subprocess.STDOUT, env=clean)
        rig.servers.append(self)
        while True:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
                connection.request("GET", "/v2/")
                connection.getresponse().read()
                return
            except OSError:
                if self.process.poll() is not None:
                    sys.exit(f"error: docker-registry did not start:\n{open(log).read()[-2000:]}")
                time.sleep(0.02)

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait()


KINDS = {"cas": rig.Server, "docker-registry": Peer}


def both(places, name):
    """A fresh store and a fresh registry: kind -> (server, directory)."""
    found = {}
    for kind, make in KINDS.items():
        store = f"{places.disk}/{name}-{kind}"
        found[kind] = make(store, f"{places.disk}/{name}-{kind}.log"), store
    return found


def stored(store):
    """Bytes of content: of a store the packs, of docker-registry everything."""
    packs = [f"{store}/{folder}" for folder in ("packs", "active") if os.path.isdir(f"{store}/{folder}")]
    return sum(map(rig.allocated, packs or [store]))


def catalog(store):
    """Bytes of a store's catalog and its log: an index that can be made anew from the packs."""
    names = [f"{store}/{name}" for name in os.listdir(store) if name.startswith("catalog.sqlite")]
    return sum(os.stat(name).st_blocks * 512 for name in names)


def turns(kinds, number):
    """Each goes first every second time."""
    kinds = list(kinds)
    return kinds if number % 2 == 0 else kinds[::-1]


def words(dice, size):
    """Text that a compressor makes a third of."""
    known = ["".join(dice.choices("abcdefghijklmnopqrstuvwxyz_", k=dice.randrange(3, 12))) for _ in range(3000)]
    lines, length = [], 0
    while length < size:
        lines.append(" ".join(dice.choices(known, k=dice.randrange(2, 10))))
        length += len(lines[-1]) + 1
    return ("\n".join(lines) + "\n").encode()[:size]


def tree(path, size, dice):
    """Four directories as of an ML image: libraries of some MB, half of their bytes text, and 1,000 small files."""
    text = words(dice, 4_000_000)
    for layer in range(4):
        os.makedirs(f"{path}/{layer}")
        for number in range(size // 16):
            start = dice.randrange(1_000_000)
            with open(f"{path}/{layer}/library{number}.so", "wb") as file:
                file.write(dice.randbytes(2_000_000) + bytes(text[start:start + 2_000_000]))
        for number in range(250):
            start = dice.randrange(3_900_000)
            with open(f"{path}/{layer}/module{number}.py", "wb") as file:
                file.write(f"# {number}\n".encode() + text[start:start + dice.randrange(100, 20_000)])
    return [f"{path}/{layer}" for layer in range(4)]


def layout(*arguments):
    return subprocess.run([LAYOUT, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def push(places, server, tag, name="bench/image"):
    return rig.Run(["skopeo", "copy", "-q", "--preserve-digests", "--dest-tls-verify=false", f"oci:{places.memory}/images:{tag}",
                    f"docker://127.0.0.1:{server.port}/{name}:{tag}"])


def pull(server, tag, target, name="bench/image", **more):
    return rig.Run(["skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false",
                    f"docker://127.0.0.1:{server.port}/{name}:{tag}", f"dir:{target}"], **more)


def compare(what, figures, unit, bar=None):
    """Medians of both and their ratio."""
    medians = {kind: statistics.median(values) for kind, values in figures.items()}
    for kind, median in medians.items():
        rig.row(f"{what}: {kind}", median, unit, note=f"{min(figures[kind]):.3g} to {max(figures[kind]):.3g}")
    rig.row(f"{what}: ratio", medians["cas"] / medians["docker-registry"], "", bar)


def move(places, size, rounds):
    folders = tree(f"{places.memory}/tree", size, random.Random(1))
    layout("--name", "plain", f"{places.memory}/images", *folders)
    layout("--gzip", "--name", "gzip", f"{places.memory}/images", *folders)
    for tag in ("plain", "gzip"):
        pushes, pulls, sizes, peak = (collections.defaultdict(list) for _ in range(4))
        for number in range(rounds):
            servers = both(places, f"{tag}{number}")
            for kind in turns(servers, number):
                server, store = servers[kind]
                pushes[kind].append(push(places, server, tag).wall)
            for kind in turns(servers, number + 1):
                server, store = servers[kind]
                target = f"{places.memory}/pulled"
                pulls[kind].append(pull(server, tag, target).wall)
                shutil.rmtree(target)
                peak[kind].append(rig.Server.memory(server, "VmHWM") / 1048576)
                server.stop()
                sizes[kind].append(stored(store) / 1e6)
        compare(f"push of {size} MB, {tag}", pushes, "s", 1.0)
        compare(f"pull of {size} MB, {tag}", pulls, "s", 1.0)
        compare(f"stored, {tag}", sizes, "MB")
        compare(f"server's peak memory, {tag}", peak, "MiB")


def versions(places):
    """2,000 files as code has them; in the second version a line was added to 20 of them."""
    dice, text = random.Random(2), words(random.Random(3), 4_000_000)
    for number in range(2000):
        folder = f"{places.memory}/code/package{number // 100}"
        os.makedirs(folder, exist_ok=True)
        start = dice.randrange(3_900_000)
        with open(f"{folder}/module{number}.py", "wb") as file:
            file.write(text[start:start + int(dice.lognormvariate(8.4, 0.9)) + 20])
    tag = f"{places.memory}/code"
    layout("--name", "first", f"{places.memory}/images", tag)
    for number in dice.sample(range(2000), 20):
        with open(f"{places.memory}/code/package{number // 100}/module{number}.py", "ab") as file:
            file.write(b"# one more line\n")
    layout("--name", "second", f"{places.memory}/images", tag)
    for kind, make in KINDS.items():
        store, sizes, catalogs = f"{places.disk}/versions-{kind}", [], []
        for version in (None, "first", "second"):
            server = make(store, f"{store}.log")
            if version:
                push(places, server, version)
            server.stop()
            sizes.append(stored(store))
            catalogs.append(catalog(store))
        first, second = sizes[1] - sizes[0], sizes[2] - sizes[1]
        rig.row(f"first version of a layer of 2,000 files: {kind}", first / 1e6, "MB")
        rig.row(f"second version, 20 files changed, of the first: {kind}", 100 * second / first, "%", 5.0 if kind == "cas" else None)
        if kind == "cas":
            rig.row("the same with catalog and log, which are pages: cas", 100 * (second + catalogs[2] - catalogs[1]) / (first + catalogs[1] - catalogs[0]), "%")


def small_image(places):
    folders = tree(f"{places.memory}/tree", 64, random.Random(4))
    layout("--name", "plain", f"{places.memory}/images", *folders)


def crowd(places, rounds, consumers=32):
    small_image(places)
    servers, walls = both(places, "crowd"), collections.defaultdict(list)
    for server, _ in servers.values():
        push(places, server, "plain")
        pull(server, "plain", f"{places.memory}/warm{server.port}")
    for number in range(rounds):
        for kind in turns(servers, number):
            begin = time.monotonic()
            started = [subprocess.Popen(["skopeo", "copy", "-q", "--preserve-digests", "--src-tls-verify=false",
                                         f"docker://127.0.0.1:{servers[kind][0].port}/bench/image:plain", f"dir:{places.memory}/pulled{consumer}"])
                       for consumer in range(consumers)]
            if any(process.wait() for process in started):
                sys.exit("error: a pull failed")
            walls[kind].append(time.monotonic() - begin)
            for consumer in range(consumers):
                shutil.rmtree(f"{places.memory}/pulled{consumer}")
    compare(f"{consumers} pulls of 64 MB at once", walls, "s")


def head(places, requests=2000, readers=8):
    """One client asks again and again for a blob's HEAD while others read layers."""
    small_image(places)
    for kind, (server, _) in both(places, "head").items():
        push(places, server, "plain")
        manifest = subprocess.run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://127.0.0.1:{server.port}/bench/image:plain"],
                                  check=True, stdout=subprocess.PIPE).stdout
        layer = json.loads(manifest)["layers"][0]["digest"]
        path = f"/v2/bench/image/blobs/{layer}"
        for state in ("at rest", f"while {readers} read layers"):
            load = []
            if state != "at rest":
                address = f"http://127.0.0.1:{server.port}{path}"
                load = [subprocess.Popen(["curl", "-sf", "-o", "/dev/null", *[address + "?n=[1-100000]"]]) for _ in range(readers)]
                time.sleep(1)
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
            times = []
            for _ in range(requests):
                begin = time.monotonic()
                connection.request("HEAD", path)
                answer = connection.getresponse()
                answer.read()
                if answer.status != 200:
                    sys.exit(f"error: HEAD was answered {answer.status}")
                times.append((time.monotonic() - begin) * 1000)
            for process in load:
                process.kill()
                process.wait()
            times.sort()
            rig.row(f"HEAD of a blob, {state}: {kind}", statistics.median(times), "ms", note=f"99 of 100 within {times[len(times) * 99 // 100]:.2f} ms")
