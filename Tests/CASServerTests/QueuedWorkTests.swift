import CASCore
import Synchronization
import Testing

@testable import CASHTTP

/// Images and layers that are made while others ask for some.
@Suite struct QueuedWorkTests {
    /// How many have their turn at once.
    private final class Turns: Sendable {
        private struct State {
            var running = 0
            var most = 0
            var count = 0
        }
        private let state = Mutex(State())

        var most: Int { state.withLock { $0.most } }
        var count: Int { state.withLock { $0.count } }

        func take() async {
            state.withLock { state in
                state.running += 1
                state.most = max(state.most, state.running)
                state.count += 1
            }
            for _ in 0..<200 { await Task.yield() }
            state.withLock { $0.running -= 1 }
        }
    }

    @Test func `one piece is done after the other`() async throws {
        let work = QueuedWork<Int, Void>()
        let turns = Turns()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<24 {
                group.addTask {
                    _ = try await work.answer(number % 8, within: nil) { await turns.take() }
                }
            }
            try await group.waitForAll()
        }
        #expect(turns.most == 1)
        #expect(turns.count >= 8 && turns.count <= 24)
    }

    @Test func `who waits too long is told to ask again, and work is done once`() async throws {
        let work = QueuedWork<String, Int>()
        let calls = Mutex(0)
        let gate = AsyncStream<Void>.makeStream()
        @Sendable func ask(_ seconds: Int64?) async throws -> Int? {
            try await work.answer("a", within: seconds) {
                calls.withLock { $0 += 1 }
                for await _ in gate.stream { break }
                return 7
            }
        }
        #expect(try await ask(0) == nil)
        #expect(try await ask(0) == nil)
        gate.continuation.finish()
        #expect(try await ask(600) == 7)
        #expect(calls.withLock { $0 } == 1)
        // What fails fails for who asked, and not for the next.
        await #expect(throws: CASError.self) {
            try await work.answer("a", within: 600) { throw CASError(.dataLoss, "gone") }
        }
        #expect(try await ask(nil) == 7)
    }

    @Test func `what fails keeps nobody, and so much waits and no more`() async throws {
        let work = QueuedWork<Int, Void>()
        let gate = AsyncStream<Void>.makeStream()
        for number in 0..<256 {
            let answer: Void? = try await work.answer(number, within: 0) {
                for await _ in gate.stream { break }
                throw CASError(.dataLoss, "it is not whole")
            }
            #expect(answer == nil)
        }
        let error = await #expect(throws: CASError.self) {
            try await work.answer(1_000, within: 0) {}
        }
        #expect(error?.code == .unavailable)
        let other = Task { try await work.answer(255, within: nil) {} }
        gate.continuation.finish()
        await #expect(throws: CASError.self) { try await other.value }
        let done: Void? = try await work.answer(0, within: nil) {}
        #expect(done != nil)
    }
}
