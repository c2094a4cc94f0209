package import CASCore

/// How a large blob is composed: chunks, or a few inline bytes, in order (Packs.md, "Chunk list").
package struct ChunkList: Hashable, Sendable {
    /// One piece of the blob.
    package enum Term: Hashable, Sendable {
        case chunk(Digest, length: UInt32)
        case inline([UInt8])

        /// Bytes of the blob that it stands for.
        package var length: Int {
            switch self {
            case .chunk(_, let length): Int(length)
            case .inline(let bytes): bytes.count
            }
        }
    }

    /// The version of the encoding that this program writes and reads.
    package static let formatVersion: UInt8 = 1
    private static let chunkTag: UInt8 = 0
    private static let inlineTag: UInt8 = 1
    /// Tag, length and one byte.
    private static let leastTermBytes = 3

    /// Bytes of the blob.
    package var size: UInt64
    /// Its pieces in order.
    package var terms: [Term]

    /// A list of terms; the size is their sum.
    package init(terms: [Term]) {
        self.terms = terms
        size = terms.reduce(0) { $0 + UInt64($1.length) }
    }

    /// The digests of the chunks, in order, repeated where they repeat.
    package var chunks: [Digest] {
        terms.compactMap { if case .chunk(let digest, _) = $0 { digest } else { nil } }
    }

    /// The encoded list.
    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(16 + terms.count * (Digest.byteCount + 4))
        output.append(ChunkList.formatVersion)
        output.append(varint: size)
        output.append(varint: UInt64(terms.count))
        for term in terms {
            switch term {
            case .chunk(let digest, let length):
                output.append(ChunkList.chunkTag)
                output.append(digest: digest)
                output.append(varint: UInt64(length))
            case .inline(let bytes):
                output.append(ChunkList.inlineTag)
                output.append(varint: UInt64(bytes.count))
                output.append(contentsOf: bytes)
            }
        }
        return output
    }

    /// Reads an encoded list; throws `dataLoss`, or `resourceExhausted` beyond `limits`.
    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var reader = ByteReader(bytes)
        guard try reader.uint8() == ChunkList.formatVersion else {
            throw CASError(
                .unimplemented, "a chunk list has a format that this version of cas does not know",
                hint: "use the newest cas on both sides")
        }
        let size = try reader.varint()
        let count = try reader.varint()
        guard count <= UInt64(limits.chunkListTerms) else {
            throw CASError(.resourceExhausted, "a chunk list of \(count) terms is too long")
        }
        guard count <= UInt64(reader.remaining / ChunkList.leastTermBytes) else {
            throw CASError(.dataLoss, "a chunk list is cut short")
        }
        var terms: [Term] = []
        terms.reserveCapacity(Int(count))
        var sum: UInt64 = 0
        for _ in 0..<count {
            let term = try ChunkList.term(&reader, limits)
            sum += UInt64(term.length)
            terms.append(term)
        }
        guard reader.isAtEnd, sum == size else {
            throw CASError(.dataLoss, "a chunk list contradicts its own size")
        }
        self.size = size
        self.terms = terms
    }

    /// Reads an encoded list; throws `dataLoss`, or `resourceExhausted` beyond `limits`.
    package init(decoding bytes: [UInt8], limits: Limits) throws {
        self = try bytes.withUnsafeBytes { try ChunkList(decoding: $0, limits: limits) }
    }

    private static func term(_ reader: inout ByteReader, _ limits: Limits) throws -> Term {
        switch try reader.uint8() {
        case chunkTag:
            let digest = try reader.digest()
            let length = try reader.varint()
            guard length > 0, length <= UInt64(limits.recordRawBytes), length <= UInt32.max else {
                throw CASError(
                    .resourceExhausted, "a chunk of \(length) bytes is not allowed", digest: digest)
            }
            return .chunk(digest, length: UInt32(length))
        case inlineTag:
            let length = try reader.varint()
            guard length > 0, length <= UInt64(limits.chunkListInlineBytes) else {
                throw CASError(.resourceExhausted, "\(length) inline bytes are not allowed")
            }
            return .inline(try reader.array(Int(length)))
        default: throw CASError(.dataLoss, "a chunk list has a term of an unknown kind")
        }
    }
}
