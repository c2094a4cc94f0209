package import CASCore
import CASFileSystem
package import CASWire
import Synchronization

/// How long somebody waits for a server that does not answer.
package enum Patience: Sendable, Hashable {
    /// So many attempts: half a second for three of them.
    case attempts(Int)
    /// So many seconds since the call was made first.
    case seconds(Int64)

    /// For somebody who wants an answer now.
    package static let brief = Patience.attempts(3)
    /// For somebody who waits for a server that is started anew.
    package static let standard = Patience.seconds(30)

    /// Milliseconds to wait before the next attempt; nil to give up.
    func pause(_ attempt: Int, elapsed: UInt64) -> UInt64? {
        let pause = Backoff.milliseconds(attempt)
        switch self {
        case .attempts(let count): return attempt < count ? pause : nil
        case .seconds(let seconds):
            let all = UInt64(clamping: seconds) * 1000
            return elapsed < all ? min(pause, all - elapsed) : nil
        }
    }
}

/// Repeats what failed for a passing reason, where repeating can do no harm.
///
/// Uploads are numbered and commits named, so that the store takes each once however often it comes.
package final class RetryingStore: StoreConnection {
    /// Milliseconds between two words about one wait.
    private static let reportMilliseconds: UInt64 = 10_000

    private let base: any StoreConnection
    private let patience: Patience
    private let onWait: @Sendable (CASError) -> Void
    private let clock: any WallClock
    /// When somebody heard of the wait last.
    private let told = Mutex<UInt64?>(nil)

    /// Repeats calls of `base`; `onWait` is called when the second attempt has failed too, and then now
    /// and then.
    package init(
        _ base: any StoreConnection, patience: Patience = .standard,
        clock: any WallClock = SystemClock(),
        onWait: @escaping @Sendable (CASError) -> Void = { _ in }
    ) {
        self.base = base
        self.patience = patience
        self.clock = clock
        self.onWait = onWait
    }

    package var location: String { base.location }
    package var isLocal: Bool { base.isLocal }

    private var milliseconds: UInt64 { clock.monotonicNanoseconds() / 1_000_000 }

    private func retry<Result>(
        unless isDone: () -> Bool = { false }, _ body: () throws -> Result
    ) throws -> Result {
        let start = milliseconds
        var attempt = 1
        while true {
            do {
                return try body()
            } catch let error as CASError where error.code.isTransient && !isDone() {
                guard let pause = patience.pause(attempt, elapsed: milliseconds - start) else {
                    throw gaveUp(error)
                }
                if attempt >= 2 { tell(error) }
                Sleep.milliseconds(pause)
                attempt += 1
            }
        }
    }

    /// Several threads may wait for the same server; one word is enough.
    private func tell(_ error: CASError) {
        let now = milliseconds
        let isNews = told.withLock { told in
            if let told, now < told + RetryingStore.reportMilliseconds { return false }
            told = now
            return true
        }
        if isNews { onWait(error) }
    }

    private func gaveUp(_ error: CASError) -> CASError {
        guard case .seconds(let seconds) = patience, seconds > 0 else { return error }
        var error = error
        error.message += "; gave up after \(seconds) s"
        return error
    }

    package func describe() throws -> StoreDescription { try retry { try base.describe() } }
    package func missing(_ digests: [Digest], push: Identifier) throws -> [Bool] {
        try retry { try base.missing(digests, push: push) }
    }
    package func upload(
        push: Identifier, stream: Int, sequence: Int, records: ReusableBuffer
    ) throws {
        try retry {
            try base.upload(push: push, stream: stream, sequence: sequence, records: records)
        }
    }
    package func commit(_ request: PushRequest, records: ReusableBuffer) throws -> PushResponse {
        try retry { try base.commit(request, records: records) }
    }
    package func checkQuota(_ request: QuotaRequest, push: Identifier) throws {
        try retry { try base.checkQuota(request, push: push) }
    }
    package func abandon(push: Identifier) throws { try base.abandon(push: push) }

    package func plan(_ request: PlanRequest) throws -> PlanResponse {
        try retry { try base.plan(request) }
    }
    package func layers(_ request: LayersRequest) throws -> LayersResponse {
        try retry { try base.layers(request) }
    }
    package func readTree(
        plan: String, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var hasBegun = false
        try retry(unless: { hasBegun }) {
            try base.readTree(plan: plan) { bytes in
                hasBegun = true
                try sink(bytes)
            }
        }
    }
    // Streams of files are repeated by the fetch, which knows what it has of them.
    package func readData(
        plan: String, share: Int, of count: Int, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try base.readData(plan: plan, share: share, of: count, sink)
    }
    package func readBlobs(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try base.readBlobs(digests, sink)
    }
    package func readChunkLists(
        _ digests: [Digest], _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        try base.readChunkLists(digests, sink)
    }

    package func ref(_ name: RefName) throws -> RefEntry? { try retry { try base.ref(name) } }
    // Not repeated: who follows a ref wants to hear that the store is away.
    package func awaitRef(_ name: RefName, after: UInt64, seconds: Int) throws -> RefEntry? {
        try base.awaitRef(name, after: after, seconds: seconds)
    }
    package func refs(prefix: String, after: String, limit: Int) throws -> RefPage {
        try retry { try base.refs(prefix: prefix, after: after, limit: limit) }
    }
    package func history(_ name: RefName, before: String, limit: Int) throws -> HistoryPage {
        try retry { try base.history(name, before: before, limit: limit) }
    }
    package func images(of ref: RefName, derives: Bool) throws -> RefImages {
        try retry { try base.images(of: ref, derives: derives) }
    }
    package func images(of digest: Digest, name: String) throws -> RefImages {
        try retry { try base.images(of: digest, name: name) }
    }
    // Not repeated: a lost answer leaves open whether it happened, and the user may want to know.
    package func setRef(_ name: RefName, _ update: RefUpdate) throws -> RefEntry {
        try base.setRef(name, update)
    }
    package func removeRef(_ name: RefName, _ update: RefUpdate) throws {
        try base.removeRef(name, update)
    }
    package func usage() throws -> UsageReport { try retry { try base.usage() } }
    package func pins(prefix: String, after: String, limit: Int) throws -> PinPage {
        try retry { try base.pins(prefix: prefix, after: after, limit: limit) }
    }
    // A pin or rule that is set again is what it was.
    package func pin(
        _ digest: Digest, name: String, _ request: PinRequest
    ) throws -> PinRecord {
        try retry { try base.pin(digest, name: name, request) }
    }
    package func unpin(_ digest: Digest, name: String, _ request: PinRequest) throws {
        try base.unpin(digest, name: name, request)
    }
    package func rules() throws -> [RetentionRule] { try retry { try base.rules() } }
    package func set(rule: RetentionRule) throws -> RetentionRule {
        try retry { try base.set(rule: rule) }
    }
    package func remove(rule: RetentionRule) throws { try base.remove(rule: rule) }
    package func maintain(_ request: MaintenanceRequest) throws -> MaintenanceState {
        try retry { try base.maintain(request) }
    }
    package func maintenance(_ id: Identifier, seconds: Int) throws -> MaintenanceState {
        try retry { try base.maintenance(id, seconds: seconds) }
    }
    package func createToken(_ request: TokenRequest) throws -> TokenResponse {
        try base.createToken(request)
    }
    package func tokens() throws -> [TokenRecord] { try retry { try base.tokens() } }
    package func revokeToken(_ identifier: Identifier) throws {
        try base.revokeToken(identifier)
    }
    package func close() throws { try base.close() }
}
