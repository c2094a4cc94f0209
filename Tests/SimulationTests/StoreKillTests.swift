import CASCore
import CASFileSystem
import CASTestSupport
import Glibc
import Synchronization
import Testing

/// A real server on a small disk that also fills up, killed at random moments while clients push, fetch and
/// collect; then every ref is fetched and compared.
@Suite struct StoreKillTests {
    /// Kills; the long form goes on for an hour.
    private static let rounds = 12
    private static let clients = 2
    private static let diskKilobytes = 48 << 10
    private static let seed = UInt64.random(in: 0..<1_000_000)

    /// What is known of each client's ref.
    fileprivate struct Known {
        /// What it may name: the last push that was acknowledged, and those after it that were not.
        var candidates: [Int: [TreeModel]] = [:]
        /// What was pushed lately, for fetches that began before.
        var pushed: [TreeModel] = []
        /// Clients whose ref is there for sure.
        var acknowledged: Set<Int> = []
        var pushes = 0
        var refusals = 0
        var fetches = 0
        var collections = 0
        var kills = 0
        var fills = 0
        var failures: [String] = []
    }

    @Test func `kill -9, a full disk and collections lose no acknowledged push`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            let disk = try SmallDisk(world.path("store"), kilobytes: Self.diskKilobytes)
            try world.startServer()
            // What a ref named before goes at once, or the disk would be full of that.
            try world.succeed(["rule", "set", "team/**", "--history", "1m"] + world.server)
            let known = Mutex(Known())
            let isOver = Atomic<Bool>(false)
            try WorkerGroup.run(count: Self.clients + 3, name: "simulation") { number in
                let goesOn = { !isOver.load(ordering: .relaxed) }
                switch number {
                case 0:
                    defer { isOver.store(true, ordering: .relaxed) }
                    try Self.killAgainAndAgain(world, known)
                case 1: try Self.collect(world, known, while: goesOn)
                case 2: try Self.fetch(world, known, while: goesOn)
                default: try Self.push(world, number - 3, known, while: goesOn)
                }
            }
            try Self.check(world, known)
            withExtendedLifetime(disk) {}
        }
    }

    // MARK: - What happens

    private static func killAgainAndAgain(
        _ world: ProcessWorld, _ known: borrowing Mutex<Known>
    ) throws {
        var generator = SeededGenerator(seed: seed)
        let clock = SystemClock()
        let start = clock.monotonicNanoseconds()
        var round = 0
        while TestForm.isFull
            ? clock.monotonicNanoseconds() - start < TestForm.fullSeconds * 1_000_000_000
            : round < rounds
                || known.withLock({
                    $0.pushes < rounds || $0.collections == 0 || $0.fetches < rounds
                })
        {
            round += 1
            usleep(UInt32.random(in: 50_000..<1_500_000, using: &generator))
            if round % 4 == 0 {
                try fill(world)
                known.withLock { $0.fills += 1 }
                usleep(UInt32.random(in: 50_000..<700_000, using: &generator))
            }
            world.killServer()
            known.withLock { $0.kills += 1 }
            if round % 8 == 4 {
                try startOnFullDisk(world, known)
                usleep(UInt32.random(in: 0..<400_000, using: &generator))
                world.killServer()
            }
            try empty(world)
            try world.startServer()
        }
    }

    /// Starts the server without room: it serves, or says what it lacks.
    private static func startOnFullDisk(
        _ world: ProcessWorld, _ known: borrowing Mutex<Known>
    ) throws {
        do {
            try world.startServer()
        } catch let error as CASError {
            guard !error.message.contains(/full|space/) else { return }
            known.withLock { $0.failures.append("start on a full disk: \(error)") }
        }
    }

    /// Takes all room but for a little.
    private static func fill(_ world: ProcessWorld) throws {
        let path = world.path("store/ballast")
        let free = try DiskFileSystem().freeBytes(world.path("store"))
        let file = open(path, O_CREAT | O_WRONLY, 0o600)
        defer { close(file) }
        // Others may take the room first.
        _ = posix_fallocate(file, 0, off_t(free - min(free, 96 << 10)))
    }

    private static func empty(_ world: ProcessWorld) throws {
        unlink(world.path("store/ballast"))
    }

    private static func collect(
        _ world: ProcessWorld, _ known: borrowing Mutex<Known>, while goesOn: () -> Bool
    ) throws {
        while goesOn() {
            let result = try world.run(["gc"] + world.server)
            if result.status == 0 { known.withLock { $0.collections += 1 } }
            if result.errors.contains("incomplete") || result.status == 2 {
                known.withLock { $0.failures.append("gc: \(result.errors) \(result.output)") }
            }
            usleep(100_000)
        }
    }

    private static func fetch(
        _ world: ProcessWorld, _ known: borrowing Mutex<Known>, while goesOn: () -> Bool
    ) throws {
        var number = 0
        while goesOn() {
            number += 1
            let client = number % clients
            // Pushes that begin meanwhile may be what comes.
            let (before, isThere) = known.withLock {
                ($0.candidates[client] ?? [], $0.acknowledged.contains(client))
            }
            let name = "copy\(client)"
            let result = try world.run(
                ["fetch", "team/client\(client)", world.path(name)] + world.server)
            guard result.status == 0 else {
                if isThere, result.errors.contains(/lost|damaged|no ref/) {
                    known.withLock { $0.failures.append("fetch: \(result.errors)") }
                }
                continue
            }
            let model = try TreeModel(reading: world.path(name))
            known.withLock { known in
                known.fetches += 1
                let after = known.candidates[client] ?? []
                if !before.contains(model), !after.contains(model), !known.pushed.contains(model) {
                    known.failures.append("a fetch of client \(client) brought something else")
                }
            }
        }
    }

    private static func push(
        _ world: ProcessWorld, _ number: Int, _ known: borrowing Mutex<Known>,
        while goesOn: () -> Bool
    ) throws {
        var workspace = try SmallWorkspace(
            world.path("work\(number)"), seed: seed + UInt64(number) + 1)
        var round = 0
        while goesOn() {
            let model = workspace.model
            // Known before: a push whose answer never comes may have been done.
            known.withLock { $0.begin(number, model) }
            let result = try world.run(
                ["push", workspace.directory, "--to", "team/client\(number)"] + world.server)
            known.withLock { known in
                if result.status == 0 { known.end(number, model) } else { known.refusals += 1 }
                if result.status != 0, !result.errors.contains(/full|space|answer|reach|connect/) {
                    known.failures.append("push: \(result.errors)")
                }
            }
            round += 1
            // What was not done may have been done, and is remembered: an hour of that has to fit into memory.
            try workspace.edit(includingLarge: round % 3 == 0 && result.status == 0)
        }
    }

    // MARK: - What has to be true

    private static func check(_ world: ProcessWorld, _ known: borrowing Mutex<Known>) throws {
        let all = known.withLock { $0 }
        let comment =
            "seed \(seed): \(all.kills) kills, \(all.fills) times full, \(all.pushes) pushes, "
            + "\(all.refusals) not done, \(all.fetches) fetches, \(all.collections) collections"
        print(comment)
        #expect(all.failures.isEmpty, "\(comment): \(all.failures)")
        for (client, candidates) in all.candidates {
            let model = try world.fetched(
                "team/client\(client)", world.server, into: "checked\(client)")
            #expect(candidates.contains(model), "\(comment): client \(client)")
        }
        // Everything goes on, and nothing is found wrong.
        try world.succeed(["gc"] + world.server)
        try world.succeed(["scrub"] + world.server)
        for (client, candidates) in all.candidates {
            let model = try world.fetched(
                "team/client\(client)", world.server, into: "again\(client)")
            #expect(candidates.contains(model), "\(comment): client \(client) after a collection")
        }
        try #require(world.stopServer(SIGTERM)?.status == 0, "\(comment): it ends in order")
    }
}

extension StoreKillTests.Known {
    fileprivate mutating func begin(_ client: Int, _ model: TreeModel) {
        candidates[client, default: []].append(model)
        pushed.append(model)
        if pushed.count > 40 { pushed.removeFirst(20) }
    }

    fileprivate mutating func end(_ client: Int, _ model: TreeModel) {
        pushes += 1
        acknowledged.insert(client)
        candidates[client] = [model]
    }
}
