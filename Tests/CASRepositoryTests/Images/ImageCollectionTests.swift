import CASCatalog
import CASCore
import CASOCI
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// What a collection keeps and takes of images, and what else goes by what is reachable.
@Suite struct ImageCollectionTests {
    private static let name = "team/image"
    private static let day: UInt64 = 86_400_000_000_000
    private static let provenance = Provenance(author: "somebody")

    /// Blobs of several chunks and of one, that have nothing in common.
    private func blobs(_ count: Int, _ seed: UInt64) -> [[UInt8]] {
        var random = SeededGenerator(seed: seed)
        return (0..<count).map { random.bytes($0 % 2 == 0 ? 12_000 : 900) }
    }

    private func locations(_ store: TestStore) throws -> Int {
        try store.repository.catalog.read {
            try $0.locations(after: nil, limit: 100_000, domain: .standard).count
        }
    }

    /// Lets all protected windows pass, but not histories.
    private func wait(_ store: TestStore, days: UInt64 = 2) {
        store.clock.advance(nanoseconds: days * Self.day)
    }

    @Test(arguments: Storage.allCases)
    func `nothing that is reachable goes`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        var random = SeededGenerator(seed: 21)
        let contents = blobs(8, 21)
        let digests = try contents.map { try store.repository.uploadBlob($0, to: Self.name) }
        // By tag; by tag through an index; by digest; by a pin.
        _ = try store.repository.put(
            Self.name, "tagged", tags: ["a"], blobs: [digests[0], digests[1]])
        _ = try store.repository.put(Self.name, "child", blobs: [digests[2], digests[3]])
        _ = try store.repository.put(Self.name, "index", tags: ["b"]) {
            $0.manifests = [Digest.of(Array("child".utf8))]
        }
        _ = try store.repository.put(Self.name, "root", blobs: [digests[4]]) {
            $0.isByDigest = true
        }
        _ = try store.repository.put(Self.name, "pinned", blobs: [digests[5]])
        _ = try store.repository.pin(
            Digest.of(Array("pinned".utf8)), name: Self.name, PinRequest(reason: "x"),
            domain: .standard)
        _ = try store.repository.put(Self.name, "about") {
            $0.subject = Digest.of(Array("root".utf8))
            $0.isByDigest = true
            $0.optional = [digests[6]]
        }
        let running = try store.repository.beginUpload(Self.name, domain: .standard)
        let part = random.bytes(20_000)
        wait(store)
        try store.repository.appendBlob(part, to: Self.name, running)
        let fresh = random.bytes(7_000)
        let freshDigest = try store.repository.uploadBlob(fresh, to: Self.name)
        let gone = try #require(try store.repository.link(Self.name, digests[0], domain: .standard))
        #expect(gone.size == 12_000)
        for _ in 0..<2 {
            try store.repository.collectAll()
            try store.reopen()
            // What the upload was told to be here is not relied on for ever.
            store.clock.advance(nanoseconds: Self.day / 24)
        }
        for index in 0..<7 {
            #expect(try store.repository.hasLink(Self.name, digests[index]), "\(index)")
            #expect(try store.repository.blobBytes(digests[index]) == contents[index], "\(index)")
        }
        #expect(try !store.repository.hasLink(Self.name, digests[7]), "nobody needs it")
        #expect(try store.repository.blobBytes(digests[7]) == nil)
        for text in ["tagged", "child", "index", "root", "pinned", "about"] {
            let digest = Digest.of(Array(text.utf8))
            #expect(try store.repository.hasLink(Self.name, digest, .manifest), "\(text)")
            #expect(try store.repository.blobBytes(digest) == Array(text.utf8), "\(text)")
        }
        #expect(try store.repository.blobBytes(freshDigest) == fresh)
        let rest = random.bytes(3_000)
        try store.repository.appendBlob(rest, to: Self.name, running, at: 20_000)
        let digest = try store.repository.finishUpload(
            Self.name, running, expecting: .sha256(Digest.of(part + rest)), domain: .standard)
        #expect(try store.repository.blobBytes(digest) == part + rest)
    }

    @Test(arguments: Storage.allCases)
    func `what is unlinked goes, and its space comes back`(_ storage: Storage) throws {
        let store = try TestStore(storage)
        let kept = try SampleTree.random(31)
        try store.repository.push(kept, to: "team/kept")
        try store.repository.collectAll()
        let before = try locations(store)
        let digests = try blobs(4, 31).map { try store.repository.uploadBlob($0, to: Self.name) }
        _ = try store.repository.put(Self.name, "one", tags: ["a"], blobs: digests) {
            $0.sha512 = Array(repeating: 1, count: 64)
        }
        let manifest = Digest.of(Array("one".utf8))
        wait(store)
        try store.repository.collectAll()
        #expect(try store.repository.blobBytes(digests[0]) != nil)
        #expect(
            try store.repository.unlink(
                Self.name, manifest, kind: .manifest, Self.provenance, domain: .standard) != nil)
        // The history of the tag keeps it for a while.
        wait(store, days: 31)
        let progress = try store.repository.collectAll()
        #expect(progress["endedLinks"] == 4)
        #expect(try locations(store) == before)
        #expect(
            try store.repository.repositories(after: nil, limit: 9, domain: .standard) == [
                "team/kept"
            ])
        #expect(
            try store.repository.digest(alias: Array(repeating: 1, count: 64), domain: .standard)
                == nil)
        try kept.expectWhole(in: store.repository, "team/kept")
        _ = try store.rebuild()
        #expect(
            try store.repository.repositories(after: nil, limit: 9, domain: .standard) == [
                "team/kept"
            ])
    }

    @Test func `a checkpoint repeats all of it`() throws {
        let store = try TestStore()
        let digests = try blobs(2, 61).map { try store.repository.uploadBlob($0, to: Self.name) }
        let sha512 = [UInt8](repeating: 3, count: 64)
        _ = try store.repository.put(Self.name, "one", tags: ["a"], blobs: digests) {
            $0.sha512 = sha512
        }
        let image = DerivedImage(
            tree: Digest.of([1]), options: [1, 2], manifest: Digest.of(Array("one".utf8)),
            mediaType: "m", config: digests[0],
            layers: [DerivedLayer(digest: Digest.of([2]), size: 5, format: 1, part: [9])],
            created: store.clock.now())
        try store.repository.commit(session: nil, isEvent: true) { context in
            try context.transaction.insert(derivedImage: image, domain: .standard)
            context.record(
                .imageDerived(
                    image, .standard, sequence: try context.transaction.nextSequence()))
        }
        try store.repository.makeCheckpoint(domain: .standard)
        for _ in 0..<2 {
            let report = try store.rebuild()
            #expect(report.refs == 1 && report.incompleteRefs.isEmpty)
            #expect(try store.repository.hasLink(Self.name, digests[1]))
            #expect(try store.repository.digest(alias: sha512, domain: .standard) != nil)
            let found = try store.repository.catalog.read {
                try $0.derivedImage(tree: image.tree, options: [1, 2], domain: .standard)
            }
            #expect(found == image)
        }
    }

    @Test func `a purge of a layer ends its links, and it is not taken again`() throws {
        let store = try TestStore()
        let contents = blobs(2, 71)
        let digests = try contents.map { try store.repository.uploadBlob($0, to: Self.name) }
        _ = try store.repository.put(Self.name, "one", tags: ["a"], blobs: digests)
        let task = try PurgeTask(
            store.repository,
            MaintenanceRequest(kind: .purge, digest: digests[0], reason: "a key"),
            domain: .standard)
        while try task.step() {}
        #expect(try !store.repository.hasLink(Self.name, digests[0]))
        #expect(try store.repository.hasLink(Self.name, digests[1]))
        #expect(
            try code { try store.repository.uploadBlob(contents[0], to: Self.name) }
                == .failedPrecondition)
        let lacking = try store.repository.catalog.read {
            try store.repository.lacking(inImage: Digest.of(Array("one".utf8)), $0, .standard)
        }
        #expect(lacking == [digests[0]])
        _ = try store.rebuild()
        #expect(try !store.repository.hasLink(Self.name, digests[0]))
        #expect(try store.repository.hasLink(Self.name, digests[1]))
    }

    @Test func `why says by which image a chunk of a layer is kept`() throws {
        let store = try TestStore()
        let digest = try store.repository.uploadBlob(blobs(1, 81)[0], to: Self.name)
        _ = try store.repository.put(Self.name, "child", blobs: [digest])
        _ = try store.repository.put(Self.name, "index", tags: ["a"]) {
            $0.manifests = [Digest.of(Array("child".utf8))]
        }
        wait(store)
        let chunk = try #require(
            try store.repository.catalog.read {
                try $0.chunkList(of: digest, domain: .standard)
            }?.chunks.first)
        let search = try RootSearch(store.repository, chunk, domain: .standard)
        while try search.step() {}
        #expect(search.progress.findings.map(\.kind) == ["ref"])
        #expect(search.progress.findings.first?.name == "team/image:a")
    }

    @Test func `a scrub names the tag whose image lacks a blob`() throws {
        let store = try TestStore()
        let digest = try store.repository.uploadBlob(blobs(1, 91)[0], to: Self.name)
        _ = try store.repository.put(Self.name, "one", tags: ["a"], blobs: [digest])
        #expect(try ScrubTests.scrub(store.repository).findings.isEmpty)
        let chunk = try #require(
            try store.repository.catalog.read {
                try $0.chunkList(of: digest, domain: .standard)
            }?.chunks.first)
        try store.repository.catalog.write { try $0.remove(locations: [chunk], domain: .standard) }
        let findings = try ScrubTests.scrub(store.repository).findings
        #expect(findings.contains { $0.kind == "ref" && $0.name == "team/image:a" })
        #expect(findings.contains { $0.kind == "lacks" && $0.digest == digest })
        #expect(
            try store.repository.put(Self.name, "two", blobs: [digest]) == .missing([digest]),
            "a client is asked for it again")
        try store.repository.uploadBlob(blobs(1, 91)[0], to: Self.name)
        #expect(try store.repository.blobBytes(digest) == blobs(1, 91)[0])
    }

    @Test func `a derived layer keeps its tree, and a tree its images`() throws {
        let store = try TestStore()
        let tree = try SampleTree.random(95)
        let response = try store.repository.push(tree, to: "team/project")
        let manifest = Array("derived manifest".utf8)
        let layer = Digest.of(Array("layer".utf8))
        let manifestDigest = try store.repository.uploadBlob(manifest, to: "team/scratch")
        let config = try store.repository.uploadBlob([5], to: "team/scratch")
        let image = DerivedImage(
            tree: response.tree, options: [], manifest: manifestDigest, mediaType: "m",
            config: config, layers: [DerivedLayer(digest: layer, size: 9, format: 1, part: [])],
            created: store.clock.now())
        try store.repository.catalog.write {
            try $0.insert(derivedImage: image, domain: .standard)
        }
        #expect(try store.repository.link("team/project", layer, domain: .standard)?.size == 9)
        #expect(try store.repository.hasLink("team/project", manifestDigest, .manifest))
        #expect(try !store.repository.hasLink("team/other", layer))
        #expect(
            try store.repository.put("team/other", "own", tags: ["a"], blobs: [layer])
                == .missing([layer]))
        #expect(
            try store.repository.mount(
                layer, from: "team/project", to: "team/other", domain: .standard))
        _ = try store.repository.put("team/other", "own", tags: ["a"], blobs: [layer])
        wait(store)
        try store.repository.collectAll()
        #expect(try store.repository.blobBytes(manifestDigest) == manifest)
        try store.repository.removeRef(
            try RefName("team/project"), .any, Self.provenance, domain: .standard)
        #expect(
            try store.repository.hasLink("team/project", layer), "its history still has it")
        wait(store, days: 40)
        try store.repository.collectAll()
        #expect(try store.repository.hasLink("team/other", layer), "another image has the layer")
        for (digest, content) in tree.files {
            #expect(try store.repository.blobBytes(digest) == content)
        }
        #expect(try !store.repository.hasLink("team/project", layer))
        try store.repository.removeRef(
            try RefName("team/other:a"), .any, Self.provenance, domain: .standard)
        wait(store, days: 40)
        try store.repository.collectAll()
        #expect(try locations(store) == 0)
        #expect(try !store.repository.hasLink("team/other", layer))
    }
}
