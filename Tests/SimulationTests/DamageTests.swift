import CASCore
import CASFileSystem
import CASTestSupport
import Glibc
import Testing

/// Bytes of a store that are not what they were: a fetch says so or brings what was pushed.
@Suite struct DamageTests {
    private static let samples = TestForm.isFull ? 400 : 24
    private static let seed = UInt64.random(in: 0..<1_000_000)

    @Test func `a byte changed anywhere in a pack is found by a fetch, and a push heals it`()
        async throws
    {
        try await onThread {
            let (world, workspace) = try Self.pushed()
            var generator = SeededGenerator(seed: Self.seed)
            var found = 0
            for sample in 0..<Self.samples {
                try Self.restoreStore(world)
                let pack = try #require(try Self.packs(world).randomElement(using: &generator))
                let size = Int(try DiskFileSystem().status(pack)?.size ?? 0)
                // A quarter of them in headers and footers, which are few.
                let offset =
                    sample % 4 == 0
                    ? [Int.random(in: 0..<200, using: &generator), size - 1].randomElement(
                        using: &generator) ?? 0
                    : Int.random(in: 0..<size, using: &generator)
                let comment = "seed \(Self.seed), sample \(sample): byte \(offset) of \(size)"
                try Self.flip(pack, at: min(offset, size - 1))
                found += try Self.checkDamage(world, workspace, comment) ? 1 : 0
            }
            #expect(found > 0, "seed \(Self.seed): no damage was ever found")
        }
    }

    @Test func `a pack that was cut or is gone is found by a fetch, and a push heals it`()
        async throws
    {
        try await onThread {
            let (world, workspace) = try Self.pushed()
            var generator = SeededGenerator(seed: Self.seed)
            for sample in 0..<max(6, Self.samples / 4) {
                let comment = "seed \(Self.seed), sample \(sample)"
                try Self.restoreStore(world)
                let pack = try #require(try Self.packs(world).randomElement(using: &generator))
                let size = Int(try DiskFileSystem().status(pack)?.size ?? 0)
                if sample == 0 {
                    try DiskFileSystem().remove(pack)
                } else {
                    let length = off_t(Int.random(in: 0..<size - 1, using: &generator))
                    try #require(truncate(pack, length) == 0)
                }
                _ = try Self.checkDamage(world, workspace, comment)
            }
        }
    }

    @Test func `a server goes on serving what is whole beside what is damaged`() async throws {
        try await onThread {
            let (world, workspace) = try Self.pushed()
            var other = TreeModel()
            other.entries[[]] = workspace.model.entries[[]]
            other.entries[Array("other".utf8)] = TreeModel.Entry(
                content: .file(Array("other content".utf8)), mode: 0o644,
                modified: TreeModel.Time(seconds: 1, nanoseconds: 1))
            try other.write(to: world.path("other"))
            try world.succeed(["push", world.path("other"), "--to", "q"] + world.local)
            try world.startServer()
            // The large file is the only one as long as that.
            let pack = try #require(
                try Self.packs(world).first {
                    try DiskFileSystem().status($0)?.size ?? 0 > 2_000_000
                })
            try Self.flip(pack, at: 1_200_000)
            let result = try world.run(["fetch", "p", world.path("copy")] + world.server)
            #expect(result.status == 1)
            #expect(result.errors.contains("error: "), "\(result.errors)")
            #expect(result.errors.contains("hint: "), "\(result.errors)")
            TreeModel.expect(
                try world.fetched("q", world.server, into: "q"), other, "what is whole")
            try world.succeed(["push", workspace.directory, "--to", "p"] + world.server)
            TreeModel.expect(
                try world.fetched("p", world.server, into: "copy"), workspace.model, "healed")
        }
    }

    // MARK: - Steps

    /// A store with one workspace in it, and a copy of it.
    private static func pushed() throws -> (ProcessWorld, SmallWorkspace) {
        let world = try ProcessWorld()
        let workspace = try SmallWorkspace(world.path("work"), seed: 1)
        try world.succeed(["push", workspace.directory, "--to", "p"] + world.local)
        let copy = try world.tool(["cp", "-a", world.path("store"), world.path("whole")])
        try #require(copy.status == 0, "\(copy.errors)")
        return (world, workspace)
    }

    private static func restoreStore(_ world: ProcessWorld) throws {
        for name in ["store", "copy"] { try Host.removeTree(world.path(name)) }
        let copy = try world.tool(["cp", "-a", world.path("whole"), world.path("store")])
        try #require(copy.status == 0, "\(copy.errors)")
    }

    private static func packs(_ world: ProcessWorld) throws -> [String] {
        try DiskFileSystem().list(world.path("store/packs")).sorted().map {
            world.path("store/packs/\($0)")
        }
    }

    private static func flip(_ path: String, at offset: Int) throws {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        defer { close(descriptor) }
        var byte: UInt8 = 0
        guard pread(descriptor, &byte, 1, off_t(offset)) == 1 else {
            throw failure(Array(path.utf8))
        }
        byte ^= 0x10
        guard pwrite(descriptor, &byte, 1, off_t(offset)) == 1 else {
            throw failure(Array(path.utf8))
        }
    }

    /// Fetches from a damaged store, then pushes what it was; whether the fetch found the damage.
    private static func checkDamage(
        _ world: ProcessWorld, _ workspace: SmallWorkspace, _ comment: String
    ) throws -> Bool {
        let result = try world.run(["fetch", "p", world.path("copy")] + world.local)
        if result.status == 0 {
            // Where nothing of what is fetched lies, such as in a footer.
            TreeModel.expect(
                try TreeModel(reading: world.path("copy")), workspace.model, comment)
        } else {
            #expect(result.status == 1, "\(comment): \(result.errors)")
            #expect(result.errors.contains("error: "), "\(comment): \(result.errors)")
            // What got its final name nevertheless is right.
            if try DiskFileSystem().status(world.path("copy")) != nil {
                for (path, entry) in try TreeModel(reading: world.path("copy")).entries {
                    guard case .file = entry.content else { continue }
                    #expect(
                        entry.content == workspace.model.entries[path]?.content,
                        "\(comment): \(String(decoding: path, as: UTF8.self)) is wrong")
                }
            }
        }
        let push = try world.run(["push", workspace.directory, "--to", "p"] + world.local)
        try #require(push.status == 0, "\(comment): \(result.errors)\(push.errors)")
        TreeModel.expect(
            try world.fetched("p", world.local, into: "copy"), workspace.model,
            "\(comment), healed: \(result.errors)")
        return result.status != 0
    }
}
