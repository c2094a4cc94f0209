import CASCatalog
import CASCore
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// What a new index brings back from packs alone: every kind of recorded state.
@Suite struct RecordedStateTests {
    private static let provenance = Provenance(author: "ada", time: Timestamp(seconds: 5))

    /// Everything that is recorded, as text.
    private func state(_ repository: Repository) throws -> [String] {
        try repository.catalog.read { reader in
            var lines: [String] = []
            for entry in try reader.refs(prefix: "", after: nil, limit: 100, domain: .standard) {
                lines.append("\(entry)")
            }
            lines += try reader.moves(after: nil, limit: 100, domain: .standard).map { "\($0)" }
            lines += try reader.tokens().map { "\($0)" }
            lines += try reader.pins(domain: .standard).map { "\($0)" }
            lines += try reader.rules(domain: .standard).map { "\($0)" }
            lines += try reader.purges(after: nil, limit: 100, domain: .standard).map { "\($0)" }
            return lines
        }
    }

    /// Makes at least one event of each kind.
    private func fill(_ store: TestStore) throws -> (kept: SampleTree, purged: SampleTree) {
        let repository = store.repository
        let trees = try (0..<3).map { try SampleTree.random(UInt64(810 + $0)) }
        for tree in trees { try repository.push(tree, to: "team/project") }
        var push = try TestPush("team/try")
        push.lifetime = 3600
        try repository.push(trees[0], push)
        store.clock.advance(nanoseconds: 1_800 * 1_000_000_000)
        // A fetch renews it.
        _ = try Fetched(repository, "team/try")
        try repository.push(trees[1], to: "team/gone")
        try repository.removeRef(
            try RefName("team/gone"), .any, RecordedStateTests.provenance, domain: .standard)
        for name in ["one", "two"] {
            let token = try repository.createToken(
                TokenRequest(name: name, scopes: [.all], expires: nil))
            if name == "two" { try repository.revokeToken(token.record.id) }
        }
        for name in ["team/project", "team/other"] {
            _ = try repository.pin(
                trees[1].digest, name: name,
                PinRequest(reason: name, provenance: RecordedStateTests.provenance),
                domain: .standard)
        }
        try repository.unpin(
            trees[1].digest, name: "team/other", RecordedStateTests.provenance, domain: .standard)
        for pattern in ["team/**", "other/*"] {
            var rule = RetentionRule(pattern: pattern)
            rule.keep = 5
            _ = try repository.set(rule: rule, domain: .standard)
        }
        try repository.remove(
            rule: "other/*", RecordedStateTests.provenance, domain: .standard)
        // Shares no file with the others.
        let secret = try DamageTests.smallTree()
        try repository.push(secret, to: "secret/project")
        let purge = try PurgeTask(
            repository,
            MaintenanceRequest(
                kind: .purge, ref: try RefName("secret/project"), reason: "a secret"),
            domain: .standard)
        while try purge.step() {}
        return (trees[2], secret)
    }

    @Test(arguments: [0, 1, 2])
    func `every kind of recorded state comes back`(_ checkpoints: Int) throws {
        let store = try TestStore()
        let (kept, purged) = try fill(store)
        for _ in 0..<checkpoints {
            try store.repository.makeCheckpoint(domain: .standard)
            try store.repository.push(
                try SampleTree.random(UInt64(820 + checkpoints)), to: "team/later")
        }
        let before = try state(store.repository)
        #expect(before.count > 12, "\(before.count) things are recorded")
        for _ in 0..<2 {
            let report = try store.rebuild()
            #expect(report.unreadable.isEmpty && report.damaged == 0)
            #expect(report.incompleteRefs.isEmpty, "\(report.incompleteRefs)")
            #expect(try state(store.repository) == before)
            try kept.expectWhole(in: store.repository, "team/project")
            let content = try #require(purged.files.keys.first { $0 != .empty })
            #expect(
                try code {
                    _ = try store.repository.missing(
                        [content], push: .random(), domain: .standard)
                } == .failedPrecondition)
        }
        #expect(try ScrubTests.scrub(store.repository).findings.isEmpty)
    }
}
