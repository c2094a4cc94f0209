package import CASCore
package import CASChunking

/// What a repository is opened with.
package struct RepositoryConfiguration: Sendable {
    /// Where packs lie until the object backend has them: a directory on a disk of this machine's own.
    package var activeDirectory: String
    /// Limits on everything that comes in.
    package var limits = Limits.standard
    /// How a new store cuts large blobs; an existing one keeps its own.
    package var chunker = ChunkerParameters.standard
    /// Bytes at which a pack is sealed and a new one begun.
    package var packBytes: UInt64 = 256 << 20
    /// Bytes of uploads after which a push's progress is made durable, so that it can be resumed.
    package var checkpointBytes: UInt64 = 64 << 20
    /// Whether a thread hands sealed packs to the object backend; without, `storeSealedPacks` does.
    package var storesInBackground = true
    /// Distinct files that cached plans may hold together.
    package var plannedFiles = 2_000_000

    /// Bytes of events from which on recorded state is repeated in one place, if most of them are of the past.
    package var checkpointedEventBytes: UInt64 = 4 << 20
    /// Seconds after which the records of a pack are compressed anew when they are copied.
    package var recompressedAfterSeconds: Int64 = 7 * 86_400
    /// Seconds for which a snapshot stays that was fetched by digest.
    package var protectedSeconds: UInt64 = 14 * 86_400
    /// Bytes that are kept for collection on a full disk, where somebody asks for that.
    package var reserveBytes: UInt64 = 64 << 20
    /// Says to other processes that this one collects, as long as the result is held; throws
    /// `failedPrecondition` if another one does.
    package var lockForCollection: @Sendable () throws -> (any Sendable)? = { nil }

    /// Active packs in that directory, everything else as usual.
    package init(activeDirectory: String) {
        self.activeDirectory = activeDirectory
    }
}

/// Names of settings in the catalog.
enum SettingName {
    /// The store's incarnation, 16 bytes.
    static let incarnation = "incarnation"
    /// Average chunk size and seed, two little-endian u32.
    static let chunker = "chunker"
    /// One byte while somebody collects (1) or purges (2), who has to hear of chunk lists that come, and the second of what
    /// uploads bring, too.
    static let collecting = "collecting"
    /// What a purge that is not done yet removes: whether that is a tree, in a byte, and a `Purged` event of its
    /// targets (Protocol.md).
    static let purge = "purge"
    /// How far the background scrub is (ScrubCursor).
    static let scrub = "scrub"
    /// When the store was last looked after (StoreHealth, fields 1 to 4).
    static let health = "health"
}
