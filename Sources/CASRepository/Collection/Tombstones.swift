import CASCatalog
import CASCore
import CASPack
import CASWire
import Synchronization

/// Content that was removed for good and must not come back.
extension Repository {
    /// Refuses digests from now on, takes them out of use and removes the refs that name them, durably; how
    /// many refs that were.
    ///
    /// Does nothing where something became reachable that was not looked at, and says what.
    func record(
        purge digests: [Digest], targets: Set<Digest>, _ request: MaintenanceRequest, limit: Int,
        domain: Domain
    ) throws -> (found: [Digest], removedRefs: Int) {
        let provenance = Provenance(
            message: "purged: \(request.reason)", time: clock.now(), subject: request.subject)
        hasPurges.store(true, ordering: .releasing)
        let outcome = try commit(session: nil, isEvent: true) { [clock] context in
            let transaction = context.transaction
            let found = try transaction.takeBarrier(limit: limit, domain: domain)
            guard found.isEmpty else { return (found: found, removedRefs: 0) }
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
            return (found: [], removedRefs: named.count)
        }
        guard outcome.found.isEmpty else { return outcome }
        plans.removeAll()
        try catalog.erase()
        return outcome
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
