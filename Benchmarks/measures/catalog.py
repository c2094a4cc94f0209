"""Start-up and existence checks of a store with many blobs.

The rows are synthetic: a store that cas made gets packs that are empty files of the right name and size, and locations of
random digests in them. Nobody could fetch them; what is measured (opening a store, looking a digest up) reads only the
catalog and the list of packs. Rows come in batches, each sorted, as commits bring them, so that pages of the table are
as full as in a store that grew.
"""
import hashlib, os, random, signal, sqlite3, statistics, struct, time
from . import rig

RECORDS_PER_PACK = 30_000
RECORD_BYTES = 8 << 10


def digests(batch, count):
    """The digests of one batch, the same in every run."""
    dice = random.Random(batch)
    block = dice.randbytes(32 * count)
    return [block[n:n + 32] for n in range(0, len(block), 32)]


def grow(store, count, batches):
    """Adds `count` locations to a store's catalog, and the packs they name."""
    path = f"{store}/catalog.sqlite"
    database = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1500000", "locking_mode = EXCLUSIVE"):
        database.execute(f"PRAGMA {pragma}").fetchall()
    columns = [name for _, name, *_ in database.execute("PRAGMA table_info(packs)")]
    first = database.execute("SELECT value FROM counters WHERE name = 'pack'").fetchone()[0] + 1
    per_batch = count // batches
    pack, offset, used = first, 64, 0

    def close_pack():
        identifier = hashlib.sha256(f"pack {pack}".encode()).digest()[:16]
        values = dict(number=pack, identifier=identifier, **{"class": 2}, sealed=1, object=1, committed=offset, seconds=1_700_000_000 + pack, nanoseconds=0)
        names = [name for name in columns if name in values]
        database.execute(f"INSERT INTO packs ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})", [values[name] for name in names])
        database.execute("INSERT INTO pack_usage VALUES (?, 1, ?, ?, ?)", (pack, used, used * RECORD_BYTES, used * RECORD_BYTES * 2))
        with open(f"{store}/packs/{identifier.hex()}.pack", "wb") as file:
            file.truncate(offset)

    for batch in range(batches):
        places = []
        for digest in digests(batch, per_batch):
            if used == RECORDS_PER_PACK:
                close_pack()
                pack, offset, used = pack + 1, 64, 0
            places.append((digest, pack, offset, RECORD_BYTES, RECORD_BYTES * 2, 0x101))
            offset += RECORD_BYTES + 68
            used += 1
        places.sort()
        database.execute("BEGIN")
        database.executemany("INSERT INTO locations VALUES (?, ?, ?, ?, ?, ?)", places)
        database.execute("COMMIT")
    close_pack()
    database.execute("UPDATE counters SET value = ? WHERE name = 'pack'", (pack,))
    database.execute("PRAGMA journal_mode = WAL").fetchall()
    database.close()
    os.sync()


def make(work, count):
    """A store with so many rows; some of them real."""
    store, source = f"{work}/store", f"{work}/source"
    os.makedirs(f"{source}/package")
    for number in range(100):
        with open(f"{source}/package/module{number}.py", "w") as file:
            file.write(f"value = {number}\n" * 20)
    rig.Run([rig.CAS, "push", source, "--store", store, "--to", "bench/catalog"], env=rig.environment(work))
    begin = time.monotonic()
    grow(store, count, batches=max(1, count // 100_000))
    size = os.path.getsize(f"{store}/catalog.sqlite")
    rig.say(f"# a catalog of {count:,} synthetic rows in {len(os.listdir(f'{store}/packs'))} packs, {size / 1e6:.0f} MB, made in {time.monotonic() - begin:.0f} s")
    return store, size


def start(store, work, repeat):
    """Exec of `cas serve` to the address it prints and to the first answer, which looks a digest up."""
    kinds = {"warm": lambda: None, "cold": lambda: rig.cold(store)}
    for kind, prepare in kinds.items():
        said, answered = [], []
        for number in range(repeat):
            prepare()
            server = rig.Server(store, f"{work}/server.log")
            server.request("POST", f"/v1/push/{number:032x}/missing", question(digests(0, 1)))
            answered.append(time.monotonic() - server.begin)
            said.append(server.announced)
            server.stop()
        rig.row(f"start-up, {kind} cache: to the printed address", statistics.median(said), "s", 1.0, f"{min(said):.3f} to {max(said):.3f}")
        rig.row(f"start-up, {kind} cache: to the first answer", statistics.median(answered), "s", 1.0, f"{min(answered):.3f} to {max(answered):.3f}")
    after_kill(store, work, repeat, "after kill -9 behind a push", lambda server, number: push(server, work, number))
    after_kill(store, work, repeat, "after kill -9 within a first upload", lambda server, number: server.request("PUT", f"/v1/push/{number:032x}/streams/0/1", record(os.urandom(100))))


def after_kill(store, work, repeat, name, use):
    said = []
    for number in range(repeat):
        server = rig.Server(store, f"{work}/server.log")
        use(server, number)
        server.stop(signal.SIGKILL)
        rig.cold(store)
        server = rig.Server(store, f"{work}/server.log")
        said.append(server.announced)
        server.stop()
    rig.row(f"start-up, cold cache, {name}", statistics.median(said), "s", 1.0, f"{min(said):.3f} to {max(said):.3f}")


def push(server, work, number):
    with open(f"{work}/source/package/module0.py", "a") as file:
        file.write(f"value = {number}\n")
    rig.Run([rig.CAS, "push", f"{work}/source", "--to", "bench/catalog"], env=rig.environment(work, CAS_SERVER=server.address))


def crc32c(content):
    value = 0xFFFF_FFFF
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F6_3B78 if value & 1 else 0)
    return value ^ 0xFFFF_FFFF


def record(content):
    """One record of kind chunk, stored raw (Packs.md)."""
    header = struct.pack("<4sBBBBII32sQI", b"CASR", 1, 1, 0, 0, len(content), len(content), hashlib.sha256(content).digest(), 0, 0)
    return header + struct.pack("<I", crc32c(header)) + content + struct.pack("<I", crc32c(content))


def question(asked):
    """A DigestList: field 1, all digests one behind the other."""
    packed = b"".join(asked)
    length, prefix = len(packed), b""
    while length > 0x7F:
        prefix += bytes([length & 0x7F | 0x80])
        length >>= 7
    return b"\x0a" + prefix + bytes([length]) + packed


def absent(answer, count):
    """How many digests a MissingResponse calls missing: the bits of its last field."""
    return sum(bin(byte).count("1") for byte in answer[-((count + 7) // 8):])


def check(store, work, count, batches, repeat):
    """One request about `count` digests, half of them there; next to SQLite alone with the same digests in the same order."""
    dice = random.Random(99)

    def ask(seed):
        chosen = dice.sample(digests(seed % batches, 100_000), count // 2) + digests(10**6 + seed, count - count // 2)
        dice.shuffle(chosen)
        return chosen

    def alone(asked, warm):
        """A join within SQLite, in the order asked: no other program's time is in it."""
        database = sqlite3.connect(f"file:{store}/catalog.sqlite?mode=ro", uri=True)
        database.execute("PRAGMA mmap_size = 1073741824").fetchall()
        database.execute("PRAGMA temp_store = MEMORY")
        database.execute("CREATE TEMP TABLE asked (number INTEGER PRIMARY KEY, digest BLOB)")
        database.executemany("INSERT INTO asked (digest) VALUES (?)", [(digest,) for digest in asked])
        for _ in range(2 if warm else 1):
            begin = time.monotonic()
            found, _ = database.execute("SELECT count(*), sum(pack + offset + stored + raw + form) FROM asked CROSS JOIN locations USING (digest)").fetchone()
            seconds = time.monotonic() - begin
        database.close()
        if found != count // 2:
            raise SystemExit(f"error: SQLite found {found} of {count // 2}")
        return seconds

    def through(server, asked, seed):
        begin = time.monotonic()
        answer = server.request("POST", f"/v1/push/{seed:032x}/missing", question(asked))
        seconds = time.monotonic() - begin
        if absent(answer, count) != count - count // 2:
            raise SystemExit(f"error: the server calls {absent(answer, count)} of {count} missing")
        return seconds

    for kind in ("cold", "warm"):
        ours, theirs = [], []
        for seed in range(repeat):
            asked = ask(seed)
            server = rig.Server(store, f"{work}/server.log")
            if kind == "cold":
                rig.cold(store)
            else:
                through(server, asked, seed)
            ours.append(through(server, asked, seed))
            server.stop()
            if kind == "cold":
                rig.cold(store)
            theirs.append(alone(asked, kind == "warm"))
        name = f"{count:,} existence checks in one request, {kind} cache"
        rig.row(name, statistics.median(ours), "s", None, f"{statistics.median(ours) / count * 1e6:.1f} us each; {min(ours):.3f} to {max(ours):.3f}")
        rig.row("  the same lookups by SQLite alone", statistics.median(theirs), "s", None, f"{min(theirs):.3f} to {max(theirs):.3f}")


def measure(work, count, repeat):
    store, size = make(work, count)
    rig.row("catalog, bytes per blob", size / count, "bytes", None, "SQLite file / rows, pages as full as a store that grew has them")
    start(store, work, repeat)
    check(store, work, 10_000, max(1, count // 100_000), repeat)
    rig.cold(store)
    server = rig.Server(store, f"{work}/server.log")
    server.request("POST", f"/v1/push/{1:032x}/missing", question(digests(0, 1)))
    rig.row("server at rest, memory of its own", server.memory("RssAnon") / 2**20, "MiB", None, f"{server.memory('RssAnon') / count:.2f} bytes per blob; resident with mapped files {server.memory() >> 20} MiB")
    for seed in range(repeat):
        server.request("POST", f"/v1/push/{seed:032x}/missing", question(digests(seed, 10_000)))
    rig.row("server after these checks, memory of its own", server.memory("RssAnon") / 2**20, "MiB", None, f"resident with mapped files {server.memory() >> 20} MiB")
    server.stop()
