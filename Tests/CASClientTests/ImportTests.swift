import CASClient
import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Foundation
import Synchronization
import Testing

/// Imports of files that are damaged or that somebody made up.
@Suite struct ImportTests {
    private static let small = 2_000

    private func refs(_ target: any StoreConnection) throws -> [RefEntry] {
        try target.refs(prefix: "", after: "", limit: 10).entries
    }

    @Test func `a file that is cut or damaged anywhere moves no ref`() throws {
        let world = try LocalWorld.withTwoRefs(largeBytes: Self.small)
        let bytes = try world.export([world.ref, try world.second])
        let target = try world.makeOther()
        for position in stride(from: 0, to: bytes.count, by: 17) {
            #expect(throws: CASError.self, "cut to \(position) bytes") {
                try world.importing(Array(bytes.prefix(position)), into: target)
            }
            var damaged = bytes
            damaged[position] ^= 0x40
            #expect(throws: CASError.self, "byte \(position) changed") {
                try world.importing(damaged, into: target)
            }
        }
        #expect(try refs(target).isEmpty)
        #expect(throws: CASError.self) { try world.importing(bytes + [0], into: target) }
        #expect(try refs(target).isEmpty)
        #expect(try world.importing(bytes, into: target).refs.count == 2)
    }

    /// What somebody may do to the records of a good file.
    enum Lie: String, CaseIterable {
        case otherContent, otherListedContent, missingFile, missingDirectory, missingSnapshot
        case missingChunk, swappedChunks, listWithoutChunks, chunkOutOfPlace, referenceToNothing
        case otherTarget

        func apply(_ parts: inout TakenApart) throws {
            let list = parts.records.firstIndex { $0.kind == .chunkList }
            let first = try #require(list) + 1
            switch self {
            case .otherContent:
                let at = parts.records.firstIndex { $0.kind == .chunk }
                let index = try #require(at)
                let digest = parts.records[index].digest
                parts.records[index] = HostileStore.Record(.chunk, digest, Array("other".utf8))
            case .otherListedContent:
                // A list that its chunks agree with, under the digest of another blob.
                let chunk = Array("other".utf8)
                let terms = [ChunkList.Term.chunk(Digest.of(chunk), length: 5)]
                let end = parts.records[first...].firstIndex {
                    $0.kind != .chunk && $0.kind != .chunkReference
                }
                let digest = parts.records[first - 1].digest
                parts.records.replaceSubrange(
                    (first - 1)..<(end ?? parts.records.count),
                    with: [
                        HostileStore.Record(.chunkList, digest, ChunkList(terms: terms).encode()),
                        HostileStore.Record(.chunk, Digest.of(chunk), chunk),
                    ])
            case .missingFile:
                let digest = Digest.of(Array("#!/bin/sh\n".utf8))
                parts.records.removeAll { $0.digest == digest }
            case .missingDirectory:
                let at = parts.records.lastIndex { $0.kind == .directory }
                parts.records.remove(at: try #require(at))
            case .missingSnapshot: parts.records.removeAll { $0.kind == .snapshot }
            case .missingChunk: parts.records.remove(at: first)
            case .swappedChunks: parts.records.swapAt(first, first + 1)
            case .listWithoutChunks:
                parts.records.removeSubrange(first...)
            case .chunkOutOfPlace:
                parts.records.insert(
                    HostileStore.Record(.chunk, Digest.of([9]), [9]), at: first + 1)
            case .referenceToNothing:
                let buffer = ReusableBuffer()
                try parts.records[first].bytes.withUnsafeBytes {
                    let header = try RecordHeader(decoding: $0, limits: .standard)
                    RecordCoding.appendMark(
                        kind: .chunkReference, digest: header.digest,
                        rawLength: header.rawLength, to: buffer)
                }
                try RecordCoding.forEach(in: buffer.bytes, limits: .standard) {
                    parts.records[first] = HostileStore.Record($0)
                }
            case .otherTarget:
                parts.manifest.refs[0].target.digest = Digest.of([1])
            }
        }
    }

    @Test(arguments: Lie.allCases)
    func `a made-up file with good checksums moves no ref`(_ lie: Lie) throws {
        let world = try LocalWorld.withTwoRefs()
        var parts = try TakenApart(try world.export([world.ref]))
        try lie.apply(&parts)
        let target = try world.makeOther()
        for canRewind in [true, false] {
            let error = #expect(throws: CASError.self) {
                try world.importing(parts.bytes, into: target, canRewind: canRewind)
            }
            #expect(error?.code == .dataLoss, "\(lie): \(String(describing: error))")
            #expect(try refs(target).isEmpty, "\(lie)")
        }
        // What came in with it does no harm.
        _ = try world.importing(try world.export([world.ref]), into: target)
        _ = try world.fetch(from: target)
        _ = try world.fetch()
        #expect(try world.differences() == [])
    }

    @Test func `all refs move in one step, or none`() throws {
        let world = try LocalWorld.withTwoRefs(largeBytes: Self.small)
        let second = try world.second
        let bytes = try world.export([world.ref, second])
        let target = try world.makeOther()
        // Somebody is quicker with the second one.
        let other = try LocalWorld()
        try other.write("other", "x")
        let name = try RefName("team/mine")
        _ = try other.push(to: target) { $0.ref = name }
        let mine = try #require(try target.ref(name)).target.digest
        let store = DecoratedStore(target)
        store.beforeCommit.withLock {
            $0 = {
                _ = try target.setRef(second, RefUpdate(target: mine, provenance: Provenance()))
            }
        }
        let taken = #expect(throws: CASError.self) { try world.importing(bytes, into: store) }
        #expect(taken?.code == .aborted)
        #expect(taken?.message.contains("'\(second)'") == true, "\(String(describing: taken))")
        #expect(try target.ref(world.ref) == nil)
        #expect(try target.ref(second)?.target.digest == mine)
        // A quota with room for one of them.
        let first = try #require(try world.store.ref(world.ref)?.totals?.bytes)
        var rule = RetentionRule(pattern: "**")
        rule.quota = first + 100
        try target.removeRef(second, RefUpdate(target: .zero, provenance: Provenance()))
        _ = try target.set(rule: rule)
        let refused = #expect(throws: CASError.self) { try world.importing(bytes, into: target) }
        #expect(refused?.code == .resourceExhausted)
        #expect(try refs(target).map(\.name.description) == ["team/mine:latest"])
        try target.remove(rule: rule)
        let summary = try world.importing(bytes, into: target)
        #expect(summary.refs.map(\.isMoved) == [true, true])
        #expect(try target.ref(world.ref) != nil)
        #expect(try target.ref(second)?.lifetime == 86_400)
        #expect(try world.importing(bytes, into: target).refs.map(\.isMoved) == [false, false])
    }

    @Test func `a store that moves one ref at a time is gone on with`() throws {
        let world = try LocalWorld.withTwoRefs(largeBytes: Self.small)
        let bytes = try world.export([world.ref, try world.second])
        let target = try world.makeOther()
        let store = DecoratedStore(target)
        store.onDescribe.withLock { $0 = { $0.movesSeveralRefs = false } }
        store.afterCommit.withLock {
            $0 = { throw CASError(.cancelled, "the process ended here") }
        }
        let error = #expect(throws: CASError.self) { try world.importing(bytes, into: store) }
        #expect(error?.code == .cancelled)
        #expect(try refs(target).map(\.name) == [world.ref])
        let summary = try world.importing(bytes, into: store)
        #expect(summary.refs.map(\.isMoved) == [false, true])
        _ = try world.fetch(try world.second.description, from: target)
        #expect(try world.differences(want: try world.second.description) == [])
    }

    @Test func `more refs than one commit takes come in several`() throws {
        let world = try LocalWorld()
        try world.write("file", "x")
        let names = try (0..<7).map { try RefName("team/project:v\($0)") }
        for name in names { _ = try world.push { $0.ref = name } }
        let bytes = try world.export(names)
        var limits = Limits.standard
        limits.refsPerCommit = 3
        let target = DecoratedStore(try world.makeOther())
        let summary = try Import.run(
            BytesSource(bytes), into: target, force: false, counters: ProgressCounters(),
            limits: limits)
        #expect(summary.refs.map(\.entry.name) == names)
        #expect(target.commitCount == 3)
        #expect(try refs(target).count == 7)
    }

    @Test func `what a store turns out to lack is sent from the file again`() throws {
        let world = try LocalWorld.withTwoRefs()
        let bytes = try world.export([world.ref, try world.second])
        // It says of everything that it has it, until a commit finds that it does not.
        func lying(_ target: LocalStore) -> DecoratedStore {
            let store = DecoratedStore(target)
            let isLying = Mutex(true)
            store.onMissing.withLock {
                $0 = { isLying.withLock { $0 } ? $0.map { _ in false } : $0 }
            }
            store.beforeCommit.withLock { $0 = { isLying.withLock { $0 = false } } }
            return store
        }
        let target = try world.makeOther()
        let summary = try world.importing(bytes, into: lying(target))
        #expect(summary.refs.count == 2)
        _ = try world.fetch(try world.second.description, from: target)
        #expect(try world.differences(want: try world.second.description) == [])
        let other = try world.makeOther("third")
        let error = #expect(throws: CASError.self) {
            try world.importing(bytes, into: lying(other), canRewind: false)
        }
        #expect(error?.code == .dataLoss)
        #expect(try refs(other).isEmpty)
    }
}

/// The committed export of version 1 stays readable (Export.md); export-1.txt says what is in it.
@Suite struct SampleExportTests {
    private static var url: URL {
        URL(filePath: #filePath).deletingLastPathComponent().appending(path: "export-1.txt")
    }

    private func sample() throws -> [UInt8] {
        try String(contentsOf: Self.url, encoding: .utf8).split(separator: "\n")
            .filter { !$0.hasPrefix("#") }
            .reduce(into: []) { $0 += try #require(Hexadecimal.decode($1)) }
    }

    @Test func `it is imported, and everything is there`() throws {
        let world = try LocalWorld()
        let target = try world.makeOther()
        let summary = try world.importing(try sample(), into: target)
        let found = summary.refs.map { "\($0.entry.name) \($0.entry.target.digest)" }
        #expect(
            found == [
                "team/project:v1 sha256:"
                    + "bb76ef26ec69ab015bd8647b938c8344718fad4644c23cb5b0caa784bc9390a3",
                "team/project:v2 sha256:"
                    + "26682481e4c5268ac64898e00a5d6a8728147609051e0dd8316672419adb2d20",
            ])
        let second = try #require(try target.ref(try RefName("team/project:v2")))
        #expect(second.provenance.author == "ada" && second.lifetime == 604_800)
        _ = try world.fetch("team/project:v2", from: target)
        func text(_ name: String) throws -> String {
            try String(contentsOfFile: "\(world.destination)/\(name)", encoding: .utf8)
        }
        #expect(try text("a") == "a\n")
        #expect(try text("d/run") == "#!/bin/sh\n")
        let large = try text("large.txt")
        #expect(large.utf8.count == 600_000 && large.hasPrefix("line 0\n"))
    }

    @Test(.enabled(if: ProcessInfo.processInfo.environment["CAS_WRITE_GOLDEN"] != nil))
    func `writes the sample`() throws {
        let world = try LocalWorld()
        try world.write("a", "a\n")
        try world.write("d/run", "#!/bin/sh\n", permissions: 0o755)
        let names = [try RefName("team/project:v1"), try RefName("team/project:v2")]
        let provenance = Provenance(author: "ada", host: "laptop", message: "sample")
        _ = try world.push {
            $0.ref = names[0]
            $0.provenance = provenance
        }
        let lines = (0..<80_000).map { "line \($0 % 20_000)\n" }.joined()
        try world.write("large.txt", Array(lines.utf8.prefix(600_000)))
        _ = try world.push {
            $0.ref = names[1]
            $0.provenance = provenance
            $0.lifetime = 604_800
        }
        let digits = Array(Hexadecimal.encode(try world.export(names)))
        var text = """
            # An export of format 1 with two refs, of which the second has a file of 600,000 bytes and a lifetime, in
            # hexadecimal. Made by the first cas with that format: never changed.

            """
        for start in stride(from: 0, to: digits.count, by: 120) {
            text += String(digits[start..<min(start + 120, digits.count)]) + "\n"
        }
        try text.write(to: Self.url, atomically: true, encoding: .utf8)
    }
}
