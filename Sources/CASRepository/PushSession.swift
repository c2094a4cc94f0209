import CASCatalog
import CASCore
import CASPack
import Synchronization

/// One push in progress: what it uploaded that the catalog does not know yet.
///
/// Any thread may use it; each stream is worked on by one thread at a time.
final class PushSession: Sendable {
    let identifier: Identifier
    let domain: Domain

    private struct State {
        var pending: [Digest: BlobLocation] = [:]
        var chunkLists: [Digest: ChunkList] = [:]
        var streams: [Int: UploadStream] = [:]
        var bytesSinceCheckpoint: UInt64 = 0
        var lastUsed: UInt64
        var lease: (began: UInt64, end: UInt64) = (0, 0)
    }
    private let state: Mutex<State>

    init(identifier: Identifier, domain: Domain, now: UInt64) {
        self.identifier = identifier
        self.domain = domain
        state = Mutex(State(lastUsed: now))
    }

    /// Monotonic nanoseconds at which it was last used.
    var lastUsed: UInt64 { state.withLock { $0.lastUsed } }

    /// Monotonic nanoseconds at which its lease was taken first and at which it ends; zeros without one.
    var lease: (began: UInt64, end: UInt64) {
        get { state.withLock { $0.lease } }
        set { state.withLock { $0.lease = newValue } }
    }

    /// Packs with records that the catalog does not know yet.
    var pendingPacks: Set<Int64> { state.withLock { Set($0.pending.values.map(\.pack)) } }

    func touch(_ now: UInt64) {
        state.withLock { $0.lastUsed = max($0.lastUsed, now) }
    }

    /// The state of one upload stream, new if need be; throws `resourceExhausted` for too many.
    func stream(_ number: Int, limit: Int) throws -> UploadStream {
        try state.withLock { state in
            if let stream = state.streams[number] { return stream }
            guard state.streams.count < limit, number >= 0, number < limit else {
                throw CASError(.resourceExhausted, "a push may use \(limit) streams")
            }
            let stream = UploadStream()
            state.streams[number] = stream
            return stream
        }
    }

    /// Where a digest lies that this push uploaded and nobody committed yet.
    func location(_ digest: Digest) -> BlobLocation? {
        state.withLock { $0.pending[digest] }
    }

    /// Where these digests lie; nil for those that are not pending here.
    func locations(_ digests: [Digest]) -> [BlobLocation?] {
        state.withLock { state in digests.map { state.pending[$0] } }
    }

    /// How a blob is composed that this push uploaded.
    func chunkList(_ digest: Digest) -> ChunkList? {
        state.withLock { $0.chunkLists[digest] }
    }

    /// Remembers uploaded records; returns whether it is time for a checkpoint.
    func insert(
        _ records: [(Digest, BlobLocation)], bytes: UInt64, checkpointBytes: UInt64
    ) -> Bool {
        state.withLock { state in
            for (digest, location) in records where state.pending[digest] == nil {
                state.pending[digest] = location
            }
            state.bytesSinceCheckpoint += bytes
            guard state.bytesSinceCheckpoint >= checkpointBytes else { return false }
            state.bytesSinceCheckpoint = 0
            return true
        }
    }

    /// Remembers how a blob is composed.
    func insert(_ digest: Digest, _ list: ChunkList) {
        state.withLock { $0.chunkLists[digest] = list }
    }

    /// Whether nothing would be lost with it.
    var isIdle: Bool { state.withLock { $0.pending.isEmpty && $0.chunkLists.isEmpty } }

    /// What the catalog does not know yet.
    func pending() -> PendingRecords {
        state.withLock { state in
            PendingRecords(
                locations: state.pending.map { ($0.key, $0.value) },
                chunkLists: state.chunkLists.map { ($0.key, $0.value) })
        }
    }

    /// Forgets what the catalog knows now.
    func forget(_ records: PendingRecords) {
        state.withLock { state in
            for (digest, location) in records.locations where state.pending[digest] == location {
                state.pending[digest] = nil
            }
            for (digest, _) in records.chunkLists { state.chunkLists[digest] = nil }
        }
    }

    /// Forgets what lies in packs that are not among these: they failed, and the client will be asked
    /// for it again.
    func dropPending(outside packs: [Int64: UInt64]) {
        state.withLock { state in
            let lost = state.pending.filter { packs[$0.value.pack] == nil }.map(\.key)
            for digest in lost {
                state.pending[digest] = nil
                state.chunkLists[digest] = nil
            }
        }
    }
}

/// Records of a push that the catalog does not know yet, and how the blobs among them are composed.
struct PendingRecords {
    var locations: [(Digest, BlobLocation)]
    var chunkLists: [(Digest, ChunkList)]

    /// Those that lie within the first so many bytes of each pack: these are durable.
    func within(_ durableBytes: [Int64: UInt64]) -> PendingRecords {
        let durable = locations.filter { _, location in
            location.offset + location.recordBytes <= durableBytes[location.pack, default: 0]
        }
        let digests = Set(durable.lazy.filter { $0.1.kind == .chunkList }.map(\.0))
        return PendingRecords(
            locations: durable, chunkLists: chunkLists.filter { digests.contains($0.0) })
    }
}

/// One upload stream of a push: which body is next, and the file that its chunks are composing.
///
/// Guarded by its own mutex, which its bodies hold while they are worked on: a repeated request waits
/// for the first one and then has no effect. `@unchecked Sendable`: the state is only reached through
/// `withState`, under the mutex.
final class UploadStream: @unchecked Sendable {
    struct State: ~Copyable {
        /// The number of the last body whose records were all taken.
        var lastSequence = -1
        /// Whether chunks compose a file now.
        var isInRun = false
        /// Whether `hasher` holds exactly the content of `terms`.
        var isExact = false
        var terms: [ChunkList.Term] = []
        var hasher = DigestHasher()
    }
    private let mutex = Mutex(())
    private var state = State()

    /// Calls `body` with the state while nobody else has it.
    func withState<Result>(_ body: (inout State) throws -> Result) rethrows -> Result {
        mutex._unsafeLock()
        defer { mutex._unsafeUnlock() }
        return try body(&state)
    }
}
