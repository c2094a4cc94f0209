package import CASCore
package import CASFileSystem
import CASTree
import Synchronization

/// What a scan found: files and directories in compact form, and what it has to say about them.
package final class ScannedTree: Sendable {
    /// The directory that was scanned, without symbolic links in its path.
    package let root: String
    /// When the scan started.
    package let start: Timestamp
    let directories: [ScannedDirectory]
    let limits: Limits
    let workers: Int
    private let report: ScanReport
    private let cache: StatCache?

    init(
        root: String, directories: [ScannedDirectory], report: ScanReport, start: Timestamp,
        cache: StatCache?, limits: Limits, workers: Int
    ) {
        self.root = root
        self.directories = directories
        self.report = report
        self.start = start
        self.cache = cache
        self.limits = limits
        self.workers = workers
    }

    /// Entries left out, by path; of very many only the first ones.
    package var skipped: [SkippedEntry] { report.skipped }
    /// How much each rule left out, most first.
    package var skippedCounts: [SkippedCount] { report.skippedCounts }
    /// What could not be read, by path.
    package var problems: [ScanProblem] { report.problems }
    /// What the owner should know, by path.
    package var findings: [ScanFinding] { report.findings }
    /// Regular files.
    package var fileCount: Int { report.fileCount }
    /// Those whose digest the stat cache knew.
    package var cachedCount: Int { report.cachedCount }
    /// Bytes of all files.
    package var totalBytes: UInt64 { report.totalBytes }
    /// Bytes of the files that had to be hashed.
    package var pendingBytes: UInt64 { report.pendingBytes }

    /// Sets the digest of a file, as `PendingFile.finish` does.
    package func setDigest(_ index: Int, _ digest: Digest, size: UInt64, status: FileStatus) {
        let (directory, position) = PendingFile.split(index)
        directories[directory].finish(position, digest: digest, size: size, status: status)
    }

    /// Says that a file went away.
    package func markVanished(_ index: Int) {
        let (directory, position) = PendingFile.split(index)
        directories[directory].files[position].state = .vanished
    }

    /// The path of a file below the root.
    package func path(_ index: Int) -> [UInt8] {
        let (directory, position) = PendingFile.split(index)
        return directories[directory].path(of: directories[directory].name(position))
    }

    /// Calls `body` with every file of the tree: its path below the root, digest and size.
    package func forEachFile(
        _ body: (_ path: [UInt8], _ digest: Digest, _ size: UInt64) throws -> Void
    ) rethrows {
        for directory in directories where directory.state != .dropped {
            for position in directory.files.indices {
                let record = directory.files[position]
                switch record.state {
                case .pending, .vanished: continue
                case .cached, .hashed:
                    try body(
                        directory.path(of: directory.name(position)), record.digest, record.size)
                }
            }
        }
    }

    /// Writes what this scan knows to a stat cache, unless that would say what the last one said.
    ///
    /// False if nothing had to be written. Files that changed so lately that a further change could
    /// leave the same times behind are left out (RacyRule).
    @discardableResult
    package func saveCache(
        to path: String, acknowledged: [StatCache.StoreKey: StatCache.Acknowledged]
    ) throws -> Bool {
        let kept = directories.lazy.filter { $0.state != .dropped }
        if let cache, cache.acknowledged == acknowledged, cache.fileCount == cachedCount,
            fileCount == cachedCount, cache.directoryCount == kept.count
        {
            return false
        }
        var writer = StatCacheWriter(rule: RacyRule(scanStart: start))
        var offsets: [Int: Int] = [:]
        // Children have greater numbers than their parents, so they are written first.
        for directory in directories.reversed() where directory.state != .dropped {
            let offset = writer.append(directory, children: offsets)
            for child in directory.subdirectories { offsets[child.directory.index] = nil }
            offsets[directory.index] = offset
        }
        let buffer = writer.finish(root: offsets[0] ?? 0, acknowledged: acknowledged)
        try ScratchFile.replace(path, buffer.bytes)
        return true
    }
}
