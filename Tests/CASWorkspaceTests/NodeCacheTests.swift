import CASCore
import CASFileSystem
import CASTestSupport
import CASTree
import CASWorkspace
import Testing

@Suite struct NodeCacheTests {
    private let area: RestoreArea
    private let folder: RestoreFolder
    private let tree: RestoreTree

    init() throws {
        area = try RestoreArea()
        var generator = SeededGenerator(seed: 5)
        var folder = RestoreFolder(["a": "one", "b/same": "one", "empty": ""])
        folder["b/big"] = RestoreFolder.File(
            content: generator.bytes(1_500_000), permissions: 0o755)
        self.folder = folder
        tree = try RestoreTree(folder)
    }

    private func second(_ change: (inout RestoreOptions) -> Void = { _ in }) throws
        -> RestoreSummary
    {
        try area.restore(tree, to: area.temporary.path + "/second") {
            $0.cacheDirectory = area.cache
            change(&$0)
        }
    }

    private func readSecond() throws -> RestoreFolder {
        try area.read(area.temporary.path + "/second")
    }

    private func inode(_ path: String) throws -> UInt64? {
        try DiskFileSystem().status(path)?.inode
    }

    /// All files of a part of the cache.
    private func cached(_ part: String) throws -> [String] {
        let fileSystem = DiskFileSystem()
        return try fileSystem.list("\(area.cache)/v1/\(part)").flatMap { folder in
            try fileSystem.list("\(area.cache)/v1/\(part)/\(folder)").map {
                "\(area.cache)/v1/\(part)/\(folder)/\($0)"
            }
        }
    }

    @Test func `what one fetch brought the next one asks nobody for`() throws {
        try area.restore(tree) { $0.cacheDirectory = area.cache }
        let summary = try second()
        #expect(area.asked == [])
        #expect(summary.cached == 3)
        #expect(try readSecond() == folder)
        #expect(try inode(area.destination + "/a") != inode(area.temporary.path + "/second/a"))
    }

    @Test(arguments: [false, true])
    func `a cached file that was damaged is removed and fetched`(isLinked: Bool) throws {
        try area.restore(tree) {
            $0.cacheDirectory = area.cache
            $0.link = isLinked
        }
        for path in try cached(isLinked ? "links" : "files") { try area.damage(path) }
        let summary = try second { $0.link = isLinked }
        #expect(summary.cached == 0)
        #expect(Set(area.asked) == Set(tree.files.keys).subtracting([.empty]))
        let again = try readSecond()
        #expect(again["b/big"]?.content == folder["b/big"]?.content)
        #expect(again["a"]?.content == folder["a"]?.content)
    }

    @Test func `links share one file among destinations, read-only`() throws {
        try area.restore(tree) {
            $0.cacheDirectory = area.cache
            $0.link = true
        }
        let summary = try second { $0.link = true }
        #expect(area.asked == [])
        #expect(summary.cached == 3)
        let there = area.temporary.path + "/second"
        #expect(try inode(area.destination + "/b/big") == inode(there + "/b/big"))
        #expect(try readSecond()["a"]?.permissions == 0o444)
        #expect(try readSecond()["b/big"]?.permissions == 0o555)
        #expect(try readSecond()["b/big"]?.content == folder["b/big"]?.content)
        // A repeated fetch leaves linked files where they are.
        let again = try second { $0.link = true }
        #expect(again.kept == 4)
        #expect(again.written == 0)
        #expect(try cached("files") == [])
    }

    @Test func `one content with two times is two links`() throws {
        var folder = folder
        folder["b/same"]?.modified = Timestamp(seconds: 77)
        let tree = try RestoreTree(folder)
        for destination in ["x", "y"] {
            try area.restore(tree, to: area.temporary.path + "/" + destination) {
                $0.cacheDirectory = area.cache
                $0.link = true
            }
            let read = try area.read(area.temporary.path + "/" + destination)
            #expect(read["a"]?.modified == folder["a"]?.modified)
            #expect(read["b/same"]?.modified == Timestamp(seconds: 77))
        }
        #expect(area.asked == [])
    }

    @Test func `links give way to copies where the cache is on another file system`() throws {
        let other = try TemporaryDirectory(in: "/dev/shm", "cas-cache-")
        try #require(
            try DiskFileSystem().status(other.path)?.device
                != DiskFileSystem().status(area.temporary.path)?.device,
            "/dev/shm is not a file system of its own: the test has nothing to show")
        try area.restore(tree) {
            $0.cacheDirectory = other.path
            $0.link = true
        }
        try area.restore(tree, to: area.temporary.path + "/second") {
            $0.cacheDirectory = other.path
            $0.link = true
        }
        #expect(area.asked == [])
        #expect(try readSecond()["b/big"]?.content == folder["b/big"]?.content)
    }

    @Test func `an update over linked files changes no other destination`() throws {
        for destination in ["x", "y"] {
            try area.restore(tree, to: area.temporary.path + "/" + destination) {
                $0.cacheDirectory = area.cache
                $0.link = true
            }
        }
        var next = folder
        next["a"] = RestoreFolder.File(content: Array("two".utf8))
        try area.restore(try RestoreTree(next), to: area.temporary.path + "/x") {
            $0.cacheDirectory = area.cache
            $0.link = true
        }
        #expect(try area.read(area.temporary.path + "/x")["a"]?.content == Array("two".utf8))
        #expect(try area.read(area.temporary.path + "/y")["a"]?.content == Array("one".utf8))
    }

    @Test func `the cache keeps to its size`() throws {
        try area.restore(tree) {
            $0.cacheDirectory = area.cache
            $0.cacheLimit = 1_000
        }
        let sizes = try cached("files").map { try DiskFileSystem().size($0) ?? 0 }
        #expect(sizes.reduce(0, +) <= 1_000)
        #expect(try area.read() == folder)
    }
}
