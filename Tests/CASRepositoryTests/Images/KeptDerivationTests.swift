import CASCatalog
import CASCore
import CASOCI
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// What keeps the images that snapshots are, and what takes them along.
@Suite struct KeptDerivationTests {
    private static let day: UInt64 = 86_400_000_000_000

    private func remove(_ store: TestStore, _ ref: String) throws {
        try store.repository.removeRef(
            try RefName(ref), .any, Provenance(time: store.clock.now()), domain: .standard)
    }

    @Test(arguments: Storage.allCases)
    func `what was answered once is there after a restart and a rebuild`(
        _ storage: Storage
    ) throws {
        let store = try TestStore(storage)
        try store.repository.push(try DerivationTests.fixture(), to: "team/a")
        let image = try PulledImage(store.repository, "team/a")
        try store.reopen()
        #expect(try PulledImage(store.repository, digest: image.digest).layers == image.layers)
        _ = try store.rebuild()
        #expect(try PulledImage(store.repository, digest: image.digest).layers == image.layers)
        #expect(try PulledImage(store.repository, "team/a").digest == image.digest)
        #expect(try store.repository.allDerivedImages().count == 1)
        try store.repository.collectAll()
        try store.repository.makeCheckpoint(domain: .standard)
        _ = try store.rebuild()
        #expect(try PulledImage(store.repository, digest: image.digest).layers == image.layers)
    }

    @Test(arguments: Storage.allCases)
    func `an image stays with its snapshot, and goes with it`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let tree = try SampleTree.random(7, largestFile: 9_000)
        try store.repository.push(tree, to: "team/a")
        let image = try PulledImage(store.repository, "team/a")
        store.clock.advance(nanoseconds: 40 * Self.day)
        try store.repository.collectAll()
        #expect(try PulledImage(store.repository, digest: image.digest).layers == image.layers)
        // Only its history keeps it now.
        store.clock.advance(nanoseconds: 40 * Self.day)
        try store.repository.push(try SampleTree.random(8), to: "team/a")
        try store.repository.collectAll()
        let layer = try #require(image.layerDigests.first.flatMap { try? OCIDigest($0) })
        guard case .sha256(let digest) = layer else { return }
        let links = try [image.digest, digest].map {
            try store.repository.link("team/a", $0, domain: .standard)
        }
        #expect(links[0]?.kind == .manifest)
        #expect(links[1]?.kind == .blob)
        #expect(try store.repository.link("team/b", digest, domain: .standard) == nil)
        #expect(
            try store.repository.unlink(
                "team/a", digest, kind: .blob, Provenance(), domain: .standard) == nil)
        #expect(try PulledImage(store.repository, digest: image.digest).layers == image.layers)
        store.clock.advance(nanoseconds: 40 * Self.day)
        try store.repository.collectAll()
        #expect(try store.repository.allDerivedImages().isEmpty)
        #expect(try store.repository.blobReader(digest, domain: .standard) == nil)
        #expect(try store.repository.blobReader(image.digest, domain: .standard) == nil)
        #expect(try store.repository.link("team/a", image.digest, domain: .standard) == nil)
    }

    @Test func `a pushed manifest keeps the trees of the layers that it names`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(9, largestFile: 9_000)
        try store.repository.push(tree, to: "team/a")
        let image = try PulledImage(store.repository, "team/a")
        var names: [Digest] = []
        for case .sha256(let digest) in [image.manifest.config.digest]
            + image.manifest.layers.map(\.digest)
        {
            names.append(digest)
            #expect(
                try store.repository.mount(digest, from: "team/a", to: "team/b", domain: .standard))
        }
        var manifest = NewManifest(
            name: "team/b", bytes: image.bytes + [0x20], mediaType: MediaType.imageManifest)
        manifest.tags = ["v1"]
        manifest.blobs = names
        #expect(
            try store.repository.putManifest(manifest, domain: .standard)
                == .done(Digest.of(manifest.bytes)))
        try remove(store, "team/a")
        store.clock.advance(nanoseconds: 80 * Self.day)
        try store.repository.collectAll()
        let again = try PulledImage(store.repository, digest: Digest.of(manifest.bytes))
        #expect(again.layers == image.layers)
        _ = try store.rebuild()
        #expect(
            try PulledImage(store.repository, digest: Digest.of(manifest.bytes)).layers
                == image.layers)
        try remove(store, "team/b:v1")
        store.clock.advance(nanoseconds: 80 * Self.day)
        try store.repository.collectAll()
        #expect(try store.repository.allDerivedImages().isEmpty)
    }

    @Test func `a purged file takes the images along that have it`() throws {
        let store = try TestStore()
        let (kept, tree) = (try SampleTree.random(12), try DerivationTests.fixture())
        try store.repository.push(kept, to: "team/kept")
        try store.repository.push(tree, to: "team/a")
        let other = try PulledImage(store.repository, "team/kept")
        let image = try PulledImage(store.repository, "team/a")
        let secret = Digest.of(try #require(tree.folder.files["main.py"]).content)
        for (isDryRun, count) in [(true, 2), (false, 1)] {
            let request = MaintenanceRequest(
                kind: .purge, isDryRun: isDryRun, digest: secret, reason: "a secret")
            let purge = try PurgeTask(store.repository, request, domain: .standard)
            while try purge.step() {}
            #expect(
                try purge.progress["purged"] == 2
                    && store.repository.allDerivedImages().count == count)
        }
        #expect(try store.repository.allDerivedImages()[0].manifest == other.digest)
        let (name, repository) = (try RefName("team/a"), store.repository)
        let entry = try #require(try repository.ref(name, domain: .standard))
        #expect(try code { _ = try repository.derivedManifest(entry, domain: .standard) } != nil)
        for case .sha256(let digest) in image.manifest.layers.map(\.digest) {
            #expect(try store.repository.blobReader(digest, domain: .standard) == nil)
        }
        #expect(try PulledImage(store.repository, digest: other.digest).layers == other.layers)
    }

    @Test func `what the store lost is said, and a push heals it`() throws {
        let store = try TestStore()
        let tree = try DerivationTests.fixture()
        try store.repository.push(tree, to: "team/a")
        let file = try #require(tree.folder.files["large"]).content
        try store.repository.catalog.write {
            try $0.remove(locations: [Digest.of(file)], domain: .standard)
            try $0.forgetCompleteness(domain: .standard)
        }
        let entry = try #require(
            try store.repository.ref(try RefName("team/a"), domain: .standard))
        #expect(
            try code { _ = try store.repository.derivedManifest(entry, domain: .standard) }
                == .dataLoss)
        try store.repository.push(tree, to: "team/a")
        try PulledImage(store.repository, "team/a").unpack { root in
            let isSame = try root.folder() == tree.folder.withoutTimes
            #expect(isSame)
        }
    }

    @Test func `a layer of a tree that is not whole is not there for other names`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(28, largestFile: 9_000)
        try store.repository.push(tree, to: "team/a")
        let image = try PulledImage(store.repository, "team/a")
        let layer = try #require(image.manifest.layers.first?.digest.sha256)
        let repository = store.repository
        func mount(_ name: String) throws -> Bool {
            try repository.mount(layer, from: "team/a", to: name, domain: .standard)
        }
        // Merely not known to be whole.
        try repository.catalog.write { try $0.forgetCompleteness(domain: .standard) }
        #expect(try mount("team/b"))
        // As a collection leaves it that was broken off.
        let file = try #require(tree.files.keys.min())
        try repository.catalog.write {
            try $0.remove(locations: [file], domain: .standard)
            try $0.forgetCompleteness(domain: .standard)
        }
        #expect(try !mount("team/c"))
        #expect(
            try repository.put("team/b", "image", tags: ["v1"], blobs: [layer])
                == .missing([layer]))
        try repository.push(tree, to: "team/a")
        #expect(try mount("team/c"))
    }
}
