import CASClient
import CASCore
import CASTestSupport
import CASWire
import CASWorkspace
import Synchronization
import Testing

/// What a client does not take on trust, and what it does not lose when answers are odd.
@Suite struct DistrustTests {
    private let world: LocalWorld
    private let store: DecoratedStore

    init() throws {
        world = try LocalWorld()
        store = DecoratedStore(world.store)
        try world.write("a.txt", "hello")
        try world.write("b.txt", "there")
        try world.write("big.bin", SeededGenerator.text(seed: 4, count: 3_000_000))
    }

    @Test func `a file is not taken for vanished because a store finds something absent`() throws {
        store.onMissing.withLock {
            $0 = { _ in throw CASError(.notFound, "no such page, says a proxy") }
        }
        let error = #expect(throws: CASError.self) { try world.push(to: store) }
        #expect(error?.code == .notFound)
        #expect(try world.store.ref(world.ref) == nil)
    }

    @Test func `a store that names another snapshot than the digest asked for is refused`() throws {
        let first = try world.push()
        try world.write("a.txt", "other")
        let second = try world.push()
        store.onPlan.withLock {
            $0 = { PlanRequest(want: "\(second.snapshot)", have: $0.have) }
        }
        for want in ["\(first.snapshot)", "\(first.tree)", "team/project@\(first.snapshot)"] {
            let error = #expect(throws: CASError.self) { try world.fetch(want, from: store) }
            #expect(error?.code == .dataLoss)
        }
        store.onPlan.withLock { $0 = nil }
        _ = try world.fetch("\(first.tree)", from: store)
        #expect(try world.differences(want: "\(first.snapshot)") == [])
    }

    @Test func `a store that lacks what it said it had is sent it, round after round`() throws {
        store.onMissing.withLock { $0 = { $0.map { _ in false } } }
        let round = Atomic<Int>(0)
        store.beforeCommit.withLock { hook in
            hook = { [store] in
                _ = round.add(1, ordering: .relaxed)
                store.onMissing.withLock { $0 = nil }
            }
        }
        // Two streams for all: their numbers are used again and again.
        let summary = try world.push(to: store) { $0.limits.streamsPerPush = 2 }
        #expect(summary.response?.outcome == .done)
        _ = try world.fetch(from: store)
        #expect(try world.differences() == [])
    }

    @Test func `a file that changed since the push began is named, and not the store blamed`()
        throws
    {
        store.onMissing.withLock { $0 = { $0.map { _ in false } } }
        store.beforeCommit.withLock { hook in
            hook = { [world] in try world.write("a.txt", "edited meanwhile") }
        }
        let error = #expect(throws: CASError.self) { try world.push(to: store) }
        #expect(error?.code == .aborted)
        #expect(error?.path == "a.txt")
    }

    @Test func `an update takes the shares of its plan`() throws {
        _ = try world.push()
        _ = try world.fetch(from: store)
        try world.write("a.txt", "edited")
        try world.write("c.txt", "new")
        _ = try world.push()
        let update = try world.fetch(from: store)
        #expect(update.restore.written == 2)
        #expect(store.blobReadCount == 0)
        #expect(try world.differences() == [])
    }
}
