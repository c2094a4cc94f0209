import CASCore
import CASFileSystem
import CASTestSupport
import Glibc
import Testing

/// Clients that are killed at random moments.
@Suite struct ClientKillTests {
    private static let kills = TestForm.isFull ? 200 : 15
    private static let seed = UInt64.random(in: 0..<1_000_000)

    @Test(arguments: RoundTripTests.Road.allCases)
    func `a killed push is whole or absent, and the next one succeeds`(
        road: RoundTripTests.Road
    ) async throws {
        try await onThread {
            let world = try ProcessWorld()
            if road == .server { try world.startServer() }
            let store = road == .server ? world.server : world.local
            var generator = SeededGenerator(seed: Self.seed)
            var workspace = try SmallWorkspace(world.path("work"), seed: Self.seed)
            let push = ["push", workspace.directory, "--to", "team/x"] + store
            // The first one too: a store is made by it.
            var previous: TreeModel?
            for round in 0..<Self.kills {
                let comment = "\(road.rawValue), seed \(Self.seed), round \(round)"
                let command = try world.start(push)
                usleep(UInt32.random(in: 0..<150_000, using: &generator))
                command.process.signal(SIGKILL)
                let result = try command.wait()
                let names = try world.history("team/x", store)
                if names.isEmpty {
                    #expect(previous == nil && result.status != 0, "\(comment): a ref is gone")
                } else {
                    let fetched = try world.fetched("team/x", store)
                    let isNew = fetched == workspace.model
                    #expect(isNew || result.status != 0, "\(comment): acknowledged and not there")
                    if !isNew, let previous { TreeModel.expect(fetched, previous, comment) }
                    #expect(isNew || previous != nil, "\(comment): neither the old nor the new")
                    if isNew { previous = workspace.model }
                }
                if round % 3 == 2 {
                    try world.succeed(push)
                    TreeModel.expect(
                        try world.fetched("team/x", store), workspace.model, "\(comment), again")
                    previous = workspace.model
                    try workspace.edit(includingLarge: round % 2 == 0)
                }
            }
        }
    }

    @Test(arguments: [SIGKILL, SIGINT])
    func `an interrupted fetch finishes on the next run`(signal: Int32) async throws {
        try await onThread {
            let world = try ProcessWorld()
            try world.startServer()
            var generator = SeededGenerator(seed: Self.seed)
            var workspace = try SmallWorkspace(world.path("work"), seed: Self.seed)
            let push = ["push", workspace.directory, "--to", "team/x"] + world.server
            let fetch = ["fetch", "team/x", world.path("copy")] + world.server
            try world.succeed(push)
            var interruptions = 0
            for round in 0..<Self.kills {
                let comment = "signal \(signal), seed \(Self.seed), round \(round)"
                // Now an empty directory, now an update, now the rest of what was interrupted.
                if round % 5 == 0 { try Host.removeTree(world.path("copy")) }
                let command = try world.start(fetch)
                usleep(UInt32.random(in: 0..<80_000, using: &generator))
                command.process.signal(signal)
                let result = try command.wait()
                if result.status != 0 { interruptions += 1 }
                if result.status == 130 {
                    #expect(result.errors.contains("interrupted"), "\(comment)")
                } else {
                    #expect([0, -signal].contains(result.status), "\(comment): \(result.errors)")
                }
                guard round % 3 == 2 else { continue }
                TreeModel.expect(
                    try world.fetched("team/x", world.server, into: "copy"), workspace.model,
                    comment)
                #expect(
                    try DiskFileSystem().list(world.path("copy/.cas/tmp")) == [], "\(comment)")
                try workspace.edit(includingLarge: true)
                try world.succeed(push)
            }
            #expect(interruptions > 0, "seed \(Self.seed): every fetch was faster than its signal")
        }
    }
}
