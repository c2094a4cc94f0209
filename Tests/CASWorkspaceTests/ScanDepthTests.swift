import CASCore
import CASFileSystem
import CASTree
import CASWorkspace
import Foundation
import Synchronization
import Testing

/// Trees that are deep or wide.
@Suite struct ScanDepthTests {
    /// Makes a chain of directories, each with a file and an empty sibling, without long paths.
    private func chain(_ area: ScanArea, levels: Int, nameBytes: Int) throws {
        let name = [UInt8](repeating: UInt8(ascii: "d"), count: nameBytes)
        var handle = try DirectoryHandle(path: area.path)
        for _ in 0..<levels {
            _ = try handle.createFile(Array("file".utf8))
            try handle.createDirectory(Array("a".utf8))
            try handle.createDirectory(Array("z".utf8))
            _ = try handle.openDirectory(Array("z".utf8)).createFile(Array("f".utf8))
            try handle.createDirectory(name)
            handle = try handle.openDirectory(name)
        }
    }

    /// Descriptors of this process that lie in a directory.
    private static func descriptors(below path: String) throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count { number in
            var target = [CChar](repeating: 0, count: 8192)
            let count = readlink("/proc/self/fd/\(number)", &target, target.count)
            return target.prefix(max(count, 0)).map(UInt8.init(bitPattern:))
                .starts(with: Array(path.utf8))
        }
    }

    @Test(arguments: [1, 4])
    func `a tree of 1,000 levels takes few descriptors and no recursion`(workers: Int) throws {
        let area = try ScanArea()
        try chain(area, levels: 1000, nameBytes: 60)
        let most = Mutex(0)
        let tree = try WorkspaceScan.run(root: area.path, options: ScanOptions(workers: workers)) {
            file in
            if file.name == Array("f".utf8) {
                let count = try Self.descriptors(below: area.path)
                most.withLock { $0 = max($0, count) }
            }
            try HashedScan.hash(file)
        }
        #expect(most.withLock { $0 } <= 120)
        let assembled = try tree.assemble()
        #expect(
            assembled.snapshot.totals
                == TreeTotals(files: 2000, directories: 3001, symlinks: 0, bytes: 0))
        // Restored paths are longer than PATH_MAX.
        #expect(assembled.directories.contains { $0.path.count > 60_000 })
        let cachePath = area.path + "-cache"
        defer { unlink(cachePath) }
        let later = try WorkspaceScan.run(
            root: area.path, clock: FixedClock.ahead(100), onFile: HashedScan.hash)
        try later.saveCache(to: cachePath, acknowledged: [:])
        let again = try HashedScan(area.path, cache: StatCache.load(path: cachePath))
        #expect(again.pending.isEmpty)
        #expect(try again.tree.assemble().snapshotDigest == assembled.snapshotDigest)
    }

    @Test func `files can be opened long after their directory was left`() throws {
        let area = try ScanArea()
        try chain(area, levels: 150, nameBytes: 3)
        for number in 0..<300 { try area.write("w\(number)/x/y", "\(number)") }
        let found = Mutex<[PendingFile]>([])
        let tree = try WorkspaceScan.run(root: area.path) { file in
            found.withLock { $0.append(file) }
        }
        for file in found.withLock({ $0 }).shuffled() { try HashedScan.hash(file) }
        #expect(try tree.assemble().snapshot.totals.files == 600)
    }

    @Test func `a wide directory keeps every file`() throws {
        let area = try ScanArea()
        let handle = try DirectoryHandle(path: area.path)
        for number in 0..<5000 { _ = try handle.createFile(Array("file-\(number)".utf8)) }
        let scan = try HashedScan(area.path)
        #expect(scan.tree.fileCount == 5000)
        let root = try Directory(
            decodingCanonical: try scan.tree.assemble().directories[0].encode().directory,
            limits: .standard)
        #expect(root.files.count == 5000)
    }

    @Test(.enabled(if: geteuid() != 0, "the superuser may read everything"))
    func `an unreadable directory is named`() throws {
        let area = try ScanArea()
        let closed = ["closed", "open/deep/closed"]
        for name in ["open/a"] + closed.map({ $0 + "/b" }) { try area.write(name) }
        for name in closed { chmod(area.path + "/" + name, 0) }
        defer { for name in closed { chmod(area.path + "/" + name, 0o755) } }
        let scan = try HashedScan(area.path)
        #expect(scan.tree.problems.map(\.text) == closed)
        let error = #expect(throws: CASError.self) { try scan.tree.assemble() }
        #expect(error?.code == .permissionDenied)
        let without = try HashedScan(area.path, ScanOptions(excludes: ["closed"]))
        #expect(try without.tree.assemble().snapshot.totals.files == 1)
    }

    @Test func `a directory whose rules cannot be read is named, and not pushed without them`()
        throws
    {
        let area = try ScanArea()
        for name in ["a", "b/.gitignore", "b/secret", "c"] { try area.write(name) }
        truncate(area.path + "/b/.gitignore", 17 << 20)
        let scan = try HashedScan(area.path)
        #expect(scan.files == ["a", "c"])
        #expect(scan.tree.problems.map(\.text) == ["b"])
        let error = #expect(throws: CASError.self) { try scan.tree.assemble() }
        #expect(error?.path == "b")
    }
}
