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
        case search, begin, roots, mark, reach, purge, packs, rewrite, remove, done
    }

    private let repository: Repository
    private let request: MaintenanceRequest
    private let pace: CollectionPace
    private let domain: Domain
    /// Says to other processes that this one collects.
    private let use: (any Sendable)?
    /// What is to go whatever keeps it.
    private let targets: Set<Digest>
    /// Nil where the digest was purged before, and only its bytes are looked for.
    private let search: RootSearch?
    private let kept: Marking
    private let reached: Marking
    private var scan: RootScan
    private var phase = Phase.search
    private var cursor: Digest?
    private var gone: Set<Digest> = []
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
        let (main, targets) = try PurgeRun.targets(repository, request, domain)
        self.targets = targets
        let isAgain = try repository.catalog.read {
            try $0.purged([main], domain: domain)[0] != nil
                && $0.location(of: main, domain: domain) == nil
        }
        search = isAgain ? nil : try RootSearch(repository, main, domain: domain)
        kept = Marking(repository, domain: domain, blocked: targets)
        reached = Marking(repository, domain: domain)
        for target in targets.sorted() { reached.add(Marking.Root(digest: target)) }
        scan = RootScan(repository, domain: domain)
        for name in ["purged", "purgedBytes", "rewrittenPacks", "removedRefs"] {
            progress.add(name, 0)
        }
    }

    /// What a request names: the digest to look for, and all that is to go with it.
    private static func targets(
        _ repository: Repository, _ request: MaintenanceRequest, _ domain: Domain
    ) throws -> (Digest, Set<Digest>) {
        guard !request.reason.isEmpty else {
            throw CASError(
                .invalidArgument, "a purge needs a reason",
                hint: "it is kept, and told to who pushes")
        }
        if let ref = request.ref {
            let found = try repository.resolve(.ref(ref), domain: domain)
            return (found.tree, [found.snapshot, found.tree])
        }
        guard let digest = request.digest else {
            throw CASError(.invalidArgument, "a purge needs a ref or a digest")
        }
        return try repository.view(domain) { reader in
            guard try reader.purged([digest], domain: domain)[0] == nil else {
                return (digest, [digest])
            }
            let source = try StoredDirectories(repository, reader, domain: domain)
            guard let snapshot = try source.snapshot(digest) else { return (digest, [digest]) }
            return (snapshot.tree.digest, [digest, snapshot.tree.digest])
        }
    }

    mutating func step() throws -> Bool {
        switch phase {
        case .search: try lookForHolders()
        case .begin: try begin()
        case .roots: try roots()
        case .mark: if try !kept.step(directories: pace.directories) { phase = .reach }
        case .reach: if try !reached.step(directories: pace.directories) { phase = .purge }
        case .purge: try purge()
        case .packs: try choosePacks()
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
        if let search {
            guard try !search.step() else { return }
            progress.findings = search.progress.findings
        }
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

    /// Collects what only the targets reach, page by page, and then takes all of it in one transaction.
    private mutating func purge() throws {
        progress.phase = "removing it"
        let page = try repository.catalog.read {
            try $0.locations(after: cursor, limit: pace.rows, domain: domain)
        }
        guard let last = page.last else { return try commit() }
        for (digest, location) in page
        where targets.contains(digest) || reached.contains(digest) && !kept.contains(digest) {
            if gone.insert(digest).inserted {
                progress.add("purged")
                progress.add("purgedBytes", location.recordBytes)
            }
        }
        cursor = last.digest
    }

    private mutating func commit() throws {
        guard !request.isDryRun else {
            phase = .done
            return
        }
        // What a push made reachable meanwhile is kept too; the pages are looked at again.
        let found = try repository.catalog.write { [pace, domain] transaction in
            try transaction.takeBarrier(limit: pace.rows, domain: domain)
        }
        guard found.isEmpty else {
            for digest in found { kept.add(Marking.Root(digest: digest)) }
            gone = []
            cursor = nil
            for name in ["purged", "purgedBytes"] { progress.reset(name) }
            phase = .mark
            return
        }
        let removed = try repository.record(
            purge: gone.sorted(), targets: targets, request, domain: domain)
        progress.add("removedRefs", UInt64(removed))
        phase = .packs
    }

    /// Finds the packs with its bytes, also where another record of the same digest counts.
    private mutating func choosePacks() throws {
        progress.phase = "rewriting packs"
        try repository.writer.seal { _ in true }
        try repository.commit(session: nil, isEvent: false) { _ in }
        try repository.storeSealedPacks()
        for pack in try repository.catalog.read({ try $0.packs() }) {
            // A new one has nothing in it yet.
            guard pack.committedBytes > UInt64(PackHeader.byteCount) else { continue }
            guard pack.isSealed, pack.isStored else {
                // The pack of another process that is writing now.
                progress.add("packsInUse")
                continue
            }
            if try holdsPurged(pack) { packs.append(pack) }
        }
        phase = .rewrite
    }

    /// Whether a pack has bytes that were ever removed for good; an earlier purge may not have got at it.
    private func holdsPurged(_ pack: PackEntry) throws -> Bool {
        let digests = try repository.entries(of: pack).map(\.digest)
        return try repository.catalog.read { reader in
            for start in stride(from: 0, to: digests.count, by: pace.rows) {
                let page = Array(digests[start..<min(start + pace.rows, digests.count)])
                if try reader.purged(page, domain: domain).contains(where: { $0 != nil }) {
                    return true
                }
            }
            return false
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
        if try rewriter.step() { return }
        self.rewriter = nil
        guard try repository.removeEmptyPack(rewriter.pack) else {
            throw CASError(
                .unavailable, "a pack with bytes of it is still in use",
                hint: "they are refused to readers; purge once more to have them deleted")
        }
        progress.add("rewrittenPacks")
    }
}

extension Repository {
    /// Refuses digests from now on, takes them out of use and removes the refs that name them, durably; how
    /// many refs that were.
    func record(
        purge digests: [Digest], targets: Set<Digest>, _ request: MaintenanceRequest, domain: Domain
    ) throws -> Int {
        let provenance = Provenance(
            message: "purged: \(request.reason)", time: clock.now(), subject: request.subject)
        hasPurges.store(true, ordering: .releasing)
        let count = try commit(session: nil, isEvent: true) { [clock] context in
            let transaction = context.transaction
            var refs: [RefEntry] = []
            for target in targets { refs += try transaction.refs(holding: target, domain: domain) }
            let named = Dictionary(refs.map { ($0.name, $0) }) { first, _ in first }
            for entry in named.values.sorted(by: { $0.name < $1.name }) {
                var move = HistoryEntry(
                    sequence: try transaction.nextSequence(), name: entry.name,
                    previous: entry.target, target: nil, provenance: provenance, pushID: nil)
                move.recorded = clock.now()
                try transaction.move(move, nil, domain: domain)
                context.record(.refMoved(move, nil, domain))
            }
            for start in stride(from: 0, to: digests.count, by: PurgeRecord.maximumDigests) {
                let end = min(start + PurgeRecord.maximumDigests, digests.count)
                let part = Array(digests[start..<end])
                try transaction.insert(purged: part, reason: request.reason, domain: domain)
                try transaction.remove(locations: part, domain: domain)
                try transaction.remove(chunkLists: part, domain: domain)
                try transaction.revive(part, domain: domain)
                context.record(
                    .purged(
                        PurgeRecord(
                            digests: part, reason: request.reason, provenance: provenance,
                            domain: domain), sequence: try transaction.nextSequence()))
            }
            // What held it is not whole any more, wherever it is.
            try transaction.forgetCompleteness(domain: domain)
            return named.count
        }
        plans.removeAll()
        try catalog.erase()
        return count
    }

    /// Throws for digests that were removed for good.
    func refusePurged(_ digests: [Digest], domain: Domain) throws {
        guard hasPurges.load(ordering: .acquiring), !digests.isEmpty else { return }
        let reasons = try catalog.read { try $0.purged(digests, domain: domain) }
        for case (let digest, .some(let reason)) in zip(digests, reasons) {
            throw Repository.wasPurged(digest, reason)
        }
    }
}
