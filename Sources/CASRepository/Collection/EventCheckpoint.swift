import CASCatalog
import CASChunking
import CASCore
import CASPack
import CASWire
import Synchronization

/// Recorded state repeated in one place, so that the events of long ago are dead bytes (Collection.md).
enum EventCheckpoint {
    private static let setting = "checkpoint"

    /// Which checkpoint was made last.
    struct Mark: Equatable {
        let identifier: Identifier
        /// Its sequence: lower ones count only within it.
        let sequence: UInt64
        /// Bytes of its events.
        let bytes: UInt64

        /// The last one of a store; nil if there was none.
        static func last(_ reader: any CatalogReader) throws -> Mark? {
            guard let value = try reader.setting(setting) else { return nil }
            return try value.withUnsafeBytes { buffer in
                var bytes = ByteReader(buffer)
                let (high, low) = (try bytes.uint64(), try bytes.uint64())
                return Mark(
                    identifier: Identifier(high: high, low: low), sequence: try bytes.uint64(),
                    bytes: try bytes.uint64())
            }
        }

        func store(_ transaction: any CatalogTransaction) throws {
            var value: [UInt8] = []
            for word in [identifier.high, identifier.low, sequence, bytes] {
                value.append(littleEndian: word)
            }
            try transaction.set(setting: setting, value)
        }

        /// Whether no event of a pack counts any more.
        func covers(_ pack: PackEntry) -> Bool { pack.lastEvent < sequence }

        /// Whether an event counts.
        func keeps(_ event: StoreEvent) -> Bool {
            switch event {
            case .checkpointed(let checkpoint, _, _), .checkpointEnded(let checkpoint, _, _):
                checkpoint == identifier
            default: event.sequence > sequence
            }
        }
    }

    /// The events that the state of a catalog amounts to, in the order of their sequences.
    static func events(
        _ reader: any CatalogReader, _ repository: Repository, domain: Domain
    ) throws -> [StoreEvent] {
        var events: [StoreEvent] = [
            .storeCreated(
                incarnation: repository.incarnation,
                averageBytes: UInt64(repository.chunker.averageBytes),
                seed: UInt64(repository.chunker.seed), time: repository.clock.now(), sequence: 0)
        ]
        let page = 1000
        var after: HistoryEntry?
        while true {
            let moves = try reader.moves(after: after, limit: page, domain: domain)
            for move in moves {
                let entry = try reader.ref(move.name, domain: domain)
                events.append(
                    .refMoved(move, entry?.sequence == move.sequence ? entry : nil, domain))
            }
            guard moves.count == page else { break }
            after = moves.last
        }
        events += try reader.tokens().map { .tokenCreated($0, sequence: 0) }
        events += try reader.rules(domain: domain).map { .ruleSet($0, sequence: 0) }
        events += try reader.pins(domain: domain).map { .pinned($0, domain, sequence: 0) }
        events += try RecordedImages.events(reader, domain: domain)
        var purged: [String: [Digest]] = [:]
        var last: Digest?
        while true {
            let purges = try reader.purges(after: last, limit: page, domain: domain)
            for purge in purges { purged[purge.reason, default: []].append(purge.digest) }
            guard purges.count == page else { break }
            last = purges.last?.digest
        }
        for (reason, digests) in purged.sorted(by: { $0.key < $1.key }) {
            for start in stride(from: 0, to: digests.count, by: PurgeRecord.maximumDigests) {
                let part = digests[start..<min(start + PurgeRecord.maximumDigests, digests.count)]
                let record = PurgeRecord(
                    digests: Array(part), reason: reason,
                    provenance: Provenance(time: repository.clock.now()), domain: domain)
                events.append(.purged(record, sequence: 0))
            }
        }
        return events
    }
}

extension Repository {
    /// Repeats all recorded state in one place, in one durable step.
    func makeCheckpoint(domain: Domain) throws {
        let identifier = Identifier.random()
        try commit(session: nil, isEvent: true) { [self] context in
            let transaction = context.transaction
            let events = try EventCheckpoint.events(transaction, self, domain: domain)
            let sequence = try transaction.nextSequence()
            var bytes: UInt64 = 0
            for event in events {
                let wrapped = StoreEvent.checkpointed(identifier, event, sequence: sequence)
                bytes += UInt64(wrapped.encode().count + RecordHeader.byteCount + 4)
                context.record(wrapped)
            }
            context.record(
                .checkpointEnded(identifier, count: UInt64(events.count), sequence: sequence))
            try EventCheckpoint.Mark(identifier: identifier, sequence: sequence, bytes: bytes)
                .store(transaction)
        }
    }

    /// The sequence of an event that still counts; nil for one that a checkpoint made dispensable.
    func liveEvent(_ record: RecordView, _ checkpoint: EventCheckpoint.Mark?) throws -> UInt64? {
        let contents = try RecordContents()
        let event = try StoreEvent(decoding: try contents.decode(record))
        guard checkpoint.map({ $0.keeps(event) }) ?? true else { return nil }
        return event.sequence
    }
}

extension CollectionRun {
    /// Makes a checkpoint where most bytes of events are about what is past.
    mutating func checkpoint() throws {
        guard !isDryRun else { return enter(.end) }
        enter(.gather)
        let (packs, last) = try catalog.read { reader in
            (try reader.packs(), try EventCheckpoint.Mark.last(reader))
        }
        let bytes = packs.reduce(0) { sum, pack in
            last.map { $0.covers(pack) } ?? false ? sum : sum + pack.eventBytes
        }
        let isDue =
            bytes > max(repository.configuration.checkpointedEventBytes, 3 * (last?.bytes ?? 0))
        guard isDue || repository.needsCheckpoint.exchange(false, ordering: .relaxed) else {
            return
        }
        progress.phase = "repeating recorded state"
        try repository.makeCheckpoint(domain: domain)
    }
}
