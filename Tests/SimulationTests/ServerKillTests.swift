import CASCore
import CASFileSystem
import CASTestSupport
import Glibc
import Synchronization
import Testing

/// A server that is killed at random moments while clients push.
@Suite struct ServerKillTests {
    private static let kills = TestForm.isFull ? 150 : 8
    private static let clients = 3
    private static let seed = UInt64.random(in: 0..<1_000_000)

    /// What clients know.
    private struct Pushed {
        /// What was acknowledged, by the digest that the command printed.
        var acknowledged: [String: TreeModel] = [:]
        /// The last state of each client.
        var last: [Int: (digest: String, model: TreeModel)] = [:]
        var failures: [String] = []
    }

    @Test func `kill -9 of the server at random moments loses no acknowledged push`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            try world.startServer()
            let pushed = Mutex(Pushed())
            let isOver = Atomic<Bool>(false)
            try WorkerGroup.run(count: Self.clients + 1, name: "simulation") { number in
                defer { isOver.store(true, ordering: .relaxed) }
                if number == Self.clients {
                    try Self.killAgainAndAgain(world, pushed)
                } else {
                    try Self.push(world, number, pushed) { isOver.load(ordering: .relaxed) }
                }
            }
            let all = pushed.withLock { $0 }
            let comment = "seed \(Self.seed)"
            #expect(all.failures.isEmpty, "\(comment): \(all.failures)")
            for (client, last) in all.last {
                let history = try world.history("team/client\(client)", world.server)
                #expect(history.first == last.digest, "\(comment): the newest push is not named")
                // What was never acknowledged and is there nevertheless must be whole.
                for digest in history where all.acknowledged[digest] == nil {
                    try world.succeed(["fetch", digest, world.path("unknown")] + world.server)
                    try world.succeed(["verify", digest, world.path("unknown")] + world.server)
                }
                let model = try world.fetched("team/client\(client)", world.server)
                TreeModel.expect(model, last.model, "\(comment), client \(client)")
            }
            for (digest, expected) in all.acknowledged {
                let model = try world.fetched(digest, world.server, into: "checked")
                TreeModel.expect(model, expected, "\(comment), \(digest)")
            }
            try #require(world.stopServer(SIGTERM)?.status == 0, "\(comment): it ends in order")
        }
    }

    private static func killAgainAndAgain(
        _ world: ProcessWorld, _ pushed: borrowing Mutex<Pushed>
    ) throws {
        var generator = SeededGenerator(seed: seed)
        let clock = SystemClock()
        var count = 0
        var start: UInt64 = 100_000_000
        // However slow the machine: pushes must get through between the kills, so that it is up for
        // twice the time that it is down.
        while count < kills || pushed.withLock({ $0.acknowledged.count }) < kills {
            count += 1
            usleep(UInt32.random(in: 0..<UInt32(start / 1000) * 4, using: &generator))
            let begin = clock.monotonicNanoseconds()
            world.killServer()
            usleep(UInt32.random(in: 0..<50_000, using: &generator))
            try world.startServer()
            start = clock.monotonicNanoseconds() - begin
        }
    }

    private static func push(
        _ world: ProcessWorld, _ number: Int, _ pushed: borrowing Mutex<Pushed>,
        until isOver: () -> Bool
    ) throws {
        var workspace = try SmallWorkspace(
            world.path("work\(number)"), seed: seed + UInt64(number) + 1)
        var round = 0
        while !isOver() {
            let result = try world.run(
                ["push", workspace.directory, "--to", "team/client\(number)"] + world.server)
            let model = workspace.model
            pushed.withLock { pushed in
                guard result.status == 0,
                    let digest = result.output.split(separator: "\n").first?.split(separator: "@")
                        .last.map(String.init)
                else {
                    pushed.failures.append(result.errors)
                    return
                }
                pushed.acknowledged[digest] = model
                pushed.last[number] = (digest, model)
            }
            round += 1
            try workspace.edit(includingLarge: round % 4 == 0)
        }
    }

    @Test func `a server that stays away ends commands with word how to go on`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            try world.startServer()
            var workspace = try SmallWorkspace(world.path("work"), seed: 1)
            let push = ["push", workspace.directory, "--to", "team/x"] + world.server
            try world.succeed(push)
            try world.succeed(["fetch", "team/x", world.path("copy")] + world.server)
            let before = workspace.model
            try workspace.edit(includingLarge: true)
            world.killServer()
            let fetch = ["fetch", "team/x", world.path("copy")] + world.server
            let commands = try [world.start(push), world.start(fetch)]
            for command in commands {
                let result = try command.wait()
                #expect(result.status == 1)
                #expect(result.output.isEmpty)
                #expect(result.errors.contains("error: "), "\(result.errors)")
                #expect(result.errors.contains(world.address), "\(result.errors)")
                #expect(
                    result.errors.contains("run the same command again"), "\(result.errors)")
            }
            TreeModel.expect(try TreeModel(reading: world.path("copy")), before, "untouched")
            try world.startServer()
            try world.succeed(push)
            TreeModel.expect(
                try world.fetched("team/x", world.server, into: "copy"), workspace.model, "resumed")
        }
    }
}
