import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASRepository
import CASTestSupport
import CASWire
import Synchronization
import Testing

/// Pushes in progress: several streams at once, a server started anew, clients that go away.
@Suite struct PushSessionTests {
    @Test func `what another stream uploads during a sync is not committed with it`() throws {
        let store = try TestStore { $0.checkpointBytes = 2_000 }
        let repository = store.repository
        let records = try SampleRecords(repository.chunker)
        var random = SeededGenerator(seed: 7)
        let push = try TestPush("project")
        let first = ReusableBuffer()
        try records.append(file: random.bytes(3_000), to: first)
        let second = ReusableBuffer()
        let late = random.bytes(500)
        try records.append(file: late, to: second)
        let failure = Mutex<(any Error)?>(nil)
        // The pack is there before: the sync that counts is that of the records.
        let pack = ReusableBuffer()
        try records.append(file: [1], to: pack)
        try repository.upload(pack, push, stream: 2)
        let bytes = Array(second.bytes)
        store.simulated.afterNextSynchronization {
            do {
                try bytes.withUnsafeBytes {
                    try repository.upload(
                        push: push.pushID, stream: 1, sequence: 0, records: $0, trusted: false,
                        domain: .standard)
                }
            } catch { failure.withLock { $0 = error } }
        }
        // Enough for a checkpoint.
        try repository.upload(first, push)
        if let error = failure.withLock({ $0 }) { throw error }
        func beyond() throws -> Int {
            try store.memoryCatalog.read { reader in
                try (1...8).reduce(0) { sum, number in
                    guard let pack = try reader.pack(Int64(number)) else { return sum }
                    return try sum
                        + reader.digests(in: Int64(number), from: pack.committedBytes).count
                }
            }
        }
        #expect(try beyond() == 0)
        // It is not lost either: the next round has it.
        #expect(
            try repository.missing([Digest.of(late)], push: push.pushID, domain: .standard)
                == [false])
        try repository.upload(first, try TestPush("other"))
        var folder = SampleFolder()
        folder.files["late"] = SampleFolder.File(content: late)
        let tree = try SampleTree(folder)
        #expect(
            try repository.commit(push, tree.digest, try records.messages(tree)).outcome == .done)
        #expect(try beyond() == 0)
        try tree.expectWhole(in: repository, "project")
    }

    @Test func `a precondition counts for unchanged content too`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(31)
        try store.repository.push(tree, to: "project")
        var push = try TestPush("project")
        push.precondition = .absent
        #expect(try store.repository.commit(push, tree.digest).outcome == .conflict)
        push.precondition = .digest(.zero)
        #expect(try store.repository.commit(push, tree.digest).outcome == .conflict)
        push.precondition = .digest(tree.digest)
        #expect(try store.repository.commit(push, tree.digest).outcome == .unchanged)
    }

    @Test func `a server that was started anew in the middle of a large file goes on with it`()
        throws
    {
        let store = try TestStore()
        let records = try SampleRecords(store.repository.chunker)
        var random = SeededGenerator(seed: 8)
        let old = random.bytes(20_000)
        let base = ReusableBuffer()
        try records.append(file: old, to: base)
        try store.repository.upload(base, try TestPush("project"))
        var folder = SampleFolder()
        folder.files["large"] = SampleFolder.File(content: random.bytes(6_000) + old)
        let tree = try SampleTree(folder)
        let content = try #require(folder.files["large"]).content
        let known = Set(records.pieces(old).map { Digest.of(Array($0)) })
        let missing = Set(records.pieces(content).map { Digest.of(Array($0)) }).subtracting(known)
        let delta = ReusableBuffer()
        try records.append(delta: content, missing: missing, to: delta)
        var split = 0
        try RecordCoding.forEach(in: delta.bytes, limits: .standard) { record in
            if split < 3_000 { split += record.record.count }
        }
        let push = try TestPush("project")
        func send(_ range: Range<Int>, _ sequence: Int) throws {
            try store.repository.upload(
                push: push.pushID, stream: 0, sequence: sequence,
                records: UnsafeRawBufferPointer(rebasing: delta.bytes[range]), trusted: false,
                domain: .standard)
        }
        try send(0..<split, 0)
        try store.reopen(closing: false)
        try send(split..<delta.count, 1)
        // The commit says what went with the old server, and the rest of the push brings it.
        try store.repository.push(tree, push)
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `what a request may have hashed is limited`() throws {
        let store = try TestStore { $0.limits.referredBytesPerRequest = 30_000 }
        let records = try SampleRecords(store.repository.chunker)
        var random = SeededGenerator(seed: 9)
        let chunk = random.bytes(4_000)
        var folder = SampleFolder()
        folder.files["chunk"] = SampleFolder.File(content: chunk)
        try store.repository.push(try SampleTree(folder), to: "project")
        func references(_ count: Int) throws -> CASError.Code? {
            let output = ReusableBuffer()
            RecordCoding.appendMark(kind: .fileStart, to: output)
            for _ in 0..<count {
                RecordCoding.appendMark(
                    kind: .chunkReference, digest: Digest.of(chunk), rawLength: chunk.count,
                    to: output)
            }
            var push = try TestPush("project")
            push.bodyBytes = 1 << 20
            return try code { try store.repository.upload(output, push) }
        }
        #expect(try references(7) == nil)
        #expect(try references(8) == .resourceExhausted)
        // A list alone, longer than that, is not hashed: the commit asks for its blob.
        let list = ChunkList(
            terms: Array(repeating: .chunk(Digest.of(chunk), length: 4_000), count: 8))
        let whole = Digest.of((0..<8).flatMap { _ in chunk })
        let alone = ReusableBuffer()
        try records.append(.chunkList, whole, list.encode(), to: alone)
        let push = try TestPush("project")
        try store.repository.upload(alone, push)
        #expect(
            try store.repository.missing([whole], push: push.pushID, domain: .standard) == [true])
    }

    @Test func `clients that went away keep nobody from pushing`() throws {
        let store = try TestStore { $0.limits.concurrentPushes = 3 }
        for _ in 0..<10 {
            _ = try store.repository.missing([.empty], push: .random(), domain: .standard)
        }
        #expect(store.repository.activePushes == 3)
        try store.repository.push(try SampleTree.random(33), to: "project")
        // One that has something to lose is not given up.
        let records = try SampleRecords(store.repository.chunker)
        for number in 0..<4 as Range<UInt8> {
            let output = ReusableBuffer()
            try records.append(file: [number], to: output)
            let push = try TestPush("other")
            let refused = try code { try store.repository.upload(output, push) }
            #expect(refused == (number < 3 ? nil : .unavailable))
        }
    }
}
