import CASFileSystem
import Synchronization
import CASCatalog
import CASCore
import CASPack

/// One round of the commit queue: syncs, then one transaction.
extension Repository {
    /// Makes durable what the jobs' sessions uploaded, then runs all bodies in one transaction.
    func process(_ jobs: [CommitQueue.Job]) throws {
        // Taken before the syncs: what other streams upload meanwhile is not durable with them.
        let taken = jobs.compactMap(\.session).map { ($0, $0.pending()) }
        let progress = writer.synchronize()
        let durable = writer.durableBytes(progress)
        // What was pending in packs that failed is gone, noted before the failure or after it. Pushes
        // that need it will be told that it is missing.
        if !progress.failed.isEmpty {
            for session in allSessions() { session.dropPending(outside: durable) }
        } else {
            for (session, _) in taken { session.dropPending(outside: durable) }
        }
        let pending = taken.map { session, items in (session, items.within(durable)) }
        if jobs.contains(where: \.isEvent) {
            try processWithEvents(jobs, pending, progress, durable)
        } else {
            try catalog.write { transaction in
                _ = try run(jobs, pending, progress, transaction, durable)
            }
            writer.committed(progress)
        }
        counters.addTransaction()
        counters.add(commits: UInt64(jobs.count))
        for (session, items) in pending {
            session.forget(items)
        }
    }

    private typealias Pending = (PushSession, PendingRecords)

    /// As above where bodies may record events: these go to the metadata pack, durable before the
    /// transaction commits, and are cut off again if it does not.
    private func processWithEvents(
        _ jobs: [CommitQueue.Job], _ pending: [Pending], _ progress: PackWriter.Progress,
        _ durable: [Int64: UInt64]
    ) throws {
        let pack = try writer.active(.metadata)
        var progress = progress
        var isSyncFailed = false
        var end: UInt64 = 0
        var isCommitted = false
        var sequence: UInt64 = 0
        defer { if !isCommitted { skipSequences(upTo: sequence) } }
        let own = writer.ownPacks()
        try pack.appendExclusively(
            { append in
                try catalog.write { transaction in
                    try transaction.raiseSequence(to: skippedSequence.withLock { $0 })
                    try skipSequences(ofOthersThan: own, transaction)
                    let first = try transaction.lastSequence()
                    let context = try run(jobs, pending, progress, transaction, durable)
                    guard try transaction.lastSequence() - first < Repository.skippedSequences
                    else { throw CASError(.internalError, "a commit has too many events") }
                    let events = context.events
                    guard !events.isEmpty else { return }
                    sequence = context.lastSequence
                    let records = ReusableBuffer(capacity: 4096)
                    var headers: [RecordHeader] = []
                    for event in events {
                        headers.append(
                            RecordHeader(
                                kind: .event, rawLength: event.count, storedLength: event.count,
                                digest: Digest.of(event)))
                        event.withUnsafeBytes { payload in
                            RecordCoding.append(
                                headers[headers.count - 1], payload: payload, to: records)
                        }
                    }
                    let offset = try append(records.bytes, headers)
                    end = offset + UInt64(records.count)
                    do {
                        try pack.file.synchronizeData()
                    } catch {
                        isSyncFailed = true
                        throw error
                    }
                    counters.add(synchronizations: 1)
                    try transaction.update(pack: pack.number, isSealed: nil, committedBytes: end)
                    try transaction.addEvents(
                        pack: pack.number, bytes: UInt64(records.count),
                        lastSequence: context.lastSequence)
                }
            },
            remedy: {
                if isSyncFailed { return .giveUp }
                // Cut only what the catalog surely does not hold: a commit may fail and still have happened.
                guard end > 0 else { return .cut }
                guard let known = try? catalog.read({ try $0.pack(pack.number) }) else {
                    return .keep
                }
                return known.committedBytes < end ? .cut : .keep
            })
        isCommitted = true
        if end > 0 {
            progress.packs.removeAll { $0.pack === pack }
            progress.packs.append(
                PackWriter.Progress.Pack(pack: pack, durableBytes: end, isSealed: false))
        }
        writer.committed(progress)
    }

    /// Sees to it that no event gets a number which one has that was written and not committed: a rebuild
    /// may find both, and would have to guess which of them counts.
    private func skipSequences(upTo sequence: UInt64) {
        guard sequence > 0 else { return }
        skippedSequence.withLock { $0 = max($0, sequence) }
        do {
            // For other processes. Where that fails, this one remembers it for its next commit.
            try catalog.write { try $0.raiseSequence(to: sequence) }
        } catch {
            counters.addFailedSkip()
        }
    }

    /// Numbers that are left out, more than one transaction can use.
    private static let skippedSequences: UInt64 = 1 << 20

    /// The same where another process may have died between the sync of its events and its commit, or could not
    /// cut them off: its metadata pack is longer than what the catalog knows of it.
    ///
    /// It mostly is so because that process takes in a push. Numbers are plenty; to read the packs of others is
    /// not cheap, and to ask whether they live would be answered too early by one that is just dying.
    private func skipSequences(
        ofOthersThan own: Set<Int64>, _ transaction: any CatalogTransaction
    ) throws {
        for pack in try transaction.unsealedPacks()
        where pack.packClass == .metadata && !own.contains(pack.number) {
            let size = try fileSystem.size(files.path(pack.identifier))
            guard let size, size > pack.committedBytes else { continue }
            return try transaction.raiseSequence(
                to: try transaction.lastSequence() + Repository.skippedSequences)
        }
    }

    private func run(
        _ jobs: [CommitQueue.Job], _ pending: [Pending], _ progress: PackWriter.Progress,
        _ transaction: any CatalogTransaction, _ durable: [Int64: UInt64]
    ) throws -> CommitContext {
        try writer.record(progress, transaction)
        for (session, items) in pending {
            let items = try usable(items, transaction, session.domain)
            try transaction.insert(locations: items.locations, domain: session.domain)
            try transaction.insert(chunkLists: items.chunkLists, domain: session.domain)
            try Barrier.note(items.chunkLists, transaction, domain: session.domain)
        }
        let reader = try RecordReader(
            files: files, catalog: transaction, limits: limits, isCurrent: true)
        let context = CommitContext(transaction, reader, durableBytes: durable)
        for job in jobs {
            do {
                try job.body(context)
            } catch let error as CASError where error.code != .internalError {
                // The job's own fault: it changed nothing that is not true by itself.
                job.failure.withLock { $0 = error }
            }
        }
        try quarantine(files.takeDamaged(), transaction, domain: .standard)
        return context
    }

    /// Records of a push without those whose pack another process took for empty and removed, and without
    /// what was purged: the push will be told that they are missing.
    private func usable(
        _ items: PendingRecords, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws -> PendingRecords {
        guard !items.locations.isEmpty else { return items }
        var gone: Set<Int64> = []
        for number in Set(items.locations.map(\.1.pack)) where try transaction.pack(number) == nil {
            gone.insert(number)
        }
        let hasPurges = try transaction.hasPurges()
        guard !gone.isEmpty || hasPurges else { return items }
        let purged =
            hasPurges
            ? try transaction.purged(items.locations.map(\.0), domain: domain)
            : items.locations.map { _ in nil }
        let kept = zip(items.locations, purged).filter { item, reason in
            reason == nil && !gone.contains(item.1.pack)
        }.map(\.0)
        let digests = Set(kept.map(\.0))
        return PendingRecords(
            locations: kept, chunkLists: items.chunkLists.filter { digests.contains($0.0) })
    }
}
