import CASCatalog
package import CASCore
import CASPack
import CASTree
package import CASWire
import Synchronization

/// Removes content for good: it is refused to readers at once, a record keeps it from coming back, and its bytes
/// go from all packs.
///
/// A blob goes with the chunks that only it has; a snapshot or a tree with everything that nothing else keeps.
package final class PurgeTask: MaintenanceTask {
    private let run: Mutex<PurgeRun>

    /// A purge of what a request names; throws `notFound` where that is not here, `failedPrecondition` while
    /// somebody collects.
    package convenience init(
        _ repository: Repository, _ request: MaintenanceRequest,
        pace: CollectionPace = CollectionPace(), domain: Domain
    ) throws {
        let use = try repository.configuration.lockForCollection()
        try self.init(repository, request, pace: pace, use: use, domain: domain)
    }

    /// A purge by who has the right to collect.
    init(
        _ repository: Repository, _ request: MaintenanceRequest,
        pace: CollectionPace = CollectionPace(), use: (any Sendable)?, domain: Domain
    ) throws {
        run = Mutex(
            try PurgeRun(repository, request, pace: pace, domain: domain, use: use))
    }

    /// The rest of a purge whose process ended before it was done, by who has the right to collect; nil if
    /// there is none.
    static func unfinished(
        _ repository: Repository, pace: CollectionPace = CollectionPace()
    ) throws -> PurgeTask? {
        try repository.unfinishedPurge().map { mark in
            PurgeTask(PurgeRun(repository, mark.record, isTree: mark.isTree, pace: pace))
        }
    }

    private init(_ run: sending PurgeRun) { self.run = Mutex(run) }

    package func step() throws -> Bool { try run.withLock { try $0.step() } }

    package var progress: MaintenanceProgress { run.withLock { $0.progress } }
}

/// The state of a purge between two steps.
struct PurgeRun {
    enum Phase {
        case earlier, search, begin, roots, mark, reach, find, settle, clear, note, refuse, refs
        case images, take
        case packs, look, rewrite, remove, end, done
    }

    let repository: Repository
    /// The targets, whatever keeps them, why they go, and what counts for nothing.
    var record: PurgeRecord
    let pace: CollectionPace
    let isDryRun: Bool
    /// Whether it is the rest of one whose process ended: what it noted is in the catalog.
    let isContinued: Bool
    /// Says to other processes that this one collects.
    private let use: (any Sendable)?
    /// What holds it; nil where that was found before.
    private let search: RootSearch?
    /// The rest of another one, which comes first.
    private let earlier: PurgeTask?
    let targets: Set<Digest>
    let kept: Marking
    let reached: Marking
    var scan: RootScan
    var phase = Phase.earlier
    var cursor: Digest?
    /// Where to go on once everything is marked that is kept.
    var resumed = Phase.reach
    /// What is to go beside the targets, and the bytes of its records.
    var gone: [Digest: UInt64] = [:]
    /// The same, to be noted.
    var unnoted: ArraySlice<Digest> = []
    /// Whether what was named is a snapshot, a tree or an image, and so more than its own chunks; known once it
    /// was walked.
    var isTree = false
    /// Everything that was ever removed for good: an earlier purge may have been interrupted.
    private var tombstones: Set<Digest> = []
    /// Images of trees that have something of it.
    var images: PurgedImages?
    /// Their manifests, as far as they have still to be taken.
    var manifests: ArraySlice<Digest> = []
    private var unseen: [PackEntry] = []
    private var packs: [PackEntry] = []
    private var rewriter: PackRewriter?
    private var checkpointing: CheckpointWriter?
    var progress = MaintenanceProgress()

    var domain: Domain { record.domain }
    /// The target by which it is named.
    private var main: Digest { record.digests.last ?? .zero }
    /// Blobs that one transaction removes at most.
    var batch: Int {
        min(pace.rows, repository.limits.removedPerTransaction, PurgeRecord.maximumDigests)
    }

    init(
        _ repository: Repository, _ request: MaintenanceRequest, pace: CollectionPace,
        domain: Domain, use: (any Sendable)?
    ) throws {
        let (digests, isRepeated) = try PurgeRun.targets(repository, request, domain)
        let mark = request.isDryRun ? nil : try repository.unfinishedPurge()
        if let mark, digests.contains(where: mark.record.digests.contains) {
            self.init(repository, mark.record, isTree: mark.isTree, pace: pace, use: use)
            return
        }
        let provenance = Provenance(
            message: "purged: \(request.reason)", time: repository.clock.now(),
            subject: request.subject)
        var record = PurgeRecord(
            digests: digests, reason: request.reason, provenance: provenance, domain: domain)
        record.names = try PurgeRun.names(of: digests, repository, domain)
        try self.init(
            repository, record, pace: pace, isDryRun: request.isDryRun, isContinued: false,
            use: use,
            search: isRepeated
                ? nil : RootSearch(repository, digests[digests.count - 1], domain: domain),
            earlier: mark == nil ? nil : PurgeTask.unfinished(repository, pace: pace))
    }

    /// The rest of a purge.
    init(
        _ repository: Repository, _ record: PurgeRecord, isTree: Bool, pace: CollectionPace,
        use: (any Sendable)? = nil
    ) {
        self.init(
            repository, record, pace: pace, isDryRun: false, isContinued: true, use: use,
            search: nil, earlier: nil)
        self.isTree = isTree
        phase = .begin
    }

    private init(
        _ repository: Repository, _ record: PurgeRecord, pace: CollectionPace, isDryRun: Bool,
        isContinued: Bool, use: (any Sendable)?, search: RootSearch?, earlier: PurgeTask?
    ) {
        self.repository = repository
        self.record = record
        self.pace = pace
        self.isDryRun = isDryRun
        self.isContinued = isContinued
        self.use = use
        self.search = search
        self.earlier = earlier
        targets = Set(record.digests)
        kept = Marking(repository, domain: record.domain, blocked: targets)
        reached = Marking(repository, domain: record.domain)
        for target in targets.sorted() { reached.add(Marking.Root(digest: target)) }
        scan = RootScan(repository, forgetting: record)
        for name in ["purged", "purgedBytes", "rewrittenPacks", "removedRefs"] {
            progress.add(name, 0)
        }
    }

    /// The names that have a target as an image: that they relied on its parts lately does not keep these.
    ///
    /// Of too many the others keep what they relied on for a day.
    private static func names(
        of targets: [Digest], _ repository: Repository, _ domain: Domain
    ) throws -> [String] {
        try repository.catalog.read { reader in
            var names: Set<String> = []
            for target in targets {
                let links = try reader.links(to: target, limit: .max, domain: domain)
                names.formUnion(links.lazy.filter { $0.kind == .manifest }.map(\.name))
            }
            return Array(names.sorted().prefix(PurgeRecord.maximumNames))
        }
    }

    /// What a request names, that by which it is found last, and whether it was removed before.
    private static func targets(
        _ repository: Repository, _ request: MaintenanceRequest, _ domain: Domain
    ) throws -> ([Digest], Bool) {
        guard !request.reason.isEmpty else {
            throw CASError(
                .invalidArgument, "a purge needs a reason",
                hint: "it is kept, and told to who pushes")
        }
        if let ref = request.ref {
            if let entry = try repository.ref(ref, domain: domain), entry.target.kind == .manifest {
                return ([entry.target.digest], false)
            }
            let found = try repository.resolve(.ref(ref), domain: domain)
            return ([found.snapshot, found.tree], false)
        }
        guard let digest = request.digest else {
            throw CASError(.invalidArgument, "a purge needs a ref or a digest")
        }
        guard digest != .empty else {
            throw CASError(
                .invalidArgument, "no bytes can not be removed: every empty file has them")
        }
        return try repository.view(domain) { reader in
            if try reader.location(of: digest, domain: domain) == nil,
                try reader.purged([digest], domain: domain)[0] != nil
            {
                return ([digest], true)
            }
            if try reader.location(of: digest, domain: domain) == nil,
                try reader.derivedImages(naming: digest, limit: 1, domain: domain).first != nil
            {
                throw CASError(
                    .failedPrecondition,
                    "this is a layer that is made of a snapshot's files when somebody asks for it",
                    hint: "purge the file in it, or the snapshot", digest: digest)
            }
            let source = try StoredDirectories(repository, reader, domain: domain)
            guard let snapshot = try source.snapshot(digest) else {
                return ([digest], false)
            }
            return ([digest, snapshot.tree.digest], false)
        }
    }

    mutating func step() throws -> Bool {
        switch phase {
        case .earlier: if try !(earlier?.step() ?? false) { phase = .search }
        case .search: try lookForHolders()
        case .begin: try begin()
        case .roots: try roots()
        case .mark: if try !kept.step(directories: pace.directories) { phase = resumed }
        case .reach: if try !reached.step(directories: pace.directories) { phase = .find }
        case .find: try find()
        case .settle: try settle()
        case .clear: try clear()
        case .note: try note()
        case .refuse: try refuse()
        case .refs: try removeRefs()
        case .images: try findImages()
        case .take: try take()
        case .packs: try findPacks()
        case .look: try lookAtPack()
        case .rewrite: try rewrite()
        case .remove:
            let limit = 16
            if try repository.deleteDoomedPacks(limit: limit) < limit { phase = .end }
        case .end:
            // A pack that somebody is writing to is dealt with by the next collection.
            try repository.endPurge(isDone: progress["packsInUse"] == 0)
            phase = .done
        case .done: return false
        }
        return phase != .done
    }

    /// Finds the refs that hold it, for the report, before they do not any more.
    private mutating func lookForHolders() throws {
        guard let search else {
            // It was removed before, and only bytes of it may be left.
            phase = isDryRun ? .done : .packs
            return
        }
        progress.phase = "finding what holds it"
        guard try !search.step() else { return }
        progress.findings = search.progress.findings
        phase = .begin
    }

    /// Finds the packs that may have bytes of it.
    private mutating func findPacks() throws {
        progress.phase = "rewriting packs"
        try repository.writer.seal { _ in true }
        try repository.commit(session: nil, isEvent: false) { _ in }
        try repository.storeSealedPacks()
        var last: Digest?
        repeat {
            let page = try repository.catalog.read {
                try $0.purges(after: last, limit: pace.rows, domain: domain)
            }
            tombstones.formUnion(page.map(\.digest))
            last = page.last?.digest
        } while last != nil
        unseen = try repository.catalog.read { try $0.packs() }
        phase = .look
    }

    /// Looks whether a pack has bytes of it, also where another record of the same digest counts.
    private mutating func lookAtPack() throws {
        guard let pack = unseen.popLast() else {
            phase = .rewrite
            return
        }
        // A new one has nothing in it yet.
        guard pack.committedBytes > UInt64(PackHeader.byteCount) else { return }
        guard pack.isSealed, pack.isStored else {
            // The pack of another process that is writing now.
            progress.add("packsInUse")
            return
        }
        if try repository.entries(of: pack).contains(where: { tombstones.contains($0.digest) }) {
            packs.append(pack)
        }
    }

    private mutating func rewrite() throws {
        guard let rewriter else {
            guard let next = packs.popLast() else {
                phase = .remove
                return
            }
            self.rewriter = try PackRewriter(repository, next, pace: pace, domain: domain)
            return
        }
        if let checkpointing {
            if try checkpointing.step() { return }
            self.checkpointing = nil
            self.rewriter = try PackRewriter(
                repository, rewriter.pack, pace: pace, domain: domain)
            return
        }
        do {
            if try rewriter.step() { return }
        } catch is DamagedEvent {
            // Recorded state is repeated elsewhere, so that all events of this pack can go.
            checkpointing = CheckpointWriter(repository, domain: domain)
            return
        }
        self.rewriter = nil
        guard try repository.removeEmptyPack(rewriter.pack) else {
            throw CASError(
                .unavailable, "a pack with bytes of it is still in use",
                hint: "they are refused to readers; to have them deleted: cas purge \(main)")
        }
        progress.add("rewrittenPacks")
    }
}
