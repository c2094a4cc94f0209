/// What the payload of a record is.
package enum RecordKind: UInt8, Sendable, CaseIterable {
    /// Content of a file; the key is the SHA-256 of the raw payload, as for the next three.
    case chunk = 1
    /// A Directory message in canonical encoding.
    case directory = 2
    /// Permissions and times, parallel to a directory.
    case attributes = 3
    /// The message that names a tree's roots.
    case snapshot = 4
    /// How a large blob is composed; the key is the digest of that blob.
    case chunkList = 5
    /// Recorded state: moves of refs, tokens; the key is the SHA-256 of the raw payload.
    case event = 6

    /// The first record of a commit; the key is zero. From here on: only on the wire.
    case pushRequest = 32
    /// The chunks that follow on this stream, up to the next chunk list, compose one blob in order.
    case fileStart = 33
    /// A chunk within such a run that the receiver has: its key and length, no payload.
    case chunkReference = 34
    /// The last record of every fetch: the stream is whole.
    case end = 35
    /// The server could not go on; the payload says why, and the stream ends.
    case failure = 36

    /// Whether such records may stand in packs.
    package var isStored: Bool { rawValue < 32 }

    /// Whether the key is the SHA-256 of the raw payload.
    package var isKeyedByPayload: Bool { isStored && self != .chunkList }

    /// Whether a record of this kind has no payload at all.
    package var hasNoPayload: Bool { self == .fileStart || self == .chunkReference || self == .end }
}

/// Which pack a record belongs into: what is read together lies together.
package enum PackClass: UInt8, Sendable, CaseIterable {
    /// Directories, attributes, snapshots, chunk lists and events.
    case metadata = 1
    /// Files that are their own only chunk.
    case small = 2
    /// Chunks of larger files.
    case large = 3
}
