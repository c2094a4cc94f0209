import CASCatalog
import CASCore
import CASOCI
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// Images of snapshots on top of other images.
@Suite struct BasedDerivationTests {
    private static let day: UInt64 = 86_400_000_000_000

    private func remove(_ store: TestStore, _ ref: String) throws {
        try store.repository.removeRef(
            try RefName(ref), .any, Provenance(time: store.clock.now()), domain: .standard)
    }

    /// Puts an image of one layer as `team/base:v1`; its manifest.
    private func putBase(_ layer: [UInt8], _ store: TestStore) throws -> Digest {
        let config = Array(
            """
            {"architecture":"arm64","config":{"Env":["A=b"]},"os":"linux",\
            "rootfs":{"type":"layers","diff_ids":["\(Digest.of(layer))"]}}
            """.utf8)
        var manifest = NewManifest(
            name: "team/base",
            bytes: ImageManifest(
                config: Descriptor(mediaType: MediaType.imageConfig, of: config),
                layers: [Descriptor(mediaType: MediaType.dockerLayer, of: layer)]
            ).encode(), mediaType: MediaType.imageManifest)
        manifest.tags = ["v1"]
        manifest.blobs = try [config, layer].map {
            try store.repository.uploadBlob($0, to: "team/base")
        }
        _ = try store.repository.putManifest(manifest, domain: .standard)
        return Digest.of(manifest.bytes)
    }

    @Test func `a base is below, stays, and gives what it says of how to run`() throws {
        let store = try TestStore()
        var random = SeededGenerator(seed: 21)
        let layer = random.bytes(20_000)
        let diffID = Digest.of(layer)
        let manifest = try putBase(layer, store)
        let tree = try SampleTree.random(22)
        try store.repository.push(tree, to: "team/a")
        let base = "base=team/base@\(manifest)"
        func set(_ options: String) throws {
            let name = try RefName("team/a")
            let entry = try #require(try store.repository.ref(name, domain: .standard))
            _ = try store.repository.setRef(
                name, RefUpdate(target: entry.target.digest, imageOptions: options),
                domain: .standard)
        }
        try set(base)
        let image = try PulledImage(store.repository, "team/a")
        #expect(image.layers.first == layer)
        #expect(image.manifest.layers.first?.mediaType == MediaType.imageLayer)
        let made = try JSON(decoding: image.config)
        #expect(made["architecture"]?.text == "arm64")
        #expect(made["config"]?["Env"]?.texts == ["A=b"])
        #expect(try store.repository.link("team/a", diffID, domain: .standard)?.kind == .blob)
        // Its tag goes; the ref's options and the image keep it.
        try remove(store, "team/base:v1")
        store.clock.advance(nanoseconds: 80 * Self.day)
        try store.repository.collectAll()
        _ = try store.rebuild()
        #expect(try PulledImage(store.repository, digest: image.digest).layers == image.layers)
        try store.repository.push(try SampleTree.random(23), to: "team/a")
        #expect(try PulledImage(store.repository, "team/a").layers.first == layer)
        // With other options, and the images of before gone, nothing keeps it.
        try set("prefix=/x")
        try store.repository.push(try SampleTree.random(24), to: "team/a")
        store.clock.advance(nanoseconds: 80 * Self.day)
        try store.repository.collectAll()
        #expect(try store.repository.blobReader(diffID, domain: .standard) == nil)
        try set(base)
        let entry = try #require(
            try store.repository.ref(try RefName("team/a"), domain: .standard))
        #expect(
            try code { _ = try store.repository.derivedManifest(entry, domain: .standard) }
                == .failedPrecondition)
    }

    @Test func `a base that a ref says while a collection runs stays, at any of its steps`() throws
    {
        var random = SeededGenerator(seed: 25)
        let layer = random.bytes(20_000)
        var (step, kept, isOver) = (0, 0, false)
        while !isOver {
            let store = try TestStore()
            let base = try putBase(layer, store)
            try store.repository.push(try SampleTree.random(26), to: "team/a")
            let other = try SampleTree.random(27)
            try store.repository.push(other, to: "team/b")
            try remove(store, "team/base:v1")
            store.clock.advance(nanoseconds: 80 * Self.day)
            var pace = CollectionPace()
            pace.rows = 5
            let collector = try Collector(store.repository, pace: pace)
            for _ in 0..<step where !isOver { isOver = try !collector.step() }
            let links = try store.repository.catalog.read {
                try $0.links(after: nil, limit: 9, domain: .standard)
            }
            let (name, isPush) = (try RefName("team/a"), step % 2 == 0)
            let options = "base=team/base@\(base)"
            if isPush {
                var request = PushRequest(
                    pushID: .random(), ref: name, snapshot: other.digest, precondition: .any,
                    provenance: Provenance())
                request.imageOptions = options
                let response = try store.repository.commit(
                    request, records: UnsafeRawBufferPointer(start: nil, count: 0),
                    trusted: false, domain: .standard)
                #expect(response.outcome == .done)
            } else {
                let entry = try #require(try store.repository.ref(name, domain: .standard))
                _ = try store.repository.setRef(
                    name, RefUpdate(target: entry.target.digest, imageOptions: options),
                    domain: .standard)
            }
            while try collector.step() {}
            try store.repository.collectAll()
            if links.count == 3 {
                kept += 1
                #expect(try PulledImage(store.repository, "team/a").layers.first == layer)
            }
            step += 1
        }
        #expect(kept > 5 && kept < step, "\(kept) of \(step)")
    }

    @Test func `a layer of a tree in a base is seen in what is on top`() throws {
        let store = try TestStore()
        let repository = store.repository
        try repository.push(try SampleTree.random(29), to: "team/a")
        let below = try PulledImage(repository, "team/a")
        let descriptor = try #require(below.manifest.layers.first)
        let layer = try #require(descriptor.digest.sha256)
        #expect(try repository.mount(layer, from: "team/a", to: "team/base", domain: .standard))
        let config = Array(
            """
            {"architecture":"amd64","os":"linux",\
            "rootfs":{"type":"layers","diff_ids":["\(layer)"]}}
            """.utf8)
        let configDigest = try repository.uploadBlob(config, to: "team/base")
        let manifest = ImageManifest(
            config: Descriptor(mediaType: MediaType.imageConfig, of: config), layers: [descriptor])
        let text = String(decoding: manifest.encode(), as: UTF8.self)
        let result = try repository.put(
            "team/base", text, tags: ["v1"], blobs: [configDigest, layer])
        let tree = try SampleTree.random(30)
        try repository.push(tree, to: "team/b")
        let base = Digest.of(manifest.encode())
        #expect(result == .done(base))
        _ = try repository.setRef(
            try RefName("team/b"),
            RefUpdate(target: tree.digest, imageOptions: "base=team/base@\(base)"),
            domain: .standard)
        #expect(try PulledImage(repository, "team/b").layers.first == below.layers.first)
        let link = try repository.link("team/b", layer, kind: .blob, domain: .standard)
        #expect(link?.size == descriptor.size)
    }
}
