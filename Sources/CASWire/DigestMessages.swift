package import CASCore

/// Digests that somebody asks about or asks for.
package struct DigestList: WireMessage {
    /// The digests in order.
    package var digests: [Digest]

    /// A list of digests.
    package init(digests: [Digest]) { self.digests = digests }

    /// All digests, one behind the other.
    var packed: [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(digests.count * Digest.byteCount)
        for digest in digests { output.append(digest: digest) }
        return output
    }

    static func unpack(_ bytes: UnsafeRawBufferPointer, limit: Int) throws -> [Digest] {
        guard bytes.count % Digest.byteCount == 0 else {
            throw WireFailure.malformed("a list of digests")
        }
        guard bytes.count / Digest.byteCount <= limit else { throw WireFailure.tooMany("digests") }
        return stride(from: 0, to: bytes.count, by: Digest.byteCount).map {
            Digest(UnsafeRawBufferPointer(rebasing: bytes[$0..<$0 + Digest.byteCount]))
        }
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, bytes: packed)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        digests = []
        try readFields(bytes, upTo: 1) { number, type, reader in
            guard number == 1, type == .lengthDelimited else { return false }
            digests = try DigestList.unpack(
                try reader.bytes(), limit: limits.digestsPerRequest)
            return true
        }
    }
}

/// Which of the digests asked about are missing, in the order asked.
package struct MissingResponse: WireMessage {
    /// True where one is missing.
    package var missing: [Bool]

    /// Answers in the order asked.
    package init(missing: [Bool]) { self.missing = missing }

    package func encode() -> [UInt8] {
        var bits = [UInt8](repeating: 0, count: (missing.count + 7) / 8)
        for (index, isMissing) in missing.enumerated() where isMissing {
            bits[index >> 3] |= 1 << (index & 7)
        }
        var output: [UInt8] = []
        output.append(field: 1, varint: UInt64(missing.count))
        output.append(field: 2, bytes: bits)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var count = 0
        var bits: [UInt8] = []
        try readFields(bytes, upTo: 2) { number, type, reader in
            switch (number, type) {
            case (1, .varint):
                let value = try reader.varint()
                guard value <= UInt64(limits.digestsPerRequest) else {
                    throw WireFailure.tooMany("answers")
                }
                count = Int(value)
            case (2, .lengthDelimited): bits = try reader.array()
            default: return false
            }
            return true
        }
        guard bits.count == (count + 7) / 8 else { throw WireFailure.malformed("an answer") }
        missing = (0..<count).map { bits[$0 >> 3] & 1 << ($0 & 7) != 0 }
    }
}
