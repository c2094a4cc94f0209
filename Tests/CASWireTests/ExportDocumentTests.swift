import CASCore
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Testing

/// The example of Export.md is what this program reads and writes, and nothing else passes for one.
@Suite struct ExportDocumentTests {
    private static let hello = Array("hello\n".utf8)

    /// What an export holds.
    private struct Content: Equatable {
        var manifest: ExportManifest?
        var records: [RecordHeader] = []
    }

    private static func decode(_ bytes: [UInt8], pieceBytes: Int = .max) throws -> Content {
        var content = Content()
        var decoder = ExportDecoder()
        for start in stride(from: 0, to: bytes.count, by: max(1, min(pieceBytes, bytes.count))) {
            try bytes[start...].prefix(pieceBytes).withUnsafeBytes {
                try decoder.push(
                    $0, onManifest: { content.manifest = $0 },
                    onRecord: { content.records.append($0.header) })
            }
        }
        try decoder.finish()
        #expect(decoder.takenBytes == UInt64(bytes.count))
        return content
    }

    /// The example, made from its parts.
    private static func make() throws -> (bytes: [UInt8], content: Content) {
        let file = FileNode(
            name: try EntryName(Array("f".utf8)), digest: Digest.of(hello), size: 6,
            isExecutable: false)
        let directory = Directory(files: [file]).encode()
        let tree = SizedDigest(digest: Digest.of(directory), size: UInt64(directory.count))
        let snapshot = Snapshot(
            tree: tree, attributes: nil, stableAttributes: nil,
            totals: TreeTotals(files: 1, directories: 1, bytes: 6))
        let entry = RefEntry(
            name: try RefName("team/a"),
            target: RefTarget(kind: .snapshot, digest: snapshot.digest), tree: tree.digest,
            totals: snapshot.totals, sequence: 7, moved: Timestamp(seconds: 1_795_525_200),
            provenance: Provenance(author: "ada", time: Timestamp(seconds: 1_795_525_200)),
            expires: nil)
        let manifest = ExportManifest(
            refs: [entry], software: "0.1.0", created: Timestamp(seconds: 1_795_525_260))
        let buffer = ReusableBuffer()
        buffer.append(ExportFormat.head(manifest))
        let records: [(RecordKind, [UInt8])] = [
            (.snapshot, snapshot.encode()), (.directory, directory), (.chunk, hello),
        ]
        var content = Content(manifest: manifest)
        for (kind, payload) in records {
            RecordCoding.append(
                kind: kind, digest: Digest.of(payload), payload: payload, to: buffer)
            content.records.append(
                RecordHeader(
                    kind: kind, rawLength: payload.count, storedLength: payload.count,
                    digest: Digest.of(payload)))
        }
        RecordCoding.appendMark(kind: .end, to: buffer)
        buffer.append(Digest.of(buffer.bytes).bytes)
        return (Array(buffer.bytes), content)
    }

    @Test func `the example of the page`() throws {
        let example = try DocumentExamples("Sources/CASWire/CASWire.docc/Export.md").example(
            "export")
        let (bytes, content) = try Self.make()
        #expect(example == bytes, "\(Hexadecimal.encode(bytes))")
        for pieceBytes in [1, 5, 64, 1000, .max] {
            #expect(try Self.decode(example, pieceBytes: pieceBytes) == content)
        }
        #expect(ExportFormat.isExport(Array(bytes.prefix(8))))
        let last = Array(bytes.suffix(ExportFormat.lastByteCount))
        #expect(last.withUnsafeBytes { ExportFormat.isWhole(lastBytes: $0, limits: .standard) })
    }

    @Test func `no part of a file and no other byte passes for one`() throws {
        let (bytes, _) = try Self.make()
        for count in 0..<bytes.count {
            #expect(throws: CASError.self, "cut to \(count) bytes") {
                _ = try Self.decode(Array(bytes.prefix(count)))
            }
            var damaged = bytes
            damaged[count] ^= 1
            #expect(throws: CASError.self, "byte \(count) changed") {
                _ = try Self.decode(damaged)
            }
        }
        #expect(throws: CASError.self) { _ = try Self.decode(bytes + [0]) }
        #expect(throws: CASError.self) { _ = try Self.decode(bytes + bytes) }
    }

    @Test func `what does not belong into an export is refused, and so is a ref that stands twice`()
        throws
    {
        let (_, content) = try Self.make()
        var manifest = try #require(content.manifest)
        for kind in [RecordKind.event, .pushRequest, .fileStart, .failure] {
            let buffer = ReusableBuffer()
            buffer.append(ExportFormat.head(manifest))
            RecordCoding.append(kind: kind, digest: .zero, payload: [], to: buffer)
            RecordCoding.appendMark(kind: .end, to: buffer)
            buffer.append(Digest.of(buffer.bytes).bytes)
            let bytes = Array(buffer.bytes)
            let error = #expect(throws: CASError.self) { _ = try Self.decode(bytes) }
            #expect(error?.message.contains("does not belong") == true, "\(kind)")
        }
        manifest.refs.append(manifest.refs[0])
        let twice = ExportFormat.head(manifest)
        let error = #expect(throws: CASError.self) { _ = try Self.decode(twice) }
        #expect(error?.message.contains("twice") == true)
        let head = ExportFormat.head(try #require(content.manifest))
        let newer = Array(head[..<8]) + [2] + Array(head[9...])
        let refused = #expect(throws: CASError.self) { _ = try Self.decode(newer) }
        #expect(refused?.code == .unimplemented)
    }
}
