import CASCatalog
import CASCore
import CASFileSystem
import CASStorage
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// What grows with a store is done in many small transactions, so that no push waits for it.
@Suite struct BoundedTransactionTests {
    /// Blobs in one transaction.
    private static let batch = 20
    /// Rows that one may cost: its place, its list, sums, tombstone, note and condemnation.
    private static let rows = 8 * batch + 20

    private let directory: TemporaryDirectory
    private let catalog: MeasuredCatalog
    private let repository: Repository

    init() throws {
        directory = try TemporaryDirectory()
        var configuration = try TestStore.configuration(directory)
        configuration.limits.removedPerTransaction = Self.batch
        configuration.limits.listingEntries = Self.batch
        catalog = MeasuredCatalog(
            try SQLiteCatalog(path: "\(directory.path)/catalog", create: true))
        repository = try Repository.open(
            configuration, fileSystem: DiskFileSystem(),
            objects: try DirectoryBackend(
                directory: "\(directory.path)/packs", fileSystem: DiskFileSystem()),
            catalog: catalog, clock: TestClock())
    }

    /// A tree of many directories and files.
    private func wide(_ seed: UInt64) throws -> SampleTree {
        var random = SeededGenerator(seed: seed)
        var folder = SampleFolder()
        for number in 0..<100 {
            var inner = SampleFolder()
            for file in 0..<4 {
                inner.files["file-\(file)"] = SampleFolder.File(content: random.bytes(40))
            }
            folder.folders["folder-\(number)"] = inner
        }
        return try SampleTree(folder)
    }

    private func expectBounded(_ what: String, _ location: SourceLocation = #_sourceLocation) {
        let sizes = catalog.takeSizes()
        let largest = sizes.max() ?? 0
        #expect(largest > 0 && largest <= Self.rows, "\(what)", sourceLocation: location)
    }

    @Test func `a purge takes a large tree in many small transactions`() throws {
        let tree = try wide(1)
        try repository.push(tree, to: "team/gone")
        let kept = try wide(2)
        try repository.push(kept, to: "team/kept")
        _ = catalog.takeSizes()
        let task = try PurgeTask(
            repository,
            MaintenanceRequest(kind: .purge, ref: try RefName("team/gone"), reason: "licence"),
            domain: .standard)
        while task.progress.phase != "rewriting packs", try task.step() {}
        let only = Set(tree.allDigests).subtracting(kept.allDigests)
        #expect(only.count > 400 && task.progress["purged"] == UInt64(only.count))
        expectBounded("purge")
        try kept.expectWhole(in: repository, "team/kept")
        let again = #expect(throws: CASError.self) { try repository.push(tree, to: "team/gone") }
        #expect(again?.message.contains("licence") == true)
    }

    @Test func `a purge removes very many refs in many small transactions`() throws {
        let tree = try SampleTree.random(3)
        for number in 0..<60 { try repository.push(tree, to: "team/gone:v\(number)") }
        _ = catalog.takeSizes()
        let task = try PurgeTask(
            repository,
            MaintenanceRequest(kind: .purge, ref: try RefName("team/gone:v7"), reason: "licence"),
            domain: .standard)
        while try task.step() {}
        #expect(task.progress["removedRefs"] == 60)
        expectBounded("refs")
    }

    @Test func `what a lost pack held is taken out of use in many small transactions`() throws {
        let tree = try wide(4)
        try repository.push(tree, to: "team/a")
        let packs = try repository.catalog.read { reader in
            try reader.packs().filter { try reader.records(in: $0.number) > 100 }
        }
        #expect(packs.count == 2, "files and messages")
        _ = catalog.takeSizes()
        for pack in packs { try repository.forgetRecords(of: pack.number, from: 0) }
        expectBounded("a lost pack")
        // Whatever was complete is not.
        #expect(
            try repository.catalog.read {
                try $0.treeStates(of: tree.allDigests, domain: .standard).allSatisfy { $0 == nil }
            })
    }

    @Test func `one damaged record costs the same in a large store`() throws {
        let tree = try wide(5)
        try repository.push(tree, to: "team/a")
        let damaged = try repository.catalog.read { reader in
            let digest = try #require(tree.files.keys.sorted().first)
            let place = try #require(try reader.location(of: digest, domain: .standard))
            return DamagedRecord(digest: digest, location: place)
        }
        _ = catalog.takeSizes()
        try repository.quarantine([damaged], domain: .standard)
        #expect(catalog.takeSizes().max() ?? 99 <= 4)
        #expect(
            try repository.catalog.read {
                try !$0.completeSnapshot(tree.digest, domain: .standard)
            })
        try repository.push(tree, to: "team/a")
        try tree.expectWhole(in: repository, "team/a")
        #expect(
            try repository.catalog.read {
                try $0.completeSnapshot(tree.digest, domain: .standard)
            })
    }

    @Test func `a checkpoint is written a page at a time, between which refs move`() throws {
        let store = try TestStore { $0.limits.listingEntries = 10 }
        let trees = try (0..<3).map { try SampleTree.random(UInt64(60 + $0)) }
        for number in 0..<40 { try store.repository.push(trees[0], to: "team/r\(number)") }
        func events() throws -> UInt64 {
            try store.repository.catalog.read { try $0.packs().reduce(0) { $0 + $1.eventBytes } }
        }
        for isCut in [true, false] {
            let writer = CheckpointWriter(store.repository, domain: .standard)
            var steps = 0
            var before = try events()
            while try writer.step() {
                steps += 1
                #expect(try events() - before <= 10 * 500)
                // Behind the page at hand and before it, new and moved and removed.
                let number = (steps * 13) % 40
                try store.repository.push(trees[1 + steps % 2], to: "team/r\(number)")
                try store.repository.push(trees[steps % 3], to: "team/n\(steps)")
                let old = try RefName("team/r\((number + 5) % 40)")
                if try store.repository.ref(old, domain: .standard) != nil {
                    try store.repository.removeRef(
                        old, .any,
                        Provenance(time: store.clock.now()), domain: .standard)
                }
                before = try events()
                if isCut, steps == 4 { break }
            }
            #expect(steps >= 4)
            let refs = try store.repository.refs(
                prefix: "", after: nil, limit: 10, domain: .standard)
            let all = try listing(store)
            _ = try store.rebuild(closing: !isCut)
            #expect(try listing(store) == all)
            #expect(
                try store.repository.refs(prefix: "", after: nil, limit: 10, domain: .standard)
                    == refs)
        }
    }

    private func listing(_ store: TestStore) throws -> [String] {
        try store.repository.catalog.read { reader in
            try reader.refs(prefix: "", after: nil, limit: 1_000, domain: .standard).map {
                "\($0)"
            } + reader.moves(after: nil, limit: 10_000, domain: .standard).map { "\($0)" }
        }
    }

    @Test func `of two checkpoints at once the one that was begun first gives way`() throws {
        let store = try TestStore()
        try store.repository.push(try SampleTree.random(70), to: "team/a")
        let first = CheckpointWriter(store.repository, domain: .standard)
        #expect(try first.step())
        let second = CheckpointWriter(store.repository, domain: .standard)
        #expect(try second.step())
        #expect(try code { while try first.step() {} } == .aborted)
        while try second.step() {}
        let before = try listing(store)
        _ = try store.rebuild()
        #expect(try listing(store) == before)
    }
}
