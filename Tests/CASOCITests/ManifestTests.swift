import CASCore
import CASOCI
import Testing

/// What a registry reads in manifests, and how ours are written.
@Suite struct ManifestTests {
    private static let first = OCIDigest.of([1])
    private static let second = OCIDigest.of([2])
    private static let third = OCIDigest.of([3])

    private static func descriptor(_ digest: OCIDigest, _ type: String, _ more: String = "")
        -> String
    {
        #"{"mediaType":"\#(type)","digest":"\#(digest)","size":1\#(more)}"#
    }

    private static func image(_ layers: String, _ more: String = "") -> String {
        #"{"schemaVersion":2,"mediaType":"\#(MediaType.imageManifest)","#
            + #""config":\#(descriptor(first, MediaType.imageConfig)),"layers":[\#(layers)]\#(more)}"#
    }

    private static func index(_ manifests: String, _ more: String = "") -> String {
        #"{"schemaVersion":2,"mediaType":"\#(MediaType.imageIndex)","manifests":[\#(manifests)]\#(more)}"#
    }

    private static func read(_ text: String, _ type: String?) throws -> ManifestSummary {
        try ManifestSummary(Array(text.utf8), contentType: type)
    }

    private static func refusal(_ text: String, _ type: String?) -> RegistryError.Code? {
        let error = #expect(throws: RegistryError.self, "\(text)") { try read(text, type) }
        return error?.code
    }

    @Test func `an image`() throws {
        let layer = Self.descriptor(Self.second, MediaType.imageLayerGzip)
        let summary = try Self.read(
            Self.image(layer + "," + layer, #","annotations":{"a":"b"},"x":[{}]"#),
            MediaType.imageManifest + "; charset=utf-8")
        #expect(summary.kind == .image && summary.mediaType == MediaType.imageManifest)
        #expect(summary.artifactType == MediaType.imageConfig && summary.subject == nil)
        #expect(summary.annotations == ["a": "b"])
        #expect(summary.requiredBlobs == [Self.first, Self.second])
        #expect(summary.requiredManifests.isEmpty && summary.optional.isEmpty)
        #expect(try Self.read(Self.image(""), nil).requiredBlobs == [Self.first])
    }

    @Test func `an artifact with a subject`() throws {
        let subject = Self.descriptor(Self.third, MediaType.imageManifest)
        let summary = try Self.read(
            Self.image("", #","artifactType":"a/b","subject":\#(subject)"#),
            MediaType.imageManifest)
        #expect(summary.artifactType == "a/b" && summary.subject?.digest == Self.third)
        #expect(!summary.members.contains { $0.digest == Self.third })
    }

    @Test func `layers that are elsewhere need not be here`() throws {
        let foreign = Self.descriptor(
            Self.second, "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip")
        let linked = Self.descriptor(
            Self.third, MediaType.imageLayer, #","urls":["https://example.org/x"]"#)
        let summary = try Self.read(Self.image(foreign + "," + linked), MediaType.imageManifest)
        #expect(summary.requiredBlobs == [Self.first])
        #expect(summary.optional == [Self.second, Self.third])
    }

    @Test func `an index, of manifests and of BuildKit's layers`() throws {
        let summary = try Self.read(
            Self.index(
                [
                    Self.descriptor(Self.first, MediaType.imageManifest),
                    Self.descriptor(Self.second, MediaType.imageLayerGzip),
                    Self.descriptor(Self.third, "application/x-new"),
                ].joined(separator: ",")), MediaType.imageIndex)
        #expect(summary.kind == .index && summary.artifactType.isEmpty)
        #expect(summary.requiredManifests == [Self.first])
        #expect(summary.requiredBlobs == [Self.second] && summary.optional == [Self.third])
        #expect(try Self.read(Self.index(""), MediaType.imageIndex).members.isEmpty)
        let typed = Self.index("", #","artifactType":"a/b""#)
        #expect(try Self.read(typed, MediaType.imageIndex).artifactType == "a/b")
    }

    @Test func `a manifest of a type from elsewhere`() throws {
        let blob = Self.descriptor(Self.second, "a/b")
        let summary = try Self.read(
            #"{"mediaType":"\#(MediaType.artifactManifest)","artifactType":"c/d","blobs":[\#(blob),7]}"#,
            MediaType.artifactManifest)
        #expect(summary.kind == .other && summary.artifactType == "c/d")
        #expect(summary.optional == [Self.second] && summary.requiredBlobs.isEmpty)
        #expect(try Self.read("{}", "application/x-y").mediaType == "application/x-y")
    }

    @Test func `refused manifests`() {
        let layer = Self.descriptor(Self.second, MediaType.imageLayer)
        let type = MediaType.imageManifest
        for (text, type) in [
            ("", type), ("{", type), ("[]", type), ("{}", type), ("{}", nil), ("{}", "nonsense"),
            (Self.image(layer), MediaType.imageIndex),
            (Self.image(layer, #","manifests":[]"#), type),
            (Self.index("", #","layers":[]"#), MediaType.imageIndex),
            (Self.image(#"{"digest":"sha256:x","size":1}"#), type),
            (Self.image(#"{"digest":"\#(Self.first)"}"#), type),
            (Self.image(#"{"digest":"\#(Self.first)","size":-1}"#), type),
            (Self.image(#"{"digest":"blake3:ab","size":1}"#), type), (Self.image("7"), type),
            (Self.image("", #","subject":{"digest":"x","size":1}"#), type),
            (#"{"schemaVersion":1,"fsLayers":[]}"#, MediaType.imageManifest),
            (
                #"{"schemaVersion":1}"#,
                "application/vnd.docker.distribution.manifest.v1+prettyjws"
            ),
        ] as [(String, String?)] {
            #expect(Self.refusal(text, type) == .manifestInvalid, "\(text)")
        }
        let large = "{\"a\":\"" + String(repeating: "x", count: 4 << 20) + "\"}"
        #expect(Self.refusal(large, "a/b") == .sizeInvalid)
    }

    @Test func `a large manifest`() throws {
        let annotations = JSON.map(
            Dictionary(
                uniqueKeysWithValues: (0..<390).map {
                    ("key-\($0)", String(repeating: "v", count: 10_000))
                }))
        let text = String(decoding: annotations.encode(), as: UTF8.self)
        let summary = try Self.read(
            Self.image("", #","annotations":\#(text)"#), MediaType.imageManifest)
        #expect(summary.annotations.count == 390)
    }

    @Test func `our manifests have Go's order`() throws {
        let manifest = ImageManifest(
            artifactType: "a/b",
            config: Descriptor(mediaType: MediaType.emptyJSON, of: [0x7b, 0x7d]),
            layers: [
                Descriptor(
                    mediaType: MediaType.imageLayer, digest: Self.first, size: 1, urls: ["u"],
                    annotations: ["b": "2", "a": "1"], data: "AQ==",
                    platform: Platform(architecture: "arm64", os: "linux", variant: "v8"),
                    artifactType: "c/d")
            ],
            subject: Descriptor(mediaType: MediaType.imageManifest, digest: Self.second, size: 2),
            annotations: ["z": "<&>"])
        let bytes = manifest.encode()
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == #"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#
                + #""artifactType":"a/b","config":{"mediaType":"application/vnd.oci.empty.v1+json","#
                + #""digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","#
                + #""size":2},"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","#
                + #""digest":"\#(Self.first)","size":1,"urls":["u"],"annotations":{"a":"1","b":"2"},"#
                + #""data":"AQ==","platform":{"architecture":"arm64","os":"linux","variant":"v8"},"#
                + #""artifactType":"c/d"}],"subject":{"#
                + #""mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"\#(Self.second)","#
                + #""size":2},"annotations":{"z":"<&>"}}"#)
        #expect(try ImageManifest(decoding: bytes) == manifest)
        let index = ImageIndex(
            manifests: manifest.layers, subject: manifest.subject, annotations: ["k": "v"])
        #expect(try ImageIndex(decoding: index.encode()) == index)
    }
}
