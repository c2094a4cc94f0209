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
}
