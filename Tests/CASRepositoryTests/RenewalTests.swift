import CASCore
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Testing

/// Refs that expire, and fetches that keep them.
@Suite struct RenewalTests {
    private static let day: UInt64 = 86_400
    private let name: RefName
    private let tree: SampleTree

    init() throws {
        name = try RefName("team/project:run-a")
        tree = try SampleTree.random(700)
    }

    private func store(_ storage: Storage = .memory, days: UInt64 = 4) throws -> TestStore {
        let store = try TestStore(storage)
        var push = try TestPush("team/project:run-a")
        push.lifetime = days * Self.day
        try store.repository.push(tree, push)
        return store
    }

    private func expires(_ store: TestStore, _ ref: RefName? = nil) throws -> Int64? {
        try store.repository.ref(ref ?? name, domain: .standard)?.expires?.seconds
    }

    private func fetch(_ store: TestStore, _ want: String, renews: Bool = true) throws {
        _ = try store.repository.plan(
            PlanRequest(want: want), renews: renews, domain: .standard)
    }

    private func pass(_ store: TestStore, days: Double) {
        store.clock.advance(nanoseconds: UInt64(days * Double(Self.day) * 1e9))
    }

    @Test func `a push with a lifetime expires by the clock of the store`() throws {
        let store = try store()
        let entry = try #require(try store.repository.ref(name, domain: .standard))
        #expect(entry.lifetime == 4 * Self.day)
        #expect(
            entry.expires?.seconds == store.clock.now().seconds + Int64(4 * Self.day))
    }

    @Test func `a later push or tag without one never expires`() throws {
        let store = try store()
        #expect(
            try store.repository.push(tree, try TestPush("team/project:run-a")).outcome
                == .unchanged)
        let entry = try #require(try store.repository.ref(name, domain: .standard))
        #expect(entry.expires == nil)
        #expect(entry.lifetime == 0)
        let update = RefUpdate(target: tree.digest, lifetime: 3600)
        #expect(
            try store.repository.setRef(name, update, domain: .standard).expires?.seconds
                == store.clock.now().seconds + 3600)
        let plain = RefUpdate(target: tree.digest)
        #expect(try store.repository.setRef(name, plain, domain: .standard).expires == nil)
        #expect(
            try store.repository.history(name, before: nil, limit: 9, domain: .standard).count
                == 1, "an end is no move")
    }

    @Test func `pushing the same again with a lifetime sets it anew`() throws {
        let store = try store()
        pass(store, days: 1)
        var again = try TestPush("team/project:run-a")
        again.lifetime = 4 * Self.day
        #expect(try store.repository.push(tree, again).outcome == .unchanged)
        #expect(
            try expires(store) == store.clock.now().seconds + Int64(4 * Self.day))
    }

    @Test(arguments: Storage.allCases)
    func `a fetch renews what has less than half of its lifetime left`(
        _ storage: Storage
    ) throws {
        let store = try store(storage)
        let first = try expires(store)
        let tag = try RefName("team/project:kept")
        _ = try store.repository.setRef(tag, RefUpdate(target: tree.digest), domain: .standard)
        pass(store, days: 1.9)
        try fetch(store, "team/project@\(tree.digest)")
        #expect(try expires(store) == first, "more than half is left")
        pass(store, days: 0.2)
        try fetch(store, "team/project@\(tree.digest)")
        let renewed = store.clock.now().seconds + Int64(4 * Self.day)
        #expect(try expires(store) == renewed)
        #expect(try expires(store, tag) == nil)
        #expect(
            try store.repository.history(name, before: nil, limit: 9, domain: .standard).count == 1)
        #expect(store.repository.counters.renewedRefs == 1)
        let entry = try store.repository.ref(name, domain: .standard)
        for closing in [true, false] {
            _ = try store.rebuild(closing: closing || storage == .disk)
            #expect(try store.repository.ref(name, domain: .standard) == entry)
        }
    }

    @Test func `by the digest of the tree, by another tag, and late`() throws {
        let store = try store()
        let treeDigest = try #require(
            try store.repository.ref(name, domain: .standard)?.tree)
        pass(store, days: 3)
        try fetch(store, "team/project@\(treeDigest)")
        #expect(try expires(store) == store.clock.now().seconds + Int64(4 * Self.day))
        _ = try store.repository.setRef(
            try RefName("team/project:latest"), RefUpdate(target: tree.digest), domain: .standard)
        // It ended, and nobody took it away.
        pass(store, days: 9)
        try fetch(store, "team/project")
        #expect(try expires(store) == store.clock.now().seconds + Int64(4 * Self.day))
    }

    @Test func `another name, a bare digest and who may not read the name renew nothing`() throws {
        let store = try store()
        let first = try expires(store)
        try store.repository.push(tree, to: "other")
        pass(store, days: 3)
        try fetch(store, "other")
        try fetch(store, "\(tree.digest)")
        try fetch(store, "team/project@\(tree.digest)", renews: false)
        #expect(try expires(store) == first)
    }

    @Test func `a thousand pods cost one renewal and one look`() throws {
        let store = try store()
        pass(store, days: 3)
        try fetch(store, "team/project@\(tree.digest)")
        let transactions = store.repository.counters.transactions
        for _ in 0..<1000 { try fetch(store, "team/project@\(tree.digest)") }
        #expect(store.repository.counters.transactions == transactions)
        #expect(store.repository.counters.renewedRefs == 1)
    }

    @Test func `a renewal before a move says nothing of the ref after it`() throws {
        let store = try store()
        pass(store, days: 3)
        try fetch(store, "team/project@\(tree.digest)")
        try store.repository.push(try SampleTree.random(701), to: "team/project:run-a")
        #expect(try expires(store) == nil)
        _ = try store.rebuild()
        #expect(try expires(store) == nil)
    }

    @Test func `a fetch goes on where nothing can be written`() throws {
        let store = try store()
        pass(store, days: 3)
        store.simulated.setCapacity(0)
        try fetch(store, "team/project@\(tree.digest)")
        #expect(store.repository.counters.failedRenewals == 1)
    }

    @Test(arguments: [UInt64(1), 59, RefLifetime.longest + 1, .max])
    func `lifetimes out of bounds are refused`(_ lifetime: UInt64) throws {
        let store = try store()
        var push = try TestPush("team/project:run-b")
        push.lifetime = lifetime
        #expect(try code({ _ = try store.repository.push(tree, push) }) == .invalidArgument)
        let update = RefUpdate(target: tree.digest, lifetime: lifetime)
        #expect(
            try code({ _ = try store.repository.setRef(name, update, domain: .standard) })
                == .invalidArgument)
    }
}
