import CASCatalog
import CASCore
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// What a store remembers of its care.
@Suite struct HealthTests {
    private func health(_ store: TestStore) throws -> StoreHealth {
        try #require(try store.repository.usage(domain: .standard).health)
    }

    @discardableResult
    private func collect(
        _ store: TestStore, isDryRun: Bool = false
    ) throws -> MaintenanceProgress {
        let collector = try Collector(store.repository, isDryRun: isDryRun)
        while try collector.step() {}
        return collector.progress
    }

    @Test(arguments: [Storage.memory, .disk])
    func `collections and scrubs are remembered, and what they found`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let tree = try DamageTests.smallTree()
        try store.repository.push(tree, to: "project")
        try store.reopen()
        #expect(try health(store) == StoreHealth())
        try collect(store, isDryRun: true)
        _ = try ScrubTests.scrub(store.repository, isReport: true)
        #expect(try health(store) == StoreHealth(), "nothing was done")
        try collect(store)
        #expect(try health(store).collected == store.clock.now())
        let collected = store.clock.now()
        store.clock.advance(nanoseconds: 5_000_000_000)
        let content = try #require(tree.folder.files["small"]?.content)
        for path in try store.packs() {
            try store.change(path) { bytes in
                if let range = bytes.firstRange(of: content) { bytes[range.lowerBound] ^= 1 }
            }
        }
        let found = try ScrubTests.scrub(store.repository)["findings"]
        try store.reopen()
        let bad = try health(store)
        #expect(bad.collected == collected && bad.scrubbed == store.clock.now())
        #expect(found > 0 && bad.findings == found && bad.roundBegan == nil)
        try store.repository.push(tree, to: "project")
        _ = try ScrubTests.scrub(store.repository)
        #expect(try health(store).findings == 0)
    }

    @Test func `how far the scrub of a server is can be seen, also after a restart`() throws {
        let store = try TestStore { $0.packBytes = 2 << 10 }
        for index in 0..<3 {
            try store.repository.push(
                try SampleTree.random(UInt64(720 + index)), to: "project-\(index)")
        }
        try store.reopen()
        let first = try #require(
            try store.repository.backgroundScrub(every: 1000, domain: .standard))
        let began = store.clock.now()
        while first.progress["packs"] < 2 { #expect(try first.step()) }
        let live = try health(store)
        #expect(live.roundBegan == began && live.scrubbed == nil)
        let fraction = try #require(live.roundFraction)
        #expect(fraction > 0 && fraction < 1 && abs(fraction - first.fraction) < 0.001)
        try store.reopen()
        let kept = try health(store)
        #expect(kept.roundBegan == began && kept.roundBytes == live.roundBytes)
        #expect(kept.roundDoneBytes > 0 && kept.roundDoneBytes <= live.roundDoneBytes)
        store.clock.advance(nanoseconds: 7_000_000_000)
        let second = try #require(
            try store.repository.backgroundScrub(every: 1000, domain: .standard))
        while try second.step() {}
        let done = try health(store)
        #expect(done.roundBegan == nil && done.scrubbed == store.clock.now())
        #expect(done.roundFraction == nil && done.findings == 0)
    }

    @Test func `a dry run stops at a gap as a real one does`() throws {
        let store = try TestStore()
        let tree = try DamageTests.smallTree()
        try store.repository.push(tree, to: "project")
        let inner = try #require(tree.messages.last { $0.kind == .directory }).digest
        try store.memoryCatalog.write { change in
            try change.remove(locations: [inner], domain: .standard)
            try change.forgetCompleteness(domain: .standard)
        }
        let dry = try collect(store, isDryRun: true)
        #expect(try health(store).gaps == 0)
        let real = try collect(store)
        for progress in [dry, real] {
            #expect(progress["incomplete"] == 1 && progress["condemned"] == 0)
            #expect(progress.findings.map(\.kind) == ["incomplete"])
            #expect(progress.findings.first?.name == "project:latest")
        }
        #expect(dry.findings.map(\.text) == real.findings.map(\.text))
        #expect(try health(store).gaps == 1)
        try store.repository.push(tree, to: "project")
        try collect(store)
        #expect(try health(store).gaps == 0)
    }
}
