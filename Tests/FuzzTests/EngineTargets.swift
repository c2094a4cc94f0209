import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASTree
import CASWire
import FuzzTargets
import HTTPTypes

@testable import CASClient
@testable import CASHTTP
@testable import CASWorkspace

extension FuzzTarget {
    /// How many times as long one input takes as elsewhere: those that go through a file, or are read thrice.
    var costFactor: Int { name.hasPrefix("file-") || name.hasPrefix("inject") ? 5 : 1 }
}

/// Decoders above the foundations: files of the client's machine, ignore rules, requests.
enum EngineTargets {
    static let all: [FuzzTarget] = files + ignoring + requests + events

    // MARK: - Files that only this machine writes

    /// A place for files; none if that fails, which every target that needs it then reports.
    private static let scratch = try? TemporaryDirectory("cas-fuzz-")

    /// A decoder that reads a file.
    private static func file(
        _ name: String, _ sample: (page: String, name: String),
        repair: @escaping @Sendable ([UInt8]) -> [UInt8] = endChecksum,
        _ check: @escaping @Sendable (String, [UInt8]) throws -> Void
    ) -> FuzzTarget {
        // A sample that is missing is reported by the suite.
        let samples = (try? DocumentExamples(sample.page).example(sample.name)).map { [$0] } ?? []
        return FuzzTarget("file-" + name, samples, repair: repair) { bytes in
            guard let scratch else { throw FuzzFailure("no place for files") }
            let path = "\(scratch.path)/\(name)"
            try bytes.withUnsafeBytes { try ScratchFile.replace(path, $0) }
            try check(path, bytes)
        }
    }

    /// The checksum of all bytes before it at the end.
    @Sendable private static func endChecksum(_ input: [UInt8]) -> [UInt8] {
        guard input.count > 4 else { return input }
        var bytes = input
        let sum = FuzzTargets.checksum(bytes, 0..<bytes.count - 4)
        FuzzTargets.write(sum, &bytes, at: bytes.count - 4)
        return bytes
    }

    private static let files: [FuzzTarget] = [
        file("stat-cache", ("Sources/CASWorkspace/CASWorkspace.docc/StatCache.md", "")) { path, _ in
            guard let cache = StatCache.load(path: path) else { throw refused() }
            try walk(cache, at: cache.rootOffset, depth: 0)
        },
        file(
            "destination-state",
            ("Sources/CASWorkspace/CASWorkspace.docc/Destination.md", "state")
        ) { path, bytes in
            guard let state = RestoreState.load(path, limits: .standard) else { throw refused() }
            _ = try state.contents.directory(state.snapshot.tree.digest)
            try require(state.marks.count * 4 <= bytes.count, "more marks than bytes")
        },
        file("known-messages", ("Sources/CASClient/CASClient.docc/KnownMessages.md", "known")) {
            path, bytes in
            guard bytes.count >= 48 else { throw refused() }
            let snapshot = bytes[16..<48].withUnsafeBytes { Digest($0) }
            let known = KnownMessages(path: path, snapshot: snapshot)
            guard bytes.count > 52, bytes[52...].count >= Digest.byteCount else { throw refused() }
            let first = bytes[48..<80].withUnsafeBytes { Digest($0) }
            guard known.contains(first) else { throw refused() }
        },
        FuzzTarget("git-index", [gitIndex(version: 2), gitIndex(version: 4)]) { bytes in
            var names = 0
            let isIndex = try bytes.withUnsafeBytes {
                try GitIndex.parse($0, hashBytes: 20) { _ in names += 1 }
            }
            guard isIndex else { throw refused() }
            try require(names <= bytes.count / 40, "more names than there is room for")
        },
    ]

    private static func refused() -> CASError { CASError(.dataLoss, "refused") }

    /// What a scan does with a cache: walks along names, into what it is pointed at.
    private static func walk(_ cache: StatCache, at offset: Int, depth: Int) throws {
        guard depth < 4, var found = cache.directory(at: offset) else { return }
        let device = found.device
        guard let status = try DiskFileSystem().status("/") else { return }
        for name in ["", "a", "d", "dd", "z"].map({ Array($0.utf8) }) {
            let record = FileRecord(nameOffset: 0, nameCount: name.count, status: status)
            let below = name.withUnsafeBytes { name in
                _ = found.digest(of: name, record, device: device)
                return found.subdirectory(name)
            }
            if let below { try walk(cache, at: below, depth: depth + 1) }
        }
    }

    /// An index of one entry, `a/b`.
    private static func gitIndex(version: UInt8) -> [UInt8] {
        var bytes = Array("DIRC".utf8) + [0, 0, 0, version, 0, 0, 0, 1]
        bytes += [UInt8](repeating: 1, count: 60) + [0, 3]
        if version == 4 { bytes.append(0) }
        bytes += Array("a/b".utf8) + [UInt8](repeating: 0, count: version == 4 ? 1 : 7)
        return bytes + [UInt8](repeating: 9, count: 20)
    }

    // MARK: - Ignore rules

    private static let ignoring: [FuzzTarget] = [
        FuzzTarget(
            "ignore-rules",
            [
                "# comment\n*.pyc\n/build/\n!keep.pyc\n**/logs/**\n[a-c]?\\*x\n",
                "foo**/bar\na/**/b\n[[:alpha:]]*\n\\!x \\ \n", "*a*a*a*a*b\n",
            ].map { Array($0.utf8) }
        ) { bytes in
            let list = bytes.withUnsafeBytes {
                IgnoreList(kind: .gitignore, source: "fuzz", base: [], text: $0)
            }
            let scope = IgnoreScope(
                rules: try IgnoreRules(), files: [list])
            for path in ["x/a", "x/aaaaaaaaaaaaaaaaaaaac", "x/build", "x/a/b/c", "x/[é"] {
                let bytes = Array(path.utf8)
                for isDirectory in [false, true] {
                    bytes.withUnsafeBufferPointer { path in
                        let name = UnsafeBufferPointer(
                            rebasing: path[((path.lastIndex(of: 0x2f) ?? -1) + 1)...])
                        _ = scope.verdict(name: name, path: path, isDirectory: isDirectory)
                    }
                }
            }
        }
    ]

    // MARK: - What the kernel tells

    private static let events: [FuzzTarget] = [
        FuzzTarget(
            "directory-events", [[1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0x61, 0, 0, 0]]
        ) { bytes in
            let events = try bytes.withUnsafeBytes { try FileEvent.decode($0) }
            try require(events.count * 16 <= bytes.count, "more events than there is room for")
            try require(
                events.allSatisfy { !$0.name.contains(0) }, "a name with a NUL in \(events)")
        }
    ]

    // MARK: - Requests

    private static let requests: [FuzzTarget] = [
        FuzzTarget("query", [Array("tag=v1&prefix=team%2Fa&x=%zz&&=".utf8)]) { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            let query = Query(text)
            let plain = text.utf8.allSatisfy { $0 != 0x25 && $0 < 0x80 }
            if plain, let tag = query["tag"] {
                try require(text.contains("tag=\(tag)"), "'\(tag)' does not stand in '\(text)'")
            }
        },
        FuzzTarget("range", ["bytes=0-4", "bytes=5-", "bytes=-3"].map { Array($0.utf8) }) { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            for size in [UInt64(0), 1, 10, .max] {
                guard let range = ByteRange.parse(text, size: size) else { continue }
                try require(range.upperBound <= size, "\(range) of \(size) for '\(text)'")
                try require(!text.contains("+"), "'\(text)' is \(range)")
            }
        },
        FuzzTarget(
            "route", ["/v1/refs/a/b", "/v1/push/\(identifier)/streams/1/2"].map { Array($0.utf8) }
        ) {
            bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            for tag in [nil, "v1"] { _ = try Route(.put, path: text, tag: tag) }
        },
        FuzzTarget("commit-body", commitBodies) { bytes in
            let buffer = ReusableBuffer()
            buffer.append(bytes)
            let (request, records) = try CommitBody.split(buffer, .standard)
            try require(records.count < bytes.count, "nothing was taken for \(request)")
        },
    ]

    private static let identifier = Identifier(high: 1, low: 2)

    private static let commitBodies: [[UInt8]] = ["team/project:v1"].compactMap { name in
        guard let name = try? RefName(name) else { return nil }
        let request = PushRequest(pushID: identifier, ref: name, snapshot: .empty)
        let buffer = ReusableBuffer()
        RecordCoding.append(
            kind: .pushRequest, digest: .zero, payload: request.encode(), to: buffer)
        RecordCoding.append(kind: .chunk, digest: .empty, payload: [], to: buffer)
        return Array(buffer.bytes)
    }
}
