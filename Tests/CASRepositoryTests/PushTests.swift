import CASCatalog
import CASCore
import CASFileSystem
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Glibc
import Synchronization
import Testing

struct PushTests {
    @Test(arguments: Storage.allCases)
    func `gives a repeated push the same answer and moves nothing twice`(
        _ storage: Storage
    ) throws {
        let store = try TestStore(storage)
        let tree = try SampleTree.random(1)
        let push = try TestPush("project")
        let first = try store.repository.push(tree, push)
        #expect(first.outcome == .done)
        let other = try store.repository.push(try SampleTree.random(2), to: "project")
        let moved = try store.repository.ref(push.ref, domain: .standard)
        #expect(try store.repository.commit(push, tree.digest) == first)
        let records = try SampleRecords(store.repository.chunker)
        #expect(
            try store.repository.commit(push, tree.digest, try records.messages(tree)) == first)
        try store.reopen()
        #expect(try store.repository.commit(push, tree.digest) == first)
        #expect(try store.repository.ref(push.ref, domain: .standard) == moved)
        #expect(moved?.sequence == other.sequence)
        #expect(other.sequence > first.sequence)
        let history = try store.repository.history(
            push.ref, before: nil, limit: 10, domain: .standard)
        #expect(history.map(\.sequence) == [other.sequence, first.sequence])
        #expect(history.last?.pushID == push.pushID)
    }

    @Test(arguments: Storage.allCases)
    func `answers unchanged for the content that the ref names`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        var random = SeededGenerator(seed: 3)
        var folder = SampleFolder.random(&random)
        let tree = try SampleTree(folder)
        let first = try store.repository.push(tree, to: "project")
        let again = try store.repository.push(tree, to: "project")
        #expect(again.outcome == .unchanged)
        #expect(again.snapshot == tree.digest)
        #expect(again.tree == tree.snapshot.tree.digest)
        #expect(again.sequence == first.sequence)
        // The time of a directory is no change, that of a file is one.
        folder.modified = Timestamp(seconds: 99)
        let touched = try store.repository.push(try SampleTree(folder), to: "project")
        #expect(touched.outcome == .unchanged)
        #expect(touched.snapshot == tree.digest)
        folder.files["new"] = SampleFolder.File(content: [1])
        #expect(try store.repository.push(try SampleTree(folder), to: "project").outcome == .done)
        folder.files["new"]?.modified = Timestamp(seconds: 99)
        #expect(try store.repository.push(try SampleTree(folder), to: "project").outcome == .done)
    }

    @Test func `names everything that is missing`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(4)
        let push = try TestPush("project")
        let nothing = try store.repository.commit(push, tree.digest)
        #expect(nothing.outcome == .missing)
        #expect(nothing.missing == [tree.digest])
        #expect(nothing.missingCount == 1)
        let records = try SampleRecords(store.repository.chunker)
        let response = try store.repository.commit(
            push, tree.digest, try records.messages(tree))
        let contents = Set(tree.files.keys).subtracting([.empty])
        #expect(response.outcome == .missing)
        #expect(Set(response.missing) == contents)
        #expect(response.missingCount == UInt64(contents.count))
        #expect(try store.repository.ref(push.ref, domain: .standard) == nil)
        try store.repository.upload(try records.files(tree), push)
        #expect(try store.repository.commit(push, tree.digest).outcome == .done)
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `names a bounded part of what is missing and how much it is`() throws {
        let store = try TestStore { $0.limits.missingPerAnswer = 3 }
        let tree = try SampleTree.random(4)
        let contents = Set(tree.files.keys).subtracting([.empty])
        #expect(contents.count > 3)
        let push = try TestPush("project")
        let records = try SampleRecords(store.repository.chunker)
        let response = try store.repository.commit(push, tree.digest, try records.messages(tree))
        #expect(response.missing.count == 3)
        #expect(Set(response.missing).isSubset(of: contents))
        #expect(response.missingCount == UInt64(contents.count))
    }

    @Test(arguments: Storage.allCases)
    func `moves a ref only where the precondition holds`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let first = try SampleTree.random(5)
        let second = try SampleTree.random(6)
        var push = try TestPush("project")
        push.precondition = .digest(first.digest)
        #expect(try store.repository.push(first, push).outcome == .conflict)
        push.precondition = .absent
        #expect(try store.repository.push(first, push).outcome == .done)
        var next = try TestPush("project")
        next.precondition = .absent
        let conflict = try store.repository.push(second, next)
        #expect(conflict.outcome == .conflict)
        #expect(conflict.previous == first.digest)
        #expect(
            try store.repository.ref(next.ref, domain: .standard)?.target.digest == first.digest)
        next.precondition = .digest(second.digest)
        #expect(try store.repository.push(second, next).outcome == .conflict)
        next.precondition = .digest(first.snapshot.tree.digest)
        #expect(try store.repository.push(second, next).outcome == .done)
        try second.expectWhole(in: store.repository, "project")
    }

    @Test func `lets one of several pushes with one precondition win`() throws {
        let store = try TestStore()
        let base = try SampleTree.random(7)
        try store.repository.push(base, to: "project")
        let repository = store.repository
        let outcomes = Mutex<[PushResponse.Outcome]>([])
        try WorkerGroup.run(count: 6, name: "push") { index in
            let tree = try SampleTree.random(UInt64(100 + index))
            var push = try TestPush("project")
            push.precondition = .digest(base.digest)
            let response = try repository.push(tree, push)
            outcomes.withLock { $0.append(response.outcome) }
        }
        let all = outcomes.withLock { $0 }
        #expect(all.count { $0 == .done } == 1)
        #expect(all.count { $0 == .conflict } == 5)
    }

    @Test(arguments: Storage.allCases)
    func `takes pushes of overlapping trees at the same time`(_ storage: Storage) throws {
        let store = try TestStore(storage) { $0.checkpointBytes = 4_096 }
        let repository = store.repository
        var random = SeededGenerator(seed: 8)
        let shared = SampleFolder.random(&random)
        let trees = try (0..<8).map { index in
            var folder = SampleFolder()
            folder.folders["shared"] = shared
            folder.folders["own"] = .random(&random, depth: 2)
            folder.files["large"] = SampleFolder.File(content: random.bytes(10_000))
            folder.files["number"] = SampleFolder.File(content: [UInt8(index)])
            return try SampleTree(folder)
        }
        try WorkerGroup.run(count: trees.count, name: "push") { index in
            let response = try repository.push(trees[index], to: "project-\(index)")
            #expect(response.outcome == .done)
            try trees[index].expectWhole(in: repository, "project-\(index)")
        }
        try store.reopen()
        for (index, tree) in trees.enumerated() {
            try tree.expectWhole(in: store.repository, "project-\(index)", shares: 2)
        }
    }

    @Test func `commits waiting pushes in one transaction`() throws {
        let store = try TestStore()
        let repository = store.repository
        let trees = try (0..<8).map { try SampleTree.random(UInt64(200 + $0)) }
        let pushes = try (0..<8).map { try TestPush("project-\($0)") }
        let records = try SampleRecords(repository.chunker)
        for (tree, push) in zip(trees, pushes) {
            try repository.upload(try records.files(tree), push)
            try repository.upload(try records.messages(tree), push, stream: 1)
        }
        // Holds the first round back until everybody else waits for the next.
        let isFirst = Mutex(true)
        store.memoryCatalog.commitHook = { [unowned repository] in
            let waits = isFirst.withLock { first in
                defer { first = false }
                return first
            }
            while waits, repository.waitingCommits < trees.count - 1 { sched_yield() }
        }
        let transactions = repository.counters.transactions
        let syncs = store.simulated.synchronizationCount
        try WorkerGroup.run(count: trees.count, name: "push") { index in
            let response = try repository.commit(pushes[index], trees[index].digest)
            #expect(response.outcome == .done)
        }
        store.memoryCatalog.commitHook = nil
        #expect(repository.counters.transactions - transactions == 2)
        #expect(store.simulated.synchronizationCount - syncs < trees.count)
        for (index, tree) in trees.enumerated() {
            try tree.expectWhole(in: repository, "project-\(index)")
        }
    }

    @Test func `takes a body with a number that came before for none`() throws {
        let store = try TestStore()
        let records = ReusableBuffer()
        try SampleRecords(store.repository.chunker).append(file: [1, 2, 3], to: records)
        let push = try TestPush("project")
        for _ in 0..<3 { try store.repository.upload(records, push) }
        let once = store.repository.counters.packBytes
        try store.repository.upload(records, push)
        #expect(store.repository.counters.packBytes == once)
        try store.repository.upload(records, push, stream: 1)
        #expect(store.repository.counters.packBytes > once)
    }

    @Test(arguments: Storage.allCases)
    func `resumes an upload from its last checkpoint`(_ storage: Storage) throws {
        let store = try TestStore(storage) { $0.checkpointBytes = 10_000 }
        var random = SeededGenerator(seed: 9)
        var folder = SampleFolder()
        for index in 0..<40 {
            folder.files["file-\(index)"] = SampleFolder.File(content: random.bytes(1_000))
        }
        let tree = try SampleTree(folder)
        let push = try TestPush("project")
        let records = try SampleRecords(store.repository.chunker)
        try store.repository.upload(try records.files(tree), push)
        let digests = Array(tree.files.keys)
        #expect(
            try store.repository.missing(digests, push: push.pushID, domain: .standard)
                == digests.map { _ in false })
        try store.reopen(closing: false)
        let answer = try store.repository.missing(digests, push: push.pushID, domain: .standard)
        let saved = answer.count { !$0 }
        #expect(saved >= 20 && saved < 40, "\(saved) were saved")
        #expect(try store.repository.push(tree, push).outcome == .done)
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `lets two processes use one store`() throws {
        let store = try TestStore(.disk)
        let first = store.repository
        try store.reopen(closing: false)
        let second = store.repository
        let trees = try (0..<6).map { try SampleTree.random(UInt64(300 + $0)) }
        try WorkerGroup.run(count: trees.count, name: "push") { index in
            try (index % 2 == 0 ? first : second).push(trees[index], to: "project-\(index)")
        }
        for (index, tree) in trees.enumerated() {
            try tree.expectWhole(in: index % 2 == 0 ? second : first, "project-\(index)")
        }
        try first.close()
        for (index, tree) in trees.enumerated() {
            try tree.expectWhole(in: second, "project-\(index)")
        }
        try second.close()
    }

    @Test func `forgets a push that was abandoned and takes it again`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(10)
        let push = try TestPush("project")
        let records = try SampleRecords(store.repository.chunker)
        try store.repository.upload(try records.files(tree), push)
        store.repository.abandon(push: push.pushID)
        #expect(store.repository.activePushes == 0)
        let contents = tree.files.keys.filter { $0 != .empty }
        #expect(
            try store.repository.missing(Array(contents), push: push.pushID, domain: .standard)
                == contents.map { _ in true })
        #expect(try store.repository.push(tree, push).outcome == .done)
        try tree.expectWhole(in: store.repository, "project")
    }
}
