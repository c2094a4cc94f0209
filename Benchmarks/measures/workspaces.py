"""Workspaces as images: the first image of an environment that was pushed, asked again, after an edit; beside buildah doing the same."""
import concurrent.futures, json, os, shutil, statistics, subprocess, sys, time, urllib.request

from . import rig

ENVIRONMENT = ["numpy==2.2.1", "scipy==1.14.1", "pandas==2.2.3", "scikit-learn==1.6.0", "pyarrow==18.1.0", "transformers==4.47.1", "matplotlib==3.10.0"]


def environment(path):
    """Packages as pip puts them into a directory; or those of BENCHMARK_ENVIRONMENT."""
    if given := os.environ.get("BENCHMARK_ENVIRONMENT"):
        shutil.copytree(given, path, symlinks=True)
        return
    rig.Run([sys.executable, "-m", "pip", "install", "-q", "--no-compile", "--target", path, *ENVIRONMENT])


def get(server, path, accept=None):
    """An answer's body and the seconds that it took."""
    request = urllib.request.Request(f"{server.address}{path}", headers={"Accept-Encoding": accept} if accept else {})
    begin = time.monotonic()
    with urllib.request.urlopen(request, timeout=600) as answer:
        body = answer.read()
    return body, time.monotonic() - begin


def manifest(server, name):
    body, seconds = get(server, f"/v2/{name}/manifests/latest")
    return json.loads(body)["layers"], seconds


def bar(folder, layers):
    """Seconds of decompressing and hashing the same bytes on all cores: the largest first, as many programs at once as cores.

    Each by itself, so that no pipe between the two is measured: frames are decompressed to nowhere, plain bytes in memory are hashed."""
    names = [layer["digest"][7:] for layer in sorted(layers, key=lambda layer: -layer["size"])]

    def decompress(name):
        subprocess.run(["zstd", "-tq", "--no-check", f"{folder}/{name}.zst"], check=True)

    def hash(name):
        found = subprocess.run(["openssl", "dgst", "-sha256", "-r", f"{folder}/{name}"], check=True, stdout=subprocess.PIPE, text=True).stdout.split()[0]
        if found != name:
            sys.exit(f"error: a layer is not what its digest says: {name}")

    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(decompress, names))
        list(pool.map(hash, names))
    return time.monotonic() - begin


def push(server, tree, name):
    rig.Run([rig.CAS, "push", "--large", tree, "--to", name, "--server", server.address], env=rig.environment(os.path.dirname(tree)))


def edit(tree, number):
    with open(f"{tree}/train.py", "w") as file:
        file.write(f"print('edit {number}')\n")


def buildah(places, tree, number):
    """Seconds until an image of the tree is in docker-registry, as somebody without cas makes it."""
    settings = f"{places.memory}/storage.conf"
    with open(settings, "w") as file:
        file.write(f'[storage]\ndriver = "vfs"\ngraphroot = "{places.disk}/storage"\nrunroot = "{places.memory}/run"\n')
    more = dict(env=dict(os.environ, CONTAINERS_STORAGE_CONF=settings))
    begin = time.monotonic()
    container = rig.Run(["buildah", "from", "scratch"], **more).output.strip().splitlines()[-1]
    rig.Run(["buildah", "copy", "-q", container, tree, "/"], **more)
    rig.Run(["buildah", "commit", "-q", "--disable-compression", container, f"image{number}"], **more)
    made = time.monotonic() - begin
    rig.Run(["buildah", "rm", container], **more)
    return made


def images(places, rounds):
    tree = f"{places.memory}/environment"
    environment(tree)
    edit(tree, 0)
    files = sum(len(names) for _, _, names in os.walk(tree))
    size = sum(os.lstat(os.path.join(base, name)).st_size for base, _, names in os.walk(tree) for name in names)
    rig.say(f"# an environment of {files} files, {size / 1e6:.0f} MB")
    first, bars, again, edited, ratios = [], [], [], [], []
    for number in range(rounds):
        store = f"{places.disk}/images{number}"
        server = rig.Server(store, f"{store}.log")
        push(server, tree, "bench/environment")
        before = rig.allocated(store)
        layers, seconds = manifest(server, "bench/environment")
        first.append(seconds)
        grown = (rig.allocated(store) - before) / max(1, before)
        again.append(statistics.median(manifest(server, "bench/environment")[1] for _ in range(5)))
        folder = f"{places.memory}/frames"
        os.makedirs(folder)
        for layer in layers:
            for accept, ending in ((None, ""), ("zstd", ".zst")):
                body, _ = get(server, f"/v2/bench/environment/blobs/{layer['digest']}", accept)
                with open(f"{folder}/{layer['digest'][7:]}{ending}", "wb") as file:
                    file.write(body)
        bars.append(bar(folder, layers))
        shutil.rmtree(folder)
        ratios.append(seconds / bars[-1])
        edit(tree, number + 1)
        push(server, tree, "bench/environment")
        changed, seconds = manifest(server, "bench/environment")
        edited.append(seconds)
        new = [layer for layer in changed if layer not in layers]
        peak = rig.Server.memory(server, "VmHWM") / 1048576
        server.stop()
        shutil.rmtree(store)
    rig.row("decompressing and hashing it on all cores", statistics.median(bars), "s")
    rig.row("first image of it", statistics.median(first), "s", note=f"{len(layers)} layers")
    rig.row("ratio", statistics.median(ratios), "", 1.3)
    rig.row("new bytes in the store", grown * 100, "%", 1)
    rig.row("asked again", statistics.median(again), "s", 0.2)
    rig.row("after a one-line edit", statistics.median(edited), "s", 0.5, note=f"{len(new)} new layers of {sum(layer['size'] for layer in new)} bytes")
    rig.row("server's peak memory", peak, "MiB")
    rig.row("buildah: from scratch, copy, commit, no compression", buildah(places, tree, 0), "s")
    edit(tree, rounds + 1)
    rig.row("buildah: the same after a one-line edit", buildah(places, tree, 1), "s")
