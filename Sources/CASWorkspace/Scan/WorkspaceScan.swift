package import CASCore
package import CASFileSystem
import CASTree
import Synchronization

/// What a scan is asked for.
package struct ScanOptions: Sendable {
    /// Patterns that are kept whatever the rules say, relative to the root of the scan.
    package var includes: [String]
    /// Patterns that are left out.
    package var excludes: [String]
    /// Patterns of both kinds that a project file adds; those above are stronger.
    package var project: ProjectPatterns?
    /// Threads that list directories.
    package var workers: Int
    /// Whether `.git`, `.venv` and the like are left out by default.
    package var useDefaults: Bool
    /// What a tree may hold.
    package var limits: Limits
    /// Called with each directory of the tree before it is listed, on the scan's threads.
    package var onDirectory: (@Sendable (DirectoryHandle) throws -> Void)?

    /// Options with their defaults: as many threads as processors, at most eight.
    package init(
        includes: [String] = [], excludes: [String] = [],
        workers: Int = min(8, WorkerGroup.processorCount), useDefaults: Bool = true,
        limits: Limits = .standard
    ) {
        self.includes = includes
        self.excludes = excludes
        project = nil
        self.workers = max(1, workers)
        self.useDefaults = useDefaults
        self.limits = limits
    }
}

/// Reads a workspace: which files it has, which of them the stat cache knows, and which to hash.
package enum WorkspaceScan {
    /// Scans the directory `root`.
    ///
    /// `onFile` is called on the scan's threads for each file whose digest the cache does not know, as
    /// soon as its directory is read, by ascending name within a directory; it may block. The result
    /// is complete once each of these files was finished or marked vanished.
    package static func run(
        root: String, options: ScanOptions = ScanOptions(), cache: StatCache? = nil,
        clock: any WallClock = SystemClock(),
        onFile: @escaping @Sendable (PendingFile) throws -> Void
    ) throws -> ScannedTree {
        let start = clock.now()
        let path = try Host.resolve(root)
        let handle = try DirectoryHandle(path: path)
        let repository = try WorkspaceRepository(containing: path)
        let rules = try IgnoreRules(
            includes: options.includes, excludes: options.excludes,
            project: options.project, useDefaults: options.useDefaults, base: repository.base)
        let tracked = TrackedPaths(gitDirectory: repository.gitDirectory)
        let scan = ScanState(
            root: handle, base: repository.base, tracked: tracked, cache: cache,
            limits: options.limits, onDirectory: options.onDirectory)
        let top = ScannedDirectory(
            parent: nil, index: 0, name: [], state: .whole, scope: try repository.scope(rules),
            cacheOffset: cache?.rootOffset)
        scan.begin(top)
        let queue = ScanQueue()
        try queue.start(top)
        let reports = Mutex<[ScanReport]>([])
        try WorkerGroup.run(count: options.workers, name: "scan") { _ in
            let scanner = DirectoryScanner(scan)
            try queue.run { directory, share in
                let (subdirectories, pending) = try scanner.run(directory)
                try share(subdirectories)
                for file in pending { try onFile(file) }
            }
            let report = scanner.report
            reports.withLock { $0.append(report) }
        }
        var report = ScanReport()
        for part in reports.withLock({ $0 }) { report.merge(part) }
        report.findings = try tracked.withoutTracked(report.findings, base: repository.base)
        report.sort()
        return ScannedTree(
            root: path, directories: scan.finish(), report: report, start: start, cache: cache,
            limits: options.limits, workers: options.workers)
    }
}

/// What the workers of a scan share.
final class ScanState: Sendable {
    /// Our own state in a directory that was fetched: never pushed.
    static let stateName = Array(".cas".utf8)

    let handles: HandleCache
    /// The root's path below the repository's root, with a slash at its end.
    let base: [UInt8]
    let tracked: TrackedPaths
    let cache: StatCache?
    let onDirectory: (@Sendable (DirectoryHandle) throws -> Void)?
    private let limits: Limits
    private let directories = Mutex<[ScannedDirectory]>([])
    private let entries = Atomic<UInt64>(0)

    init(
        root: DirectoryHandle, base: [UInt8], tracked: TrackedPaths, cache: StatCache?,
        limits: Limits, onDirectory: (@Sendable (DirectoryHandle) throws -> Void)?
    ) {
        self.onDirectory = onDirectory
        handles = HandleCache(root: root)
        self.tracked = tracked
        self.base = base
        self.cache = cache
        self.limits = limits
    }

    func begin(_ root: ScannedDirectory) {
        directories.withLock { $0.append(root) }
    }

    func finish() -> [ScannedDirectory] {
        directories.withLock { $0 }
    }

    /// Gives subdirectories their numbers, which are greater than their parents'.
    func register(
        _ children: [(
            name: [UInt8], state: ScannedDirectory.State, scope: IgnoreScope, cacheOffset: Int?
        )],
        in parent: ScannedDirectory, entries count: Int
    ) throws -> [ScannedDirectory] {
        let total = entries.add(UInt64(children.count + count), ordering: .relaxed).newValue
        guard total <= limits.treeEntries else {
            throw CASError(
                .resourceExhausted, "there are more than \(limits.treeEntries) files",
                hint: "leave some out with --exclude or .casignore")
        }
        guard children.count + count <= limits.directoryEntries else {
            throw CASError(
                .resourceExhausted, "a directory has more than \(limits.directoryEntries) entries",
                path: PathText.printable(parent.path))
        }
        guard !children.isEmpty else { return [] }
        guard parent.depth + 1 < limits.treeDepth else {
            throw CASError(
                .resourceExhausted, "directories lie more than \(limits.treeDepth) levels deep",
                hint: "leave them out with --exclude or .casignore",
                path: String(PathText.printable(parent.path).prefix(200)) + "…")
        }
        return directories.withLock { directories in
            children.map { child in
                let directory = ScannedDirectory(
                    parent: parent, index: directories.count, name: child.name,
                    state: child.state, scope: child.scope, cacheOffset: child.cacheOffset)
                directories.append(directory)
                return directory
            }
        }
    }
}
