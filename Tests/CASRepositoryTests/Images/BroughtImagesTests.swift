import CASCatalog
import CASCore
import CASFileSystem
import CASOCI
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// Commits that bring images, as `cas copy` and `cas import` make them: all of it, or nothing.
@Suite struct BroughtImagesTests {
    /// Images of one name, with the records of what they are made of.
    private struct Bringing {
        static let type = "application/vnd.oci.image.manifest.v1+json"
        var contents: ImageContents
        var records: [(digest: Digest, bytes: [UInt8])] = []
        /// What manifests are said to be made of, by the SHA-256 of it.
        private var names: [Digest: OCIDigest] = [:]
        private var random: SeededGenerator

        init(_ name: String, seed: UInt64 = 1) {
            contents = ImageContents(name: name)
            random = SeededGenerator(seed: seed)
        }

        /// Adds a blob, which manifests name by its SHA-512 if wanted.
        @discardableResult
        mutating func blob(
            _ bytes: [UInt8], bySHA512: Bool = false, isSent: Bool = true
        ) -> Digest {
            let digest = Digest.of(bytes)
            let alias = bytes.withUnsafeBytes { SHA512Hasher.of($0) }
            names[digest] = bySHA512 ? .sha512(alias) : .sha256(digest)
            contents.blobs.append(
                ImageBlob(
                    digest: digest, size: UInt64(bytes.count), sha512: bySHA512 ? alias : []))
            if isSent { records.append((digest, bytes)) }
            return digest
        }

        mutating func blob(random count: Int) -> Digest { blob(random.bytes(count)) }

        /// Has manifests name something that does not come along.
        mutating func call(_ bytes: [UInt8], _ name: OCIDigest) { names[Digest.of(bytes)] = name }

        /// Adds an image: its configuration is the first of its blobs.
        @discardableResult
        mutating func image(_ blobs: [Digest], isRoot: Bool = false) -> Digest {
            let items = blobs.map { blob in
                let name = names[blob]?.description ?? blob.description
                return "{\"mediaType\":\"a/b\",\"digest\":\"\(name)\",\"size\":1}"
            }
            let bytes = Array(
                ("{\"schemaVersion\":2,\"mediaType\":\"\(Bringing.type)\",\"config\":\(items[0]),"
                    + "\"layers\":[\(items.dropFirst().joined(separator: ","))]}").utf8)
            contents.manifests.append(
                ImageManifestEntry(
                    digest: Digest.of(bytes), size: UInt64(bytes.count),
                    mediaType: Bringing.type, isRoot: isRoot))
            records.append((Digest.of(bytes), bytes))
            return Digest.of(bytes)
        }

        func request(_ ref: String, _ manifest: Digest) throws -> PushRequest {
            var request = PushRequest(
                pushID: .random(), ref: try RefName(ref), snapshot: manifest)
            request.kind = .manifest
            request.images = [contents]
            return request
        }
    }

    @discardableResult
    private func commit(
        _ store: TestStore, _ request: PushRequest, _ bringings: Bringing...
    ) throws -> PushResponse {
        let records = ReusableBuffer(capacity: 1 << 16)
        for (digest, bytes) in bringings.flatMap(\.records) {
            RecordCoding.append(kind: .chunk, digest: digest, payload: bytes, to: records)
        }
        return try store.repository.commit(
            request, records: records.bytes, trusted: false, domain: .standard)
    }

    private func expectNothing(
        _ store: TestStore, _ location: SourceLocation = #_sourceLocation
    ) throws {
        #expect(
            try store.repository.repositories(after: nil, limit: 9, domain: .standard).isEmpty,
            sourceLocation: location)
        _ = try store.rebuild()
        #expect(
            try store.repository.repositories(after: nil, limit: 9, domain: .standard).isEmpty,
            "after a rebuild", sourceLocation: location)
    }

    private func digest(_ text: String) -> Digest { Digest.of(Array(text.utf8)) }

    // MARK: - Limits and quotas

    @Test func `a commit of which a later image is too large links none of the earlier ones`()
        throws
    {
        let store = try TestStore { $0.limits.imageParts = 4 }
        var bringing = Bringing("team/app")
        let blobs = (0..<5).map { _ in bringing.blob(random: 20) }
        let small = bringing.image(Array(blobs[0..<2]))
        bringing.image(blobs)
        let request = try bringing.request("team/app:v1", small)
        #expect(try code { try commit(store, request, bringing) } == .resourceExhausted)
        try expectNothing(store)
    }

    @Test func `how much one commit looks up for the sizes of its images is limited`() throws {
        let store = try TestStore { $0.limits.imagePartsPerCommit = 8 }
        var bringing = Bringing("team/app")
        let blobs = (0..<3).map { _ in bringing.blob(random: 20) }
        let small = bringing.image(blobs)
        // The tagged one is added up for its ref too.
        let request = try bringing.request("team/app:v1", small)
        #expect(try commit(store, request, bringing).outcome == .done)
        bringing.image(blobs.reversed())
        let more = try bringing.request("team/app:v2", small)
        #expect(try code { try commit(store, more, bringing) } == .resourceExhausted)
        #expect(try store.repository.ref(try RefName("team/app:v2"), domain: .standard) == nil)
    }

    @Test func `a quota counts all that a commit brings by digest alone, of all names`() throws {
        let store = try TestStore()
        var rule = RetentionRule(pattern: "team/*")
        rule.quota = 6_000
        _ = try store.repository.set(rule: rule, domain: .standard)
        func bring(_ lone: [Int], _ seed: UInt64) throws {
            var (first, second) = (
                Bringing("team/app", seed: seed), Bringing("team/other", seed: 9)
            )
            let config = first.blob(Array("{}".utf8))
            second.blob(Array("{}".utf8))
            let tagged = first.image([config])
            for (index, count) in lone.enumerated() {
                if index == 1 {
                    second.image([config, second.blob(random: count)], isRoot: true)
                } else {
                    first.image([config, first.blob(random: count)], isRoot: true)
                }
            }
            var request = try first.request("team/app:v1", tagged)
            request.images.append(second.contents)
            try commit(store, request, first, second)
        }
        #expect(try code { try bring([1_800, 1_800, 1_800], 1) } == .resourceExhausted)
        try expectNothing(store)
        try bring([1_800, 1_800], 1)
        #expect(try code { try bring([1_800, 1_800, 1_800], 1) } == .resourceExhausted)
        // Again, and below what there is by now: nothing becomes more.
        rule.quota = 1_000
        _ = try store.repository.set(rule: rule, domain: .standard)
        try bring([1_800, 1_800], 1)
        #expect(try code { try bring([1_800, 1_800, 0], 1) } == .resourceExhausted)
        let links = try store.repository.links(
            "team/app", kind: .manifest, after: nil, limit: 9, domain: .standard)
        #expect(links.count == 2 && links.count(where: { $0.loneBytes > 0 }) == 1)
    }

    @Test func `manifests of one commit count together, each once`() throws {
        var (first, second) = (Bringing("team/app"), Bringing("team/app", seed: 2))
        let one = first.image([first.blob(Array("{}".utf8)), first.blob(random: 20)])
        let two = second.image([second.blob(Array("{}".utf8)), second.blob(random: 20)])
        let size = first.records.map(\.bytes.count).max() ?? 0
        let store = try TestStore { $0.limits.broughtManifestBytes = size + 10 }
        func request(_ images: [ImageContents]) throws -> PushRequest {
            var request = try first.request("team/app:v1", one)
            var other = try second.request("team/app:v2", images.isEmpty ? one : two)
            other.images = images
            request.others = [other]
            return request
        }
        let both = try request([second.contents])
        #expect(try code { try commit(store, both, first, second) } == .resourceExhausted)
        try expectNothing(store)
        // What another request of the commit brings, or both, is read once.
        #expect(try commit(store, try request([]), first).outcome == .done)
        var twice = try request([first.contents])
        twice.others[0].snapshot = one
        twice.others[0].ref = try RefName("team/app:v3")
        #expect(try commit(store, twice, first).others.map(\.outcome) == [.done])
        for tag in ["v1", "v2", "v3"] {
            let entry = try store.repository.ref(try RefName("team/app:\(tag)"), domain: .standard)
            #expect(entry?.target == RefTarget(kind: .manifest, digest: one))
        }
    }

    @Test func `the bytes of a manifest are not kept while it waits for its commit`() throws {
        let put = try ManifestPut(
            NewManifest(name: "team/app", bytes: Array("{}".utf8), mediaType: "a/b"), .standard)
        #expect(put.manifest.bytes.isEmpty && put.size == 2 && put.digest == digest("{}"))
    }

    // MARK: - What is missing

    @Test func `a blob that lacks is missing, by whatever digest a manifest names it`() throws {
        let store = try TestStore()
        for bySHA512 in [false, true] {
            var bringing = Bringing("team/app")
            let config = bringing.blob(Array("{}".utf8))
            let layer = bringing.blob(
                Array("layer".utf8), bySHA512: bySHA512, isSent: false)
            let image = bringing.image([config, layer])
            let request = try bringing.request("team/app:v1", image)
            let response = try commit(store, request, bringing)
            #expect(response.outcome == .missing && response.missing == [layer])
            #expect(response.missingCount == 1)
        }
        try expectNothing(store)
    }

    @Test func `what another name has by a SHA-512 is answered as what nobody has`() throws {
        let store = try TestStore()
        let bytes = Array("secret".utf8)
        let alias = OCIDigest.sha512(bytes.withUnsafeBytes { SHA512Hasher.of($0) })
        var bringing = Bringing("team/app")
        let config = bringing.blob(Array("{}".utf8))
        bringing.call(bytes, alias)
        let image = bringing.image([config, Digest.of(bytes)])
        for isThere in [false, true] {
            if isThere {
                try store.repository.uploadBlob(bytes, to: "other/app", expecting: alias)
            }
            let request = try bringing.request("team/app:v1", image)
            let response = try commit(store, request, bringing)
            #expect(response.outcome == .missing && response.missing == [alias.stand])
            #expect(response.missingCount == 1)
            #expect(try !store.repository.hasLink("team/app", image))
        }
        try store.repository.uploadBlob(bytes, to: "team/app", expecting: alias)
        let request = try bringing.request("team/app:v1", image)
        #expect(try commit(store, request, bringing).outcome == .done)
        let link = try store.repository.link(
            "team/app", image, kind: .manifest, domain: .standard)
        #expect(link?.parts.contains(Digest.of(bytes)) == true)
    }

    @Test func `a layer that was made of a tree which is gone is missing`() throws {
        let store = try TestStore()
        var bringing = Bringing("team/app")
        let config = bringing.blob(Array("{}".utf8))
        let layer = bringing.blob(Array("layer".utf8), isSent: false)
        let made = DerivedImage(
            tree: digest("tree"), options: [], manifest: digest("manifest"), mediaType: "a/b",
            config: config,
            layers: [DerivedLayer(digest: layer, size: 5, format: 1, part: [], key: layer)],
            created: store.clock.now())
        try store.memoryCatalog.write { try $0.insert(derivedImage: made, domain: .standard) }
        let image = bringing.image([config, layer])
        let response = try commit(store, try bringing.request("team/app:v1", image), bringing)
        #expect(response.outcome == .missing && response.missing == [layer])
    }

    @Test func `an image of which the store lost a part gets no further tag`() throws {
        let store = try TestStore()
        var bringing = Bringing("team/app")
        let layer = bringing.blob(random: 300)
        let image = bringing.image([bringing.blob(Array("{}".utf8)), layer])
        #expect(
            try commit(store, try bringing.request("team/app:v1", image), bringing).outcome == .done
        )
        var further = try bringing.request("team/app:v2", image)
        further.images = []
        try store.memoryCatalog.write { try $0.remove(locations: [layer], domain: .standard) }
        let response = try commit(store, further)
        #expect(response.outcome == .missing && response.missing == [layer])
        #expect(try commit(store, further, bringing).outcome == .done)
    }

    @Test func `a blob that is named by both of its digests is listed with both`() throws {
        let store = try TestStore()
        var bringing = Bringing("team/app")
        let config = bringing.blob(Array("{}".utf8))
        let layer = bringing.blob(Array("layer".utf8), bySHA512: true)
        bringing.call(Array("by its SHA-256".utf8), .sha256(layer))
        let image = bringing.image([config, digest("by its SHA-256"), layer])
        try commit(store, try bringing.request("team/app:v1", image), bringing)
        let found = try store.repository.images(of: image, name: "team/app", domain: .standard)
        #expect(found.images == [bringing.contents])
        let other = try TestStore()
        var request = try bringing.request("team/app:v1", image)
        request.images = found.images
        #expect(try commit(other, request, bringing).outcome == .done)
    }

    @Test func `the image that a snapshot is gets a tag of its own only if it is brought`() throws {
        let store = try TestStore()
        try store.repository.push(try SampleTree.random(7, largestFile: 900), to: "team/app")
        let image = try PulledImage(store.repository, "team/app")
        func request(_ ref: String, _ digest: Digest) throws -> PushRequest {
            try Bringing("team/app").request(ref, digest)
        }
        for (name, digest) in [
            ("team/app:v1", image.digest), ("other/app:v1", image.digest),
            ("team/app:v1", digest("nothing")),
        ] {
            var request = try request(name, digest)
            request.images = []
            let response = try commit(store, request)
            #expect(response.outcome == .missing && response.missing == [digest], "\(name)")
            #expect(try store.repository.ref(try RefName(name), domain: .standard) == nil)
        }
        var brought = try request("team/app:v1", image.digest)
        brought.images[0].manifests = [
            ImageManifestEntry(
                digest: image.digest, size: UInt64(image.bytes.count),
                mediaType: image.manifest.mediaType)
        ]
        #expect(try commit(store, brought).outcome == .done)
        // It stays what it is without the snapshot.
        try store.repository.removeRef(
            try RefName("team/app"), .any, Provenance(), domain: .standard)
        store.clock.advance(nanoseconds: 40 * 86_400_000_000_000)
        try store.repository.collectAll()
        try store.repository.collectAll()
        #expect(try store.repository.hasLink("team/app", image.digest, .manifest))
        #expect(try PulledImage(store.repository, digest: image.digest).layers == image.layers)
    }

    @Test func `an index holds what comes with it, and a subject what is about it, in any order`()
        throws
    {
        let store = try TestStore()
        var bringing = Bringing("team/app")
        let config = bringing.blob(Array("{}".utf8))
        let child = bringing.image([config, bringing.blob(random: 30)], isRoot: true)
        let type = "application/vnd.oci.image.index.v1+json"
        func descriptor(_ digest: Digest) -> String {
            "{\"mediaType\":\"\(Bringing.type)\",\"digest\":\"\(digest)\",\"size\":1}"
        }
        func add(_ text: String, _ type: String) -> Digest {
            let bytes = Array(text.utf8)
            bringing.records.append((Digest.of(bytes), bytes))
            bringing.contents.manifests.insert(
                ImageManifestEntry(
                    digest: Digest.of(bytes), size: UInt64(bytes.count), mediaType: type,
                    isRoot: true), at: 0)
            return Digest.of(bytes)
        }
        let index = add(
            "{\"schemaVersion\":2,\"mediaType\":\"\(type)\",\"manifests\":[\(descriptor(child))]}",
            type)
        let about = add(
            "{\"schemaVersion\":2,\"mediaType\":\"\(type)\",\"manifests\":[],"
                + "\"subject\":\(descriptor(child))}", type)
        try commit(store, try bringing.request("team/app:v1", index), bringing)
        for digest in [index, child, about] {
            let link = try store.repository.link(
                "team/app", digest, kind: .manifest, domain: .standard)
            #expect(link?.isRoot == false)
            #expect((link?.loneBytes ?? 0 > 0) == (digest == about))
        }
    }
}
