import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASStorage
import Synchronization

/// Gives the space of packs back in which little is alive: what is alive is copied forward, in the order in
/// which it lies, and the pack removed.
struct Compaction {
    /// A pack is worth copying when at least this part of it is dead: one in so many bytes.
    static let deadShare: UInt64 = 4
    /// Packs of a class that are smaller than this part of a whole one are put together.
    private static let smallShare: UInt64 = 8
    /// So many of them, at least.
    private static let smallCount = 8

    private let repository: Repository
    private let pace: CollectionPace
    private let domain: Domain
    private var victims: [PackEntry]
    private var rewriter: PackRewriter?
    /// Bytes that were copied.
    private(set) var copiedBytes: UInt64 = 0
    /// Packs that were removed, and their bytes.
    private(set) var removedPacks: UInt64 = 0
    private(set) var removedBytes: UInt64 = 0

    init(
        _ repository: Repository, pace: CollectionPace, domain: Domain, victims: [PackEntry]
    ) {
        self.repository = repository
        self.pace = pace
        self.domain = domain
        self.victims = victims
    }

    /// Copies a piece, or begins or ends a pack; false once nothing is left.
    mutating func step() throws -> Bool {
        guard let rewriter else {
            guard let next = victims.popLast() else { return false }
            self.rewriter = try PackRewriter(repository, next, pace: pace, domain: domain)
            return true
        }
        do {
            if try rewriter.step() {
                copiedBytes += rewriter.takeCopiedBytes()
                return true
            }
        } catch is DamagedEvent {
            // The pack stays; once a checkpoint repeats what it said it can go.
            self.rewriter = nil
            repository.needsCheckpoint.store(true, ordering: .relaxed)
            return true
        }
        copiedBytes += rewriter.takeCopiedBytes()
        self.rewriter = nil
        if try repository.removeEmptyPack(rewriter.pack) {
            removedPacks += 1
            removedBytes += rewriter.pack.committedBytes
        }
        return true
    }

    // MARK: - Choice

    /// Packs that are worth copying, those with the least to copy last.
    ///
    /// Only objects: a pack that is on its way to the backend is left for the next time.
    static func victims(_ repository: Repository, domain: Domain) throws -> [PackEntry] {
        let (packs, usage, checkpoint) = try repository.catalog.read { reader in
            (
                try reader.packs(), try reader.packUsage(),
                try EventCheckpoint.Mark.last(reader)
            )
        }
        let pending = repository.pendingPacks
        func live(_ pack: PackEntry) -> UInt64 {
            let records = usage[pack.number] ?? CatalogCounts.Records()
            let events = checkpoint.map { $0.covers(pack) } ?? false ? 0 : pack.eventBytes
            let overhead = UInt64(RecordHeader.byteCount + RecordHeader.trailerByteCount)
            return records.storedBytes + records.count * overhead + events
        }
        let candidates = packs.filter {
            $0.isSealed && $0.isStored && !pending.contains($0.number)
        }
        var chosen = candidates.filter { pack in
            let dead = pack.committedBytes - min(pack.committedBytes, live(pack))
            let empty = UInt64(PackHeader.byteCount)
            return live(pack) == 0 || dead > empty && dead >= pack.committedBytes / deadShare
        }
        let known = Set(chosen.map(\.number))
        let smallest = repository.configuration.packBytes / smallShare
        for packClass in PackClass.allCases {
            let small = candidates.filter {
                $0.packClass == packClass && $0.committedBytes < smallest
                    && !known.contains($0.number)
            }
            if small.count >= smallCount { chosen += small }
        }
        return chosen.sorted { (live($0), $0.number) > (live($1), $1.number) }
    }
}

extension Repository {
    /// Packs with records of pushes in progress that the catalog does not know yet.
    var pendingPacks: Set<Int64> {
        allSessions().reduce(into: []) { $0.formUnion($1.pendingPacks) }
    }

    /// Removes a pack from the catalog in which nothing lies any more, and notes that its bytes have to go;
    /// false if something does.
    func removeEmptyPack(_ pack: PackEntry) throws -> Bool {
        guard !pendingPacks.contains(pack.number) else { return false }
        let isRemoved = try catalog.write { try $0.removeEmptyPack(pack.number) }
        guard isRemoved else { return false }
        files.forget(pack.number)
        plans.removeAll()
        return true
    }

    /// Deletes the bytes of packs that the catalog does not know any more; how many packs that were.
    ///
    /// A crash between the two leaves what the next collection finishes.
    func deleteDoomedPacks(limit: Int) throws -> Int {
        let doomed = try catalog.read { try $0.doomedPacks() }.prefix(limit)
        for pack in doomed {
            try objects.delete(pack.identifier)
            try files.remove(pack.identifier)
            try catalog.write { try $0.remove(doomed: pack.identifier) }
        }
        return doomed.count
    }
}

extension CollectionRun {
    /// Copies forward what is alive in packs that are mostly dead.
    mutating func pack() throws {
        progress.phase = "packing what is left"
        guard !isDryRun else { return enter(.end) }
        if compaction == nil {
            try prepare()
            compaction = Compaction(
                repository, pace: pace, domain: domain,
                victims: try Compaction.victims(repository, domain: domain))
            return
        }
        let before = compaction?.copiedBytes ?? 0
        guard try compaction?.step() ?? false else { return endPacking() }
        progress.movedBytes += 2 * ((compaction?.copiedBytes ?? 0) - before)
    }

    /// Says what packing achieved, and goes on.
    mutating func endPacking() {
        progress.add("removedPacks", compaction?.removedPacks ?? 0)
        progress.add("freedBytes", freedBytes)
        repository.counters.add(freedBytes: freedBytes)
        enter(.remove)
    }

    /// Bytes of removed packs without those that were copied.
    private var freedBytes: UInt64 {
        guard let compaction else { return 0 }
        return compaction.removedBytes - min(compaction.removedBytes, compaction.copiedBytes)
    }

    /// Hands over what is sealed, as only objects can be given up, also this process's own packs that are
    /// mostly dead.
    private func prepare() throws {
        let usage = try catalog.read { try $0.packUsage() }
        try repository.writer.seal { pack in
            let live = usage[pack.number]?.storedBytes ?? 0
            return pack.packClass != .metadata && pack.length > UInt64(pace.copiedBytes)
                && live < pack.length / 2
        }
        try repository.commit(session: nil, isEvent: false) { _ in }
        do {
            try repository.storeSealedPacks()
        } catch let error as CASError where error.code.isTransient {
            // They wait for the next time.
        }
    }

    mutating func removeDoomed() throws {
        progress.phase = "deleting packs"
        let limit = 16
        guard try repository.deleteDoomedPacks(limit: limit) == limit else { return enter(.end) }
    }
}
