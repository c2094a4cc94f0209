import CASCore
import CASRepository
import CASWire
import Synchronization
import Testing

@testable import CASRegistry

/// Images that are made while others ask for some.
@Suite struct DerivedManifestTests {
    private static func entry(_ number: UInt8) throws -> RefEntry {
        RefEntry(
            name: try RefName(name: "team/code", tag: "v\(number)"),
            target: RefTarget(kind: .snapshot, digest: Digest.of([number])),
            tree: Digest.of([number, 0]),
            totals: nil, sequence: 1, moved: Timestamp(seconds: 1), provenance: Provenance(),
            expires: nil)
    }

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

    @Test func `one is made after the other`() async throws {
        let derived = DerivedManifests()
        let turns = Turns()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for number in 0..<24 {
                let entry = try Self.entry(UInt8(number % 8))
                group.addTask {
                    try await derived.make(entry, unless: { false }) { await turns.take() }
                }
            }
            try await group.waitForAll()
        }
        #expect(turns.most == 1)
        #expect(turns.count >= 8 && turns.count <= 24)
    }

    @Test func `what is made already waits for nobody, and one that fails keeps nobody`()
        async throws
    {
        let derived = DerivedManifests()
        let (gate, open) = AsyncStream.makeStream(of: Void.self)
        let (began, begin) = AsyncStream.makeStream(of: Void.self)
        let first = Task {
            try await derived.make(try Self.entry(1), unless: { false }) {
                begin.finish()
                for await _ in gate {}
                throw CASError(.dataLoss, "it is not whole")
            }
        }
        for await _ in began {}
        // The first one is being made for as long as the gate is closed.
        try await derived.make(try Self.entry(2), unless: { true }) {
            Issue.record("it was made once more")
        }
        let second = Task {
            try await derived.make(try Self.entry(3), unless: { false }) {}
        }
        open.finish()
        await #expect(throws: CASError.self) { try await first.value }
        try await second.value
    }
}
