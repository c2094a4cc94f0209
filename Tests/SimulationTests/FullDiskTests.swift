import CASCore
import CASFileSystem
import CASTestSupport
import Glibc
import Testing

/// Disks that are full, at either end: real ones, a few MiB of memory each.
@Suite struct FullDiskTests {
    private func expectNoSpace(_ result: ProcessWorld.Result) {
        #expect(result.status == 1)
        #expect(result.output.isEmpty)
        #expect(result.errors.contains("error: "), "\(result.errors)")
        #expect(
            result.errors.lowercased().contains(/no space|disk is full|is full/), "\(result.errors)"
        )
    }

    @Test(arguments: RoundTripTests.Road.allCases)
    func `a store on a full disk takes no push and loses none`(
        road: RoundTripTests.Road
    ) async throws {
        try await onThread {
            let world = try ProcessWorld()
            let disk = try SmallDisk(world.path("store"), kilobytes: 9 << 10)
            if road == .server { try world.startServer() }
            let store = road == .server ? world.server : world.local
            let workspace = try SmallWorkspace(world.path("work"), seed: 1)
            try world.succeed(["push", workspace.directory, "--to", "p"] + store)
            var more = TreeModel()
            more.entries[[]] = workspace.model.entries[[]]
            more.entries[Array("more".utf8)] = TreeModel.Entry(
                content: .file(SeededBytes.make(seed: 2, count: 12 << 20)), mode: 0o600,
                modified: TreeModel.Time(seconds: 1, nanoseconds: 1))
            try more.write(to: world.path("more"))
            let push = ["push", world.path("more"), "--to", "q"] + store
            expectNoSpace(try world.run(push))
            TreeModel.expect(try world.fetched("p", store), workspace.model, "what was there")
            #expect(try world.history("q", store).isEmpty)
            try disk.grow(kilobytes: 80 << 10)
            try world.succeed(push)
            TreeModel.expect(try world.fetched("q", store, into: "q"), more, "with room")
            TreeModel.expect(try world.fetched("p", store), workspace.model, "still there")
            if road == .server { #expect(world.stopServer(SIGTERM)?.status == 0) }
        }
    }

    /// SQLite needs pages to open anything: the reserve has them.
    @Test func `a server starts on a disk without a free byte, serves and makes room`()
        async throws
    {
        try await onThread {
            let world = try ProcessWorld()
            let disk = try SmallDisk(world.path("store"), kilobytes: 32 << 10)
            try world.startServer()
            let workspace = try SmallWorkspace(world.path("work"), seed: 1)
            try world.succeed(["push", workspace.directory, "--to", "p"] + world.server)
            // The reserve is made beside the start, and an end in order waits for it.
            #expect(world.stopServer(SIGTERM)?.status == 0)
            #expect(try DiskFileSystem().size(world.path("store/reserve")) ?? 0 > 1 << 20)
            let free = try DiskFileSystem().freeBytes(world.path("store"))
            let ballast = open(world.path("store/ballast"), O_CREAT | O_WRONLY, 0o600)
            #expect(posix_fallocate(ballast, 0, off_t(free)) == 0)
            close(ballast)
            #expect(try DiskFileSystem().freeBytes(world.path("store")) == 0)
            try world.startServer()
            TreeModel.expect(try world.fetched("p", world.server), workspace.model, "while full")
            try world.succeed(["rm", "p"] + world.server)
            try world.succeed(["gc"] + world.server)
            unlink(world.path("store/ballast"))
            try world.succeed(["gc"] + world.server)
            try world.succeed(["push", workspace.directory, "--to", "p"] + world.server)
            #expect(world.stopServer(SIGTERM)?.status == 0)
            withExtendedLifetime(disk) {}
        }
    }

    @Test func `a log that a killed server left is given up while there is room for that`()
        async throws
    {
        try await onThread {
            let world = try ProcessWorld()
            let disk = try SmallDisk(world.path("store"), kilobytes: 64 << 10)
            try world.startServer()
            var workspace = try SmallWorkspace(world.path("work"), seed: 1)
            for _ in 0..<12 {
                try world.succeed(["push", workspace.directory, "--to", "p"] + world.server)
                try workspace.edit(includingLarge: false)
            }
            world.killServer()
            let log = world.path("store/catalog.sqlite-wal")
            let before = try #require(try DiskFileSystem().size(log))
            try #require(before > 500_000)
            let free = try DiskFileSystem().freeBytes(world.path("store"))
            let ballast = open(world.path("store/ballast"), O_CREAT | O_WRONLY, 0o600)
            #expect(posix_fallocate(ballast, 0, off_t(free - before)) == 0)
            close(ballast)
            try world.startServer()
            #expect(try DiskFileSystem().size(log) ?? 0 < before / 2)
            _ = try world.fetched("p", world.server)
            #expect(world.stopServer(SIGTERM)?.status == 0)
            withExtendedLifetime(disk) {}
        }
    }

    @Test func `a fetch onto a full disk says so, and goes on once there is room`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            let workspace = try SmallWorkspace(world.path("work"), seed: 1)
            try world.succeed(["push", workspace.directory, "--to", "p"] + world.local)
            let disk = try SmallDisk(world.path("copy"), kilobytes: 1 << 10)
            let fetch = ["fetch", "p", world.path("copy")] + world.local
            expectNoSpace(try world.run(fetch))
            try disk.grow(kilobytes: 40 << 10)
            try world.succeed(fetch)
            TreeModel.expect(
                try TreeModel(reading: world.path("copy")), workspace.model, "with room")
        }
    }
}

/// Bytes that a test can make again.
enum SeededBytes {
    static func make(seed: UInt64, count: Int) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return generator.bytes(count)
    }
}
