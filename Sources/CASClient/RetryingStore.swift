package import CASCore
import CASFileSystem
package import CASWire
import Synchronization

/// Repeats what failed for a passing reason, where repeating can do no harm.
///
/// Uploads are numbered and commits named, so that the store takes each once however often it comes.
package final class RetryingStore: StoreConnection {
    /// Attempts of somebody who waits for a server that is started anew: about half a minute.
    package static let patientAttempts = 9
    /// Attempts of somebody who wants an answer: about half a second.
    package static let briefAttempts = 3
    private let base: any StoreConnection
    private let attempts: Int
    private let onWait: @Sendable (CASError) -> Void
    private let isTold = Atomic<Bool>(false)

    /// Repeats calls of `base`; `onWait` is called once, when the second attempt has failed too.
    package init(
        _ base: any StoreConnection, attempts: Int = RetryingStore.patientAttempts,
        onWait: @escaping @Sendable (CASError) -> Void = { _ in }
    ) {
        self.base = base
        self.attempts = attempts
        self.onWait = onWait
    }

    package var location: String { base.location }
    package var isLocal: Bool { base.isLocal }

    private func retry<Result>(
        unless isDone: () -> Bool = { false }, _ body: () throws -> Result
    ) throws -> Result {
        for attempt in 1..<attempts {
            do {
                return try body()
            } catch let error as CASError where error.code.isTransient && !isDone() {
                if attempt == 2, !isTold.exchange(true, ordering: .relaxed) { onWait(error) }
                Backoff.pause(attempt)
            }
        }
        return try body()
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
    package func abandon(push: Identifier) throws { try base.abandon(push: push) }

    package func plan(_ request: PlanRequest) throws -> PlanResponse {
        try retry { try base.plan(request) }
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

    package func ref(_ name: RefName) throws -> RefEntry? { try retry { try base.ref(name) } }
    package func refs(prefix: String, after: String, limit: Int) throws -> RefPage {
        try retry { try base.refs(prefix: prefix, after: after, limit: limit) }
    }
    package func history(_ name: RefName, before: String, limit: Int) throws -> HistoryPage {
        try retry { try base.history(name, before: before, limit: limit) }
    }
    // Not repeated: a lost answer leaves open whether it happened, and the user may want to know.
    package func setRef(_ name: RefName, _ update: RefUpdate) throws -> RefEntry {
        try base.setRef(name, update)
    }
    package func removeRef(_ name: RefName, _ update: RefUpdate) throws {
        try base.removeRef(name, update)
    }
    package func usage() throws -> UsageReport { try retry { try base.usage() } }
    package func createToken(_ request: TokenRequest) throws -> TokenResponse {
        try base.createToken(request)
    }
    package func tokens() throws -> [TokenRecord] { try retry { try base.tokens() } }
    package func revokeToken(_ identifier: Identifier) throws {
        try base.revokeToken(identifier)
    }
    package func close() throws { try base.close() }
}
