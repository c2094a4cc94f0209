import CASCompression
package import CASCore
package import CASPack
package import CASTree

/// The messages of trees that somebody sent or that lie in a state file, checked against their digests.
///
/// Filled by one thread, then read by any number. Messages are decoded when they are asked for, by the
/// thread that asks.
package final class TreeContents: DirectorySource, @unchecked Sendable {
    // Never changed once the threads that read start.
    private var messages: [Digest: [UInt8]] = [:]
    private let limits: Limits
    private let decompressor: Decompressor
    private let raw = ReusableBuffer(capacity: 64 << 10)
    /// Bytes of all messages.
    package private(set) var byteCount = 0

    /// No messages yet.
    package init(limits: Limits = .standard) throws {
        self.limits = limits
        decompressor = try Decompressor()
    }

    /// Takes a record of a message; others than tree messages have no effect.
    ///
    /// The kind is not believed: a file with the same bytes may have been stored first.
    package func insert(_ record: RecordView) throws {
        let header = record.header
        switch header.kind {
        case .directory, .attributes, .snapshot, .chunk: break
        case .failure: throw RecordFailure.error(record)
        default: return
        }
        raw.resize(to: header.rawLength)
        try decompressor.decode(
            record.payload, codec: header.codec, rawLength: header.rawLength,
            into: raw.mutableBytes)
        guard Digest.of(raw.bytes) == header.digest else {
            throw CASError(
                .dataLoss, "a message of the tree is not what its digest says",
                digest: header.digest)
        }
        insert(header.digest, Array(raw.bytes))
    }

    /// Adds a message under the digest that its bytes have, and says which that is.
    @discardableResult
    package func insert(message: [UInt8]) -> Digest {
        let digest = Digest.of(message)
        insert(digest, message)
        return digest
    }

    /// Adds a message whose digest was checked.
    func insert(_ digest: Digest, _ message: [UInt8]) {
        guard messages[digest] == nil else { return }
        messages[digest] = message
        byteCount += message.count
    }

    /// The bytes of a message; nil if it is not here.
    package func message(_ digest: Digest) -> [UInt8]? { messages[digest] }

    /// How many messages there are.
    package var count: Int { messages.count }

    package func directory(_ digest: Digest) throws -> Directory? {
        if digest == .empty { return Directory() }
        return try messages[digest].map { try Directory(decodingCanonical: $0, limits: limits) }
    }

    package func attributes(_ digest: Digest) throws -> AttributesDirectory? {
        try messages[digest].map { try AttributesDirectory(decoding: $0, limits: limits) }
    }
}
