package import CASCore
package import CASPack

/// Where the record of a digest lies, and how its payload is stored.
package struct BlobLocation: Hashable, Sendable {
    /// The catalog's number of the pack.
    package var pack: Int64
    /// Where the record's header begins.
    package var offset: UInt64
    /// Bytes of the payload as stored.
    package var storedLength: UInt32
    /// Bytes of the payload once decoded; the blob's own only where the kind is not `chunkList`.
    package var rawLength: UInt32
    /// What the payload is.
    package var kind: RecordKind
    /// How it is stored.
    package var codec: FrameCodec

    /// A location from its parts.
    package init(
        pack: Int64, offset: UInt64, storedLength: UInt32, rawLength: UInt32, kind: RecordKind,
        codec: FrameCodec
    ) {
        self.pack = pack
        self.offset = offset
        self.storedLength = storedLength
        self.rawLength = rawLength
        self.kind = kind
        self.codec = codec
    }
}
