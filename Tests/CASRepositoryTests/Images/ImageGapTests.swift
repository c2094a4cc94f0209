import CASCatalog
import CASCore
import CASOCI
import CASPack
import CASStorage
import CASTestSupport
import CASTree
import CASWire
import Synchronization
import Testing

@testable import CASRepository

/// Images of which a part is stored twice, lost, or not what it looks like.
@Suite struct ImageGapTests {
    private static let name = "team/image"
    private static let day: UInt64 = 86_400_000_000_000

    private func image(
        tree: Digest, layers: [Digest], inherited: [Digest] = [], base: Digest? = nil,
        options: String = ""
    ) -> DerivedImage {
        DerivedImage(
            tree: tree, options: Array(options.utf8), manifest: Digest.of(tree.bytes + [1]),
            mediaType: "m", config: Digest.of(tree.bytes + [2]),
            layers: layers.map { DerivedLayer(digest: $0, size: 9, format: 1, part: []) },
            created: Timestamp(seconds: 1), base: base, inherited: inherited)
    }

    private func insert(_ images: [DerivedImage], _ store: TestStore) throws {
        try store.repository.commit(session: nil, isEvent: true) { context in
            for image in images {
                try context.transaction.insert(derivedImage: image, domain: .standard)
                let sequence = try context.transaction.nextSequence()
                context.record(.imageDerived(image, .standard, sequence: sequence))
            }
        }
    }

    @Test(arguments: Storage.allCases)
    func `a stored copy of a layer goes without the image`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        try store.repository.push(try SampleTree.random(7, largestFile: 9_000), to: "team/a")
        let image = try PulledImage(store.repository, "team/a")
        let copy = try store.repository.uploadBlob(try #require(image.layers.first), to: "team/b")
        _ = try store.repository.put("team/b", "own", tags: ["v1"], blobs: [copy])
        #expect(image.layerDigests.first == OCIDigest.sha256(copy).description)
        func isStored() throws -> Bool {
            try store.repository.catalog.read {
                try $0.location(of: copy, domain: .standard) != nil
            }
        }
        #expect(try isStored())
        try store.repository.removeRef(
            try RefName("team/b:v1"), .any, Provenance(), domain: .standard)
        store.clock.advance(nanoseconds: 40 * Self.day)
        try store.repository.collectAll()
        #expect(try !isStored())
        #expect(try PulledImage(store.repository, digest: image.digest).layers == image.layers)
    }

    @Test func `a purge spares images whose trees merely lack something`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(12)
        try store.repository.push(tree, to: "team/kept")
        try store.repository.push(try DerivationTests.fixture(), to: "team/a")
        let images = try ["team/kept", "team/a"].map { try PulledImage(store.repository, $0) }
        let root = try #require(
            try store.repository.ref(try RefName("team/kept"), domain: .standard)?.tree)
        try store.repository.catalog.write {
            try $0.remove(locations: [root], domain: .standard)
            try $0.forgetCompleteness(domain: .standard)
        }
        let secret = Digest.of(
            try #require(DerivationTests.fixture().folder.files["main.py"]).content)
        let purge = try PurgeTask(
            store.repository, MaintenanceRequest(kind: .purge, digest: secret, reason: "a secret"),
            domain: .standard)
        while try purge.step() {}
        let reasons = try store.repository.catalog.read {
            try $0.purged(images.map(\.digest), domain: .standard)
        }
        #expect(reasons == [nil, "a secret"])
        try store.repository.push(tree, to: "team/kept")
        #expect(try PulledImage(store.repository, "team/kept").digest == images[0].digest)
    }

    @Test func `a purge of an image is refused while nobody knows what else has its blobs`() throws
    {
        let store = try TestStore()
        var random = SeededGenerator(seed: 4)
        let shared = random.bytes(900)
        var folder = SampleFolder()
        folder.folders["f"] = SampleFolder(files: ["shared": .init(content: shared)])
        let tree = try SampleTree(folder)
        try store.repository.push(tree, to: "team/tree")
        let blob = try store.repository.uploadBlob(shared, to: Self.name)
        _ = try store.repository.put(Self.name, "one", tags: ["v1"], blobs: [blob])
        let lost = try SampleTree(try #require(folder.folders["f"]))
        let root = try #require(
            lost.allDigests.first { digest in
                try store.repository.catalog.read {
                    try $0.location(of: digest, domain: .standard)?.kind == .directory
                }
            })
        try store.repository.catalog.write {
            try $0.remove(locations: [root], domain: .standard)
            try $0.forgetCompleteness(domain: .standard)
        }
        store.clock.advance(nanoseconds: 2 * Self.day)
        let request = MaintenanceRequest(
            kind: .purge, digest: Digest.of(Array("one".utf8)), reason: "licence")
        func purge() throws {
            let task = try PurgeTask(store.repository, request, domain: .standard)
            while try task.step() {}
        }
        #expect(try code { try purge() } == .failedPrecondition)
        try store.repository.push(tree, to: "team/tree")
        try purge()
        try tree.expectWhole(in: store.repository, "team/tree")
        #expect(try store.repository.blobBytes(blob) == shared)
        #expect(try !store.repository.hasLink(Self.name, request.digest ?? .zero))
    }

    @Test func `a blob with the bytes of a snapshot of nothing stops no collection`() throws {
        let snapshot = Snapshot(
            tree: SizedDigest(digest: Digest.of([9]), size: 5), attributes: nil,
            stableAttributes: nil, totals: TreeTotals())
        for step in 0..<25 {
            let store = try TestStore()
            let gone = try SampleTree.random(3)
            try store.repository.push(gone, to: "team/gone")
            try store.repository.removeRef(
                try RefName("team/gone"), .any, Provenance(), domain: .standard)
            store.clock.advance(nanoseconds: 40 * Self.day)
            let collector = try Collector(store.repository)
            var isMore = true
            for _ in 0..<step where isMore { isMore = try collector.step() }
            let digest = try store.repository.uploadBlob(snapshot.encode(), to: Self.name)
            while isMore { isMore = try collector.step() }
            #expect(collector.progress.findings.isEmpty, "step \(step)")
            #expect(collector.progress["deleted"] > 0, "step \(step)")
            #expect(try store.repository.blobBytes(digest) == snapshot.encode())
        }
    }

    @Test(arguments: [false, true])
    func `a layer can be made if any image has it as its own, of a tree that is here`(
        isTreeHere: Bool
    ) throws {
        let store = try TestStore()
        let layer = Digest.of(Array("layer".utf8))
        let trees = [Digest.of([1]), Digest.of([2])].sorted()
        for byte in [1, 2] as [UInt8] where isTreeHere {
            try store.repository.uploadBlob([byte], to: Self.name)
        }
        try insert(
            [
                image(tree: trees[0], layers: [], inherited: [layer]),
                image(tree: trees[1], layers: [layer]),
            ], store)
        let repository = store.repository
        let isHere = try repository.catalog.read {
            try repository.isHere(layer, $0, .standard)
        }
        #expect(isHere == isTreeHere)
    }

    @Test func `a name has the layers of its snapshots, however many images have them`() throws {
        let store = try TestStore()
        let tree = try store.repository.push(try SampleTree.random(1), to: "team/a").tree
        let layer = Digest.of(Array("layer".utf8))
        // In the order of trees this one would come last.
        var trees: [Digest] = []
        var number: UInt64 = 0
        while trees.count < 1_001 {
            number += 1
            let other = Digest.of(Array("\(number)".utf8))
            if other < tree { trees.append(other) }
        }
        try insert((trees + [tree]).map { image(tree: $0, layers: [layer]) }, store)
        #expect(try store.repository.link("team/a", layer, domain: .standard)?.size == 9)
        #expect(try store.repository.link("team/b", layer, domain: .standard) == nil)
        try store.repository.push(try SampleTree.random(2), to: "team/a")
        #expect(
            try store.repository.link("team/a", layer, domain: .standard)?.size == 9,
            "by its history")
    }

    @Test func `what lies below an image is seen by names that put it there`() throws {
        let store = try TestStore()
        let below = try store.repository.uploadBlob([7], to: "secret/base")
        _ = try store.repository.put("secret/base", "base", tags: ["v1"], blobs: [below])
        let base = Digest.of(Array("base".utf8))
        let options = "base=secret/base@\(base)"
        let tree = try SampleTree.random(1)
        let root = try store.repository.push(tree, to: "team/a").tree
        try store.repository.push(tree, to: "team/b")
        func set(_ options: String) throws {
            _ = try store.repository.setRef(
                try RefName("team/a"), RefUpdate(target: tree.digest, imageOptions: options),
                domain: .standard)
        }
        try set(options)
        // Its manifest and configuration.
        for number: UInt8 in 1...2 {
            try store.repository.uploadBlob(root.bytes + [number], to: "secret/base")
        }
        try insert(
            [
                image(
                    tree: root, layers: [Digest.of([1])], inherited: [below], base: base,
                    options: options)
            ], store)
        #expect(try store.repository.hasLink("team/a", below))
        #expect(try !store.repository.hasLink("team/b", below), "the same tree without a base")
        try store.repository.push(try SampleTree.random(2), to: "team/a")
        #expect(try store.repository.hasLink("team/a", below), "by its history")
        try store.repository.removeRef(
            try RefName("team/a"), .any, Provenance(), domain: .standard)
        _ = try store.rebuild()
        #expect(try store.repository.hasLink("team/a", below), "still")
        #expect(try !store.repository.hasLink("team/b", below))
    }

    @Test func `on a full disk what is here is said to be`() throws {
        let fileSystem = SimulatedFileSystem()
        let catalog = FullCatalog()
        let clock = TestClock()
        let repository = try Repository.open(
            try TestStore.configuration(nil), fileSystem: fileSystem,
            objects: try DirectoryBackend(directory: "/store/packs", fileSystem: fileSystem),
            catalog: catalog, clock: clock)
        let digest = try repository.uploadBlob([1, 2], to: Self.name)
        clock.advance(nanoseconds: Self.day)
        catalog.isFull.store(true, ordering: .relaxed)
        #expect(try repository.hasLink(Self.name, digest))
        #expect(repository.counters.failedRenewals == 1)
        catalog.isFull.store(false, ordering: .relaxed)
        #expect(try repository.hasLink(Self.name, digest))
    }
}

/// A catalog to which nothing can be written at times.
private final class FullCatalog: Catalog {
    let isFull = Atomic(false)
    private let catalog = InMemoryCatalog()

    func read<Result>(_ body: (any CatalogReader) throws -> Result) throws -> Result {
        try catalog.read(body)
    }

    func write<Result>(_ body: (any CatalogTransaction) throws -> Result) throws -> Result {
        guard !isFull.load(ordering: .relaxed) else {
            throw CASError(.resourceExhausted, "no space left")
        }
        return try catalog.write(body)
    }

    func erase() throws { try catalog.erase() }
    func close() throws { try catalog.close() }
}
