import CASCore
import CASFileSystem
import CASTestSupport
import Synchronization
import Testing

/// Several processes at once.
@Suite struct ConcurrencyTests {
    private static let processes = 5
    private static let rounds = TestForm.isFull ? 20 : 3
    private static let seed = UInt64.random(in: 0..<1_000_000)

    @Test(arguments: RoundTripTests.Road.allCases)
    func `pushes of overlapping trees by several processes are all whole`(
        road: RoundTripTests.Road
    ) async throws {
        try await onThread {
            let world = try ProcessWorld()
            if road == .server { try world.startServer() }
            let store = road == .server ? world.server : world.local
            // Made before: processes that make one store at the same moment still trip over each other.
            let first = try SmallWorkspace(world.path("first"), seed: 0)
            try world.succeed(["push", first.directory, "--to", "first"] + store)
            let pushed = Mutex<[String: TreeModel]>([:])
            let distinct = Mutex<[Digest: Int]>([:])
            try WorkerGroup.run(count: Self.processes, name: "client") { number in
                var workspace = try SmallWorkspace(
                    world.path("work\(number)"), seed: Self.seed + UInt64(number))
                try workspace.edit()
                // One ref that everybody moves, and one for each.
                for round in 0..<Self.rounds {
                    for ref in ["team/shared", "team/own\(number)"] {
                        let line = try world.succeed(
                            ["push", workspace.directory, "--to", ref] + store)
                        let digest = line.split(separator: "@").last.map(String.init) ?? ""
                        let model = workspace.model
                        pushed.withLock { $0[digest] = model }
                    }
                    Self.count(workspace.model, distinct)
                    try workspace.edit(includingLarge: round == 1)
                }
            }
            let comment = "\(road.rawValue), seed \(Self.seed)"
            let all = pushed.withLock { $0 }
            for (digest, model) in all {
                let fetched = try world.fetched(digest, store)
                TreeModel.expect(fetched, model, "\(comment), \(digest)")
            }
            // Every move of the shared ref is in its history, and nothing else.
            let history = try world.history("team/shared", store)
            #expect(history.count == Self.processes * Self.rounds, "\(comment)")
            #expect(Set(history).isSubset(of: all.keys), "\(comment)")
            let content = distinct.withLock { $0.values.reduce(0, +) }
            let packs = try Self.packBytes(world)
            // Files that several push at the same moment may be there twice; nothing grows by the number
            // of pushes, which sent a hundred times as much.
            #expect(packs < content * 2, "\(comment): \(packs) bytes for \(content) bytes of files")
        }
    }

    private static func count(_ model: TreeModel, _ distinct: borrowing Mutex<[Digest: Int]>) {
        for case .file(let bytes) in model.entries.values.map(\.content) {
            let digest = Digest.of(bytes)
            distinct.withLock { $0[digest] = bytes.count }
        }
    }

    private static func packBytes(_ world: ProcessWorld) throws -> Int {
        let directory = world.path("store/packs")
        return try DiskFileSystem().list(directory).reduce(0) {
            $0 + Int(try DiskFileSystem().status("\(directory)/\($1)")?.size ?? 0)
        }
    }

    @Test func `fetches and pushes of several processes go on side by side`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            try world.startServer()
            let first = try SmallWorkspace(world.path("work"), seed: Self.seed)
            let push = ["push", first.directory, "--to", "team/x"] + world.server
            try world.succeed(push)
            let models = Mutex([first.model])
            let isOver = Atomic<Bool>(false)
            try WorkerGroup.run(count: 3, name: "client") { number in
                guard number == 0 else {
                    while !isOver.load(ordering: .relaxed) {
                        let model = try world.fetched("team/x", world.server, into: "copy\(number)")
                        #expect(
                            models.withLock { $0.contains(model) },
                            "seed \(Self.seed): a fetch mixed two snapshots")
                    }
                    return
                }
                defer { isOver.store(true, ordering: .relaxed) }
                var workspace = first
                for round in 0..<Self.rounds * 3 {
                    try workspace.edit(includingLarge: round % 2 == 0)
                    // Known before it is pushed: a fetch may see it at once.
                    let model = workspace.model
                    models.withLock { $0.append(model) }
                    try world.succeed(push)
                }
            }
        }
    }
}
