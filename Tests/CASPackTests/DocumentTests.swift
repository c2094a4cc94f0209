import CASCore
import CASPack
import Foundation
import Testing

/// The hexadecimal examples of Packs.md are decoded, so that the page can not drift from the code.
@Suite struct DocumentTests {
    /// The examples by the name that stands behind "```hex".
    private static func examples() throws -> [String: [UInt8]] {
        let page = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Sources/CASPack/CASPack.docc/Packs.md")
        var examples: [String: [UInt8]] = [:]
        var name: String?
        for line in try String(contentsOf: page, encoding: .utf8).split(separator: "\n") {
            if line.hasPrefix("```hex ") {
                name = String(line.dropFirst(7))
            } else if line.hasPrefix("```") {
                name = nil
            } else if let name {
                let digits = line.prefix { $0 != "|" }.filter { $0 != " " }
                examples[name, default: []] += try #require(Hexadecimal.decode(digits))
            }
        }
        return examples
    }

    static let hello = Array("hello\n".utf8)

    @Test func `the example of a record`() throws {
        let example = try #require(try Self.examples()["record"])
        let buffer = ReusableBuffer()
        RecordCoding.append(
            kind: .chunk, digest: Digest.of(Self.hello), payload: Self.hello, to: buffer)
        #expect(example == Array(buffer.bytes), "\(Hexadecimal.encode(buffer.bytes))")
        let kept = Samples.kept(example)
        #expect(kept.first?.payload == Self.hello)
        #expect(kept.first?.header.digest == Digest.of(Self.hello))
    }

    @Test func `the example of a chunk list`() throws {
        let example = try #require(try Self.examples()["chunk-list"])
        let list = ChunkList(
            terms: [.chunk(Digest.of(Self.hello), length: 300), .inline([0, 1, 2])])
        #expect(example == list.encode(), "\(Hexadecimal.encode(list.encode()))")
        #expect(try ChunkList(decoding: example, limits: .standard) == list)
    }

    @Test func `the example of a sealed pack`() throws {
        let example = try #require(try Self.examples()["pack"])
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
}
