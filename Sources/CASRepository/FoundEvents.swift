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

    /// The newest checkpoint of which nothing is lost.
    private var checkpoint: (identifier: Identifier, sequence: UInt64)? {
        ended.filter { isWhole($0.key, $0.value.count) }
            .max { $0.value.sequence < $1.value.sequence }.map { ($0.key, $0.value.sequence) }
    }

    /// Whether all of a checkpoint was found; what was copied forward may be there twice.
    private func isWhole(_ checkpoint: Identifier, _ count: UInt64) -> Bool {
        let found = repeated[checkpoint] ?? []
        return UInt64(found.count) >= count && UInt64(Set(found).count) >= count
    }

    /// Checkpoints that were ended after the newest whole one, and of which something is lost.
    private var damaged: [Identifier] {
        let last = checkpoint?.sequence ?? 0
        return ended.filter { $0.value.sequence > last }.sorted {
            $0.value.sequence < $1.value.sequence
        }.map(\.key)
    }

    /// Whether what counts is only found by putting together pieces, which the next compaction would lose.
    var isPatched: Bool { !damaged.isEmpty }

    /// What counts, in the order in which it came about: all events, but of those of before the last whole
    /// checkpoint only the ones that it repeats.
    ///
    /// What is left of a newer one that is damaged comes on top: its events, and what is still there of those
    /// that it repeated.
    func counted() -> [StoreEvent] {
        var found = events
        if let checkpoint {
            found =
                (repeated[checkpoint.identifier] ?? []).map { Found(event: $0) }
                + events.filter { $0.event.sequence >= checkpoint.sequence }
        }
        for checkpoint in damaged {
            found = (repeated[checkpoint] ?? []).map { Found(event: $0) } + found
        }
        return FoundEvents.settled(found)
    }

    /// The events in their order, without those that were never committed and whose number or push went
    /// to others.
    ///
    /// A process that dies leaves what it did not commit at the very end of a pack.
    private static func settled(_ events: [Found]) -> [StoreEvent] {
        let ordered = events.sorted(by: isBefore)
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

    /// The order in which events are applied.
    ///
    /// Nothing in two packs without an end tells which of their last events was committed, where both have one
    /// number: that of the process that died, or that of the other one, which took its number a moment later.
    /// This program leaves numbers out so that it can not happen. In stores of before, the later one by the
    /// clock counts, and without a clock the order is at least always the same.
    private static func isBefore(_ left: Found, _ right: Found) -> Bool {
        let (one, other) = (left.event, right.event)
        if one.sequence != other.sequence { return one.sequence < other.sequence }
        if left.certainty != right.certainty { return left.certainty > right.certainty }
        guard left.certainty < .max, one != other else { return false }
        let (time, otherTime) = (recorded(one), recorded(other))
        if time != otherTime { return time < otherTime }
        return one.encode().lexicographicallyPrecedes(other.encode())
    }

    private static func recorded(_ event: StoreEvent) -> Timestamp {
        guard case .refMoved(let move, _, _) = event else { return Timestamp(seconds: 0) }
        return move.recorded ?? move.provenance.time
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
