import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// What must not keep a collection from its work, and what it must not be led to believe.
@Suite struct CollectorGapTests {
    private static let day: UInt64 = 86_400_000_000_000

    @discardableResult
    private func collect(_ store: TestStore) throws -> MaintenanceProgress {
        let collector = try Collector(store.repository)
        var steps = 0
        while try collector.step() {
            steps += 1
            guard steps < 100_000 else { throw CASError(.internalError, "it never ends") }
        }
        return collector.progress
    }

    private func remove(_ store: TestStore, _ ref: String) throws {
        try store.repository.removeRef(
            try RefName(ref), .any, Provenance(time: store.clock.now()), domain: .standard)
    }

    private func uses(_ store: TestStore) throws -> (touches: Int, leases: Int) {
        try store.repository.catalog.read { reader in
            (
                try reader.touches(after: nil, limit: 10, domain: .standard).count,
                try reader.leases().count { $0.purpose == .read }
            )
        }
    }

    @Test func `asking for what is not here keeps nothing, and hinders no collection`() throws {
        let store = try TestStore(.memory)
        let tree = try SampleTree.random(1)
        try store.repository.push(tree, to: "team/a")
        for digest in [Digest.of([1, 2, 3]), tree.digest] {
            if digest == tree.digest {
                try remove(store, "team/a")
                store.clock.advance(nanoseconds: 31 * Self.day)
                #expect(try collect(store)["deleted"] > 0)
            }
            let name = FetchPlan.name(digest, have: nil)
            #expect(
                try code {
                    _ = try store.repository.treeRecords(plan: name, domain: .standard)
                } == .notFound)
            store.repository.use(digest, isByDigest: true, domain: .standard)
            let uses = try uses(store)
            #expect(uses.touches == 0)
            #expect(uses.leases == 0)
            #expect(try collect(store)["incomplete"] == 0)
        }
    }

    @Test func `what was missing when it was marked and a push brings stays, with all below`()
        throws
    {
        let store = try TestStore(.memory)
        var random = SeededGenerator(seed: 7)
        let large = random.bytes(20_000)
        var folder = SampleFolder(files: ["large": .init(content: large)])
        folder.folders["inner"] = SampleFolder(files: ["file": .init(content: random.bytes(100))])
        let tree = try SampleTree(folder)
        try store.repository.push(tree, to: "team/a")
        // A history keeps it, which may have gaps.
        try remove(store, "team/a")
        let inner = try #require(tree.messages.first { $0.kind == .directory }).digest
        try store.repository.catalog.write { transaction in
            let lost = [Digest.of(large), inner]
            try transaction.remove(locations: lost, domain: .standard)
            try transaction.remove(chunkLists: lost, domain: .standard)
            try transaction.forgetCompleteness(domain: .standard)
        }
        let collector = try Collector(store.repository)
        while collector.progress.phase != "condemning what nothing keeps" {
            #expect(try collector.step())
        }
        try store.repository.push(tree, to: "team/a")
        while try collector.step() {}
        try tree.expectWhole(in: store.repository, "team/a")
        try collect(store)
        try tree.expectWhole(in: store.repository, "team/a")
    }

    /// A file of many chunks is here as one record, is lost once it was marked, and comes back in chunks.
    @Test(arguments: [false, true])
    func `the chunks of what was marked as one piece stay`(_ isPurge: Bool) throws {
        let store = try TestStore(.memory)
        var random = SeededGenerator(seed: 17)
        let large = random.bytes(20_000)
        let tree = try SampleTree(SampleFolder(files: ["large": .init(content: large)]))
        var push = try TestPush("team/a")
        let whole = ReusableBuffer(capacity: 0)
        let header = RecordHeader(
            kind: .chunk, rawLength: large.count, storedLength: large.count,
            digest: Digest.of(large))
        large.withUnsafeBytes { RecordCoding.append(header, payload: $0, to: whole) }
        try store.repository.upload(whole, push)
        try store.repository.push(tree, push)
        let digest = Digest.of(large)
        let place = try #require(
            try store.repository.catalog.read { try $0.location(of: digest, domain: .standard) })
        #expect(place.kind == .chunk)
        var other = SampleFolder(files: ["other": .init(content: random.bytes(100))])
        let chunks = try SampleRecords(store.repository.chunker).pieces(large).map { Array($0) }
        if isPurge {
            // What goes has all the chunks, as files of its own.
            for (index, chunk) in chunks.enumerated() {
                other.files["chunk-\(index)"] = .init(content: chunk)
            }
        }
        try store.repository.push(try SampleTree(other), to: "team/other")
        let task: any MaintenanceTask =
            isPurge
            ? try PurgeTask(
                store.repository,
                MaintenanceRequest(
                    kind: .purge, ref: try RefName("team/other"), reason: "licence"),
                domain: .standard) : try Collector(store.repository)
        let phase = isPurge ? "removing it" : "condemning what nothing keeps"
        while task.progress.phase != phase { #expect(try task.step()) }
        try store.repository.quarantine(
            [DamagedRecord(digest: digest, location: place)], domain: .standard)
        push.pushID = .random()
        try store.repository.push(tree, push)
        let healed = try store.repository.catalog.read {
            try $0.location(of: digest, domain: .standard)
        }
        #expect(healed?.kind == .chunkList)
        while try task.step() {}
        try tree.expectWhole(in: store.repository, "team/a")
        if !isPurge { #expect(try collect(store)["deleted"] == 0) }
        try collect(store)
        try tree.expectWhole(in: store.repository, "team/a")
    }

    @Test func `a tree whose parts are being deleted is not kept by a late fetch`() throws {
        let store = try TestStore(.memory)
        let tree = try SampleTree.random(2)
        try store.repository.push(tree, to: "team/a")
        try store.repository.catalog.write { transaction in
            let root = try #require(
                try transaction.ref(RefName("team/a"), domain: .standard)?.tree)
            try transaction.forgetCompleteness(domain: .standard)
            try transaction.condemn([root], generation: 1, domain: .standard)
        }
        let root = try #require(
            try store.repository.ref(RefName("team/a"), domain: .standard)?.tree)
        store.repository.use(root, isByDigest: true, domain: .standard)
        #expect(try uses(store).touches == 0)
    }

    @Test func `a longer history does not reach back to what went long ago`() throws {
        let store = try TestStore(.memory)
        try store.repository.push(try SampleTree.random(3), to: "team/a")
        let last = try SampleTree.random(4)
        try store.repository.push(last, to: "team/a")
        store.clock.advance(nanoseconds: 31 * Self.day)
        #expect(try collect(store)["deleted"] > 0)
        var rule = RetentionRule(pattern: "team/**")
        rule.historySeconds = 365 * 86_400
        _ = try store.repository.set(rule: rule, domain: .standard)
        try store.repository.push(try SampleTree.random(5), to: "other/b")
        rule.pattern = "other/**"
        rule.historySeconds = 0
        _ = try store.repository.set(rule: rule, domain: .standard)
        try remove(store, "other/b")
        let progress = try collect(store)
        #expect(progress["incomplete"] == 0)
        #expect(progress["condemned"] > 0)
        try last.expectWhole(in: store.repository, "team/a")
    }

    @Test func `what a rebuild finds of deleted snapshots hinders no collection`() throws {
        let store = try TestStore(.memory)
        let gone = try SampleTree.random(6)
        try store.repository.push(gone, to: "team/gone")
        let kept = try SampleTree.random(7)
        try store.repository.push(kept, to: "team/kept")
        _ = try store.rebuild()
        // As if the packs of its directories had been compacted, and not that of its snapshot.
        try store.repository.catalog.write { transaction in
            let root = try #require(
                try transaction.ref(RefName("team/gone"), domain: .standard)?.tree)
            try transaction.remove(locations: [root], domain: .standard)
            try transaction.forgetCompleteness(domain: .standard)
        }
        try remove(store, "team/gone")
        let progress = try collect(store)
        #expect(progress["incomplete"] == 0)
        #expect(progress["condemned"] > 0)
        try kept.expectWhole(in: store.repository, "team/kept")
    }

    @Test func `a pack that is lost ends no collection in a circle`() throws {
        let store = try TestStore(.memory)
        try store.repository.push(try SampleTree.random(8), to: "team/a")
        try store.reopen()
        for path in try store.packs() { try store.remove(path) }
        let progress = try collect(store)
        #expect(progress["incomplete"] == 1)
        #expect(progress["condemned"] == 0)
    }

    @Test func `a tag of a snapshot that went a moment ago is refused`() throws {
        let store = try TestStore(.memory)
        let tree = try SampleTree.random(9)
        try store.repository.push(tree, to: "team/a")
        let found = try store.repository.resolve(
            .digest(tree.digest, name: nil), domain: .standard)
        // The tree is kept by something else.
        try store.repository.catalog.write {
            try $0.remove(completeSnapshots: [tree.digest], domain: .standard)
            try $0.remove(locations: [tree.digest], domain: .standard)
        }
        let repository = store.repository
        #expect(throws: CASError.self) {
            try repository.commit(session: nil, isEvent: false) { context in
                try repository.totals(found, context, .standard)
            }
        }
        // The tree alone can be named.
        let entry = try store.repository.setRef(
            try RefName("team/b"),
            RefUpdate(
                target: found.tree, precondition: .any,
                provenance: Provenance(time: store.clock.now())), domain: .standard)
        #expect(entry.tree == found.tree)
        _ = try store.repository.plan(PlanRequest(want: "team/b"), domain: .standard)
    }

    @Test func `a checkpoint of which a part is lost is not taken for all there was`() throws {
        let store = try TestStore(.memory)
        for index in 0..<4 {
            try store.repository.push(
                try SampleTree.random(UInt64(20 + index)), to: "team/r\(index)")
        }
        try store.repository.makeCheckpoint(domain: .standard)
        var found = FoundEvents()
        let identifier = Identifier.random()
        var state = RecordedState(store.repository, before: .max, domain: .standard)
        var old: [StoreEvent] = []
        while let page = try store.repository.catalog.read({ try state.next($0) }) { old += page }
        for event in old { found.insert(event) }
        // The last of them is damaged; another one was copied forward twice.
        for event in old.dropLast() + [old[0]] {
            found.insert(.checkpointed(identifier, event, sequence: 1000))
        }
        found.insert(.checkpointEnded(identifier, count: UInt64(old.count), sequence: 1000))
        #expect(found.isPatched)
        let names = Set(
            found.counted().compactMap { event -> RefName? in
                if case .refMoved(let move, _, _) = event { return move.name }
                return nil
            })
        #expect(names.count == 4)
        var whole = FoundEvents()
        for event in old + [old[0]] {
            whole.insert(.checkpointed(identifier, event, sequence: 1000))
        }
        whole.insert(.checkpointEnded(identifier, count: UInt64(old.count), sequence: 1000))
        #expect(!whole.isPatched)
    }
}
