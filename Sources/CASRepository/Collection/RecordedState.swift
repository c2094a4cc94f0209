import CASCatalog
import CASChunking
import CASCore
import CASPack
import CASWire

/// The events that the state of a catalog amounts to, page by page.
///
/// Pages are of different moments: what changed since the first of them has an event of its own, with a
/// higher sequence than `sequence`, that says all that it is about once more.
struct RecordedState {
    private enum Stage {
        case moves(after: HistoryEntry?)
        case names
        case images(RecordedImages.Pages)
        case purges(after: Digest?)
        case done
    }
    private let repository: Repository
    private let domain: Domain
    /// Moves of a higher sequence are left out.
    private let sequence: UInt64
    private let limit: Int
    private var stage = Stage.moves(after: nil)
    /// Events of the page at hand, which are fewer than a page in the end.
    private var rest: ArraySlice<StoreEvent> = []

    init(_ repository: Repository, before sequence: UInt64, domain: Domain) {
        self.repository = repository
        self.sequence = sequence
        self.domain = domain
        limit = repository.limits.listingEntries
        rest = [
            .storeCreated(
                incarnation: repository.incarnation,
                averageBytes: UInt64(repository.chunker.averageBytes),
                seed: UInt64(repository.chunker.seed), time: repository.clock.now(), sequence: 0)
        ]
    }

    /// Some events more, perhaps none; nil once there are no more.
    mutating func next(_ reader: any CatalogReader) throws -> [StoreEvent]? {
        if !rest.isEmpty {
            defer { rest = rest.dropFirst(limit) }
            return Array(rest.prefix(limit))
        }
        switch stage {
        case .moves(let after): return try moves(after, reader)
        case .names:
            stage = .images(.links(after: nil))
            rest += try reader.tokens().map { .tokenCreated($0, sequence: 0) }
            rest += try reader.rules(domain: domain).map { .ruleSet($0, sequence: 0) }
            rest += try reader.pins(domain: domain).map { .pinned($0, domain, sequence: 0) }
            return []
        case .images(var pages):
            guard let events = try pages.next(reader, limit: limit, domain: domain) else {
                stage = .purges(after: nil)
                return []
            }
            stage = .images(pages)
            return events
        case .purges(let after): return try purges(after, reader)
        case .done: return nil
        }
    }

    private mutating func moves(
        _ after: HistoryEntry?, _ reader: any CatalogReader
    ) throws -> [StoreEvent] {
        let moves = try reader.moves(after: after, limit: limit, domain: domain)
        stage = moves.count < limit ? .names : .moves(after: moves.last)
        return try moves.filter { $0.sequence < sequence }.map { move in
            let entry = try reader.ref(move.name, domain: domain)
            return .refMoved(move, entry?.sequence == move.sequence ? entry : nil, domain)
        }
    }

    private mutating func purges(
        _ after: Digest?, _ reader: any CatalogReader
    ) throws -> [StoreEvent] {
        let page = min(limit, PurgeRecord.maximumDigests)
        let purges = try reader.purges(after: after, limit: page, domain: domain)
        stage = purges.count < page ? .done : .purges(after: purges.last?.digest)
        return Dictionary(grouping: purges, by: \.reason).sorted { $0.key < $1.key }.map {
            let record = PurgeRecord(
                digests: $0.value.map(\.digest), reason: $0.key,
                provenance: Provenance(time: repository.clock.now()), domain: domain)
            return .purged(record, sequence: 0)
        }
    }
}

/// Writes a checkpoint, a page of events in each transaction.
///
/// Its sequence is given out before it looks at anything: what happens from then on counts beside it. Until its
/// last record is in place it is nothing (Collection.md). One thread at a time.
final class CheckpointWriter {
    private let repository: Repository
    private let domain: Domain
    private var begun: EventCheckpoint.Begun?
    private var state: RecordedState?
    private var count: UInt64 = 0
    private var bytes: UInt64 = 0
    private var isDone = false

    init(_ repository: Repository, domain: Domain) {
        self.repository = repository
        self.domain = domain
    }

    /// One transaction at most; false once the checkpoint counts.
    ///
    /// Throws `aborted` where another process began one since.
    func step() throws -> Bool {
        guard !isDone else { return false }
        guard let begun, var state else {
            try begin()
            return true
        }
        let events = try repository.catalog.read { try state.next($0) }
        guard let events else {
            try end(begun)
            isDone = true
            return false
        }
        if !events.isEmpty { try write(events, begun) }
        // Only now: a step that failed for lack of space is made again.
        self.state = state
        return true
    }

    private func begin() throws {
        let begun = try repository.catalog.write { transaction in
            let begun = EventCheckpoint.Begun(
                identifier: .random(), sequence: try transaction.nextSequence())
            try begun.store(transaction)
            return begun
        }
        self.begun = begun
        state = RecordedState(repository, before: begun.sequence, domain: domain)
    }

    private func write(_ events: [StoreEvent], _ begun: EventCheckpoint.Begun) throws {
        let wrapped = events.map {
            StoreEvent.checkpointed(begun.identifier, $0, sequence: begun.sequence)
        }
        try repository.commit(session: nil, isEvent: true) { context in
            try CheckpointWriter.require(begun, context.transaction)
            for event in wrapped { context.record(event) }
        }
        count += UInt64(events.count)
        bytes += wrapped.reduce(0) { $0 + UInt64($1.encode().count + RecordHeader.byteCount + 4) }
    }

    private func end(_ begun: EventCheckpoint.Begun) throws {
        try repository.commit(session: nil, isEvent: true) { [count, bytes] context in
            let transaction = context.transaction
            try CheckpointWriter.require(begun, transaction)
            context.record(
                .checkpointEnded(begun.identifier, count: count, sequence: begun.sequence))
            try EventCheckpoint.Mark(
                identifier: begun.identifier, sequence: begun.sequence, bytes: bytes
            ).store(transaction)
            try EventCheckpoint.Begun.end(transaction)
        }
    }

    /// Throws unless no other one was begun since.
    private static func require(
        _ begun: EventCheckpoint.Begun, _ transaction: any CatalogTransaction
    ) throws {
        guard try EventCheckpoint.Begun(transaction) == begun else {
            throw CASError(
                .aborted, "another process began to repeat recorded state", hint: "try again")
        }
    }
}
