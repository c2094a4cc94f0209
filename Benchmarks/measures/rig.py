"""What all measurements share: the executable, a server, requests, cold caches, sizes, and how figures are printed."""
import http.client, os, re, shutil, signal, subprocess, sys, time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CAS = os.environ.get("CAS_EXECUTABLE") or f"{ROOT}/.build-package/cas"
rows = []
servers = []


def require(*tools):
    for tool in tools:
        if not shutil.which(tool):
            sys.exit(f"error: {tool} is not there\nhint: ops/setup benchmark, ops/package")


def environment(work, **more):
    """Of a user of their own: neither settings nor caches of this machine's."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("CAS_") and key not in ("CI", "KUBERNETES_SERVICE_HOST")}
    return clean | {"XDG_CACHE_HOME": f"{work}/cache", "XDG_CONFIG_HOME": f"{work}/config", "XDG_DATA_HOME": f"{work}/data"} | more


def row(what, value, unit, bar=None, note=""):
    """One figure; `bar` is what it may be at most."""
    rows.append(dict(what=what, value=value, unit=unit, bar=bar, note=note))
    verdict = "" if bar is None else "ok" if value <= bar else "MISSED"
    limit = "" if bar is None else f"{bar:g}"
    print(f"{what:<62} {value:>11.3f} {unit:<9} {limit:>6} {verdict:<7} {note}".rstrip(), flush=True)


def say(text):
    print(text, flush=True)


class Run:
    """One command: wall seconds, CPU seconds of it and its children, output."""

    def __init__(self, command, settled=True, **more):
        if settled:
            subprocess.run(["sync"], check=True)
        more = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT} | more
        begin = time.monotonic()
        process = subprocess.Popen(command, **more)
        self.output = process.stdout.read().decode(errors="replace")
        _, status, usage = os.wait4(process.pid, 0)
        self.wall = time.monotonic() - begin
        self.cpu = usage.ru_utime + usage.ru_stime
        if status:
            sys.exit(f"error: {command} failed:\n{self.output[-2000:]}")


def cold(path=None):
    """Drops clean pages: of everything where that is allowed, else of the files below `path`; says whether it could."""
    subprocess.run(["sync"], check=True)
    try:
        with open("/proc/sys/vm/drop_caches", "w") as file:
            file.write("1")
        return
    except OSError:
        pass
    for base, _, names in os.walk(path or "/nonexistent"):
        for name in names:
            descriptor = os.open(os.path.join(base, name), os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def allocated(path):
    """Bytes that a directory takes on its disk."""
    total, seen = 0, set()
    for base, _, names in os.walk(path):
        for name in names:
            try:
                status = os.lstat(os.path.join(base, name))
            except FileNotFoundError:
                continue
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += status.st_blocks * 512
    return total


class Server:
    """`cas serve` of a store; knows when it said its address and when it first answered."""

    def __init__(self, store, log, *more):
        self.begin = time.monotonic()
        with open(log, "w") as output:
            self.process = subprocess.Popen([CAS, "serve", "--listen", "127.0.0.1:0", "--store", store, *more],
                                            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment(os.path.dirname(log)))
        servers.append(self)
        while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", open(log).read())):
            if self.process.poll() is not None or time.monotonic() - self.begin > 120:
                sys.exit(f"error: the server did not start:\n{open(log).read()[-2000:]}")
            time.sleep(0.0005)
        self.announced = time.monotonic() - self.begin
        self.address, self.port = found.group(0), int(found.group(1))

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            sys.exit(f"error: {method} {path} was answered {answer.status}: {content[:300]}")
        return content

    def memory(self, name="VmRSS"):
        """Bytes; RssAnon is what belongs to the process alone, VmRSS counts mapped pages of files too."""
        return int(re.search(rf"^{name}:\s+(\d+)", open(f"/proc/{self.process.pid}/status").read(), re.M).group(1)) * 1024

    def stop(self, how=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait()


def stop_all():
    for server in servers:
        server.stop(signal.SIGKILL)
