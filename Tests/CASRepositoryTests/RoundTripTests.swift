import CASPack
import CASCore
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Testing

struct RoundTripTests {
    @Test(arguments: Storage.allCases, [1, 2, 3, 4, 5, 6] as [UInt64])
    func `brings back what was pushed`(_ storage: Storage, _ seed: UInt64) throws {
        let store = try TestStore(storage)
        let tree = try SampleTree.random(seed)
        let response = try store.repository.push(tree, to: "team/project")
        #expect(response.outcome == .done)
        #expect(response.snapshot == tree.digest)
        #expect(response.tree == tree.snapshot.tree.digest)
        #expect(response.previous == nil)
        try tree.expectWhole(in: store.repository, "team/project")
        try tree.expectWhole(in: store.repository, shares: 3)
        try store.reopen()
        try tree.expectWhole(in: store.repository, "team/project", shares: 2)
    }

    @Test(arguments: Storage.allCases)
    func `cuts large files and brings them back`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        var random = SeededGenerator(seed: 11)
        var folder = SampleFolder()
        let content = random.bytes(150_000)
        folder.files["large"] = SampleFolder.File(content: content)
        folder.files["other"] = SampleFolder.File(content: SampleFolder.content(70_000, &random))
        let first = try SampleTree(folder)
        try store.repository.push(first, to: "large")
        try first.expectWhole(in: store.repository, "large", shares: 2)
        // A byte in the middle costs a few chunks and not the file.
        let before = store.repository.counters.packBytes
        folder.files["large"]?.content[80_000] ^= 1
        let second = try SampleTree(folder)
        let records = try SampleRecords(store.repository.chunker)
        let push = try TestPush("large")
        let edited = folder.files["large"]?.content ?? []
        let chunks = records.list(edited).chunks
        let missing = try store.repository.missing(chunks, push: push.pushID, domain: .standard)
        #expect(missing.count { $0 } < 6)
        let output = ReusableBuffer()
        try records.append(
            delta: edited, missing: Set(zip(chunks, missing).filter(\.1).map(\.0)), to: output)
        try store.repository.upload(output, push)
        let response = try store.repository.commit(
            push, second.digest, try records.messages(second))
        #expect(response.outcome == .done)
        #expect(response.previous == first.digest)
        #expect(store.repository.counters.packBytes - before < 30_000)
        try second.expectWhole(in: store.repository, "large")
        try first.expectWhole(in: store.repository)
        #expect(
            try store.repository.read(
                blob: Digest.of(edited), maximumBytes: 1 << 20, domain: .standard) == edited)
    }

    @Test func `reads ranges of a chunked blob`() throws {
        let store = try TestStore()
        var random = SeededGenerator(seed: 12)
        var folder = SampleFolder()
        let content = random.bytes(20_000)
        folder.files["large"] = SampleFolder.File(content: content)
        try store.repository.push(try SampleTree(folder), to: "large")
        for _ in 0..<50 {
            let start = Int.random(in: 0...content.count, using: &random)
            let count = Int.random(in: 0...6_000, using: &random)
            var read: [UInt8] = []
            try store.repository.readRange(
                Digest.of(content), offset: UInt64(start), count: UInt64(count), domain: .standard
            ) { read.append(contentsOf: $0) }
            #expect(read == Array(content[start..<min(content.count, start + count)]))
        }
    }

    @Test(arguments: Storage.allCases, [21, 22, 23] as [UInt64])
    func `sends only what the other side lacks`(_ storage: Storage, _ seed: UInt64) throws {
        let store = try TestStore(storage)
        var random = SeededGenerator(seed: seed)
        var folder = SampleFolder.random(&random)
        let first = try SampleTree(folder)
        try store.repository.push(first, to: "project")
        folder.files["added"] = SampleFolder.File(content: random.bytes(500))
        let second = try SampleTree(folder)
        let response = try store.repository.push(second, to: "project")
        #expect(response.previous == first.digest)
        for have in [first.digest, first.snapshot.tree.digest] {
            let fetched = try Fetched(store.repository, "project", have: have)
            #expect(Set(fetched.files.keys) == Set(second.files.keys).subtracting(first.files.keys))
            #expect(fetched.messages[second.snapshot.tree.digest] != nil)
            #expect(fetched.messages.count <= 3)
        }
        // A snapshot that the store does not know is no base.
        let all = try Fetched(store.repository, "project", have: Digest.of([1]))
        #expect(try all.folder() == folder)
    }

    @Test func `holds the empty file and the empty directory under one digest`() throws {
        let store = try TestStore()
        var folder = SampleFolder()
        folder.files["empty"] = SampleFolder.File(content: [])
        folder.folders["empty-directory"] = SampleFolder()
        let tree = try SampleTree(folder)
        #expect(try store.repository.push(tree, to: "empty").outcome == .done)
        try tree.expectWhole(in: store.repository, "empty")
    }

    @Test func `holds a file whose bytes are those of a message of the same tree`() throws {
        let store = try TestStore()
        var inner = SampleFolder()
        inner.files["a"] = SampleFolder.File(content: [1, 2, 3])
        let innerTree = try SampleTree(inner)
        for message in innerTree.messages {
            var folder = SampleFolder()
            folder.folders["inner"] = inner
            folder.files["message"] = SampleFolder.File(content: message.bytes)
            let tree = try SampleTree(folder)
            #expect(try store.repository.push(tree, to: "twins").outcome == .done)
            try tree.expectWhole(in: store.repository, "twins")
        }
    }

    @Test func `resolves a tree digest to its snapshot`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(31)
        try store.repository.push(tree, to: "project")
        let found = try store.repository.resolve(
            .digest(tree.snapshot.tree.digest, name: nil), domain: .standard)
        #expect(found.snapshot == tree.digest)
        #expect(throws: CASError.self) {
            try store.repository.resolve(.digest(Digest.of([9]), name: nil), domain: .standard)
        }
    }
}
