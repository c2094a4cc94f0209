/// How the payload of a record is stored.
package enum FrameCodec: UInt8, Sendable, CaseIterable {
    /// The bytes themselves.
    case raw = 0
    /// One independent zstd frame (RFC 8878).
    case zstd = 1
}
