package import CASCore
package import Hummingbird
import NIOCore
import Synchronization

/// A body whose sender is too slow: the answer is 408.
package struct SlowBody: Error {}

/// The body of one request as it comes into memory.
///
/// A small one is free; of a larger one only what came counts against the gate, so that a slow sender
/// keeps nobody else waiting.
package final class IncomingBody: Sendable {
    private static let step = 1 << 20

    private struct State {
        var buffer: ReusableBuffer
        /// Bytes that it got from the gate.
        var borrowed = 0
    }
    private let limit: Int
    private let free: Int
    private let declared: Int?
    private let gate: MemoryGate
    private let loan: MemoryGate.Loan
    private let pool: BufferPool
    private let pace: BodyPace
    private let state: Mutex<State>

    init(
        declared: Int?, limit: Int, limits: Limits, gate: MemoryGate, pool: BufferPool
    ) {
        self.declared = declared
        self.limit = limit
        self.gate = gate
        self.pool = pool
        free = limits.smallRequestBytes
        loan = gate.loan()
        pace = BodyPace(limits)
        state = Mutex(State(buffer: ReusableBuffer(capacity: min(declared ?? 4096, free))))
    }

    /// What came so far; nobody else uses it.
    package var buffer: ReusableBuffer { state.withLock { $0.buffer } }

    /// Gives its memory back.
    package func end() {
        let (buffer, borrowed) = state.withLock { ($0.buffer, $0.borrowed) }
        if borrowed > 0 {
            pool.give(buffer)
            gate.end(loan, borrowed)
        }
    }

    /// Reads all of it.
    ///
    /// Throws `resourceExhausted` as soon as it is too long, SlowBody as soon as it is too slow, and
    /// `cancelled` where its sender goes away.
    package func receive(_ request: Request, _ context: DoorContext) async throws {
        let channel = context.channel
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.read(request.body) }
                group.addTask { try await self.pace.watch(channel) }
                defer { group.cancelAll() }
                try await group.next()
            }
        } catch let error as CASError {
            throw error
        } catch let error as SlowBody {
            throw error
        } catch {
            // The sender went away, or sent what is not HTTP; nobody may be left to read the answer.
            throw CASError(.cancelled, "the request ended before its body did", cause: error)
        }
        if let declared, buffer.count < declared {
            throw CASError(.cancelled, "the request ended before its body did")
        }
    }

    private func read(_ body: RequestBody) async throws {
        var iterator = body.makeAsyncIterator()
        while true {
            pace.begin()
            let piece = try await iterator.next()
            pace.end(piece?.readableBytes ?? 0)
            guard let piece else { return }
            try await makeRoom(piece.readableBytes)
            state.withLock { state in
                piece.withUnsafeReadableBytes { state.buffer.append($0) }
            }
        }
    }

    private func makeRoom(_ bytes: Int) async throws {
        let (count, borrowed) = state.withLock { ($0.buffer.count, $0.borrowed) }
        let needed = count + bytes
        guard needed <= limit else { throw IncomingBody.tooLarge(limit) }
        guard needed > max(free, borrowed) else { return }
        // Where the size is known the buffer has its size at once, and pages of it that nothing was
        // written to cost nothing; elsewhere it doubles.
        let target =
            declared.map { min(limit, max(needed, min($0, borrowed + IncomingBody.step))) }
            ?? min(limit, max(needed, borrowed * 2, IncomingBody.step))
        try await gate.acquire(target - borrowed, for: loan)
        state.withLock { state in
            if state.borrowed == 0 {
                let larger = pool.take()
                larger.append(state.buffer.bytes)
                state.buffer = larger
            }
            state.buffer.reserve(max(declared ?? 0, target) - count)
            state.borrowed = target
        }
    }

    package static func tooLarge(_ limit: Int) -> CASError {
        CASError(
            .resourceExhausted,
            "a request of this kind may have at most \(ByteCount.text(UInt64(limit)))")
    }
}

/// How quickly a body comes; time in which the server itself makes it wait does not count.
package final class BodyPace: Sendable {
    private struct State {
        var received = 0
        var waited = Duration.zero
        var since: ContinuousClock.Instant?
    }
    private let stall: Duration
    private let bytesPerSecond: Int
    private let state = Mutex(State())

    /// The pace that these limits ask for.
    package init(_ limits: Limits) {
        stall = .nanoseconds(Int64(clamping: limits.bodyStallNanoseconds))
        bytesPerSecond = limits.bodyBytesPerSecond
    }

    /// Something is waited for.
    package func begin() { state.withLock { $0.since = .now } }

    /// It came.
    package func end(_ bytes: Int) {
        state.withLock { state in
            if let since = state.since { state.waited += .now - since }
            state.since = nil
            state.received += bytes
        }
    }

    /// Whether it stands still, or came too slowly altogether.
    private var isTooSlow: Bool {
        state.withLock { state in
            let present = state.since.map { .now - $0 } ?? .zero
            let allowed =
                stall * 2 + .seconds(Double(state.received) / Double(max(1, bytesPerSecond)))
            return present > stall || state.waited + present > allowed
        }
    }

    /// Looks at it until the task is cancelled; throws where the sender is too slow or gone.
    package func watch(_ context: DoorContext) async throws {
        try await watch(context.channel)
    }

    func watch(_ channel: any Channel) async throws {
        while true {
            try await Task.sleep(for: min(.seconds(1), stall / 4))
            if isTooSlow { throw SlowBody() }
            if !channel.isActive { throw CancellationError() }
        }
    }
}
