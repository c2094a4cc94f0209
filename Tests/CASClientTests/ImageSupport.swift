import CASClient
import CASCore
import CASOCI
import CASRepository
import CASTestSupport
import CASWire
import Testing

/// Pushes images as the registry's door does.
struct ImagePusher {
    static let manifestType = "application/vnd.oci.image.manifest.v1+json"
    static let indexType = "application/vnd.oci.image.index.v1+json"

    let repository: Repository
    let name: String

    init(_ store: LocalStore, _ name: String) {
        repository = store.repository
        self.name = name
    }

    @discardableResult
    func blob(_ bytes: [UInt8], expecting: OCIDigest? = nil) throws -> Digest {
        let identifier = try repository.beginUpload(name, domain: .standard)
        let writer = try repository.append(name, identifier, at: nil, domain: .standard)
        try bytes.withUnsafeBytes { try writer.write($0) }
        _ = try writer.checkpoint()
        return try repository.finishUpload(
            name, identifier, expecting: expecting ?? .sha256(Digest.of(bytes)), domain: .standard)
    }

    /// An image of a configuration and these layers, all of which are there.
    @discardableResult
    func manifest(
        _ config: [UInt8], _ layers: [(digest: OCIDigest, size: Int)], tags: [String] = [],
        about subject: (digest: Digest, size: Int)? = nil,
        key: (OCIDigest) -> Digest? = { _ in nil }
    ) throws -> Digest {
        let named = layers.map { layer in
            ImagePusher.descriptor(
                "application/vnd.oci.image.layer.v1.tar", layer.digest, layer.size)
        }
        let about =
            subject.map {
                ",\"subject\":"
                    + ImagePusher.descriptor(
                        ImagePusher.manifestType, .sha256($0.digest), $0.size)
            } ?? ""
        let text =
            "{\"schemaVersion\":2,\"mediaType\":\"\(ImagePusher.manifestType)\",\"config\":"
            + ImagePusher.descriptor(
                "application/vnd.oci.image.config.v1+json", .sha256(Digest.of(config)),
                config.count)
            + ",\"layers\":[\(named.joined(separator: ","))]\(about)}"
        var manifest = NewManifest(
            name: name, bytes: Array(text.utf8), mediaType: ImagePusher.manifestType)
        manifest.artifactType = "application/vnd.oci.image.config.v1+json"
        manifest.subject = subject?.digest
        manifest.tags = tags
        manifest.isByDigest = tags.isEmpty
        manifest.blobs =
            try [Digest.of(config)]
            + layers.map { layer in
                if case .sha256(let digest) = layer.digest { return digest }
                return try #require(key(layer.digest))
            }
        return try put(manifest)
    }

    /// An index of these manifests.
    @discardableResult
    func index(_ manifests: [(digest: Digest, size: Int)], tags: [String]) throws -> Digest {
        let named = manifests.map {
            ImagePusher.descriptor(ImagePusher.manifestType, .sha256($0.digest), $0.size)
        }
        let text =
            "{\"schemaVersion\":2,\"mediaType\":\"\(ImagePusher.indexType)\",\"manifests\":"
            + "[\(named.joined(separator: ","))]}"
        var manifest = NewManifest(
            name: name, bytes: Array(text.utf8), mediaType: ImagePusher.indexType)
        manifest.tags = tags
        manifest.manifests = manifests.map(\.digest)
        return try put(manifest)
    }

    private func put(_ manifest: NewManifest) throws -> Digest {
        let result = try repository.putManifest(manifest, domain: .standard)
        guard case .done(let digest) = result else {
            throw CASError(.internalError, "the manifest was not put: \(result)")
        }
        return digest
    }

    static func descriptor(_ type: String, _ digest: OCIDigest, _ size: Int) -> String {
        "{\"mediaType\":\"\(type)\",\"digest\":\"\(digest)\",\"size\":\(size)}"
    }
}

extension LocalStore {
    /// All bytes of a blob; nil if there is none.
    func blobBytes(_ digest: Digest) throws -> [UInt8]? {
        guard let reader = try repository.blobReader(digest, domain: .standard) else { return nil }
        var bytes: [UInt8] = []
        try reader.read(0..<reader.size) { bytes += $0 }
        return bytes
    }

    func size(_ digest: Digest) throws -> Int { try #require(try blobBytes(digest)).count }

    func hasLink(_ name: String, _ digest: Digest, _ kind: OCILink.Kind) throws -> Bool {
        try repository.link(name, digest, kind: kind, domain: .standard) != nil
    }

    /// The manifest of the image that a ref's snapshot is.
    func derived(_ ref: RefName) throws -> Digest {
        let entry = try #require(try repository.ref(ref, domain: .standard))
        return try #require(try repository.derivedManifest(entry, domain: .standard))
    }
}

/// An index of one image with a small and a large layer, and a signature of that image, under `team/app:v1`.
struct SampleIndex {
    let config = Array("{\"os\":\"linux\"}".utf8)
    let small = Array("a layer".utf8)
    let large = SeededGenerator.text(seed: 7, count: 1_500_000)
    let image: Digest
    let index: Digest
    let signature: Digest
    let signed = Array("signed".utf8)

    var blobs: [Digest] { [config, small, large, signed].map { Digest.of($0) } }
    var manifests: [Digest] { [image, index, signature] }

    init(_ store: LocalStore) throws {
        let pusher = ImagePusher(store, "team/app")
        for bytes in [config, small, large, signed] { try pusher.blob(bytes) }
        image = try pusher.manifest(
            config,
            [small, large].map { (.sha256(Digest.of($0)), $0.count) })
        index = try pusher.index([(image, try store.size(image))], tags: ["v1"])
        signature = try pusher.manifest(
            config, [(.sha256(Digest.of(signed)), signed.count)],
            about: (image, try store.size(image)))
    }

    /// Whether a store serves all of it under a name.
    func check(_ store: LocalStore, as name: String = "team/app") throws {
        for blob in blobs { #expect(try store.hasLink(name, blob, .blob)) }
        for manifest in manifests { #expect(try store.hasLink(name, manifest, .manifest)) }
        #expect(try store.blobBytes(Digest.of(large)) == large)
        #expect(try store.blobBytes(Digest.of(small)) == small)
        let link = try store.repository.link(name, index, kind: .manifest, domain: .standard)
        #expect(link?.mediaType == ImagePusher.indexType && link?.parts == [image])
        let about = try store.repository.referrers(
            name, to: image, after: nil, limit: 10, domain: .standard)
        #expect(about.map(\.digest) == [signature])
    }
}
