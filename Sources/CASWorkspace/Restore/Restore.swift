package import CASCore
import CASFileSystem
package import CASTree
import Synchronization

/// Puts a snapshot into a directory: checks, then prepares, then takes files from workers, then finishes.
///
/// Nothing is written before all checks passed. A file gets its final name only once its whole content
/// was hashed. What an earlier restore wrote is updated; what the user changed or added is never
/// overwritten or removed without `force`.
package final class Restore: Sendable {
    /// One file of the tree.
    struct Place: Sendable, Hashable {
        let directory: Int
        let file: Int
    }

    let options: RestoreOptions
    let snapshot: Snapshot
    let snapshotDigest: Digest
    let contents: TreeContents
    let layout: RestoreLayout
    let root: DirectoryHandle
    let stateDirectory: DirectoryHandle
    let temporaries: DirectoryHandle
    let cache: NodeCache?
    private let lock: FileLock
    private let path: String
    private let old: RestoreState?
    private let interrupted: RestoreState?
    let work = Mutex(Work())

    /// The limits on what is accepted.
    package var limits: Limits { options.limits }

    /// What is known of the files so far.
    struct Work {
        var marks: [[RestoreState.Mark?]] = []
        var needed: [Digest: [Place]] = [:]
        var touched: Set<Int> = []
        var summary = RestoreSummary()
    }

    /// Opens a destination and lays the tree out; creates nothing but the destination and its `.cas`.
    ///
    /// Throws `aborted` if another restore works there, `failedPrecondition` if the directory holds other
    /// things and is not ours, `resourceExhausted` and `dataLoss` for a tree that is not acceptable.
    package init(
        destination: String, snapshot: Snapshot, snapshotDigest: Digest, contents: TreeContents,
        state: DestinationState, options: RestoreOptions
    ) throws {
        self.options = options
        self.snapshot = snapshot
        self.snapshotDigest = snapshotDigest
        self.contents = contents
        layout = try RestoreLayout(snapshot, contents, limits: options.limits)
        path = destination
        root = try Destination.open(destination, isOurs: state.isOurs, force: options.force)
        stateDirectory = try Destination.openState(root)
        guard let lock = try FileLock(in: stateDirectory, name: "lock") else {
            throw CASError(
                .aborted, "another cas fetch works in this directory",
                hint: "wait for it, or fetch into another directory", path: destination)
        }
        self.lock = lock
        temporaries = try Destination.openTemporaries(stateDirectory)
        old = state.complete
        interrupted = state.interrupted
        cache = try options.cacheDirectory.map { try NodeCache($0) }
        work.withLock { work in
            work.marks = layout.nodes.map {
                [RestoreState.Mark?](repeating: nil, count: $0.directory.files.count)
            }
        }
    }

    // MARK: - Before the data

    /// Compares the destination with the old and the new tree, refuses conflicts, removes what is no
    /// longer wanted, makes directories and links, and takes from the cache what it has.
    package func prepare() throws -> RestorePlan {
        let oldLayout = try old.map {
            try RestoreLayout($0.snapshot, $0.contents, limits: options.limits)
        }
        let interruptedLayout = try interrupted.map {
            try RestoreLayout($0.snapshot, $0.contents, limits: options.limits)
        }
        let inspection = try Inspection(self, old: old, oldLayout, interruptedLayout)
        let findings = try inspection.run()
        try settle(findings.conflicts)
        try markIncomplete()
        try remove(findings.removals)
        try makeDirectories(findings)
        try makeLinks(findings)
        work.withLock { work in
            for place in findings.needed {
                let digest = layout.nodes[place.directory].directory.files[place.file].digest
                work.needed[digest, default: []].append(place)
            }
            work.summary.files = layout.nodes.reduce(0) { $0 + $1.directory.files.count }
            work.summary.kept = findings.kept
        }
        try makeEmptyFiles()
        try takeFromCache()
        return plan()
    }

    private func plan() -> RestorePlan {
        work.withLock { work in
            var bytes: UInt64 = 0
            for places in work.needed.values {
                guard let place = places.first else { continue }
                bytes += layout.nodes[place.directory].directory.files[place.file].size
            }
            return RestorePlan(
                blobs: Array(work.needed.keys), bytes: bytes,
                isWhole: work.summary.kept == 0 && work.summary.cached == 0
                    && work.summary.left.isEmpty && old == nil)
        }
    }

    /// Stops at the user's files, or notes what will become of them.
    private func settle(_ conflicts: [Conflict]) throws {
        guard !conflicts.isEmpty else { return }
        let names = conflicts.map { "\(PathText.printable($0.path)) (\($0.reason))" }
        if options.force || options.keep {
            work.withLock { work in
                if options.force { work.summary.overwritten = names.sorted() }
                if options.keep, !options.force { work.summary.left = names.sorted() }
            }
            return
        }
        let shown = names.sorted().prefix(10).joined(separator: "\n  ")
        let more = names.count > 10 ? "\n  and \(names.count - 10) more" : ""
        throw CASError(
            .failedPrecondition,
            "\(names.count) of your own files are in the way; nothing was changed:\n  \(shown)\(more)",
            hint: "--force overwrites them, --keep leaves them as they are", path: path)
    }

    /// Leaves word of what is about to be written, for the next run if this one is interrupted.
    private func markIncomplete() throws {
        let bytes = RestoreState.encode(
            snapshotDigest, snapshot, messages: layout.messages(contents), marks: [])
        try Destination.write(bytes, "next", in: stateDirectory, temporaries)
    }

    private func remove(_ removals: [Removal]) throws {
        // Deepest first, so that directories are empty when their turn comes.
        for removal in removals.sorted(by: { $0.path.count > $1.path.count }) {
            let parent = try root.open(beneath: PathBytes.parent(removal.path))
            guard let parent else { continue }
            let name = PathBytes.name(removal.path)
            switch removal.kind {
            case .file:
                if try parent.removeFile(name) { work.withLock { $0.summary.removed += 1 } }
            case .directory:
                do {
                    try parent.removeDirectory(name)
                } catch let error as CASError
                    where error.code == .failedPrecondition
                    || error.code == .alreadyExists || error.code == .internalError
                {
                    // Something of the user's is in it: it stays.
                    continue
                }
            case .anything:
                try Host.removeTree(name, in: parent)
            }
            if let index = layout.byPath[PathBytes.parent(removal.path)] { touch(index) }
        }
    }

    /// Remembers how a file looks now that it is right.
    func setMark(_ place: Place, _ mark: RestoreState.Mark) {
        work.withLock { $0.marks[place.directory][place.file] = mark }
    }

    func touch(_ directory: Int) {
        work.withLock { _ = $0.touched.insert(directory) }
    }

    private func makeDirectories(_ findings: Inspection.Findings) throws {
        for index in layout.nodes.indices.dropFirst() {
            let node = layout.nodes[index]
            switch findings.directories[index] {
            case .absent:
                let parent = try handle(node.parent)
                try parent.createDirectory(node.name, permissions: 0o700)
                touch(index)
                touch(node.parent)
            case .present(let permissions):
                // Writable while we write; the right bits come at the end.
                if permissions & 0o700 != 0o700, findings.writes.contains(index) {
                    try handle(index).setPermissions(permissions | 0o700)
                    touch(index)
                }
            }
        }
        for index in findings.wrongAttributes { touch(index) }
    }

    /// Opens a directory of the tree.
    func handle(_ index: Int) throws -> DirectoryHandle {
        guard let handle = try root.open(beneath: layout.nodes[index].path) else {
            throw CASError(
                .aborted, "a directory went away while files were written into it",
                hint: "fetch again", path: PathText.printable(layout.nodes[index].path))
        }
        return handle
    }

    private func makeLinks(_ findings: Inspection.Findings) throws {
        for (index, positions) in findings.links {
            let node = layout.nodes[index]
            let parent = try handle(index)
            for position in positions {
                let link = node.directory.symlinks[position]
                try parent.removeFile(link.name.bytes)
                try parent.createSymlink(link.name.bytes, target: link.target)
                if let attributes = node.attributes, !options.reproducible {
                    try parent.setModified(link.name.bytes, attributes.symlinks[position])
                }
            }
            touch(index)
        }
    }

    /// Empty files need no data.
    private func makeEmptyFiles() throws {
        let places = work.withLock { $0.needed.removeValue(forKey: .empty) ?? [] }
        guard !places.isEmpty else { return }
        let writer = try FileWriter(self)
        for place in places {
            try writer.write(UnsafeRawBufferPointer(start: nil, count: 0), to: place)
        }
        writer.flush()
    }

    // MARK: - The data

    /// A worker for one connection and thread.
    package func makeWorker() throws -> RestoreWorker { try RestoreWorker(self) }

    /// The places that a blob is to be written to; empty for one that nobody needs.
    func places(_ digest: Digest) -> [Place] {
        work.withLock { $0.needed[digest] ?? [] }
    }

    /// Claims a blob's places for one worker, so that a blob that comes twice is written once.
    func claim(_ digest: Digest) -> [Place] {
        work.withLock { $0.needed.removeValue(forKey: digest) ?? [] }
    }

    /// Gives back what was claimed and did not come whole, so that it is asked for again.
    func unclaim(_ digest: Digest, _ places: [Place]) {
        work.withLock { $0.needed[digest] = places }
    }

    private func takeFromCache() throws {
        guard let cache else { return }
        let wanted = work.withLock { work in
            work.needed.map { (digest: $0.key, first: $0.value[0]) }
        }.sorted { ($0.first.directory, $0.first.file) < ($1.first.directory, $1.first.file) }
        let found = SharedCursor(count: wanted.count)
        try WorkerGroup.run(count: options.workers, name: "cache") { _ in
            let writer = try FileWriter(self)
            while let index = found.take() {
                let digest = wanted[index].digest
                let places = self.places(digest)
                guard try cache.restore(digest, places, writer) else { continue }
                self.work.withLock { work in
                    work.needed[digest] = nil
                    work.summary.cached += places.count
                }
            }
            writer.flush()
        }
    }

    // MARK: - After the data

    /// Sets modes and times of directories, writes the state, and lets go of the destination.
    ///
    /// Throws `dataLoss` if a file did not come.
    package func finish() throws -> RestoreSummary {
        let missing = work.withLock { $0.needed }
        if let (digest, places) = missing.first {
            throw CASError(
                .dataLoss, "the store did not send \(missing.count) of the files", digest: digest,
                path: places.first.map { text($0) })
        }
        let touched = work.withLock { $0.touched }
        for index in touched.sorted().reversed() {
            do {
                try setDirectoryAttributes(index)
            } catch let error as CASError where index == 0 && error.code == .permissionDenied {
                // The destination itself may be another user's, as the root of a pod's volume is:
                // we may write in it, its mode and time are its owner's.
            }
        }
        let marks = work.withLock { $0.marks.map { $0.map { $0 ?? .none } } }
        let bytes = RestoreState.encode(
            snapshotDigest, snapshot, messages: layout.messages(contents), marks: marks)
        try Destination.write(bytes, "state", in: stateDirectory, temporaries)
        try stateDirectory.removeFile(Array("next".utf8))
        try cache?.evict(limit: options.cacheLimit)
        return work.withLock { $0.summary }
    }

    private func setDirectoryAttributes(_ index: Int) throws {
        let node = layout.nodes[index]
        let directory = try handle(index)
        let wanted = directoryAttributes(node)
        let status = try directory.status()
        if status.permissions != wanted.permissions {
            try directory.setPermissions(wanted.permissions)
        }
        if let modified = wanted.modified, status.modified != modified {
            try directory.setModified(modified)
        }
    }

    /// The mode of a directory and, with attributes, its time.
    ///
    /// The owner can always use it.
    func directoryAttributes(
        _ node: RestoreLayout.Node
    ) -> (permissions: UInt16, modified: Timestamp?) {
        guard !options.reproducible, let attributes = node.attributes else {
            return (0o755, DerivedTime.of(node.digest))
        }
        return (attributes.own.permissions, attributes.own.modified)
    }

    /// A place's path for a person.
    func text(_ place: Place) -> String {
        let node = layout.nodes[place.directory]
        let name = node.directory.files[place.file].name.bytes
        return PathText.printable(PathBytes.join(node.path, name))
    }
}

/// Numbers that several threads share out.
final class SharedCursor: Sendable {
    private let next: Atomic<Int>
    private let count: Int

    init(count: Int) {
        next = Atomic(0)
        self.count = count
    }

    func take() -> Int? {
        let index = next.add(1, ordering: .relaxed).oldValue
        return index < count ? index : nil
    }
}

/// Operations on paths as bytes.
enum PathBytes {
    static func parent(_ path: [UInt8]) -> [UInt8] {
        guard let slash = path.lastIndex(of: 0x2f) else { return [] }
        return Array(path[..<slash])
    }

    static func name(_ path: [UInt8]) -> [UInt8] {
        guard let slash = path.lastIndex(of: 0x2f) else { return path }
        return Array(path[(slash + 1)...])
    }

    static func join(_ path: [UInt8], _ name: [UInt8]) -> [UInt8] {
        path.isEmpty ? name : path + [0x2f] + name
    }
}
