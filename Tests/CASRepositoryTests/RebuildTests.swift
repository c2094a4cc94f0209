import CASFileSystem
import CASCatalog
import CASCore
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

struct RebuildTests {
    @Test(arguments: Storage.allCases)
    func `brings back refs, history, tokens and content`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let trees = try (0..<5).map { try SampleTree.random(UInt64(400 + $0)) }
        let pushes = try (0..<5).map { try TestPush("project-\($0 % 3)") }
        let answers = try zip(trees, pushes).map { try store.repository.push($0, $1) }
        let tag = try RefName("project-0:tag")
        let update = RefUpdate(
            target: trees[0].digest, precondition: .absent,
            provenance: Provenance(author: "tagger", time: Timestamp(seconds: 5)))
        _ = try store.repository.setRef(tag, update, domain: .standard)
        let token = try store.repository.createToken(
            TokenRequest(name: "one", scopes: [.all], expires: nil))
        let names = pushes.map(\.ref) + [tag]
        let refs = try store.repository.refs(
            prefix: "", after: nil, limit: 100, domain: .standard)
        let histories = try names.map {
            try store.repository.history($0, before: nil, limit: 100, domain: .standard)
        }
        let incarnation = store.repository.incarnation
        let chunker = store.repository.chunker
        let report = try store.rebuild()
        #expect(report.refs == refs.count)
        #expect(report.incompleteRefs.isEmpty)
        #expect(report.damaged == 0)
        #expect(report.unreadable.isEmpty)
        #expect(store.repository.incarnation != incarnation)
        #expect(store.repository.chunker == chunker)
        #expect(
            try store.repository.refs(prefix: "", after: nil, limit: 100, domain: .standard)
                == refs)
        #expect(
            try names.map {
                try store.repository.history($0, before: nil, limit: 100, domain: .standard)
            } == histories)
        #expect(try store.repository.authenticate(token.secret) == token.record)
        for (tree, name) in zip(trees, ["", "", "project-2", "project-0", "project-1"]) {
            try tree.expectWhole(in: store.repository, name.isEmpty ? nil : name)
        }
        // A push whose answer was lost before the rebuild does not take the ref back.
        for (index, push) in pushes.enumerated() {
            #expect(try store.repository.commit(push, trees[index].digest) == answers[index])
        }
        let next = try store.repository.push(try SampleTree.random(450), to: "project-1")
        #expect(next.outcome == .done)
        #expect(next.sequence > (refs.map(\.sequence).max() ?? 0))
        try store.reopen()
        try trees[3].expectWhole(in: store.repository, "project-0")
    }

    @Test(arguments: Storage.allCases)
    func `brings back no removed ref and no revoked token`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let tree = try SampleTree.random(410)
        let name = try RefName("project")
        try store.repository.push(tree, to: "project")
        try store.repository.push(tree, to: "other")
        try store.repository.removeRef(name, .any, Provenance(), domain: .standard)
        let kept = try store.repository.createToken(
            TokenRequest(name: "kept", scopes: [.all], expires: nil))
        let revoked = try store.repository.createToken(
            TokenRequest(name: "revoked", scopes: [.all], expires: nil))
        try store.repository.revokeToken(revoked.record.id)
        let tokens = try store.repository.tokens()
        for _ in 0..<2 {
            _ = try store.rebuild()
            #expect(try store.repository.ref(name, domain: .standard) == nil)
            #expect(try store.repository.tokens() == tokens)
            #expect(try store.repository.authenticate(revoked.secret) == nil)
            #expect(try store.repository.authenticate(kept.secret) == kept.record)
            let history = try store.repository.history(
                name, before: nil, limit: 10, domain: .standard)
            #expect(
                history.map(\.target) == [nil, RefTarget(kind: .snapshot, digest: tree.digest)])
            try tree.expectWhole(in: store.repository, "other")
        }
        // A ref that is made anew after its removal stays as well.
        try store.repository.push(tree, to: "project")
        _ = try store.rebuild()
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test(arguments: Storage.allCases)
    func `rebuilds from packs that were never sealed`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let tree = try SampleTree.random(411)
        try store.repository.push(tree, to: "project")
        try store.reopen(closing: false)
        let second = try SampleTree.random(412)
        try store.repository.push(second, to: "second")
        let report = try store.rebuild()
        #expect(report.refs == 2)
        try tree.expectWhole(in: store.repository, "project")
        try second.expectWhole(in: store.repository, "second")
    }

    @Test func `leaves damaged records out and says which refs lack them`() throws {
        let store = try TestStore()
        let tree = try DamageTests.smallTree()
        let other = try SampleTree.random(413)
        try store.repository.push(tree, to: "project")
        try store.repository.push(other, to: "other")
        let path = try #require(
            try store.packs().first { path in
                try store.bytes(path)[9] == 2
            })
        let content = try #require(tree.folder.files["small"]?.content)
        try store.change(path) { bytes in
            guard let position = bytes.firstRange(of: content)?.lowerBound else { return }
            bytes[position] ^= 1
        }
        let report = try store.rebuild()
        #expect(report.damaged == 1)
        #expect(report.incompleteRefs == [try RefName("project")])
        try other.expectWhole(in: store.repository, "other")
        try store.repository.push(tree, to: "project")
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test func `leaves foreign and unreadable files alone`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(414)
        try store.repository.push(tree, to: "project")
        let path = "\(store.packDirectory)/\(Identifier.random()).pack"
        let file = try store.fileSystem.open(path, .create)
        try [UInt8](repeating: 1, count: 500).withUnsafeBytes { try file.append($0) }
        file.close()
        let report = try store.rebuild()
        #expect(report.unreadable.map(\.path) == [path])
        #expect(try store.bytes(path).count == 500)
        try tree.expectWhole(in: store.repository, "project")
    }

    @Test
    func `what a process wrote and did not commit shares no number with what another one did`()
        throws
    {
        let store = try TestStore(.memory)
        let trees = try (0..<3).map { try SampleTree.random(UInt64(470 + $0)) }
        let before = try store.repository.push(trees[0], to: "team/a")
        let dying = store.repository
        try store.openBeside()
        // Its event is synced, the transaction fails, and so does all that would put this right.
        let push = try TestPush("team/a")
        let digests = Set(trees[1].allDigests)
        let records = try SampleRecords(dying.chunker)
        _ = try dying.missing(Array(digests), push: push.pushID, domain: .standard)
        try dying.upload(try records.files(trees[1], only: digests), push)
        let messages = try records.messages(trees[1], only: digests)
        let error = CASError(.unavailable, "it dies here")
        store.memoryCatalog.commitHook = { throw error }
        store.simulated.inject(.error(error), at: 1, kinds: [.truncate])
        #expect(throws: CASError.self) { try dying.commit(push, trees[1].digest, messages) }
        store.memoryCatalog.commitHook = nil
        let answer = try store.repository.push(trees[2], to: "team/a")
        #expect(answer.sequence > before.sequence + 1_000_000)
        _ = try store.rebuild(closing: false)
        let name = try RefName("team/a")
        let history = try store.repository.history(
            name, before: nil, limit: 10, domain: .standard)
        #expect(
            history.map(\.target?.digest) == [trees[2].digest, trees[1].digest, trees[0].digest])
        #expect(try store.repository.ref(name, domain: .standard)?.sequence == answer.sequence)
        try trees[2].expectWhole(in: store.repository, "team/a")
    }

    @Test func `of two last events of one number in packs without an end the later one counts`()
        throws
    {
        let name = try RefName("team/a")
        func move(_ number: UInt8, at seconds: Int64) -> StoreEvent {
            var move = HistoryEntry(
                sequence: 7, name: name, previous: nil,
                target: RefTarget(kind: .manifest, digest: Digest.of([number])),
                provenance: Provenance(time: Timestamp(seconds: 1)), pushID: nil)
            move.recorded = Timestamp(seconds: seconds)
            return .refMoved(move, nil, .standard)
        }
        for (old, new) in [(UInt8(1), UInt8(2)), (2, 1)] {
            let events = [move(old, at: 10), move(new, at: 11)]
            for order in [[0, 1], [1, 0]] {
                var found = FoundEvents()
                for index in order {
                    found.beginPack()
                    found.insert(events[index])
                    found.endsUnsealed()
                }
                #expect(found.counted() == events)
            }
        }
        // Without a difference in time the order is the same, however they are found.
        let events = [move(1, at: 10), move(2, at: 10)]
        let counted = [events, events.reversed()].map { events in
            var found = FoundEvents()
            for event in events {
                found.beginPack()
                found.insert(event)
                found.endsUnsealed()
            }
            return found.counted()
        }
        #expect(counted[0] == counted[1] && counted[0].count == 2)
    }
}
