import CASCore
import Synchronization

/// Requests that wait until a ref moves.
///
/// Bounded: who finds no room gets the answer of now.
final class RefWaiters: Sendable {
    /// Seconds that a request waits at most; proxies allow 60 s of silence as a rule.
    static let maximumSeconds = 25
    /// Seconds between two looks at what other processes moved.
    static let lookSeconds: Int64 = 5
    private static let limit = 4_096

    /// One request that waits.
    final class Waiter: Sendable {
        fileprivate let name: RefName
        fileprivate let number: UInt64
        private let stream: AsyncStream<Void>
        private let continuation: AsyncStream<Void>.Continuation

        fileprivate init(_ name: RefName, _ number: UInt64) {
            self.name = name
            self.number = number
            (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        }

        /// Lets it look again.
        func wake() { continuation.yield() }

        /// Ends its wait.
        func finish() { continuation.finish() }

        /// Waits for a word; false once the wait is over.
        func next() async -> Bool {
            for await _ in stream { return true }
            return false
        }
    }

    private struct State {
        var waiting: [RefName: [UInt64: Waiter]] = [:]
        var count = 0
        var next: UInt64 = 0
        var isClosed = false
    }

    private let state = Mutex(State())

    /// A place among those that wait for a ref; nil where there is none.
    func join(_ name: RefName) -> Waiter? {
        state.withLock { state in
            guard !state.isClosed, state.count < RefWaiters.limit else { return nil }
            state.next += 1
            state.count += 1
            let waiter = Waiter(name, state.next)
            state.waiting[name, default: [:]][waiter.number] = waiter
            return waiter
        }
    }

    /// Gives a place back.
    func leave(_ waiter: Waiter) {
        state.withLock { state in
            guard state.waiting[waiter.name]?.removeValue(forKey: waiter.number) != nil else {
                return
            }
            state.count -= 1
            if state.waiting[waiter.name]?.isEmpty == true { state.waiting[waiter.name] = nil }
        }
    }

    /// Lets those look again that wait for a ref.
    func moved(_ name: RefName) {
        let waiters = state.withLock { Array(($0.waiting[name] ?? [:]).values) }
        for waiter in waiters { waiter.wake() }
    }

    /// Ends all waits, and lets nobody wait any more: the server is about to end.
    func close() {
        let waiters = state.withLock { state in
            state.isClosed = true
            return state.waiting.values.flatMap { Array($0.values) }
        }
        for waiter in waiters { waiter.finish() }
    }
}
