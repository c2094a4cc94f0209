import CASCatalog
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

        /// Whether an event counts, or will once the checkpoint is whole that was begun.
        func keeps(_ event: StoreEvent, begun: Begun?) -> Bool {
            switch event {
            case .checkpointed(let checkpoint, _, _), .checkpointEnded(let checkpoint, _, _):
                checkpoint == identifier || checkpoint == begun?.identifier
            default: event.sequence > sequence
            }
        }
    }

    /// Which checkpoint was begun last and is not whole.
    struct Begun: Equatable {
        private static let setting = "checkpoint-begun"
        let identifier: Identifier
        let sequence: UInt64

        init(identifier: Identifier, sequence: UInt64) {
            self.identifier = identifier
            self.sequence = sequence
        }

        /// What a store says; nil if none is being made.
        init?(_ reader: any CatalogReader) throws {
            guard let value = try reader.setting(Begun.setting), !value.isEmpty else { return nil }
            self = try value.withUnsafeBytes { buffer in
                var bytes = ByteReader(buffer)
                let (high, low) = (try bytes.uint64(), try bytes.uint64())
                return Begun(
                    identifier: Identifier(high: high, low: low), sequence: try bytes.uint64())
            }
        }

        func store(_ transaction: any CatalogTransaction) throws {
            var value: [UInt8] = []
            for word in [identifier.high, identifier.low, sequence] {
                value.append(littleEndian: word)
            }
            try transaction.set(setting: Begun.setting, value)
        }

        static func end(_ transaction: any CatalogTransaction) throws {
            try transaction.set(setting: setting, [])
        }
    }
}

extension Repository {
    /// Repeats all recorded state in one place, to the end.
    func makeCheckpoint(domain: Domain) throws {
        let writer = CheckpointWriter(self, domain: domain)
        while try writer.step() {}
    }

    /// The sequence of an event that still counts; nil for one that a checkpoint made dispensable.
    func liveEvent(
        _ record: RecordView, _ checkpoint: EventCheckpoint.Mark?, _ begun: EventCheckpoint.Begun?
    ) throws -> UInt64? {
        let contents = try RecordContents()
        let event = try StoreEvent(decoding: try contents.decode(record))
        guard checkpoint.map({ $0.keeps(event, begun: begun) }) ?? true else { return nil }
        return event.sequence
    }
}

extension CollectionRun {
    /// Makes a checkpoint where most bytes of events are about what is past.
    mutating func checkpoint() throws {
        guard !isDryRun else { return enter(.end) }
        if let checkpointing {
            do {
                if try checkpointing.step() { return }
            } catch {
                repository.needsCheckpoint.store(true, ordering: .relaxed)
                // Another process repeats it all: that is as good.
                guard let error = error as? CASError, error.code == .aborted else { throw error }
            }
            self.checkpointing = nil
            return enter(.gather)
        }
        let (packs, last) = try catalog.read { reader in
            (try reader.packs(), try EventCheckpoint.Mark.last(reader))
        }
        let bytes = packs.reduce(0) { sum, pack in
            last.map { $0.covers(pack) } ?? false ? sum : sum + pack.eventBytes
        }
        let isDue =
            bytes > max(repository.configuration.checkpointedEventBytes, 3 * (last?.bytes ?? 0))
        guard isDue || repository.needsCheckpoint.exchange(false, ordering: .relaxed) else {
            return enter(.gather)
        }
        progress.phase = "repeating recorded state"
        checkpointing = CheckpointWriter(repository, domain: domain)
    }
}
