import CASCore
import Synchronization

/// Lends bytes of memory out of a budget, first come, first served; who waits holds nothing more meanwhile.
///
/// A borrower may come back for more before it gives back. So that such borrowers never wait for each
/// other, a part of the budget is reserved for one of them at a time, which can then finish.
package final class MemoryGate: Sendable {
    /// Who borrows: all that it got is given back together.
    package struct Loan: Hashable, Sendable {
        fileprivate let number: UInt64
    }
    private struct Waiter {
        let number: UInt64
        let loan: Loan
        let bytes: Int
        let continuation: CheckedContinuation<Void, any Error>
    }
    private struct State {
        var available: Int
        var waiting: [Waiter] = []
        var lastNumber: UInt64 = 0
        /// Who may use the reserve, and how much it did.
        var finisher: Loan?
        var finisherBytes = 0

        mutating func number() -> UInt64 {
            lastNumber += 1
            return lastNumber
        }
    }
    private enum Answer {
        case granted
        case waits
        case cancelled
    }
    private let reserve: Int
    private let state: Mutex<State>

    /// A gate of a budget; no loan may need more than `reserve` altogether, if there is one.
    package init(bytes: Int, reserve: Int = 0) {
        self.reserve = reserve
        state = Mutex(State(available: max(bytes, reserve)))
    }

    /// Begins a loan of nothing yet.
    package func loan() -> Loan { state.withLock { Loan(number: $0.number()) } }

    /// Waits until there are so many bytes more for a loan; throws where the task is cancelled meanwhile.
    package func acquire(_ bytes: Int, for loan: Loan) async throws {
        let number = state.withLock { $0.number() }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let waiter = Waiter(
                    number: number, loan: loan, bytes: bytes, continuation: continuation)
                switch ask(waiter) {
                case .granted: continuation.resume()
                case .waits: break
                case .cancelled: continuation.resume(throwing: CancellationError())
                }
            }
        } onCancel: {
            let waiter = state.withLock { state -> Waiter? in
                let index = state.waiting.firstIndex { $0.number == number }
                return index.map { state.waiting.remove(at: $0) }
            }
            waiter?.continuation.resume(throwing: CancellationError())
            // Others may have waited only because this one stood before them.
            admit()
        }
    }

    private func ask(_ waiter: Waiter) -> Answer {
        state.withLock { state in
            // Looked at under the lock: a cancellation from now on finds the waiter in the queue.
            if Task.isCancelled { return .cancelled }
            if grant(waiter.bytes, waiter.loan, &state, isFirst: state.waiting.isEmpty) {
                return .granted
            }
            state.waiting.append(waiter)
            return .waits
        }
    }

    private func grant(_ bytes: Int, _ loan: Loan, _ state: inout State, isFirst: Bool) -> Bool {
        if state.finisher == loan {
            state.finisherBytes += bytes
        } else {
            guard isFirst else { return false }
            let kept = max(0, reserve - state.finisherBytes)
            if state.available - bytes < kept {
                guard reserve > 0, state.finisher == nil, bytes <= state.available else {
                    return false
                }
                state.finisher = loan
                state.finisherBytes = bytes
            }
        }
        state.available -= bytes
        return true
    }

    /// Gives back all `bytes` of a loan.
    package func end(_ loan: Loan, _ bytes: Int) {
        state.withLock { state in
            state.available += bytes
            if state.finisher == loan {
                state.finisher = nil
                state.finisherBytes = 0
            }
        }
        admit()
    }

    private func admit() {
        while let waiter = nextAdmitted() { waiter.continuation.resume() }
    }

    private func nextAdmitted() -> Waiter? {
        state.withLock { state in
            guard let first = state.waiting.first,
                grant(first.bytes, first.loan, &state, isFirst: true)
            else { return nil }
            return state.waiting.removeFirst()
        }
    }

    /// How many wait, for metrics.
    package var waitingCount: Int { state.withLock { $0.waiting.count } }
    /// Bytes that nobody has.
    package var availableBytes: Int { state.withLock { $0.available } }
}

/// Buffers for bodies and pieces, kept from use to use.
final class BufferPool: Sendable {
    private static let kept = 8
    private static let keptBytes = 4 << 20
    private let free = Mutex<[ReusableBuffer]>([])

    func take() -> ReusableBuffer {
        free.withLock { $0.popLast() } ?? ReusableBuffer(capacity: 1 << 20)
    }

    func give(_ buffer: ReusableBuffer) {
        guard buffer.capacity <= BufferPool.keptBytes else { return }
        buffer.removeAll()
        free.withLock { if $0.count < BufferPool.kept { $0.append(buffer) } }
    }
}
