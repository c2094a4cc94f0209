import CASCore
import CASPack

extension FuzzTargets {
    static let packs: [FuzzTarget] = [
        FuzzTarget("records", [recordsSample], repair: repairRecords) { bytes in
            let buffer = ReusableBuffer()
            try bytes.withUnsafeBytes { bytes in
                try RecordCoding.forEach(in: bytes, limits: limits) { record in
                    RecordCoding.append(record.header, payload: record.payload, to: buffer)
                }
            }
            try require(Array(buffer.bytes) == bytes, "records are encoded to other bytes")
        },
        FuzzTarget("record-stream", [recordsSample + endMark], repair: repairRecords) { bytes in
            let whole = try stream(bytes, pieceBytes: bytes.count)
            for pieceBytes in [1, 67, 1000] {
                let pieces = try stream(bytes, pieceBytes: pieceBytes)
                try require(pieces == whole, "pieces of \(pieceBytes) bytes make a difference")
            }
            if case .failure(let error) = whole.result { throw error }
        },
        .stable(
            "chunk-list", [chunkListSample],
            decode: { try ChunkList(decoding: $0, limits: limits) },
            encode: { $0.encode() }),
        .canonical(
            "pack-header", [packSample], repair: repairPack,
            decode: { bytes in
                (
                    try bytes.withUnsafeBytes { try PackHeader(decoding: $0) },
                    rest: Array(bytes.dropFirst(PackHeader.byteCount))
                )
            }, encode: { $0.0.encode() + $0.rest }),
        FuzzTarget("pack-footer", [packSample], repair: repairPack, check: checkFooter),
        FuzzTarget("pack-scan", [packSample], repair: repairPack, check: checkScan),
    ]

    private struct StreamOutcome: Equatable {
        var records: [[UInt8]] = []
        var result: Result<Bool, CASError> = .success(true)

        static func == (left: StreamOutcome, right: StreamOutcome) -> Bool {
            guard left.records == right.records else { return false }
            switch (left.result, right.result) {
            case (.success, .success): return true
            case (.failure(let first), .failure(let second)): return first.code == second.code
            default: return false
            }
        }
    }

    private static func stream(_ bytes: [UInt8], pieceBytes: Int) throws -> StreamOutcome {
        var outcome = StreamOutcome()
        var decoder = RecordStreamDecoder(limits: limits)
        do {
            for start in stride(from: 0, to: bytes.count, by: max(pieceBytes, 1)) {
                try bytes[start..<min(start + pieceBytes, bytes.count)].withUnsafeBytes {
                    try decoder.push($0) { outcome.records.append(Array($0.record)) }
                }
            }
            try decoder.finish()
        } catch let error as CASError {
            outcome.result = .failure(error)
        }
        return outcome
    }

    @Sendable private static func checkFooter(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { bytes in
            guard bytes.count >= PackTrailer.byteCount else { throw refused() }
            let trailer = try PackTrailer(
                decoding: UnsafeRawBufferPointer(rebasing: bytes.suffix(PackTrailer.byteCount)),
                packBytes: UInt64(bytes.count))
            let start = Int(trailer.footerOffset)
            let entries = bytes[start..<start + trailer.entriesByteCount]
            let footer = try PackFooter(
                decoding: UnsafeRawBufferPointer(rebasing: entries), trailer: trailer)
            let again = footer.encode(at: trailer.footerOffset)
            try require(again.elementsEqual(bytes[start...]), "a footer is encoded otherwise")
            for entry in footer.entries {
                try require(footer.find(entry.digest)?.digest == entry.digest, "not found")
            }
        }
    }

    @Sendable private static func checkScan(_ bytes: [UInt8]) throws {
        for (skipsDamage, pieceBytes) in [(false, 128), (true, 1 << 16)] {
            var scanner = PackScanner(
                from: 0, to: UInt64(bytes.count), limits: limits, skipsDamage: skipsDamage,
                pieceBytes: pieceBytes
            ) { offset, target in
                let rest = bytes.dropFirst(Int(offset)).prefix(min(target.count, 100))
                target.copyBytes(from: rest)
                return rest.count
            }
            var end: UInt64 = 0
            let outcome = try scanner.run { item in
                switch item {
                case .record(let view, let offset):
                    try require(offset == end, "a record at \(offset) behind \(end)")
                    end = offset + UInt64(view.header.recordByteCount)
                case .damaged(let header, let offset, _):
                    try require(skipsDamage && offset == end, "a damaged record")
                    end = offset + UInt64(header.recordByteCount)
                }
                try require(end <= UInt64(bytes.count), "a record beyond the end")
            }
            try require(outcome.validEnd == end, "ends at \(outcome.validEnd), not \(end)")
        }
    }

    // MARK: - Samples

    private static let recordsSample: [UInt8] = {
        let buffer = ReusableBuffer()
        let hello = Array("hello\n".utf8)
        RecordCoding.append(kind: .chunk, digest: Digest.of(hello), payload: hello, to: buffer)
        RecordCoding.appendMark(kind: .fileStart, to: buffer)
        RecordCoding.appendMark(
            kind: .chunkReference, digest: digest, rawLength: 1000, to: buffer)
        RecordCoding.append(
            kind: .chunkList, digest: other, payload: chunkListSample, to: buffer)
        return Array(buffer.bytes)
    }()

    private static let endMark: [UInt8] = {
        let buffer = ReusableBuffer()
        RecordCoding.appendMark(kind: .end, to: buffer)
        return Array(buffer.bytes)
    }()

    private static let chunkListSample = ChunkList(
        terms: [.chunk(digest, length: 300), .inline([0, 1, 2]), .chunk(other, length: 1)]
    ).encode()

    private static let packSample: [UInt8] = {
        let buffer = ReusableBuffer()
        buffer.append(
            PackHeader(
                packClass: .small, identifier: identifier, incarnation: identifier, created: time
            ).encode())
        let hello = Array("hello\n".utf8)
        RecordCoding.append(kind: .chunk, digest: Digest.of(hello), payload: hello, to: buffer)
        let header = RecordHeader(
            kind: .chunk, rawLength: 6, storedLength: 6, digest: Digest.of(hello))
        let end = UInt64(buffer.count)
        buffer.append(PackFooter(entries: [.init(header, offset: 64)]).encode(at: end))
        return Array(buffer.bytes)
    }()
}
