import CASCore
import CASPack
import CASTestSupport
import Testing

/// The hexadecimal examples of Packs.md are decoded, so that the page can not drift from the code.
@Suite struct DocumentTests {
    private static func example(_ name: String) throws -> [UInt8] {
        try DocumentExamples("Sources/CASPack/CASPack.docc/Packs.md").example(name)
    }

    static let hello = Array("hello\n".utf8)

    @Test func `the example of a record`() throws {
        let example = try Self.example("record")
        let buffer = ReusableBuffer()
        RecordCoding.append(
            kind: .chunk, digest: Digest.of(Self.hello), payload: Self.hello, to: buffer)
        #expect(example == Array(buffer.bytes), "\(Hexadecimal.encode(buffer.bytes))")
        let kept = Samples.kept(example)
        #expect(kept.first?.payload == Self.hello)
        #expect(kept.first?.header.digest == Digest.of(Self.hello))
    }

    @Test func `the example of a chunk list`() throws {
        let example = try Self.example("chunk-list")
        let list = ChunkList(
            terms: [.chunk(Digest.of(Self.hello), length: 300), .inline([0, 1, 2])])
        #expect(example == list.encode(), "\(Hexadecimal.encode(list.encode()))")
        #expect(try ChunkList(decoding: example, limits: .standard) == list)
    }

    @Test func `the example of a sealed pack`() throws {
        let example = try Self.example("pack")
        let identifier = try #require(
            Identifier(hexadecimal: "000102030405060708090a0b0c0d0e0f"))
        let incarnation = try #require(
            Identifier(hexadecimal: "f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"))
        let header = PackHeader(
            packClass: .small, identifier: identifier, incarnation: incarnation,
            created: Timestamp(seconds: 1_795_525_200))
        let buffer = ReusableBuffer()
        buffer.append(header.encode())
        RecordCoding.append(
            kind: .chunk, digest: Digest.of(Self.hello), payload: Self.hello, to: buffer)
        let footerOffset = UInt64(buffer.count)
        let entry = PackFooter.Entry(
            RecordHeader(
                kind: .chunk, rawLength: 6, storedLength: 6, digest: Digest.of(Self.hello)),
            offset: 64)
        buffer.append(PackFooter(entries: [entry]).encode(at: footerOffset))
        #expect(example == Array(buffer.bytes), "\(Hexadecimal.encode(buffer.bytes))")
    }
    @Test func `the example of a sealed pack is read back`() throws {
        let example = try Self.example("pack")
        try example.withUnsafeBytes { bytes in
            let header = try PackHeader(decoding: bytes)
            #expect(header.packClass == .small && header.created.seconds == 1_795_525_200)
            let trailer = try PackTrailer(
                decoding: UnsafeRawBufferPointer(rebasing: bytes.suffix(PackTrailer.byteCount)),
                packBytes: UInt64(bytes.count))
            let start = Int(trailer.footerOffset)
            let footer = try PackFooter(
                decoding: UnsafeRawBufferPointer(
                    rebasing: bytes[start..<start + trailer.entriesByteCount]),
                trailer: trailer)
            let entry = try #require(footer.find(Digest.of(Self.hello)))
            let record = try RecordCoding.decode(
                UnsafeRawBufferPointer(rebasing: bytes[Int(entry.offset)...]), limits: .standard)
            #expect(Array(record.payload) == Self.hello)
        }
    }

    @Test func `the example of a stream`() throws {
        let example = try Self.example("stream")
        let first = Array("first\n".utf8)
        let list = ChunkList(
            terms: [.chunk(Digest.of(first), length: 6), .chunk(Digest.of(Self.hello), length: 6)])
        let buffer = ReusableBuffer()
        RecordCoding.appendMark(kind: .fileStart, to: buffer)
        RecordCoding.appendMark(
            kind: .chunkReference, digest: Digest.of(first), rawLength: 6, to: buffer)
        RecordCoding.append(
            kind: .chunk, digest: Digest.of(Self.hello), payload: Self.hello, to: buffer)
        RecordCoding.append(
            kind: .chunkList, digest: Digest.of(first + Self.hello), payload: list.encode(),
            to: buffer)
        RecordCoding.appendMark(kind: .end, to: buffer)
        #expect(example == Array(buffer.bytes), "\(Hexadecimal.encode(buffer.bytes))")
        var decoder = RecordStreamDecoder()
        var kinds: [RecordKind] = []
        try example.withUnsafeBytes { try decoder.push($0) { kinds.append($0.header.kind) } }
        try decoder.finish()
        #expect(kinds == [.fileStart, .chunkReference, .chunk, .chunkList, .end])
        let isEnded = decoder.isEnded
        #expect(isEnded)
    }
}
