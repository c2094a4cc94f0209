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

    package func step() throws -> Bool { try run.withLock { try $0.step() } }

    package var progress: MaintenanceProgress { run.withLock { $0.progress } }
}

/// The state of a purge between two steps.
struct PurgeRun {
    private enum Phase {
        case search, begin, roots, mark, reach, purge, images, settle, packs, look, rewrite, remove,
            done
    }

    private let repository: Repository
    private let request: MaintenanceRequest
    private let pace: CollectionPace
    private let domain: Domain
    /// Says to other processes that this one collects.
    private let use: (any Sendable)?
    /// What is to go whatever keeps it.
    private let targets: Set<Digest>
    /// The target by which it is named.
    private let main: Digest
    /// What holds it; nil where it was removed before, and only bytes may be left.
    private let search: RootSearch?
    private let kept: Marking
    private let reached: Marking
    private var scan: RootScan
    private var phase = Phase.search
    private var cursor: Digest?
    /// Where to go on once everything is marked that is kept.
    private var resumed = Phase.reach
    /// What is to go, and the bytes of its records.
    private var gone: [Digest: UInt64] = [:]
    /// Everything that was ever removed for good: an earlier purge may have been interrupted.
    private var tombstones: Set<Digest> = []
    /// Images of trees that have something of it.
    private var images: PurgedImages?
    private var unseen: [PackEntry] = []
    private var packs: [PackEntry] = []
    private var rewriter: PackRewriter?
    var progress = MaintenanceProgress()

    init(
        _ repository: Repository, _ request: MaintenanceRequest, pace: CollectionPace,
        domain: Domain, use: (any Sendable)?
    ) throws {
        self.repository = repository
        self.request = request
        self.pace = pace
        self.domain = domain
        self.use = use
        let (main, targets, isRepeated) = try PurgeRun.targets(repository, request, domain)
        self.main = main
        self.targets = targets
        search = isRepeated ? nil : try RootSearch(repository, main, domain: domain)
        if isRepeated { phase = request.isDryRun ? .done : .packs }
        kept = Marking(repository, domain: domain, blocked: targets)
        reached = Marking(repository, domain: domain)
        for target in targets.sorted() { reached.add(Marking.Root(digest: target)) }
        scan = RootScan(repository, domain: domain)
        for name in ["purged", "purgedBytes", "rewrittenPacks", "removedRefs"] {
            progress.add(name, 0)
        }
    }

    /// What a request names: the digest to look for, all that is to go with it, and whether it was removed
    /// before.
    private static func targets(
        _ repository: Repository, _ request: MaintenanceRequest, _ domain: Domain
    ) throws -> (Digest, Set<Digest>, Bool) {
        guard !request.reason.isEmpty else {
            throw CASError(
                .invalidArgument, "a purge needs a reason",
                hint: "it is kept, and told to who pushes")
        }
        if let ref = request.ref {
            let found = try repository.resolve(.ref(ref), domain: domain)
            return (found.tree, [found.snapshot, found.tree], false)
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
                return (digest, [digest], true)
            }
            let source = try StoredDirectories(repository, reader, domain: domain)
            guard let snapshot = try source.snapshot(digest) else {
                return (digest, [digest], false)
            }
            return (snapshot.tree.digest, [digest, snapshot.tree.digest], false)
        }
    }

    mutating func step() throws -> Bool {
        switch phase {
        case .search: try lookForHolders()
        case .begin: try begin()
        case .roots: try roots()
        case .mark: if try !kept.step(directories: pace.directories) { phase = resumed }
        case .reach: if try !reached.step(directories: pace.directories) { phase = .purge }
        case .purge: try purge()
        case .images: try findImages()
        case .settle: try settle()
        case .packs: try findPacks()
        case .look: try lookAtPack()
        case .rewrite: try rewrite()
        case .remove:
            let limit = 16
            if try repository.deleteDoomedPacks(limit: limit) < limit { phase = .done }
        case .done: return false
        }
        return phase != .done
    }

    /// Finds the refs that hold it, for the report, before they do not any more.
    private mutating func lookForHolders() throws {
        progress.phase = "finding what holds it"
        guard try !(search?.step() ?? false) else { return }
        progress.findings = search?.progress.findings ?? []
        phase = .begin
    }

    private mutating func begin() throws {
        if !request.isDryRun {
            try repository.catalog.write { [pace, domain] transaction in
                while try !transaction.takeBarrier(limit: pace.rows, domain: domain).isEmpty {}
            }
        }
        phase = .roots
    }

    private mutating func roots() throws {
        guard let found = try repository.catalog.read({ try scan.next($0, limit: pace.rows) })
        else {
            phase = .mark
            return
        }
        for root in found { kept.add(root) }
    }

    /// Collects what only the targets reach, page by page.
    private mutating func purge() throws {
        progress.phase = "removing it"
        let page = try repository.catalog.read {
            try $0.locations(after: cursor, limit: pace.rows, domain: domain)
        }
        guard let last = page.last else {
            phase = .images
            return
        }
        for (digest, location) in page where digest != .empty {
            if targets.contains(digest) || reached.contains(digest) && !kept.contains(digest) {
                gone[digest] = location.recordBytes
            }
        }
        cursor = last.digest
    }

    /// Finds images of trees that have it, one tree at a time.
    private mutating func findImages() throws {
        var search = try images ?? PurgedImages(repository, Set(gone.keys), domain: domain)
        let isMore = try search.step()
        images = search
        if !isMore { phase = .settle }
    }

    /// Takes all of it in one transaction, in which nothing is kept that was not looked at.
    private mutating func settle() throws {
        gone = gone.filter { targets.contains($0.key) || !kept.contains($0.key) }
        for (name, sum) in [
            ("purged", UInt64(gone.count)), ("purgedBytes", gone.values.reduce(0, +)),
        ] {
            progress.reset(name)
            progress.add(name, sum)
        }
        if let root = kept.incomplete.first, gone.count > targets.count, isTree {
            throw CASError(
                .failedPrecondition,
                "a directory of '\(root.name.isEmpty ? root.digest.description : root.name)' is "
                    + "missing, so that nobody knows what it has in common with this",
                hint: "push it again, repair it or remove it first", digest: root.digest)
        }
        guard !request.isDryRun else {
            phase = .done
            return
        }
        let manifests = (images?.manifests ?? []).subtracting(gone.keys)
        let outcome = try repository.record(
            purge: gone.keys.sorted() + manifests.sorted(), targets: targets, request,
            limit: pace.rows, domain: domain)
        guard outcome.found.isEmpty else {
            // What a push made reachable meanwhile is kept too.
            kept.add(reachable: outcome.found)
            images = nil
            resumed = .images
            phase = .mark
            return
        }
        progress.add("removedRefs", UInt64(outcome.removedRefs))
        phase = .packs
    }

    /// Whether what was named is a snapshot or a tree.
    private var isTree: Bool { request.ref != nil || targets.count > 1 || reachesMore }

    /// Whether the one target is a directory.
    private var reachesMore: Bool { reached.hasWalked(main) }

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
        do {
            if try rewriter.step() { return }
        } catch is DamagedEvent {
            // Recorded state is repeated elsewhere, so that all events of this pack can go.
            try repository.makeCheckpoint(domain: domain)
            self.rewriter = try PackRewriter(
                repository, rewriter.pack, pace: pace, domain: domain)
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
