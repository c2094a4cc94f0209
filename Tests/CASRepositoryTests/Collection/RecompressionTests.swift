import CASCatalog
import CASChunking
import CASCompression
import CASCore
import CASPack
import CASTestSupport
import CASWire
import Testing

@testable import CASRepository

/// Records of cold packs in a smaller form.
@Suite struct RecompressionTests {
    /// A record as a client makes it.
    private func record(_ raw: [UInt8], in buffer: ReusableBuffer, kind: RecordKind = .chunk) throws
        -> RecordView
    {
        let compressor = try Compressor()
        buffer.removeAll()
        try RecordCoding.appendFrame(
            kind: kind, digest: Digest.of(raw), rawLength: raw.count, to: buffer
        ) { output in try raw.withUnsafeBytes { try compressor.encode($0, into: output) } }
        return try RecordCoding.decode(buffer.bytes, limits: .standard)
    }

    private func text(_ count: Int, _ seed: UInt64) -> [UInt8] {
        var random = SeededGenerator(seed: seed)
        let words = (0..<200).map { _ in Array("word\(random.next() % 5000)".utf8) }
        var bytes: [UInt8] = []
        while bytes.count < count {
            bytes += words[Int.random(in: 0..<words.count, using: &random)] + [0x20]
        }
        return Array(bytes.prefix(count))
    }

    @Test(arguments: 0..<24 as Range<UInt64>)
    func `content stays what it was, and the record gets smaller or stays`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let count = Int.random(in: 0...300_000, using: &random)
        let raw = seed % 3 == 0 ? random.bytes(count) : text(count, seed)
        let buffer = ReusableBuffer()
        let old = try record(raw, in: buffer)
        let (recompression, contents) = (try Recompression(), try RecordContents())
        defer { withExtendedLifetime((buffer, recompression, contents)) {} }
        guard let new = try recompression.smaller(old) else { return }
        #expect(new.header.storedLength < old.header.storedLength)
        #expect(new.header.digest == old.header.digest)
        #expect(new.header.kind == old.header.kind)
        #expect(Array(try contents.decode(new)) == raw)
    }

    @Test func `text gets smaller`() throws {
        let buffer = ReusableBuffer()
        let old = try record(text(9_000, 1), in: buffer)
        let recompression = try Recompression()
        #expect(try recompression.smaller(old) != nil)
    }

    @Test func `noise, short records and what has no frames stay`() throws {
        var random = SeededGenerator(seed: 3)
        let buffer = ReusableBuffer()
        #expect(try Recompression().smaller(try record(random.bytes(100_000), in: buffer)) == nil)
        #expect(try Recompression().smaller(try record(text(200, 4), in: buffer)) == nil)
        #expect(
            try Recompression().smaller(try record(text(90_000, 4), in: buffer, kind: .event))
                == nil)
    }

    @Test func `nothing is made of content that is not what its key says`() throws {
        let raw = text(50_000, 9)
        let compressor = try Compressor()
        let buffer = ReusableBuffer()
        try RecordCoding.appendFrame(
            kind: .chunk, digest: Digest.of([1, 2, 3]), rawLength: raw.count, to: buffer
        ) { output in try raw.withUnsafeBytes { try compressor.encode($0, into: output) } }
        let record = try RecordCoding.decode(buffer.bytes, limits: .standard)
        #expect(throws: CASError.self) { try Recompression().smaller(record) }
    }
}

/// Old packs that compaction copies.
@Suite struct ColdPackTests {
    private func folder(_ seed: UInt64) -> SampleFolder {
        var random = SeededGenerator(seed: seed)
        var folder = SampleFolder()
        let words = (0..<300).map { _ in "word\(random.next() % 100_000)" }
        for number in 0..<24 {
            let text = (0..<900).map { _ in words[Int.random(in: 0..<300, using: &random)] }
            folder.files["file-\(number)"] = SampleFolder.File(
                content: Array(text.joined(separator: " ").utf8))
        }
        return folder
    }

    private func collect(_ store: TestStore) throws {
        let collector = try Collector(store.repository)
        while try collector.step() {}
    }

    /// A store with packs of which a half is dead and that have not been touched for a month; what is left.
    private func shrunk(coldAfterDays days: Int64) throws -> (TestStore, SampleTree) {
        let store = try TestStore {
            $0.recompressedAfterSeconds = days * 86_400
            $0.chunker = .standard
        }
        let whole = folder(11)
        var half = whole
        for number in 0..<12 { half.files["file-\(2 * number)"] = nil }
        let tree = try SampleTree(half)
        try store.repository.push(try SampleTree(whole), to: "team/whole")
        try store.repository.push(tree, to: "team/half")
        try store.reopen()
        let name = try RefName("team/whole")
        try store.repository.removeRef(
            name, .any, Provenance(author: "somebody", time: store.clock.now()), domain: .standard)
        store.clock.advance(nanoseconds: 40 * 86_400 * 1_000_000_000)
        for _ in 0..<2 {
            let collector = try Collector(store.repository)
            while try collector.step() {}
        }
        return (store, tree)
    }

    private func levels(_ store: TestStore) throws -> Set<Int> {
        Set(
            try store.repository.catalog.read { try $0.packs() }
                .filter { $0.packClass == .small }.map(\.level))
    }

    private func storedBytes(_ store: TestStore) throws -> UInt64 {
        try store.repository.catalog.read { try $0.packUsage() }.values.reduce(0) {
            $0 + $1.storedBytes
        }
    }

    @Test func `records of old packs are compressed anew and stay what they were`() throws {
        let (cold, tree) = try shrunk(coldAfterDays: 7)
        let (young, _) = try shrunk(coldAfterDays: 1000)
        #expect(try levels(cold) == [Recompression.level])
        #expect(try levels(young) == [0])
        #expect(try storedBytes(cold) < storedBytes(young))
        for store in [cold, young] {
            #expect(try Fetched(store.repository, "team/half").files == tree.files)
            try store.reopen(closing: false)
            #expect(try Fetched(store.repository, "team/half").files == tree.files)
            _ = try store.rebuild()
            #expect(try Fetched(store.repository, "team/half").files == tree.files)
        }
    }
}
