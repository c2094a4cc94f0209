package import CASCore

/// The 64 bytes before the payload of every record (Packs.md, "Record").
package struct RecordHeader: Hashable, Sendable {
    /// Bytes of a header.
    package static let byteCount = 64
    /// Bytes behind the payload: its CRC-32C.
    package static let trailerByteCount = 4
    /// The version of the format that this program writes and reads.
    package static let formatVersion: UInt8 = 1
    /// "CASR", little-endian.
    static let magic: UInt32 = 0x5253_4143
    /// Bytes that the header's own checksum covers.
    static let checkedByteCount = 60

    /// What the payload is.
    package var kind: RecordKind
    /// How the payload is stored.
    package var codec: FrameCodec
    /// Bytes of the payload once decoded.
    package var rawLength: Int
    /// Bytes of the payload as stored.
    package var storedLength: Int
    /// The key.
    package var digest: Digest

    /// A header from its parts; both lengths fit 32 bits.
    package init(
        kind: RecordKind, codec: FrameCodec = .raw, rawLength: Int, storedLength: Int,
        digest: Digest = .zero
    ) {
        self.kind = kind
        self.codec = codec
        self.rawLength = rawLength
        self.storedLength = storedLength
        self.digest = digest
    }

    /// Bytes of the whole record: header, payload and trailer.
    package var recordByteCount: Int {
        RecordHeader.byteCount + storedLength + RecordHeader.trailerByteCount
    }

    /// Writes the header over the first 64 bytes of `target`.
    package func encode(into target: UnsafeMutableRawBufferPointer) {
        precondition(target.count >= RecordHeader.byteCount)
        precondition(rawLength >= 0 && rawLength <= UInt32.max)
        precondition(storedLength >= 0 && storedLength <= UInt32.max)
        target.storeLittle(RecordHeader.magic, at: 0)
        target[4] = RecordHeader.formatVersion
        target[5] = kind.rawValue
        target[6] = codec.rawValue
        target[7] = 0
        target.storeLittle(UInt32(rawLength), at: 8)
        target.storeLittle(UInt32(storedLength), at: 12)
        digest.withBytes {
            UnsafeMutableRawBufferPointer(rebasing: target[16..<48]).copyMemory(from: $0)
        }
        target.storeLittle(UInt64(0), at: 48)
        target.storeLittle(UInt32(0), at: 56)
        let checked = UnsafeRawBufferPointer(
            rebasing: UnsafeRawBufferPointer(target)[..<RecordHeader.checkedByteCount])
        target.storeLittle(Checksum.crc32c(checked), at: 60)
    }

    /// Reads the first 64 bytes of `bytes` and checks them against themselves and against `limits`.
    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        guard bytes.count >= RecordHeader.byteCount else {
            throw CASError(.dataLoss, "a record header is cut short")
        }
        let checked = UnsafeRawBufferPointer(
            rebasing: bytes[..<RecordHeader.checkedByteCount])
        guard bytes.loadLittle(UInt32.self, at: 0) == RecordHeader.magic,
            bytes.loadLittle(UInt32.self, at: 60) == Checksum.crc32c(checked)
        else { throw CASError(.dataLoss, "a record header is damaged") }
        guard bytes[4] == RecordHeader.formatVersion, let kind = RecordKind(rawValue: bytes[5]),
            let codec = FrameCodec(rawValue: bytes[6]), bytes[7] == 0,
            bytes.loadLittle(UInt64.self, at: 48) == 0, bytes.loadLittle(UInt32.self, at: 56) == 0
        else {
            throw CASError(
                .unimplemented, "a record has a format that this version of cas does not know",
                hint: "use the newest cas on both sides")
        }
        self.init(
            kind: kind, codec: codec,
            rawLength: Int(bytes.loadLittle(UInt32.self, at: 8)),
            storedLength: Int(bytes.loadLittle(UInt32.self, at: 12)),
            digest: Digest(UnsafeRawBufferPointer(rebasing: bytes[16..<48])))
        try check(limits)
    }

    private func check(_ limits: Limits) throws {
        let allowance = RecordHeader.largestPayload(kind, limits)
        guard rawLength <= allowance.raw, storedLength <= allowance.stored else {
            throw CASError(
                .resourceExhausted,
                "a record of \(rawLength) bytes (\(storedLength) stored) is larger than allowed",
                digest: digest)
        }
        let consistent =
            switch kind {
            case .chunkReference: codec == .raw && storedLength == 0
            case .fileStart, .end: codec == .raw && storedLength == 0 && rawLength == 0
            default: codec != .raw || storedLength == rawLength
            }
        guard consistent else {
            throw CASError(
                .dataLoss, "the lengths of a record contradict each other", digest: digest)
        }
    }

    /// Directories and chunk lists are single messages that grow with what they name.
    private static func largestPayload(
        _ kind: RecordKind, _ limits: Limits
    ) -> (raw: Int, stored: Int) {
        switch kind {
        case .directory, .attributes, .chunkList:
            let slack = limits.recordStoredBytes - limits.recordRawBytes
            return (limits.directoryBytes, limits.directoryBytes + max(slack, 0))
        default: return (limits.recordRawBytes, limits.recordStoredBytes)
        }
    }
}

extension UnsafeRawBufferPointer {
    /// The integer at `offset`, which must lie within.
    @inline(__always)
    func loadLittle<Integer: FixedWidthInteger & BitwiseCopyable>(
        _ type: Integer.Type, at offset: Int
    ) -> Integer {
        precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= count)
        return Integer(littleEndian: loadUnaligned(fromByteOffset: offset, as: type))
    }
}

extension UnsafeMutableRawBufferPointer {
    /// Writes an integer at `offset`, which must lie within.
    @inline(__always)
    func storeLittle<Integer: FixedWidthInteger & BitwiseCopyable>(
        _ value: Integer, at offset: Int
    ) {
        precondition(offset >= 0 && offset + MemoryLayout<Integer>.size <= count)
        storeBytes(of: value.littleEndian, toByteOffset: offset, as: Integer.self)
    }
}
