import CASChunking
import CASCompression
import CASCore
import CASPack
import CASWire
import CASWorkspace
import Synchronization

/// What the threads of one push share.
final class PushContext: Sendable {
    let connection: any StoreConnection
    let pushID: Identifier
    let options: PushOptions
    let counters: ProgressCounters
    private let chunkerQueue: Mutex<Result<Chunker, any Error>?>

    private struct State {
        var largest: [PushSummary.NewFile] = []
        var vanished: [[UInt8]] = []
        var unaskedBytes: Int
        var isListing: Bool
        var claimed: Set<Digest> = []
        var acknowledged: Set<Digest> = []
        /// The number of the next body of each upload stream.
        var sequences: [Int: Int] = [:]
    }
    private let state: Mutex<State>
    /// Records that go along with the commit; guarded by `state`.
    let commitRecords = ReusableBuffer(capacity: 1 << 20)
    private let describe: @Sendable () throws -> StoreDescription
    /// Whether the store acknowledged this workspace before: what is new then is little, and goes unasked.
    let hasBase: @Sendable () throws -> Bool
    /// Asks the store whether it takes this much; before anything is sent, and once.
    private let admission: Mutex<Result<Void, any Error>?>
    private let ask: @Sendable () throws -> Void

    init(
        connection: any StoreConnection, pushID: Identifier, options: PushOptions,
        counters: ProgressCounters, describe: @escaping @Sendable () throws -> StoreDescription,
        hasBase: @escaping @Sendable () throws -> Bool,
        ask: @escaping @Sendable () throws -> Void
    ) {
        self.connection = connection
        self.pushID = pushID
        self.options = options
        self.counters = counters
        self.describe = describe
        self.hasBase = hasBase
        self.ask = ask
        admission = Mutex(nil)
        chunkerQueue = Mutex(nil)
        state = Mutex(
            State(unaskedBytes: options.limits.unaskedBytes, isListing: options.isDryRun))
    }

    /// The store's chunker; waits for the store's description the first time.
    func chunker() throws -> Chunker {
        try chunkerQueue.withLock { known in
            if let known { return try known.get() }
            let result = Result {
                let description = try describe()
                return Chunker(
                    try ChunkerParameters(
                        averageBytes: Int(clamping: description.chunkerAverageBytes),
                        seed: UInt32(truncatingIfNeeded: description.chunkerSeed)))
            }
            known = result
            return try result.get()
        }
    }

    /// Throws where the store would refuse the push for its size; asks it the first time.
    func requireRoom() throws {
        try admission.withLock { known in
            let outcome = known ?? Result { try ask() }
            known = outcome
            try outcome.get()
        }
    }

    /// Sends records on a stream, which one thread at a time uses.
    func upload(_ records: ReusableBuffer, stream: Int) throws {
        try requireRoom()
        let number = stream % options.limits.streamsPerPush
        let sequence = state.withLock { state in
            defer { state.sequences[number, default: 0] += 1 }
            return state.sequences[number, default: 0]
        }
        try connection.upload(push: pushID, stream: number, sequence: sequence, records: records)
        counters.add(transferred: UInt64(records.count))
    }

    /// Whether new data is only listed and not sent: a dry run, or too much of it.
    var isListing: Bool { state.withLock { $0.isListing } }

    /// Whether this thread is the first to send that file: equal files are often met at the same time.
    func claim(_ digest: Digest) -> Bool {
        state.withLock { $0.claimed.insert(digest).inserted }
    }

    /// Takes note that the store has taken these chunks.
    func acknowledge(_ chunks: Set<Digest>) {
        state.withLock { $0.acknowledged.formUnion(chunks) }
    }

    /// Whether the store has taken a chunk since it was asked about it: another file had it too.
    func isAcknowledged(_ chunk: Digest) -> Bool {
        state.withLock { $0.acknowledged.contains(chunk) }
    }

    /// Allows files to be sent again, because the store asked for them.
    func forgetClaims() {
        state.withLock { state in
            state.claimed = []
            state.acknowledged = []
        }
    }

    /// Notes a file with something new.
    func noteNew(_ path: @autoclosure () -> [UInt8], size: UInt64, newBytes: UInt64) {
        counters.add(newFiles: 1, newBytes: newBytes)
        let total = counters.newBytes
        state.withLock { state in
            if total > options.newBytesLimit { state.isListing = true }
            guard state.largest.count < 20 || state.largest.last.map({ $0.size < size }) ?? true
            else { return }
            state.largest.append(PushSummary.NewFile(path: path(), size: size))
            state.largest.sort { $0.size > $1.size }
            if state.largest.count > 20 { state.largest.removeLast() }
        }
    }

    func noteVanished(_ path: [UInt8]) {
        state.withLock { $0.vanished.append(path) }
    }

    var largest: [PushSummary.NewFile] { state.withLock { $0.largest } }
    var vanished: [[UInt8]] { state.withLock { $0.vanished } }

    /// Sets room aside in the commit for records of about that size, which then go along unasked; false
    /// if there is not enough.
    func reserveInCommit(_ bytes: Int) -> Bool {
        state.withLock { state in
            guard bytes <= state.unaskedBytes else { return false }
            state.unaskedBytes -= bytes
            return true
        }
    }

    /// Adds records to the commit.
    func addToCommit(_ records: ReusableBuffer) {
        state.withLock { _ in commitRecords.append(records.bytes) }
    }

    /// Empties what goes along with the next commit.
    func resetCommit() {
        state.withLock { state in
            state.unaskedBytes = options.limits.unaskedBytes
            commitRecords.removeAll()
        }
    }
}
