import CASFileSystem
import CASCore
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Testing

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
}
