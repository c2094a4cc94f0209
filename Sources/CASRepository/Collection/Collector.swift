import CASCatalog
package import CASCore
import CASWire
import Synchronization

/// How much one step of a collection does at most.
package struct CollectionPace: Sendable {
    /// Directories that are walked.
    package var directories = 500
    /// Rows of the catalog that are looked at or changed.
    package var rows = 4_000
    /// Bytes that are copied forward.
    package var copiedBytes = 8 << 20
    /// Bytes that are compressed anew.
    package var recompressedBytes = 512 << 10

    /// What keeps a step short beside pushes.
    package init() {}
}

/// Finds what nothing keeps, and gives its space back, beside pushes and fetches (Collection.md).
///
/// Exact: whatever becomes reachable while it runs is in the barrier, which every step that takes something
/// looks at first, in the transaction that takes it. One thread at a time.
package final class Collector: MaintenanceTask {
    private let run: Mutex<CollectionRun>

    /// A collection; with `isDryRun` it only counts what it would do.
    ///
    /// Throws `failedPrecondition` where another process collects in the same store.
    package convenience init(
        _ repository: Repository, isDryRun: Bool = false, pace: CollectionPace = CollectionPace(),
        domain: Domain = .standard
    ) throws {
        let use = try repository.configuration.lockForCollection()
        self.init(repository, isDryRun: isDryRun, pace: pace, use: use, domain: domain)
    }

    /// A collection by who has the right to collect.
    init(
        _ repository: Repository, isDryRun: Bool, pace: CollectionPace = CollectionPace(),
        use: (any Sendable)?, domain: Domain
    ) {
        run = Mutex(
            CollectionRun(repository, isDryRun: isDryRun, pace: pace, domain: domain, use: use))
    }

    package func step() throws -> Bool { try run.withLock { try $0.step() } }

    package var progress: MaintenanceProgress { run.withLock { $0.progress } }
}

/// The state of a collection between two steps.
struct CollectionRun {
    enum Phase: Equatable {
        case finish, retain, begin, roots, mark, snapshots, trees, links, condemn, uploads, delete
        case checkpoint, gather, pack
        case remove, end, done
    }
    let repository: Repository
    let isDryRun: Bool
    let pace: CollectionPace
    let domain: Domain
    /// Says to other processes that this one collects.
    let use: (any Sendable)?
    private(set) var marking: Marking
    var scan: RootScan
    var retention: (any MaintenanceTask)?
    var phase = Phase.finish
    /// A purge whose process ended before it was done.
    private var purge: PurgeTask?
    /// Where to go on once everything is marked that was found on the way.
    var resumed = Phase.snapshots
    var cursor: Digest?
    /// How far links were looked at.
    var linkCursor: OCILink?
    /// How far uploads were looked at again; nil before that.
    var uploadScan: ImageRootScan?
    var generation: UInt64 = 0
    /// Work on scattered files, the next one last; nil before it was begun.
    var gathering: [any MaintenanceTask]?
    var compaction: Compaction?
    var checkpointing: CheckpointWriter?
    var progress = MaintenanceProgress()

    init(
        _ repository: Repository, isDryRun: Bool, pace: CollectionPace, domain: Domain,
        use: (any Sendable)?
    ) {
        self.repository = repository
        self.isDryRun = isDryRun
        self.pace = pace
        self.domain = domain
        self.use = use
        marking = Marking(repository, domain: domain)
        scan = RootScan(repository, domain: domain)
        for name in ["condemned", "deleted", "deletedBytes", "freedBytes", "removedPacks"] {
            progress.add(name, 0)
        }
    }

    var catalog: any Catalog { repository.catalog }

    /// One step; where the disk is full, once more with the space that was kept for that.
    mutating func step() throws -> Bool {
        do {
            return try advance()
        } catch let error as CASError where error.code == .resourceExhausted && !isDryRun {
            if try repository.makeRoom() { return true }
            if phase == .gather {
                // A better order can wait until there is room.
                enter(.pack)
                return true
            }
            guard phase == .pack, compaction != nil else { throw error }
            // What needed no room is done: packs in which nothing is alive go all the same.
            progress.findings.append(
                .init(
                    "full",
                    text: "there is no room to pack the rest: "
                        + "make some on the disk, then collect again"))
            endPacking()
            return true
        }
    }

    private mutating func advance() throws -> Bool {
        switch phase {
        case .finish: try finishPurge()
        case .retain: try retain()
        case .begin: try begin()
        case .roots: try roots()
        case .mark: try mark()
        case .snapshots: try sweepSnapshots()
        case .trees: try sweepTrees()
        case .links: try sweepLinks()
        case .condemn: try condemn()
        case .uploads: try keepUploads()
        case .delete: try delete()
        case .checkpoint: try checkpoint()
        case .gather: try gather()
        case .pack: try pack()
        case .remove: try removeDoomed()
        case .end: try end()
        case .done: return false
        }
        return phase != .done
    }

    mutating func enter(_ next: Phase) {
        phase = next
        cursor = nil
        linkCursor = nil
    }

    // MARK: - Marking

    /// Goes on with a purge whose process ended.
    private mutating func finishPurge() throws {
        guard !isDryRun, let task = try purge ?? PurgeTask.unfinished(repository, pace: pace)
        else { return enter(.retain) }
        progress.phase = "finishing a purge"
        purge = task
        do {
            if try task.step() { return }
            progress.add("purged", task.progress["purged"])
        } catch let error as CASError
            where error.code == .failedPrecondition || error.code == .unavailable
        {
            progress.findings.append(
                .init("purge", text: "a purge is not done: \(error.message)"))
        } catch {
            // It begins anew, as nobody knows what the failed step did.
            purge = nil
            throw error
        }
        enter(.retain)
    }

    /// Ends what expired and what rules say, as ordinary moves that are recorded.
    private mutating func retain() throws {
        progress.phase = "applying rules"
        let task = try retention ?? repository.retentionTask(isDryRun: isDryRun, domain: domain)
        retention = task
        guard try task.map({ try $0.step() }) ?? false else {
            for figure in task?.progress.figures ?? [] { progress.add(figure.name, figure.value) }
            progress.findings += task?.progress.findings ?? []
            return enter(.begin)
        }
    }

    private mutating func begin() throws {
        progress.phase = "finding what is kept"
        scan = RootScan(repository, domain: domain)
        uploadScan = nil
        marking = Marking(repository, domain: domain)
        if isDryRun { return enter(.roots) }
        if try repository.reserve.isNeeded { _ = try repository.makeRoom() }
        try repository.expireUploads(domain: domain)
        let now = repository.clock.monotonicNanoseconds()
        let longest = max(repository.limits.pushIdleNanoseconds, Repository.readNanoseconds)
        let oldest =
            repository.clock.now().seconds
            - Int64(clamping: repository.configuration.protectedSeconds)
        let next = try catalog.write { [pace, domain] transaction -> UInt64? in
            // Everything of before is found by the scan.
            if try Barrier.begin(limit: pace.rows, transaction, domain: domain) { return nil }
            // Monotonic clocks start again at a reboot: what was to end then would last for ever.
            try transaction.limitLeases(to: now + longest)
            for lease in try transaction.expiredLeases(at: now) {
                try transaction.remove(lease: lease.identifier)
            }
            _ = try transaction.removeTouches(before: oldest, limit: pace.rows, domain: domain)
            return try transaction.nextGeneration()
        }
        guard let next else { return }
        generation = next
        enter(.roots)
    }

    private mutating func roots() throws {
        let found = try catalog.read { try scan.next($0, limit: pace.rows) }
        guard let found else {
            resumed = .snapshots
            return enter(.mark)
        }
        for root in found { marking.add(root) }
        progress.add("keptByHistory", UInt64(found.count { $0.kind == "history" }))
        progress.add(
            "keptByFetch", UInt64(found.count { $0.kind == "fetched" || $0.kind == "read" }))
    }

    private mutating func mark() throws {
        progress.phase = "finding what is kept"
        guard try !marking.step(directories: pace.directories) else { return }
        guard marking.incompleteCount == 0 else { return stop() }
        phase = resumed
    }

    /// Takes nothing where a tree can not be walked: what lies below its gap is kept by it all the same.
    private mutating func stop() {
        for root in marking.incomplete {
            progress.findings.append(
                .init(
                    "incomplete", name: root.name, digest: root.digest,
                    text: "a directory of it is missing: push it again, repair it, or remove it"))
        }
        progress.add("incomplete", UInt64(marking.incompleteCount))
        // Packs can be dealt with nevertheless.
        enter(isDryRun ? .end : .checkpoint)
    }

    /// Calls `body` in a transaction in which nothing is reachable that was not marked; where something
    /// new is, marks that first and comes back to this phase.
    mutating func take(
        _ body: (any CatalogTransaction) throws -> Void
    ) throws -> Bool {
        let found: Barrier
        do {
            found = try catalog.write { [pace, domain] transaction in
                let found = try Barrier(taking: pace.rows, transaction, domain: domain)
                if found.isEmpty { try body(transaction) }
                return found
            }
        } catch {
            // It may have happened all the same, and then nobody knows what was in the barrier.
            enter(.begin)
            throw error
        }
        return resume(marking: found)
    }

    /// Whether nothing was found that is to be marked first; else goes on with that, then with this phase.
    mutating func resume(marking found: Barrier) -> Bool {
        guard !found.isEmpty else { return true }
        marking.add(found)
        resumed = phase
        phase = .mark
        return false
    }

    private mutating func end() throws {
        progress.phase = "done"
        if !isDryRun {
            // Who takes a lease from now on asked after everything that was condemned.
            let gaps = progress["incomplete"]
            try catalog.write { [repository] transaction in
                _ = try transaction.nextGeneration()
                try repository.noteCollected(gaps: gaps, transaction)
                try Barrier.end(transaction)
            }
            // Only where somebody keeps one, and once there is room again.
            if repository.reserve.wasReleased { try repository.reserve.build() }
            repository.counters.addCollection()
        }
        enter(.done)
    }
}
