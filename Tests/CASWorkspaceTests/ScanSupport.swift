import CASCore
import CASFileSystem
import CASTree
import CASWorkspace
import Foundation
import Synchronization
import Testing

/// A seeded generator of random numbers (SplitMix64).
struct ScanRandom: RandomNumberGenerator {
    private var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var value = state
        value = (value ^ (value >> 30)) &* 0xbf58_476d_1ce4_e5b9
        value = (value ^ (value >> 27)) &* 0x94d0_49bb_1331_11eb
        return value ^ (value >> 31)
    }

    mutating func pick<Element>(_ elements: [Element]) -> Element {
        elements[Int.random(in: 0..<elements.count, using: &self)]
    }
}

/// A directory of its own for one test, removed with it.
final class ScanArea: Sendable {
    let path: String

    init() throws {
        let base = FileManager.default.temporaryDirectory.path
        path = try Host.makeTemporaryDirectory(in: base, prefix: "cas-scan-")
    }

    deinit {
        do {
            try Host.removeTree(path)
        } catch {
            Issue.record("\(path) cannot be removed: \(error)")
        }
    }

    /// Writes a file and the directories above it, with a time that lies well in the past.
    func write(_ name: String, _ text: String = "", mode: Int = 0o644) throws {
        let url = URL(filePath: path).appending(path: name)
        try FileManager.default.createDirectory(
            at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: url)
        try FileManager.default.setAttributes([.posixPermissions: mode], ofItemAtPath: url.path)
    }

    func directory(_ name: String) throws {
        try FileManager.default.createDirectory(
            at: URL(filePath: path).appending(path: name), withIntermediateDirectories: true)
    }

    func link(_ name: String, to target: String) throws {
        try DirectoryHandle(path: path).createSymlink(
            Array(name.utf8), target: Array(target.utf8))
    }

    /// Runs a program in this directory; its standard output.
    @discardableResult
    func run(
        _ arguments: [String], input: Data = Data(), allowed: Set<Int32> = [0]
    ) throws -> Data {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = arguments
        process.currentDirectoryURL = URL(filePath: path)
        process.environment = [
            "PATH": ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin",
            "HOME": path + "/nowhere", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
        ]
        let inputFile = path + "-input"
        let outputFile = path + "-output"
        try input.write(to: URL(filePath: inputFile))
        try Data().write(to: URL(filePath: outputFile))
        defer {
            for file in [inputFile, outputFile] { unlink(file) }
        }
        process.standardInput = FileHandle(forReadingAtPath: inputFile)
        process.standardOutput = FileHandle(forWritingAtPath: outputFile)
        try process.run()
        process.waitUntilExit()
        try #require(
            allowed.contains(process.terminationStatus),
            "\(arguments) failed with \(process.terminationStatus): is git installed?")
        return try Data(contentsOf: URL(filePath: outputFile))
    }
}

/// A scan whose files are hashed at once, as a push would do it.
struct HashedScan {
    let tree: ScannedTree
    /// Paths of the files that the cache did not know, in order.
    let pending: [String]

    init(
        _ root: String, _ options: ScanOptions = ScanOptions(), cache: StatCache? = nil,
        clock: any WallClock = SystemClock()
    ) throws {
        let found = Mutex<[String]>([])
        tree = try WorkspaceScan.run(root: root, options: options, cache: cache, clock: clock) {
            file in
            found.withLock { $0.append(file.text) }
            try HashedScan.hash(file)
        }
        pending = found.withLock { $0 }.sorted()
    }

    static func hash(_ file: PendingFile) throws {
        let opened = try file.open()
        let status = try opened.status()
        let buffer = ReusableBuffer(capacity: Int(status.size))
        try buffer.append(maximum: Int(status.size)) { try opened.read(into: $0) }
        file.finish(
            digest: Digest.of(buffer.bytes), size: UInt64(buffer.count), status: status)
    }

    /// Paths of all files.
    var files: [String] {
        var paths: [String] = []
        tree.forEachFile { path, _, _ in paths.append(PathText.printable(path)) }
        return paths.sorted()
    }

    /// Paths of all directories that the assembled tree has, but the root.
    func directories() throws -> [String] {
        try tree.assemble().directories.dropFirst().map { PathText.printable($0.path) }.sorted()
    }

    /// What is left out, each with its rule.
    var skipped: [String] { tree.skipped.map(\.text) }
}

/// A clock that stands where a test puts it.
struct FixedClock: WallClock {
    let time: Timestamp
    func now() -> Timestamp { time }
    func monotonicNanoseconds() -> UInt64 { 0 }

    /// So many seconds from now: files of this test are old, or not written yet.
    static func ahead(_ seconds: Int64) -> FixedClock {
        FixedClock(time: Timestamp(seconds: SystemClock().now().seconds + seconds))
    }
}
