import CASCore
import CASPack
import Testing

@Suite struct RecordTests {
    private static let header = RecordHeader(
        kind: .chunk, codec: .zstd, rawLength: 1000, storedLength: 10,
        digest: Digest.of(Array("abc".utf8)))

    private func encoded(_ header: RecordHeader) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xff, count: RecordHeader.byteCount)
        bytes.withUnsafeMutableBytes { header.encode(into: $0) }
        return bytes
    }

    private func decoded(_ bytes: [UInt8], _ limits: Limits = .standard) throws -> RecordHeader {
        try bytes.withUnsafeBytes { try RecordHeader(decoding: $0, limits: limits) }
    }

    /// Replaces bytes and makes the header's checksum agree again.
    private func forged(_ header: RecordHeader, _ offset: Int, _ change: [UInt8]) -> [UInt8] {
        var bytes = encoded(header)
        bytes.replaceSubrange(offset..<offset + change.count, with: change)
        let checksum = bytes[..<60].withUnsafeBytes { Checksum.crc32c($0) }
        bytes.removeSubrange(60...)
        bytes.append(littleEndian: checksum)
        return bytes
    }

    @Test(arguments: RecordKind.allCases)
    func `decodes what it encodes`(kind: RecordKind) throws {
        var header = Self.header
        header.kind = kind
        if kind.hasNoPayload { (header.codec, header.storedLength) = (.raw, 0) }
        if kind.hasNoPayload, kind != .chunkReference { header.rawLength = 0 }
        #expect(try decoded(encoded(header)) == header)
    }

    @Test func `refuses a header with any bit changed`() throws {
        let bytes = encoded(Self.header)
        for bit in 0..<bytes.count * 8 {
            var changed = bytes
            changed[bit / 8] ^= 1 << (bit % 8)
            #expect(throws: CASError.self, "bit \(bit)") { try decoded(changed) }
        }
    }

    @Test(arguments: [
        (4, [UInt8(2)]), (5, [0]), (5, [7]), (5, [37]), (6, [2]), (7, [1]), (48, [1]), (59, [1]),
    ])
    func `refuses what a newer program may write, and says so`(
        offset: Int, change: [UInt8]
    ) throws {
        let error = #expect(throws: CASError.self) {
            try decoded(forged(Self.header, offset, change))
        }
        #expect(error?.code == .unimplemented)
    }

    @Test func `refuses lengths beyond the limits of the kind`() throws {
        var limits = Limits()
        limits.recordRawBytes = 1000
        limits.recordStoredBytes = 1010
        limits.directoryBytes = 5000
        var header = Self.header
        #expect(try decoded(encoded(header), limits) == header)
        header.rawLength = 1001
        #expect(throws: CASError.self) { try decoded(encoded(header), limits) }
        header.kind = .directory
        #expect(try decoded(encoded(header), limits) == header)
        header.storedLength = 5011
        #expect(throws: CASError.self) { try decoded(encoded(header), limits) }
        header.storedLength = 4_294_967_295
        #expect(throws: CASError.self) { try decoded(encoded(header)) }
    }

    @Test func `refuses lengths that contradict each other`() throws {
        var header = Self.header
        header.codec = .raw
        #expect(throws: CASError.self) { try decoded(encoded(header)) }
        header.kind = .chunkReference
        #expect(throws: CASError.self) { try decoded(encoded(header)) }
        header.kind = .end
        header.storedLength = 0
        #expect(throws: CASError.self) { try decoded(encoded(header)) }
    }

    @Test func `a frame encoded in place equals one appended from a copy`() throws {
        var numbers = SeededNumbers(7)
        for size in [0, 1, 63, 64, 65, 5000] {
            let payload = numbers.bytes(size)
            let copied = ReusableBuffer(capacity: 64)
            let inPlace = ReusableBuffer(capacity: 64)
            for buffer in [copied, inPlace] { buffer.append([1, 2, 3]) }
            let header = RecordHeader(
                kind: .chunk, codec: .zstd, rawLength: 9999, storedLength: size,
                digest: Digest.of(payload))
            payload.withUnsafeBytes { RecordCoding.append(header, payload: $0, to: copied) }
            let written = try RecordCoding.appendFrame(
                kind: .chunk, digest: Digest.of(payload), rawLength: 9999, to: inPlace
            ) { buffer in
                for byte in payload { buffer.append([byte]) }
                return .zstd
            }
            #expect(written == header)
            #expect(Array(copied.bytes) == Array(inPlace.bytes), "\(size) bytes")
        }
    }

    @Test func `a frame whose encoder throws leaves the buffer as it was`() throws {
        let buffer = ReusableBuffer()
        buffer.append([1, 2, 3])
        #expect(throws: CASError.self) {
            try RecordCoding.appendFrame(kind: .chunk, digest: .zero, rawLength: 5, to: buffer) {
                $0.append([9, 9])
                throw CASError(.internalError, "no")
            }
        }
        #expect(Array(buffer.bytes) == [1, 2, 3])
    }

    @Test func `refuses a payload with any byte changed`() throws {
        let buffer = ReusableBuffer()
        RecordCoding.append(
            kind: .chunk, digest: .zero, payload: Array("payload".utf8), to: buffer)
        for index in RecordHeader.byteCount..<buffer.count {
            var bytes = Array(buffer.bytes)
            bytes[index] ^= 0x10
            let error = #expect(throws: CASError.self, "byte \(index)") {
                try bytes.withUnsafeBytes { _ = try RecordCoding.decode($0, limits: .standard) }
            }
            #expect(error?.code == .dataLoss)
        }
    }
}
