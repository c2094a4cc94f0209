import CASCatalog
import CASCore
import CASFileSystem
import CASTestSupport
import CASTree
import CASWire
import Synchronization
import Testing

@testable import CASRepository

/// What a collection takes, and what it must not take.
@Suite struct CollectorTests {
    private static let day: UInt64 = 86_400_000_000_000

    @discardableResult
    private func collect(
        _ store: TestStore, isDryRun: Bool = false
    ) throws -> MaintenanceProgress {
        let collector = try Collector(store.repository, isDryRun: isDryRun)
        while try collector.step() {}
        return collector.progress
    }

    private func remove(_ store: TestStore, _ ref: String) throws {
        try store.repository.removeRef(
            try RefName(ref), .any, Provenance(time: store.clock.now()), domain: .standard)
    }

    private func locations(_ store: TestStore) throws -> Int {
        try store.repository.catalog.read {
            try $0.locations(after: nil, limit: 100_000, domain: .standard).count
        }
    }

    @Test(arguments: Storage.allCases)
    func `what nothing keeps goes, and its bytes with it`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let kept = try SampleTree.random(1)
        let gone = try SampleTree.random(2, largestFile: 9_000)
        try store.repository.push(kept, to: "team/kept")
        let before = try locations(store)
        try store.repository.push(gone, to: "team/gone")
        try remove(store, "team/gone")
        // What a ref named before stays for a while.
        #expect(try collect(store)["deleted"] == 0)
        store.clock.advance(nanoseconds: 31 * Self.day)
        let dry = try collect(store, isDryRun: true)
        #expect(dry["condemned"] > 0)
        #expect(try collect(store)["deleted"] == dry["condemned"])
        #expect(try locations(store) == before)
        #expect(try collect(store)["deleted"] == 0)
        try kept.expectWhole(in: store.repository, "team/kept")
        try store.reopen()
        let packs = try store.repository.catalog.read { try $0.packUsage() }
        try collect(store)
        let after = try store.repository.catalog.read { reader in
            (try reader.packs(), try reader.packUsage(), try reader.doomedPacks())
        }
        #expect(after.2.isEmpty)
        #expect(after.1.values.reduce(0) { $0 + $1.count } == UInt64(before))
        #expect(packs.count >= after.1.count)
        try kept.expectWhole(in: store.repository, "team/kept")
        #expect(throws: (any Error).self) { try gone.expectWhole(in: store.repository, nil) }
        // Nothing of it hinders the same push again.
        try store.repository.push(gone, to: "team/gone")
        try gone.expectWhole(in: store.repository, "team/gone")
    }

    @Test func `a push in progress keeps what it was told is here, and what it uploaded`() throws {
        let store = try TestStore(.memory)
        let tree = try SampleTree.random(3)
        try store.repository.push(tree, to: "team/old")
        try remove(store, "team/old")
        store.clock.advance(nanoseconds: 31 * Self.day)
        let push = Identifier.random()
        let digests = try store.repository.catalog.read {
            try $0.locations(after: nil, limit: 1000, domain: .standard).map(\.digest)
        }
        #expect(
            try store.repository.missing(digests, push: push, domain: .standard)
                .allSatisfy { !$0 })
        let progress = try collect(store)
        #expect(progress["condemned"] > 0)
        #expect(progress["deleted"] == 0)
        // The next one takes it, once the lease is over.
        store.clock.advance(nanoseconds: Self.day)
        #expect(try collect(store)["deleted"] > 0)
    }

    @Test func `a push brings back what was condemned, whole`() throws {
        let store = try TestStore(.memory)
        let tree = try SampleTree.random(4)
        try store.repository.push(tree, to: "team/old")
        try remove(store, "team/old")
        store.clock.advance(nanoseconds: 31 * Self.day)
        _ = try store.repository.missing([tree.digest], push: .random(), domain: .standard)
        #expect(try collect(store)["condemned"] > 0)
        let isWhole = try store.repository.catalog.read {
            try $0.completeSnapshot(tree.digest, domain: .standard)
        }
        #expect(!isWhole)
        try store.repository.push(tree, to: "team/new")
        let condemned = try store.repository.catalog.read {
            try $0.condemned(after: nil, limit: 1000, domain: .standard).count
        }
        #expect(condemned == 0)
        store.clock.advance(nanoseconds: Self.day)
        #expect(try collect(store)["deleted"] == 0)
        try tree.expectWhole(in: store.repository, "team/new")
    }

    @Test func `a snapshot that was fetched by digest stays for two weeks`() throws {
        let store = try TestStore(.memory)
        let tree = try SampleTree.random(5)
        try store.repository.push(tree, to: "team/run")
        try remove(store, "team/run")
        store.clock.advance(nanoseconds: 29 * Self.day)
        _ = try store.repository.plan(
            PlanRequest(want: tree.digest.description), domain: .standard)
        store.clock.advance(nanoseconds: 13 * Self.day)
        #expect(try collect(store)["condemned"] == 0)
        try tree.expectWhole(in: store.repository, nil)
        store.clock.advance(nanoseconds: 40 * Self.day)
        #expect(try collect(store)["deleted"] > 0)
    }

    @Test func `a push that never ends is refused after a day, and holds up nothing then`() throws {
        let store = try TestStore(.memory)
        let tree = try SampleTree.random(31)
        try store.repository.push(tree, to: "team/old")
        try remove(store, "team/old")
        store.clock.advance(nanoseconds: 31 * Self.day)
        let push = Identifier.random()
        let asked = tree.allDigests
        func ask(_ push: Identifier) throws {
            _ = try store.repository.missing(asked, push: push, domain: .standard)
        }
        try ask(push)
        let minutes: UInt64 = 10 * 60_000_000_000
        for step in 1..<144 {
            store.clock.advance(nanoseconds: minutes)
            try ask(push)
            if step % 36 == 0 { #expect(try collect(store)["deleted"] == 0) }
        }
        store.clock.advance(nanoseconds: minutes)
        let error = #expect(throws: CASError.self) { try ask(push) }
        #expect(error?.code == .failedPrecondition && error?.hint?.contains("push again") == true)
        #expect(error?.message.contains("24 hours") == true)
        #expect(try collect(store)["deleted"] > 0)
        // It stays refused, also where nobody remembers more than its lease; another one is not.
        #expect(try code { try ask(push) } == .failedPrecondition)
        try ask(.random())
        // One that rests until its lease ended has nothing that it could hold up.
        let resting = Identifier.random()
        try ask(resting)
        store.clock.advance(nanoseconds: 2 * Self.day)
        try ask(resting)
    }

    @Test func `how long a push has gone on outlives its process`() throws {
        let store = try TestStore(.memory) { $0.limits.pushNanoseconds = 3_600_000_000_000 }
        let push = Identifier.random()
        for _ in 0..<6 {
            _ = try store.repository.missing([.zero], push: push, domain: .standard)
            try store.reopen()
            store.clock.advance(nanoseconds: 600_000_000_000)
        }
        #expect(
            try code {
                _ = try store.repository.missing([.zero], push: push, domain: .standard)
            } == .failedPrecondition)
    }

    @Test func `a tree with a gap keeps everything, and the findings say so`() throws {
        let store = try TestStore(.memory)
        let tree = try SampleTree.random(6)
        try store.repository.push(tree, to: "team/gap")
        try store.repository.catalog.write { transaction in
            let tree = try #require(
                try transaction.ref(RefName("team/gap"), domain: .standard)?.tree)
            try transaction.remove(locations: [tree], domain: .standard)
            try transaction.forgetCompleteness(domain: .standard)
        }
        let progress = try collect(store)
        #expect(progress["incomplete"] == 1)
        #expect(progress["condemned"] == 0)
        #expect(progress.findings.first?.name == "team/gap:latest")
        // A push that has it heals the store.
        try store.repository.push(tree, to: "team/gap")
        try tree.expectWhole(in: store.repository, "team/gap")
        #expect(try collect(store)["incomplete"] == 0)
    }

    @Test func `recorded state outlives a checkpoint and the packs before it`() throws {
        let store = try TestStore(.memory)
        let tree = try SampleTree.random(7)
        for index in 0..<12 {
            try store.repository.push(try SampleTree.random(UInt64(70 + index)), to: "team/many")
            try store.reopen()
        }
        try store.repository.push(tree, to: "team/many")
        try store.repository.push(tree, to: "team/gone")
        try remove(store, "team/gone")
        let token = try store.repository.createToken(
            TokenRequest(name: "ci", scopes: [.all], expires: nil))
        try store.repository.revokeToken(token.record.id)
        try store.reopen()
        store.repository.needsCheckpoint.store(true, ordering: .relaxed)
        try collect(store)
        try store.reopen()
        try collect(store)
        let history = try store.repository.history(
            try RefName("team/many"), before: nil, limit: 100, domain: .standard)
        let report = try store.rebuild()
        #expect(report.incompleteRefs.isEmpty)
        #expect(report.damaged == 0)
        #expect(
            try store.repository.history(
                try RefName("team/many"), before: nil, limit: 100, domain: .standard) == history)
        #expect(try store.repository.ref(try RefName("team/gone"), domain: .standard) == nil)
        #expect(try store.repository.tokens().first?.revoked != nil)
        try tree.expectWhole(in: store.repository, "team/many")
    }

    @Test func `marks are exact, also while they grow`() {
        var random = SeededGenerator(seed: 11)
        var marks = DigestMarks(capacity: 1)
        let digests = (0..<5_000).map { _ in Digest.of(random.bytes(8)) }
        var answers: [Bool] = []
        for digest in digests.prefix(4_000) + [.zero] {
            answers.append(marks.insert(digest))
            answers.append(!marks.insert(digest))
        }
        for digest in digests.prefix(4_000) + [.zero] { answers.append(marks.contains(digest)) }
        for digest in digests.dropFirst(4_000) { answers.append(!marks.contains(digest)) }
        #expect(answers.allSatisfy { $0 })
        let count = marks.count
        #expect(count == 4_001)
    }
}
