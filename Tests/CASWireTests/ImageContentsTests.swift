import CASCore
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Testing

/// Images on their way between stores: messages, and the example of Export.md.
@Suite struct ImageContentsTests {
    private static let config = Array("{}".utf8)
    private static let type = "application/vnd.oci.image.manifest.v1+json"
    private static var manifest: [UInt8] {
        Array(
            ("{\"schemaVersion\":2,\"mediaType\":\"\(type)\",\"config\":{\"mediaType\":"
                + "\"application/vnd.oci.image.config.v1+json\",\"digest\":"
                + "\"\(Digest.of(config))\",\"size\":2},\"layers\":[]}").utf8)
    }
    private static var contents: ImageContents {
        ImageContents(
            name: "team/app",
            manifests: [
                ImageManifestEntry(
                    digest: Digest.of(manifest), size: UInt64(manifest.count), mediaType: type)
            ],
            blobs: [ImageBlob(digest: Digest.of(config), size: 2)])
    }

    /// An export of one image.
    private static func make() throws -> (bytes: [UInt8], manifest: ExportManifest) {
        let ref = try RefName("team/app:v1")
        let entry = RefEntry(
            name: ref, target: RefTarget(kind: .manifest, digest: Digest.of(Self.manifest)),
            tree: nil, totals: TreeTotals(files: 2, bytes: UInt64(Self.manifest.count) + 2),
            sequence: 7, moved: Timestamp(seconds: 1_795_525_200),
            provenance: Provenance(time: Timestamp(seconds: 1_795_525_200)), expires: nil)
        let manifest = ExportManifest(
            refs: [entry], software: "0.1.0", created: Timestamp(seconds: 1_795_525_260),
            images: [RefImages(ref: ref, images: [contents])])
        let buffer = ReusableBuffer()
        buffer.append(ExportFormat.head(manifest))
        for payload in [Self.manifest, config] {
            RecordCoding.append(
                kind: .chunk, digest: Digest.of(payload), payload: payload, to: buffer)
        }
        RecordCoding.appendMark(kind: .end, to: buffer)
        buffer.append(Digest.of(buffer.bytes).bytes)
        return (Array(buffer.bytes), manifest)
    }

    private static func decode(_ bytes: [UInt8]) throws -> (ExportManifest?, [Digest]) {
        var manifest: ExportManifest?
        var digests: [Digest] = []
        var decoder = ExportDecoder()
        try bytes.withUnsafeBytes {
            try decoder.push(
                $0, onManifest: { manifest = $0 },
                onRecord: { digests.append($0.header.digest) })
        }
        try decoder.finish()
        return (manifest, digests)
    }

    @Test func `the example of an image in the page`() throws {
        let example = try DocumentExamples("Sources/CASWire/CASWire.docc/Export.md").example(
            "image-export")
        let (bytes, manifest) = try Self.make()
        #expect(example == bytes, "\(Hexadecimal.encode(bytes))")
        let (decoded, digests) = try Self.decode(example)
        #expect(decoded == manifest)
        #expect(digests == Self.contents.digests)
    }

    @Test func `messages come back as they were`() throws {
        let alias = [UInt8](repeating: 5, count: SHA512Hasher.byteCount)
        var contents = Self.contents
        contents.manifests.append(
            ImageManifestEntry(
                digest: Samples.other, size: 9, mediaType: "m", isRoot: true, sha512: alias,
                isBySHA512: true))
        contents.blobs.append(
            ImageBlob(digest: Samples.other, size: 1 << 40, isDerived: true, sha512: alias))
        #expect(try ImageContents(decoding: contents.encode()) == contents)
        let images = RefImages(
            ref: try RefName("team/app:v1"), images: [contents, Self.contents],
            derived: Samples.digest, unreadable: ["team/base"])
        #expect(try RefImages(decoding: images.encode()) == images)
        #expect(!images.isEmpty && RefImages(ref: images.ref).isEmpty)
        let unfinished = RefImages.unfinished(try RefName("team/app:v1"))
        #expect(unfinished.isUnfinished && !images.isUnfinished)
        #expect(try RefImages(decoding: unfinished.encode()) == unfinished)
        var push = try Samples.imagePush()
        push.kind = .manifest
        push.images = [contents]
        push.others[0].images = [Self.contents]
        #expect(try PushRequest(decoding: push.encode()) == push)
        #expect(push.target == RefTarget(kind: .manifest, digest: push.snapshot))
        var description = try Samples.describedAbilities()
        description.takesImages = true
        #expect(try StoreDescription(decoding: description.encode()) == description)
        let (_, manifest) = try Self.make()
        #expect(try ExportManifest(decoding: manifest.encode()) == manifest)
    }

    @Test func `what is too much or makes no sense is refused`() throws {
        var limits = Limits.standard
        limits.imageManifests = 1
        limits.imagesPerRef = 1
        var many = Self.contents
        many.manifests += many.manifests
        let bytes = many.encode()
        #expect(throws: CASError.self) {
            try bytes.withUnsafeBytes { try ImageContents(decoding: $0, limits: limits) }
        }
        let twice = RefImages(ref: nil, images: [Self.contents, Self.contents]).encode()
        #expect(throws: CASError.self) {
            try twice.withUnsafeBytes { try RefImages(decoding: $0, limits: limits) }
        }
        // Each would be read and hashed as often as it is named.
        for repeated in [
            ImageContents(name: "team/app", manifests: many.manifests),
            ImageContents(name: "team/app", blobs: Self.contents.blobs + Self.contents.blobs),
        ] {
            #expect(throws: CASError.self) { try ImageContents(decoding: repeated.encode()) }
        }
        var short = Self.contents
        short.blobs[0].sha512 = [1]
        #expect(throws: CASError.self) { try ImageContents(decoding: short.encode()) }
        var nameless = Self.contents
        nameless.name = ""
        #expect(throws: CASError.self) { try ImageContents(decoding: nameless.encode()) }
        nameless.name = "../up"
        #expect(throws: CASError.self) { try ImageContents(decoding: nameless.encode()) }
        var push = try Samples.push().encode()
        push.append(field: 11, varint: 9)
        #expect(throws: CASError.self) { try PushRequest(decoding: push) }
        var (_, manifest) = try Self.make()
        let images = manifest.images[0]
        for wrong in [
            [images, images], [RefImages(ref: nil, images: images.images)],
            [RefImages(ref: try RefName("team/other"))],
        ] {
            manifest.images = wrong
            let error = #expect(throws: CASError.self) {
                try ExportManifest(decoding: manifest.encode())
            }
            #expect(error?.code == .dataLoss)
        }
    }
}
