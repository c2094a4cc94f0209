/// Reads little-endian integers and byte runs from the front of a buffer, checking every length.
///
/// For decoders of formats: it throws `dataLoss` at the first byte that is not there. It does not own
/// the bytes: it lives within the scope that lent the buffer, and so do the runs it hands out.
package struct ByteReader {
    private let bytes: UnsafeRawBufferPointer
    /// Bytes consumed so far.
    package private(set) var offset = 0

    /// A reader at the first of `bytes`.
    package init(_ bytes: UnsafeRawBufferPointer) {
        self.bytes = bytes
    }

    /// Bytes not yet consumed.
    package var remaining: Int { bytes.count - offset }
    /// Whether everything was consumed.
    package var isAtEnd: Bool { remaining == 0 }

    /// The next `count` bytes.
    package mutating func take(_ count: Int) throws -> UnsafeRawBufferPointer {
        guard count >= 0, count <= remaining else { throw truncated() }
        let start = offset
        offset += count
        return UnsafeRawBufferPointer(rebasing: bytes[start..<start + count])
    }

    /// The next `count` bytes as an array.
    package mutating func array(_ count: Int) throws -> [UInt8] {
        Array(try take(count))
    }

    /// The next byte.
    package mutating func uint8() throws -> UInt8 { try fixed(UInt8.self) }
    /// The next two bytes, little-endian.
    package mutating func uint16() throws -> UInt16 { UInt16(littleEndian: try fixed(UInt16.self)) }
    /// The next four bytes, little-endian.
    package mutating func uint32() throws -> UInt32 { UInt32(littleEndian: try fixed(UInt32.self)) }
    /// The next eight bytes, little-endian.
    package mutating func uint64() throws -> UInt64 { UInt64(littleEndian: try fixed(UInt64.self)) }

    /// The next 32 bytes as a digest.
    package mutating func digest() throws -> Digest { Digest(try take(Digest.byteCount)) }

    /// The next 16 bytes as an identifier.
    package mutating func identifier() throws -> Identifier {
        let run = try array(Identifier.byteCount)
        guard let identifier = Identifier(bytes: run) else { throw truncated() }
        return identifier
    }

    /// A base-128 integer as protocol buffers write it; refuses more than ten bytes.
    package mutating func varint() throws -> UInt64 {
        var value: UInt64 = 0
        for shift in stride(from: UInt64(0), to: 70, by: 7) {
            let byte = try uint8()
            if shift == 63, byte > 1 { break }
            value |= UInt64(byte & 0x7f) << shift
            if byte & 0x80 == 0 { return value }
        }
        throw CASError(.dataLoss, "an integer has more than 64 bits")
    }

    private mutating func fixed<Integer: FixedWidthInteger & BitwiseCopyable>(
        _ type: Integer.Type
    ) throws -> Integer {
        let size = MemoryLayout<Integer>.size
        guard size <= remaining else { throw truncated() }
        let value = bytes.loadUnaligned(fromByteOffset: offset, as: type)
        offset += size
        return value
    }

    private func truncated() -> CASError {
        CASError(.dataLoss, "the data ends at byte \(bytes.count), in the middle of a value")
    }
}

/// Little-endian integers and base-128 integers at the end of a byte array.
extension [UInt8] {
    /// Adds an integer, little-endian.
    package mutating func append<Integer: FixedWidthInteger>(littleEndian value: Integer) {
        Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
    }

    /// Adds a base-128 integer as protocol buffers write it.
    package mutating func append(varint value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(rest))
    }

    /// Adds the 32 bytes of a digest.
    package mutating func append(digest: Digest) {
        digest.withBytes { append(contentsOf: $0) }
    }

    /// Adds the 16 bytes of an identifier.
    package mutating func append(identifier: Identifier) {
        append(contentsOf: identifier.bytes)
    }
}
