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
    let history: DestinationHistory
    let work = Mutex(Work())

    /// The limits on what is accepted.
    package var limits: Limits { options.limits }

    /// What is known of the files so far.
    struct Work {
        var marks: [[RestoreState.Mark?]] = []
        var needed: [Digest: [Place]] = [:]
        /// What takes the place of files that are there, once all new ones are.
        var replacements: [Digest: [Place]] = [:]
        /// Links to be made then.
        var links: [(directory: Int, positions: [Int])] = []
        /// What goes when all else is done.
        var removals: [Removal] = []
        /// Places where a file of an interrupted restore may stand, or one of the user's.
        var halves: Set<Place> = []
        var touched: Set<Int> = []
        var summary = RestoreSummary()
    }

    /// Opens a destination and lays the tree out; creates nothing but the destination and its `.cas`.
    ///
    /// Throws `aborted` if another restore works there, `failedPrecondition` if the directory holds other
    /// things and is not ours, `resourceExhausted` and `dataLoss` for a tree that is not acceptable.
    package init(
        destination: String, snapshot: Snapshot, snapshotDigest: Digest, contents: TreeContents,
        state found: DestinationState, options: RestoreOptions
    ) throws {
        self.options = options
        self.snapshot = snapshot
        self.snapshotDigest = snapshotDigest
        self.contents = contents
        layout = try RestoreLayout(snapshot, contents, limits: options.limits)
        path = destination
        root = try Destination.open(destination, isOurs: found.isOurs, force: options.force)
        let root = root
        let state = try Destination.writable(destination) { try Destination.openState(root) }
        stateDirectory = state
        guard
            let lock = try Destination.writable(
                destination, { try FileLock(in: state, name: "lock") })
        else {
            throw CASError(
                .aborted, "another cas fetch works in this directory",
                hint: "wait for it, or fetch into another directory", path: destination)
        }
        self.lock = lock
        temporaries = try Destination.writable(destination) {
            try Destination.openTemporaries(state)
        }
        history = try DestinationHistory(found, limits: options.limits)
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
        let findings = try inspect()
        try markIncomplete()
        try change(findings)
        work.withLock { work in
            for (place, mark) in findings.marks { work.marks[place.directory][place.file] = mark }
            for place in findings.needed {
                let digest = layout.nodes[place.directory].directory.files[place.file].digest
                work.needed[digest, default: []].append(place)
            }
            work.halves = findings.halves
            if options.isGentle {
                let replaced = findings.replaced
                work.replacements = work.needed.filter { $0.value.allSatisfy(replaced.contains) }
                for digest in work.replacements.keys { work.needed[digest] = nil }
                work.links = findings.links
            }
            work.summary.files = layout.nodes.reduce(0) { $0 + $1.directory.files.count }
            work.summary.kept =
                findings.marks.count + findings.mends.reduce(0) { $0 + $1.mends.count }
        }
        try makeEmptyFiles()
        try takeFromCache()
        return plan()
    }

    /// With `isGentle`, once all new files are there: makes links, and says what the changed files need.
    package func prepareReplacements() throws -> RestorePlan {
        let links = work.withLock { work in
            work.needed.merge(work.replacements) { $0 + $1 }
            work.replacements = [:]
            defer { work.links = [] }
            return work.links
        }
        try makeLinks(links)
        try makeEmptyFiles()
        try takeFromCache()
        return plan()
    }

    /// Looks at everything before anything is changed; throws where the user's files are in the way.
    private func inspect() throws -> InspectionFindings {
        let inspection = Inspection(self, history)
        do {
            let findings = try inspection.run()
            try settle(findings.conflicts)
            return findings
        } catch {
            // What kept the restore from taking place is what the user has to hear of.
            do { try inspection.closeAgain() } catch let second as CASError {
                guard var first = error as? CASError else { throw error }
                first.cause = first.cause ?? second
                throw first
            }
            throw error
        }
    }

    private func plan() -> RestorePlan {
        work.withLock { work in
            var files = 0
            var bytes: UInt64 = 0
            for places in work.needed.values {
                guard let place = places.first else { continue }
                files += places.count
                bytes +=
                    layout.nodes[place.directory].directory.files[place.file].size
                    * UInt64(places.count)
            }
            return RestorePlan(
                blobs: Array(work.needed.keys), files: files, bytes: bytes,
                isWhole: work.summary.kept == 0 && work.summary.cached == 0
                    && work.summary.left.isEmpty && history.old == nil)
        }
    }

    /// Stops at the user's files, or notes what will become of them.
    private func settle(_ conflicts: [Conflict]) throws {
        guard !conflicts.isEmpty else { return }
        let names = conflicts.map { "\(PathText.printable($0.path)) (\($0.reason))" }
        if options.force || options.keep {
            work.withLock { work in
                if options.force {
                    work.summary.overwritten = (work.summary.overwritten + names).sorted()
                }
                if options.keep, !options.force {
                    work.summary.left = (work.summary.left + names).sorted()
                }
            }
            return
        }
        let shown = names.sorted().prefix(10).joined(separator: "\n  ")
        let more = names.count > 10 ? "\n  and \(names.count - 10) more" : ""
        throw CASError(
            .failedPrecondition,
            "\(names.count) of your own files \(names.count == 1 ? "is" : "are") in the way; nothing was changed:\n  \(shown)\(more)",
            hint: "--force overwrites them, --keep leaves them as they are", path: path)
    }

    /// Whether a file of the user's met late may go; throws where nothing was said about such files.
    func settle(_ conflict: Conflict) throws -> Bool {
        try settle([conflict])
        return options.force
    }

    /// Whether what stands at a place is to be looked at before it is replaced.
    func isPerhapsHalf(_ place: Place) -> Bool {
        work.withLock { $0.halves.contains(place) }
    }

    /// Leaves word of what is about to be written, for the next run if this one is interrupted.
    private func markIncomplete() throws {
        let bytes = RestoreState.encode(
            snapshotDigest, snapshot, messages: layout.messages(contents), marks: [])
        try Destination.write(bytes, "next", in: stateDirectory, temporaries)
    }

    /// Remembers how a file looks now that it is right.
    func setMark(_ place: Place, _ mark: RestoreState.Mark) {
        work.withLock { $0.marks[place.directory][place.file] = mark }
    }

    func touch(_ directory: Int) {
        work.withLock { _ = $0.touched.insert(directory) }
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
        guard cache != nil || options.older != nil else { return }
        let wanted = work.withLock { work in
            work.needed.map { (digest: $0.key, first: $0.value[0]) }
        }.sorted { ($0.first.directory, $0.first.file) < ($1.first.directory, $1.first.file) }
        let found = SharedCursor(count: wanted.count)
        try WorkerGroup.run(count: options.workers, name: "cache") { _ in
            let writer = try FileWriter(self)
            while let index = found.take() {
                let digest = wanted[index].digest
                let places = self.places(digest)
                var rest = places
                if let older = self.options.older {
                    rest = try older.restore(digest, rest, writer)
                }
                if let cache = self.cache, !rest.isEmpty {
                    rest = try cache.restore(digest, rest, writer)
                }
                let left = rest
                self.work.withLock { work in
                    work.needed[digest] = left.isEmpty ? nil : left
                    work.summary.cached += places.count - left.count
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
        try complete()
        let marks = work.withLock { $0.marks.map { $0.map { $0 ?? .none } } }
        let bytes = RestoreState.encode(
            snapshotDigest, snapshot, messages: layout.messages(contents), marks: marks)
        try Destination.write(bytes, "state", in: stateDirectory, temporaries)
        try stateDirectory.removeFile(Array("next".utf8))
        try cache?.evict(limit: options.cacheLimit)
        return work.withLock { $0.summary }
    }

    /// The same for a version that is published: the state is the caller's to keep elsewhere.
    ///
    /// Each file is looked at once more, as further names change how the others of a file look.
    package func finishVersion() throws -> (summary: RestoreSummary, state: [UInt8]) {
        try complete()
        let marks = try layout.nodes.indices.map { index in
            let directory = try handle(index)
            return try layout.nodes[index].directory.files.map { file in
                try directory.status(file.name.bytes).map { RestoreState.Mark($0) } ?? .none
            }
        }
        let bytes = RestoreState.encode(
            snapshotDigest, snapshot, messages: layout.messages(contents), marks: marks)
        try cache?.evict(limit: options.cacheLimit)
        return (work.withLock { $0.summary }, bytes)
    }

    /// Makes sure that all files came, removes what is no longer wanted, and sets directories right.
    private func complete() throws {
        let missing = work.withLock { $0.needed.merging($0.replacements) { $0 + $1 } }
        if let (digest, places) = missing.first {
            throw CASError(
                .dataLoss, "the store did not send \(missing.count) of the files", digest: digest,
                path: places.first.map { text($0) })
        }
        try remove(work.withLock { $0.removals })
        let touched = work.withLock { $0.touched }
        for index in touched.sorted().reversed() {
            do {
                try setDirectoryAttributes(index)
            } catch let error as CASError where index == 0 && error.code == .permissionDenied {
                // The destination itself may be another user's, as the root of a pod's volume is:
                // we may write in it, its mode and time are its owner's.
            }
        }
    }

    private func setDirectoryAttributes(_ index: Int) throws {
        let node = layout.nodes[index]
        let directory = try handle(index)
        let wanted = directoryAttributes(node)
        let status = try directory.status()
        if status.permissions != wanted.permissions {
            try directory.setPermissions(wanted.permissions)
        }
        if status.modified != wanted.modified { try directory.setModified(wanted.modified) }
    }

    /// The mode of a directory, and its time.
    func directoryAttributes(
        _ node: RestoreLayout.Node
    ) -> (permissions: UInt16, modified: Timestamp) {
        let sealed: UInt16? = options.isSealed ? 0o555 : nil
        guard !options.reproducible, let attributes = node.attributes else {
            return (sealed ?? 0o755, DerivedTime.of(node.digest))
        }
        return (sealed ?? attributes.own.permissions, attributes.own.modified)
    }

    /// The time of a link.
    func linkModified(_ node: RestoreLayout.Node, _ position: Int) -> Timestamp {
        guard !options.reproducible, let attributes = node.attributes else {
            return DerivedTime.of(Digest.of(node.directory.symlinks[position].target))
        }
        return attributes.symlinks[position]
    }

    /// How a file looks now, to be recognised by the next restore.
    ///
    /// A linked one changes whenever another name of it comes or goes.
    func mark(_ status: FileStatus) -> RestoreState.Mark {
        var mark = RestoreState.Mark(status)
        if options.link { mark.changed = RestoreState.Mark.none.changed }
        return mark
    }

    /// The path of a place.
    func path(_ place: Place) -> [UInt8] {
        let node = layout.nodes[place.directory]
        return PathBytes.join(node.path, node.directory.files[place.file].name.bytes)
    }

    /// A place's path for a person.
    func text(_ place: Place) -> String { PathText.printable(path(place)) }
}
