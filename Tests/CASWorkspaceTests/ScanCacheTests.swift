import CASCore
import CASFileSystem
import CASTestSupport
import CASTree
import Foundation
import Testing

@testable import CASWorkspace

/// What a scan remembers, and when it must not believe it.
@Suite struct ScanCacheTests {
    /// A workspace, and a cache of it written by a scan that began long after its files.
    private struct Fixture {
        let area = try? ScanArea()
        let root: String
        let cachePath: String

        init() throws {
            let area = try #require(area)
            root = area.path + "/work"
            cachePath = area.path + "/cache"
            for name in ["a", "b/c", "b/d/e", "b/d/f", "é/g", "z"] {
                try area.write("work/" + name, name)
            }
            try area.directory("work/void")
        }

        func save(
            clock: any WallClock = FixedClock.ahead(100), cache: StatCache? = nil,
            acknowledged: [StatCache.StoreKey: StatCache.Acknowledged] = [:]
        ) throws -> Bool {
            try HashedScan(root, cache: cache, clock: clock).tree
                .saveCache(to: cachePath, acknowledged: acknowledged)
        }

        func load() throws -> StatCache { try #require(StatCache.load(path: cachePath)) }

        /// Files that a scan with the saved cache has to hash.
        func pending() throws -> [String] {
            try HashedScan(root, cache: StatCache.load(path: cachePath)).pending
        }
    }

    @Test func `a second scan hashes nothing and makes the same tree`() throws {
        let fixture = try Fixture()
        #expect(try fixture.save())
        let cache = try fixture.load()
        #expect(cache.fileCount == 6)
        let first = try HashedScan(fixture.root).tree.assemble()
        let second = try HashedScan(fixture.root, cache: cache)
        #expect(second.pending.isEmpty)
        #expect(second.tree.cachedCount == 6)
        #expect(try second.tree.assemble().snapshotBytes == first.snapshotBytes)
        let isSaved = try fixture.save(cache: cache)
        #expect(!isSaved, "nothing new, nothing written")
    }

    @Test func `what changed is hashed again, and only that`() throws {
        let fixture = try Fixture()
        _ = try fixture.save()
        let area = try #require(fixture.area)
        try area.write("work/b/d/f", "F")
        try area.write("work/b/new", "n")
        try Host.removeTree(fixture.root + "/z")
        // The same bytes, size and time of modification, but another file.
        let directory = try DirectoryHandle(path: fixture.root + "/b/d")
        let name = Array("e".utf8)
        let time = try #require(try directory.status(name)).modified
        try area.write("work/b/d/other", "B/D/E")
        try directory.setModified(Array("other".utf8), time)
        try directory.rename(Array("other".utf8), to: directory, name)
        #expect(try fixture.pending() == ["b/d/e", "b/d/f", "b/new"])
        let cache = try fixture.load()
        #expect(try fixture.save(cache: cache))
        #expect(try fixture.load().fileCount == 6)
        #expect(try fixture.pending().isEmpty)
        // Only something less.
        try Host.removeTree(fixture.root + "/b/new")
        #expect(try fixture.save(cache: try fixture.load()))
        #expect(try fixture.load().fileCount == 5)
    }

    @Test func `a file that changed about when the scan began is hashed again`() throws {
        let fixture = try Fixture()
        let directory = try DirectoryHandle(path: fixture.root)
        let changed = try #require(try directory.status(Array("a".utf8))).changed
        func clock(_ seconds: Int64) -> FixedClock {
            FixedClock(
                time: Timestamp(
                    seconds: changed.seconds + seconds, nanoseconds: changed.nanoseconds))
        }
        // Files written before, at and after the moment when the scan began.
        for (offset, pending) in [(Int64(-10), 6), (0, 6), (1, 6), (100, 0)] {
            _ = try fixture.save(clock: clock(offset))
            #expect(try fixture.pending().count == pending, "\(offset) s")
            // What it was is known all the same.
            #expect(try fixture.load().fileCount == 6)
        }
        // Whole seconds may come from a file system with a coarse clock.
        let name = Array("a".utf8)
        try directory.setModified(name, Timestamp(seconds: changed.seconds + 98))
        _ = try fixture.save(clock: clock(100))
        #expect(try fixture.pending() == ["a"])
        // A clock that was set back leaves files of the future.
        try directory.setModified(name, Timestamp(seconds: .max - 1, nanoseconds: 5))
        _ = try fixture.save(clock: clock(100))
        #expect(try fixture.pending() == ["a"])
    }

    @Test func `a damaged, cut or foreign cache is no cache`() throws {
        let fixture = try Fixture()
        let key = StatCache.StoreKey(server: "http://x", incarnation: .random())
        _ = try fixture.save(acknowledged: [key: .init(snapshot: .empty, tree: .zero)])
        let url = URL(filePath: fixture.cachePath)
        let good = try Data(contentsOf: url)
        #expect(StatCache.load(path: fixture.cachePath) != nil)
        for position in good.indices {
            var bad = good
            bad[position] ^= 0x10
            try bad.write(to: url)
            #expect(StatCache.load(path: fixture.cachePath) == nil, "byte \(position)")
        }
        for count in stride(from: 0, to: good.count, by: 7) {
            try good.prefix(count).write(to: url)
            #expect(StatCache.load(path: fixture.cachePath) == nil, "\(count) bytes")
        }
        #expect(StatCache.load(path: fixture.root) == nil, "a directory")
        #expect(StatCache.load(path: fixture.cachePath + "-none") == nil)
        #expect(try fixture.pending().count == 6)
    }

    @Test func `a cache with a good checksum and hostile offsets is survived`() throws {
        let fixture = try Fixture()
        _ = try fixture.save()
        let url = URL(filePath: fixture.cachePath)
        let good = try Data(contentsOf: url)
        var random = ScanRandom(seed: 11)
        for round in 0..<400 {
            var bad = [UInt8](good.dropLast(4))
            for _ in 0...Int.random(in: 0..<4, using: &random) {
                let position = Int.random(in: 16..<bad.count, using: &random)
                bad[position] = random.pick([
                    0, 1, 0x7f, 0xff, UInt8.random(in: 0...255, using: &random),
                ])
            }
            let sum = bad.withUnsafeBytes { Checksum.crc32c($0) }
            bad.append(littleEndian: sum)
            try Data(bad).write(to: url)
            let files = try HashedScan(fixture.root, cache: StatCache.load(path: url.path)).files
            #expect(files.count == 6, "seed 11, round \(round)")
        }
    }

    @Test func `a record at the end of all numbers is none`() throws {
        let fixture = try Fixture()
        _ = try fixture.save()
        let cache = try fixture.load()
        for offset in [-1, .min, .max, .max - 1, .max - StatCache.directoryBytes] {
            #expect(cache.directory(at: offset) == nil, "\(offset)")
        }
        #expect(cache.directory(at: cache.rootOffset) != nil)
    }

    @Test func `remembers what stores acknowledged`() throws {
        let fixture = try Fixture()
        let first = StatCache.StoreKey(server: "https://a", incarnation: .random())
        let second = StatCache.StoreKey(server: "https://a", incarnation: .random())
        let value = StatCache.Acknowledged(snapshot: .of([1]), tree: .of([2]))
        #expect(try fixture.save(acknowledged: [first: value]))
        #expect(try fixture.load().acknowledged == [first: value])
        #expect(
            try fixture.save(
                cache: try fixture.load(), acknowledged: [first: value, second: value])
        )
        #expect(try fixture.load().acknowledged == [first: value, second: value])
    }

    @Test func `the example of the format page is what a scan writes`() throws {
        let bytes = try DocumentExamples(
            "Sources/CASWorkspace/CASWorkspace.docc/StatCache.md"
        ).example()
        let area = try ScanArea()
        try Data(bytes).write(to: URL(filePath: area.path + "/cache"))
        let cache = try #require(StatCache.load(path: area.path + "/cache"))
        #expect(cache.fileCount == 1 && cache.directoryCount == 2)
        let key = StatCache.StoreKey(
            server: "http://127.0.0.1:8700", incarnation: Identifier(high: 1, low: 2))
        #expect(
            cache.acknowledged == [key: .init(snapshot: .of([0x73]), tree: .of([0x74]))])
    }
}
