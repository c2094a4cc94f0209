import CASCatalog
import CASCore
import CASPack
import CASWire
import Synchronization

/// Blobs that were here and were removed for good.
struct Taken: Sendable {
    var blobs: UInt64 = 0
    /// Bytes of their records.
    var bytes: UInt64 = 0
}

/// Content that was removed for good and must not come back.
extension Repository {
    /// Refuses the targets of a purge from now on and notes that it is under way, durably; takes nothing
    /// where something became reachable that was not looked at, and says what.
    func begin(
        purge record: PurgeRecord, isTree: Bool, limit: Int
    ) throws -> (found: Barrier, taken: Taken) {
        hasPurges.store(true, ordering: .releasing)
        let outcome = try commit(session: nil, isEvent: true) { context in
            let transaction = context.transaction
            let found = try Barrier(taking: limit, transaction, domain: record.domain)
            guard found.isEmpty else { return (found: found, taken: Taken()) }
            let mark = StoreEvent.purged(record, sequence: 0)
            try transaction.set(
                setting: SettingName.purge, [isTree ? 1 : 0] + mark.encode())
            let taken = try Repository.take(record, context)
            // What held it is not whole any more, wherever it is.
            try transaction.forgetCompleteness(domain: record.domain)
            return (found: found, taken: taken)
        }
        if outcome.found.isEmpty { plans.removeAll() }
        return outcome
    }

    /// Removes for good, of what a purge noted, what goes, and forgets the notes, unless something became
    /// reachable that was not looked at.
    ///
    /// Nothing has to be said of completeness: since the purge began all that was found to be complete is in the
    /// barrier, and is kept.
    func goOn(
        purge record: PurgeRecord, noted: [Digest], gone: [Digest], limit: Int
    ) throws -> (found: Barrier, taken: Taken) {
        try commit(session: nil, isEvent: true) { context in
            let transaction = context.transaction
            let found = try Barrier(taking: limit, transaction, domain: record.domain)
            guard found.isEmpty else { return (found: found, taken: Taken()) }
            try transaction.remove(purging: noted, domain: record.domain)
            var part = record
            part.digests = gone
            let taken = gone.isEmpty ? Taken() : try Repository.take(part, context)
            return (found: found, taken: taken)
        }
    }

    /// Removes digests for good; which of them were here.
    private static func take(_ record: PurgeRecord, _ context: CommitContext) throws -> Taken {
        let transaction = context.transaction
        let domain = record.domain
        var record = record
        // Nobody goes on with what was taken.
        (record.names, record.begun) = ([], nil)
        // Without its configuration an image is nothing, and would be made again; later nothing leads to it.
        for digest in record.digests {
            let images = try transaction.derivedImages(naming: digest, limit: .max, domain: domain)
            for image in images
            where image.config == digest && !record.digests.contains(image.manifest) {
                record.digests.append(image.manifest)
            }
        }
        let digests = record.digests
        let places = try transaction.locations(of: digests, domain: domain)
        try transaction.insert(purged: digests, reason: record.reason, domain: domain)
        try transaction.remove(locations: digests, domain: domain)
        try transaction.remove(chunkLists: digests, domain: domain)
        try transaction.revive(digests, domain: domain)
        try unlink(digests, record.provenance, context, domain)
        context.record(.purged(record, sequence: try transaction.nextSequence()))
        return Taken(
            blobs: UInt64(places.count { $0 != nil }),
            bytes: places.reduce(0) { $0 + ($1?.recordBytes ?? 0) })
    }

    /// Removes the first refs that name what was removed for good; how many.
    func removeRefs(purge record: PurgeRecord, limit: Int) throws -> Int {
        try commit(session: nil, isEvent: true) { [clock] context in
            let transaction = context.transaction
            var named: [RefName: RefEntry] = [:]
            for target in record.digests where named.count < limit {
                let refs = try transaction.refs(
                    holding: target, limit: limit - named.count, domain: record.domain)
                for entry in refs { named[entry.name] = entry }
            }
            for entry in named.values.sorted(by: { $0.name < $1.name }) {
                var move = HistoryEntry(
                    sequence: try transaction.nextSequence(), name: entry.name,
                    previous: entry.target, target: nil, provenance: record.provenance, pushID: nil)
                move.recorded = clock.now()
                move.imageOptions = entry.imageOptions
                try transaction.move(move, nil, domain: record.domain)
                context.record(.refMoved(move, nil, record.domain))
            }
            return named.count
        }
    }

    /// The purge that is under way, or was when its process ended: its targets and why they go, what counts for
    /// nothing, and whether the targets are trees.
    func unfinishedPurge() throws -> (record: PurgeRecord, isTree: Bool)? {
        let mark = try catalog.read { try $0.setting(SettingName.purge) }
        guard let mark, let isTree = mark.first else { return nil }
        let event = try StoreEvent(decoding: Array(mark.dropFirst()), limits: limits)
        guard case .purged(let record, _) = event else { return nil }
        return (record, isTree != 0)
    }

    /// Says that the purge under way is done, or that some of its bytes have still to go.
    func endPurge(isDone: Bool) throws {
        try catalog.write { transaction in
            if isDone { try transaction.set(setting: SettingName.purge, []) }
            try Barrier.end(transaction)
        }
    }

    /// Throws for digests that were removed for good.
    func refusePurged(_ digests: [Digest], domain: Domain) throws {
        guard !digests.isEmpty else { return }
        let isKnown = hasPurges.load(ordering: .acquiring)
        let reasons = try catalog.read { reader in
            // Another process may have been the first to remove something.
            guard try isKnown || reader.hasPurges() else { return [String?]() }
            return try reader.purged(digests, domain: domain)
        }
        if !isKnown, !reasons.isEmpty { hasPurges.store(true, ordering: .releasing) }
        for case (let digest, .some(let reason)) in zip(digests, reasons) {
            throw Repository.wasPurged(digest, reason, isBrought: true)
        }
    }
}
