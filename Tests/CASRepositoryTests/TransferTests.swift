import CASCatalog
import CASCore
import CASFileSystem
import CASRepository
import CASStorage
import CASTestSupport
import CASTree
import CASWire
import Glibc
import Synchronization
import Testing

/// How sealed packs get behind the object backend.
struct TransferTests {
    private static let putFailure = CASError(.unavailable, "injected")

    /// Pushes trees with new content until so many packs wait, and returns them.
    private func pushUntilWaiting(_ count: Int, _ store: TestStore) throws -> [SampleTree] {
        var trees: [SampleTree] = []
        while store.repository.waitingPacks < count {
            try #require(trees.count < 30, "no packs were sealed")
            trees.append(try SampleTree.random(UInt64(700 + trees.count)))
            let response = try store.repository.push(trees[trees.count - 1], to: "project")
            #expect(response.outcome == .done)
        }
        return trees
    }

    private func expectWhole(_ trees: [SampleTree], _ store: TestStore) throws {
        for tree in trees { try tree.expectWhole(in: store.repository) }
    }

    @Test func `a push does not wait for a slow put`() throws {
        let store = try TestStore(.objects) { configuration in
            configuration.storesInBackground = true
            configuration.packBytes = 6_000
        }
        let isHeld = Atomic(true)
        let entered = Atomic(0)
        store.objects.beforePut {
            entered.add(1, ordering: .relaxed)
            while isHeld.load(ordering: .relaxed) { sched_yield() }
        }
        let trees = try pushUntilWaiting(3, store)
        while entered.load(ordering: .relaxed) == 0 { sched_yield() }
        // All is acknowledged and readable while the first put goes on.
        #expect(store.objects.names.isEmpty)
        try expectWhole(trees, store)
        isHeld.store(false, ordering: .relaxed)
        while store.repository.waitingPacks > 0 { sched_yield() }
        #expect(store.objects.names.count >= 3)
        try expectWhole(trees, store)
        try store.repository.close()
        #expect(try store.localPacks().isEmpty)
    }

    @Test func `a pack whose put fails waits where it is and is put with a later push`() throws {
        let store = try TestStore(.objects) { $0.packBytes = 6_000 }
        store.simulated.failEvery(.putObject, with: Self.putFailure)
        let trees = try pushUntilWaiting(3, store)
        #expect(store.objects.names.isEmpty)
        try expectWhole(trees, store)
        store.simulated.failEvery(nil, with: Self.putFailure)
        let last = try SampleTree.random(790)
        try store.repository.push(last, to: "project")
        #expect(store.repository.waitingPacks == 0)
        #expect(store.repository.counters.storedPacks >= 3)
        #expect(store.objects.names.count >= 3)
        try expectWhole(trees + [last], store)
    }

    @Test func `the store closes without its objects and goes on with them when it is opened`()
        throws
    {
        let store = try TestStore(.objects) { $0.packBytes = 6_000 }
        store.simulated.failEvery(.putObject, with: Self.putFailure)
        let trees = try pushUntilWaiting(2, store)
        try store.reopen()
        #expect(try store.localPacks().count >= 2)
        #expect(store.objects.names.isEmpty)
        try expectWhole(trees, store)
        store.simulated.failEvery(nil, with: Self.putFailure)
        try store.repository.storeSealedPacks()
        #expect(try store.localPacks().isEmpty)
        try expectWhole(trees, store)
    }

    @Test(arguments: [Storage.memory, .objects])
    func `a crash between seal and put is finished at the next open`(_ storage: Storage) throws {
        let store = try TestStore(storage) { $0.packBytes = 6_000 }
        let tree = try SampleTree.random(720)
        try store.repository.push(tree, to: "project")
        try store.reopen(closing: false)
        // Nothing of it was sealed, or it was and nobody handed it over.
        let waiting = store.repository.waitingPacks
        #expect(waiting > 0)
        #expect(try store.localPacks().count == waiting)
        try store.repository.storeSealedPacks()
        #expect(store.repository.waitingPacks == 0)
        #expect(try store.localPacks().isEmpty)
        try tree.expectWhole(in: store.repository, "project")
        try store.reopen()
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test(arguments: [Storage.memory, .objects])
    func `the local file stays until the catalog says that the backend has it`(
        _ storage: Storage
    ) throws {
        let store = try TestStore(storage)
        let tree = try SampleTree.random(721)
        try store.repository.push(tree, to: "project")
        try store.reopen(closing: false)
        let local = try store.localPacks()
        #expect(!local.isEmpty)
        store.memoryCatalog.commitHook = { throw Self.putFailure }
        #expect(throws: CASError.self) { try store.repository.storeSealedPacks() }
        store.memoryCatalog.commitHook = nil
        #expect(try store.localPacks() == local)
        #expect(try store.packs().count == 2 * local.count)
        // The process dies here; then the objects that are there already are taken for what they are.
        try store.reopen(closing: false)
        try tree.expectWhole(in: store.repository, "project")
        try store.repository.storeSealedPacks()
        #expect(try store.packs().count == local.count)
        #expect(try store.localPacks().isEmpty)
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `a file that was left behind its object is removed at the next open`() throws {
        let store = try TestStore(.objects)
        let tree = try SampleTree.random(722)
        try store.repository.push(tree, to: "project")
        try store.reopen(closing: false)
        store.simulated.failEvery(.remove, with: Self.putFailure)
        #expect(throws: CASError.self) { try store.repository.storeSealedPacks() }
        store.simulated.failEvery(nil, with: Self.putFailure)
        #expect(try !store.localPacks().isEmpty)
        try store.reopen(closing: false)
        #expect(try store.localPacks().isEmpty)
        #expect(store.repository.waitingPacks == 0)
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `an object that only has the name of a pack is not believed`() throws {
        let store = try TestStore(.objects)
        let tree = try SampleTree.random(723)
        try store.repository.push(tree, to: "project")
        try store.reopen(closing: false)
        let path = try #require(try store.localPacks().first)
        let name = try #require(Identifier(hexadecimal: FilePaths.name(path).dropLast(5)))
        for foreign in [[], [1, 2, 3], try store.bytes(path) + [0]] {
            store.objects[name] = foreign
            let error = #expect(throws: CASError.self) {
                try store.repository.storeSealedPacks()
            }
            #expect(error?.code == .dataLoss)
            // It alone waits, and it is read from where it is.
            #expect(store.repository.waitingPacks == 1)
            #expect(try store.localPacks() == [path])
            try tree.expectWhole(in: store.repository, "project")
        }
        store.objects[name] = nil
        try store.repository.storeSealedPacks()
        #expect(try store.localPacks().isEmpty)
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `a backend that can not be reached damages nothing`() throws {
        let store = try TestStore(.objects)
        let tree = try SampleTree.random(724)
        try store.repository.push(tree, to: "project")
        try store.reopen()
        store.simulated.failEvery(.readObject, with: CASError(.unavailable, "injected"))
        let error = #expect(throws: CASError.self) { try Fetched(store.repository, "project") }
        #expect(error?.code == .unavailable)
        #expect(store.repository.counters.quarantined == 0)
        store.simulated.failEvery(nil, with: Self.putFailure)
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `a store whose objects are all away does not open and loses nothing`() throws {
        let store = try TestStore(.objects)
        let tree = try SampleTree.random(728)
        try store.repository.push(tree, to: "project")
        try store.repository.close()
        store.memoryCatalog.reopen()
        let away = store.objects.names.map { ($0, store.objects[$0]) }
        for (name, _) in away { store.objects[name] = nil }
        let error = #expect(throws: CASError.self) { try store.openBeside() }
        #expect(error?.code == .failedPrecondition)
        for (name, bytes) in away { store.objects[name] = bytes }
        try store.openBeside()
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `a living owner's sealed packs are left to it`() throws {
        let store = try TestStore(.disk) { $0.packBytes = 1 }
        let first = store.repository
        let tree = try SampleTree.random(725)
        let records = try SampleRecords(first.chunker)
        let push = try TestPush("project")
        // Sealed, and not handed over.
        try first.upload(try records.files(tree), push)
        #expect(try first.commit(push, tree.digest, try records.messages(tree)).outcome == .done)
        #expect(first.waitingPacks > 0)
        try store.reopen(closing: false)
        #expect(store.repository.waitingPacks == 0)
        try tree.expectWhole(in: store.repository, "project")
        try first.storeSealedPacks()
        // This one learned of the packs when they were files.
        try tree.expectWhole(in: store.repository, "project")
        try first.close()
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `an owner that ends while another process opens the store loses nothing`() throws {
        let store = try TestStore(.objects) { $0.packBytes = 6_000 }
        let first = store.repository
        let trees = [try SampleTree.random(726), try SampleTree.random(727)]
        for tree in trees { try first.push(tree, to: "project") }
        // One that is not sealed yet, and all packs move between the two looks of whoever opens.
        #expect(try !store.localPacks().isEmpty)
        let failure = Mutex<(any Error)?>(nil)
        store.objects.beforeNextList { [catalog = store.memoryCatalog] in
            do { try first.close() } catch { failure.withLock { $0 = error } }
            catalog.reopen()
        }
        try store.openBeside()
        #expect(failure.withLock { $0 } == nil)
        #expect(try store.localPacks().isEmpty)
        #expect(store.repository.counters.quarantined == 0)
        try expectWhole(trees, store)
    }

    @Test(arguments: [Storage.memory, .objects])
    func `rebuilds from files and objects together`(_ storage: Storage) throws {
        let store = try TestStore(storage) { $0.packBytes = 6_000 }
        let trees = try (0..<4).map { try SampleTree.random(UInt64(730 + $0)) }
        for (index, tree) in trees.enumerated() {
            try store.repository.push(tree, to: "project-\(index)")
        }
        #expect(store.repository.counters.storedPacks > 0)
        #expect(try !store.localPacks().isEmpty)
        let report = try store.rebuild(closing: false)
        #expect(report.refs == 4)
        #expect(report.incompleteRefs.isEmpty && report.unreadable.isEmpty)
        try expectWhole(trees, store)
        try store.reopen()
        #expect(try store.localPacks().isEmpty)
        try expectWhole(trees, store)
    }

    @Test func `serves neighbouring records of a sealed pack with one read`() throws {
        let store = try TestStore { $0.packBytes = 1 << 20 }
        var random = SeededGenerator(seed: 740)
        var folder = SampleFolder()
        for index in 0..<100 {
            folder.files["file-\(index)"] = SampleFolder.File(content: random.bytes(2_000))
        }
        let tree = try SampleTree(folder)
        try store.repository.push(tree, to: "project")
        try store.reopen()
        #expect(try store.localPacks().isEmpty)
        let plan = try store.repository.plan(PlanRequest(want: "project"), domain: .standard)
        let source = try store.repository.dataRecords(
            plan: plan.planID, share: 0, of: 1, domain: .standard)
        let before = store.simulated.count(of: .read)
        let reads = store.repository.counters.objects.reads
        let buffer = ReusableBuffer()
        while try source.next(into: buffer) {}
        #expect(store.simulated.count(of: .read) - before == 1)
        #expect(store.repository.counters.objects.reads - reads == 1)
    }
}
