import CASCore
import CASPack
import CASWire

extension FuzzTargets {
    static let exports: [FuzzTarget] = [
        FuzzTarget("export", [exportSample], repair: repairExport) { bytes in
            let whole = export(bytes, pieceBytes: bytes.count)
            for pieceBytes in [1, 67, 1000] {
                let pieces = export(bytes, pieceBytes: pieceBytes)
                try require(
                    pieces.records == whole.records && pieces.failure?.code == whole.failure?.code,
                    "pieces of \(pieceBytes) bytes make a difference")
            }
            if let failure = whole.failure { throw failure }
            try require(
                whole.records.reduce(0) { $0 + $1.count } < bytes.count, "more than there is")
        }
    ]

    private static func export(
        _ bytes: [UInt8], pieceBytes: Int
    ) -> (records: [[UInt8]], failure: CASError?) {
        var records: [[UInt8]] = []
        var decoder = ExportDecoder(limits: limits)
        do {
            for start in stride(from: 0, to: bytes.count, by: max(pieceBytes, 1)) {
                try bytes[start...].prefix(pieceBytes).withUnsafeBytes {
                    try decoder.push(
                        $0, onManifest: { records.append($0.encode()) },
                        onRecord: { records.append(Array($0.record)) })
                }
            }
            try decoder.finish()
        } catch let error as CASError {
            return (records, error)
        } catch {
            return (records, CASError(.unknown, "\(error)"))
        }
        return (records, nil)
    }

    private static let manifest = ExportManifest(
        refs: names.map {
            RefEntry(
                name: $0, target: RefTarget(kind: .snapshot, digest: digest), tree: other,
                totals: nil, sequence: 1, moved: time, provenance: Provenance(), expires: nil)
        }, software: "0.1.0", created: time)

    private static let exportSample: [UInt8] = {
        let buffer = ReusableBuffer()
        buffer.append(ExportFormat.head(manifest))
        let hello = Array("hello\n".utf8)
        RecordCoding.append(kind: .chunk, digest: Digest.of(hello), payload: hello, to: buffer)
        let list = ChunkList(terms: [.chunk(digest, length: 1000)]).encode()
        RecordCoding.append(kind: .chunkList, digest: other, payload: list, to: buffer)
        RecordCoding.appendMark(
            kind: .chunkReference, digest: digest, rawLength: 1000, to: buffer)
        RecordCoding.appendMark(kind: .end, to: buffer)
        buffer.append(Digest.of(buffer.bytes).bytes)
        return Array(buffer.bytes)
    }()

    /// Makes the checksums of head and records good, ends the records with the mark, and hashes it all.
    @Sendable private static func repairExport(_ input: [UInt8]) -> [UInt8] {
        var bytes = input
        guard bytes.count >= 20 else { return bytes }
        bytes.replaceSubrange(0..<12, with: exportSample.prefix(12))
        let room = bytes.count - 20
        let count = min(Int(bytes[12]) | Int(bytes[13]) << 8, room)
        write(UInt32(count), &bytes, at: 12)
        write(checksum(bytes, 0..<16 + count), &bytes, at: 16 + count)
        let head = Array(bytes[..<(20 + count)])
        var records = repairRecords(Array(bytes[(20 + count)...]))
        // What is too short for a record at the end makes way for the end.
        let buffer = ReusableBuffer()
        RecordCoding.appendMark(kind: .end, to: buffer)
        var whole = 0
        records.withUnsafeBytes { bytes in
            while let record = try? RecordCoding.decode(
                UnsafeRawBufferPointer(rebasing: bytes[whole...]), limits: limits)
            {
                whole += record.record.count
            }
        }
        records = Array(records.prefix(whole))
        bytes = head + records + Array(buffer.bytes)
        return bytes + Digest.of(bytes).bytes
    }
}
