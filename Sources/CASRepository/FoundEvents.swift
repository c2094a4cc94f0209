import CASCatalog
import CASCore
import CASPack
import CASWire

/// Recorded state as a rebuild finds it in packs, and what of it counts.
struct FoundEvents {
    /// An event, and how sure it is that it was committed: how many others lie behind it in a pack
    /// without an end, or `Int.max`.
    private struct Found {
        let event: StoreEvent
        var certainty = Int.max
    }
    private var events: [Found] = []
    private var packStart = 0
    /// What checkpoints repeat, and those that are whole, by what they are called.
    private var repeated: [Identifier: [StoreEvent]] = [:]
    private var ended: [Identifier: (count: UInt64, sequence: UInt64)] = [:]

    /// Begins with the events of another pack.
    mutating func beginPack() { packStart = events.count }

    /// Says that the pack has no end: its owner may have died before it committed the last of them.
    mutating func endsUnsealed() {
        for index in packStart..<events.count {
            events[index].certainty = events.count - 1 - index
        }
    }

    mutating func insert(_ event: StoreEvent) {
        switch event {
        case .checkpointed(let checkpoint, let event, _):
            repeated[checkpoint, default: []].append(event)
        case .checkpointEnded(let checkpoint, let count, let sequence):
            ended[checkpoint] = (count, sequence)
        default: events.append(Found(event: event))
        }
    }

    private var checkpoint: (identifier: Identifier, sequence: UInt64)? {
        ended.max { $0.value.sequence < $1.value.sequence }.map { ($0.key, $0.value.sequence) }
    }

    /// What counts, in the order in which it came about: all events, but of those of before the last whole
    /// checkpoint only the ones that it repeats.
    func counted() -> [StoreEvent] {
        var found = events
        if let checkpoint {
            found =
                (repeated[checkpoint.identifier] ?? []).map { Found(event: $0) }
                + events.filter { $0.event.sequence >= checkpoint.sequence }
        }
        return FoundEvents.settled(found)
    }

    /// The events in their order, without those that were never committed and whose number or push went
    /// to others.
    ///
    /// A process that dies leaves what it did not commit at the very end of a pack.
    private static func settled(_ events: [Found]) -> [StoreEvent] {
        let ordered = events.sorted {
            ($0.event.sequence, $1.certainty) < ($1.event.sequence, $0.certainty)
        }
        // A push that was repeated after a failed commit is done once: the last attempt is the one that was.
        var attempts: [Identifier: UInt64] = [:]
        for case .refMoved(let move, _, _) in ordered.map(\.event) {
            if let push = move.pushID { attempts[push] = move.sequence }
        }
        var settled: [Found] = []
        for found in ordered {
            if case .refMoved(let move, _, _) = found.event, let push = move.pushID,
                attempts[push] != move.sequence
            {
                continue
            }
            // The state of a checkpoint that is no move has no number of its own.
            if let last = settled.last, last.event.sequence == found.event.sequence,
                found.certainty < last.certainty
            {
                continue
            }
            settled.append(found)
        }
        return settled.map(\.event)
    }

    /// Remembers the last checkpoint, as the events of before it are dead bytes.
    func mark(_ transaction: any CatalogTransaction) throws {
        guard let checkpoint else { return }
        let bytes = (repeated[checkpoint.identifier] ?? []).reduce(0) { sum, event in
            sum + UInt64(event.encode().count + RecordHeader.byteCount)
        }
        try EventCheckpoint.Mark(
            identifier: checkpoint.identifier, sequence: checkpoint.sequence, bytes: bytes
        ).store(transaction)
        try transaction.raiseSequence(to: checkpoint.sequence)
    }
}
