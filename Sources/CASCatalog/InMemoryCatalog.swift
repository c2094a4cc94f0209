import CASCore
import Synchronization

/// A catalog in memory: what the fault simulations run on, and a model that the SQL one is tested by.
///
/// What was committed lives as long as the object, whatever becomes of a "process" using it: a test
/// that cuts the power keeps the object and opens it again.
package final class InMemoryCatalog: Catalog {
    /// Called where the COMMIT would happen; if it throws, the transaction did not happen.
    package typealias CommitHook = @Sendable () throws -> Void

    private let committed: Mutex<InMemoryState>
    private let hook: Mutex<CommitHook?>
    private let isClosed: Mutex<Bool>
    /// Held during a whole transaction.
    ///
    /// Readers do not take it.
    private let writer: Mutex<Void>

    /// What a catalog leaves out on purpose, so that a test sees the simulation find it.
    package enum Neglect: Sendable {
        /// Nothing ever stops counting as complete.
        case completeness
        /// Collections are not told of what becomes reachable.
        case barrier
        /// What was condemned is not taken back.
        case revival
        /// Manifests keep nothing of what they name.
        case parts
    }

    /// An empty catalog.
    package init(neglecting neglects: Set<Neglect> = []) {
        var state = InMemoryState()
        state.neglects = neglects
        committed = Mutex(state)
        hook = Mutex(nil)
        isClosed = Mutex(false)
        writer = Mutex(())
    }

    /// What is called where the COMMIT would happen.
    package var commitHook: CommitHook? {
        get { hook.withLock { $0 } }
        set { hook.withLock { $0 = newValue } }
    }

    package func read<Result>(_ body: (any CatalogReader) throws -> Result) throws -> Result {
        try checkOpen()
        // A copy of a value costs nothing, and no later transaction changes it.
        return try body(InMemoryTransaction(committed.withLock { $0 }))
    }

    package func erase() throws { try checkOpen() }

    package func write<Result>(
        _ body: (any CatalogTransaction) throws -> Result
    ) throws -> Result {
        try checkOpen()
        return try writer.withLock { _ in
            let transaction = InMemoryTransaction(committed.withLock { $0 })
            let result = try body(transaction)
            try commitHook?()
            committed.withLock { $0 = transaction.state }
            return result
        }
    }

    package func close() throws {
        isClosed.withLock { $0 = true }
    }

    /// Makes a closed catalog usable again, as opening its file would.
    package func reopen() {
        isClosed.withLock { $0 = false }
    }

    private func checkOpen() throws {
        guard !isClosed.withLock({ $0 }) else {
            throw CASError(.failedPrecondition, "the catalog is closed")
        }
    }
}
