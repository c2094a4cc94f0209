import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASWire
import Synchronization

/// What a change may do within the transaction that commits it.
final class CommitContext {
    /// The transaction; sees everything that was uploaded for the changes that it commits.
    let transaction: any CatalogTransaction
    /// Reads records, pending ones too.
    let records: RecordReader
    private(set) var events: [[UInt8]] = []
    /// The highest sequence of these.
    private(set) var lastSequence: UInt64 = 0
    /// Bytes of this process's packs that are durable.
    let durableBytes: [Int64: UInt64]

    init(
        _ transaction: any CatalogTransaction, _ records: RecordReader,
        durableBytes: [Int64: UInt64]
    ) {
        self.transaction = transaction
        self.records = records
        self.durableBytes = durableBytes
    }

    /// Adds recorded state, which becomes durable in a pack before the transaction commits.
    func record(_ event: StoreEvent) {
        lastSequence = max(lastSequence, event.sequence)
        events.append(event.encode())
    }

    /// Whether a record lies in what is durable.
    func isDurable(_ location: BlobLocation) -> Bool {
        location.offset + location.recordBytes <= durableBytes[location.pack, default: 0]
    }
}

/// Commits changes in groups: one round of syncs and one transaction serve all that are waiting.
///
/// There is no thread of its own: whoever comes first leads a round for everybody who is waiting then,
/// and hands the lead to the first of those who came meanwhile.
final class CommitQueue: Sendable {
    /// One change that waits for its round.
    final class Job: Sendable {
        enum Signal: Sendable {
            case lead
            case done
        }
        let session: PushSession?
        let isEvent: Bool
        let body: @Sendable (CommitContext) throws -> Void
        let failure = Mutex<(any Error)?>(nil)
        let signal = BoundedQueue<Signal>(capacity: 2)

        init(
            session: PushSession?, isEvent: Bool,
            _ body: @escaping @Sendable (CommitContext) throws -> Void
        ) {
            self.session = session
            self.isEvent = isEvent
            self.body = body
        }
    }

    private struct State {
        var waiting: [Job] = []
        var isLed = false
    }
    private let state = Mutex(State())
    private let process: @Sendable ([Job]) throws -> Void

    /// A queue whose rounds `process` carries out; what it throws fails every job of the round.
    init(process: @escaping @Sendable ([Job]) throws -> Void) {
        self.process = process
    }

    /// Waiting changes, for metrics.
    var depth: Int { state.withLock { $0.waiting.count } }

    /// Has a change committed and returns once it is durable; throws what its body threw.
    func perform(_ job: Job) throws {
        let leads = state.withLock { state in
            state.waiting.append(job)
            defer { state.isLed = true }
            return !state.isLed
        }
        if !leads, try job.signal.take() == .done { return try finish(job) }
        let round = state.withLock { state in
            defer { state.waiting = [] }
            return state.waiting
        }
        do {
            try process(round)
        } catch {
            for job in round { job.failure.withLock { if $0 == nil { $0 = error } } }
        }
        for other in round where other !== job { try other.signal.put(.done) }
        let next = state.withLock { state in
            state.isLed = !state.waiting.isEmpty
            return state.waiting.first
        }
        if let next { try next.signal.put(.lead) }
        try finish(job)
    }

    private func finish(_ job: Job) throws {
        if let error = job.failure.withLock({ $0 }) { throw error }
    }
}
