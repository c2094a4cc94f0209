package import CASCore

/// What a restore is asked for.
package struct RestoreOptions: Sendable {
    /// Whether files that the user changed or added are overwritten.
    package var force = false
    /// Whether files that the user changed or added are left as they are.
    package var keep = false
    /// Whether modes and times are derived from content instead of taken from the snapshot.
    package var reproducible = false
    /// Where whole files are kept for the next fetch on this machine; nil for nowhere.
    package var cacheDirectory: String?
    /// Bytes that the cache may hold.
    package var cacheLimit: UInt64 = 20 << 30
    /// Whether files are hard links into the cache, and read-only.
    package var link = false
    /// Whether somebody works in the destination meanwhile: new files come first, changed ones take the place
    /// of what was there by rename, and what is no longer wanted goes last.
    package var isGentle = false
    /// Whether files and directories are without write bits and readable by everybody, as published ones are.
    package var isSealed = false
    /// Versions to take files from; nil for none.
    package var older: OlderVersions?
    /// Threads.
    package var workers: Int
    /// Limits on what is accepted.
    package var limits = Limits.standard

    /// Options with their defaults.
    package init(workers: Int) { self.workers = max(1, min(workers, 16)) }
}

/// What has to come from the store.
package struct RestorePlan: Sendable {
    /// The distinct blobs that are needed.
    package let blobs: [Digest]
    /// The files that have them.
    package let files: Int
    /// The bytes of these files.
    package let bytes: UInt64
    /// Whether they are all files of the snapshot.
    package let isWhole: Bool
}

/// What a restore did.
package struct RestoreSummary: Sendable {
    /// Files of the snapshot.
    package var files = 0
    /// Files written.
    package var written = 0
    /// Bytes written.
    package var writtenBytes: UInt64 = 0
    /// Files that were right already.
    package var kept = 0
    /// Files that came from the cache on this machine.
    package var cached = 0
    /// Files and links removed, which the snapshot before had.
    package var removed = 0
    /// The user's files that were overwritten or removed because of `force`.
    package var overwritten: [String] = []
    /// The user's files that were left because of `keep`.
    package var left: [String] = []

    /// Nothing done.
    package init() {}
}
