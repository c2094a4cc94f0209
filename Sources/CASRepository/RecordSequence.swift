import CASCatalog
import CASCore

/// The records of a stream in their order, shared with the plan that they are of.
struct RecordSequence: Sendable {
    typealias Item = (digest: Digest, location: BlobLocation)

    /// A place in it: a unit, and how many of its records are behind.
    struct Position: Equatable, Sendable {
        fileprivate var unit: Int
        fileprivate var record = 0
    }
    private let messages: [Item]
    private let units: ArraySlice<FetchPlan.Unit>
    private let chunks: [Item]

    /// Messages of trees.
    init(messages: [Item]) {
        self.messages = messages
        units = []
        chunks = []
    }

    /// Some of the units of a plan whose chunks these are.
    init(units: ArraySlice<FetchPlan.Unit>, chunks: [Item]) {
        messages = []
        self.units = units
        self.chunks = chunks
    }

    var start: Position { Position(unit: units.startIndex) }

    /// The record at a place, which moves behind it; nil at the end.
    func next(_ position: inout Position) -> Item? {
        if units.isEmpty {
            guard position.unit < messages.count else { return nil }
            defer { position.unit += 1 }
            return messages[position.unit]
        }
        guard position.unit < units.endIndex else { return nil }
        let unit = units[position.unit]
        let record = position.record
        position.record += 1
        if record == unit.chunks.count { position = Position(unit: position.unit + 1) }
        return record == 0
            ? (unit.digest, unit.first) : chunks[unit.chunks.lowerBound + record - 1]
    }
}
