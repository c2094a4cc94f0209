import CASCore
import CASOCI
import Testing

/// Options, configurations and manifests of images.
@Suite struct ImageTests {
    static func options() throws -> ImageOptions {
        var options = ImageOptions(
            layers: try LayerOptions(prefix: Array("/workspace".utf8), userID: 7, groupID: 8))
        options.base = try ImageReference("registry.example.org/python:3.12")
        options.environment = ["PATH=/x", "A=1"]
        options.entrypoint = ["python", "-u"]
        options.command = []
        options.workingDirectory = "/workspace"
        options.user = "7:8"
        options.labels = ["z": "1", "a": ""]
        options.annotations = ["org.example.note": "<b>"]
        options.created = 1_700_000_000
        options.architecture = "arm64"
        options.variant = "v8"
        options.os = "linux"
        return options
    }

    @Test func `options have one encoding`() throws {
        let plain = ImageOptions(layers: try LayerOptions())
        #expect(plain.encode() == [8, 1])
        for options in [plain, try Self.options()] {
            try options.check()
            #expect(try ImageOptions(decoding: options.encode()) == options)
        }
        var negative = plain
        negative.created = -1
        #expect(try ImageOptions(decoding: negative.encode()) == negative)
        #expect(throws: CASError.self) { try ImageOptions(decoding: []) }
        #expect(throws: CASError.self) { try ImageOptions(decoding: [8, 1, 0x18, 0]) }
        let newer = #expect(throws: CASError.self) { try ImageOptions(decoding: [8, 2]) }
        #expect(newer?.code == .unimplemented)
    }

    @Test func `options that no image can have`() throws {
        func isRefused(_ change: (inout ImageOptions) -> Void) throws -> Bool {
            var options = try Self.options()
            change(&options)
            do {
                try options.check()
                return false
            } catch {
                return true
            }
        }
        #expect(try isRefused { $0.environment = ["A"] })
        #expect(try isRefused { $0.environment = ["=A"] })
        #expect(try isRefused { $0.user = "\0" })
        #expect(try isRefused { $0.command = [String](repeating: "", count: 1_001) })
        #expect(try isRefused { $0.labels = ["a": String(repeating: "x", count: 70_000)] })
    }

    private static let layer = ImageLayer(
        plain: Digest.of([1]), size: 1024, createdBy: "cas image /workspace")

    @Test func `an image of nothing but layers`() throws {
        let options = ImageOptions(layers: try LayerOptions())
        let image = try ComposedImage(base: nil, layers: [Self.layer], options: options)
        #expect(
            String(decoding: image.config, as: UTF8.self)
                == #"{"created":"1970-01-01T00:00:00Z","architecture":"amd64","os":"linux","#
                + #""config":{},"rootfs":{"type":"layers","diff_ids":["\#(Digest.of([1]))"]},"#
                + #""history":[{"created":"1970-01-01T00:00:00Z","#
                + #""created_by":"cas image /workspace"}]}"#)
        #expect(
            String(decoding: image.bytes, as: UTF8.self)
                == #"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#
                + #""config":{"mediaType":"application/vnd.oci.image.config.v1+json","#
                + #""digest":"\#(Digest.of(image.config))","size":\#(image.config.count)},"#
                + #""layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","#
                + #""digest":"\#(Digest.of([1]))","size":1024}]}"#)
        let summary = try ManifestSummary(image.bytes, contentType: MediaType.imageManifest)
        #expect(summary.requiredBlobs == [.of(image.config), .of([1])])
    }

    /// A base as Docker writes it: other order, nulls, a health check, history with empty layers.
    private static func base() throws -> BaseImage {
        let config = try ImageConfig(
            decoding: Array(
                (#"{"architecture":"amd64","config":{"Hostname":"","Env":["PATH=/bin","B=2"],"#
                    + #""Cmd":["python3"],"Entrypoint":null,"Labels":null,"WorkingDir":"/","#
                    + #""Healthcheck":{"Test":["NONE"]},"OnBuild":null,"ExposedPorts":{"80/tcp":{}}},"#
                    + #""created":"2024-01-01T00:00:00Z","docker_version":"1","history":["#
                    + #"{"created_by":"add"},{"created_by":"env","empty_layer":true}],"os":"linux","#
                    + #""rootfs":{"diff_ids":["\#(OCIDigest.of([5]))"],"type":"layers"},"variant":"v1"}"#)
                    .utf8))
        let manifest = ImageManifest(
            mediaType: MediaType.dockerManifest,
            config: Descriptor(mediaType: MediaType.dockerConfig, of: config.encode()),
            layers: [Descriptor(mediaType: MediaType.dockerLayerGzip, of: [6])])
        return BaseImage(
            manifest: manifest, config: config, name: "registry.example.org/python:3.12",
            digest: .of(manifest.encode()))
    }

    @Test func `what the base says is kept`() throws {
        let base = try Self.base()
        let plain = try ComposedImage(
            base: base, layers: [Self.layer], options: ImageOptions(layers: try LayerOptions()))
        let config = try ImageConfig(decoding: plain.config)
        #expect(config.json["config"]?["Cmd"]?.texts == ["python3"])
        #expect(config.json["config"]?["WorkingDir"]?.text == "/")
        #expect(config.json["config"]?["Healthcheck"] != nil)
        #expect(config.json["docker_version"]?.text == "1")
        #expect(config.diffIDs == ["\(OCIDigest.of([5]))", "\(OCIDigest.of([1]))"])
        #expect(config.platform == Platform(architecture: "amd64", os: "linux", variant: "v1"))
        let history = config.json["history"]?.elements ?? []
        #expect(history.map { $0["created_by"]?.text } == ["add", "env", "cas image /workspace"])
        #expect(
            plain.manifest.layers.map(\.mediaType) == [
                MediaType.imageLayerGzip, MediaType.imageLayer,
            ])
        #expect(
            plain.manifest.annotations == [
                Annotation.baseName: base.name, Annotation.baseDigest: base.digest.description,
            ])
    }

    @Test func `options go over the base`() throws {
        let image = try ComposedImage(
            base: try Self.base(), layers: [Self.layer, Self.layer], options: try Self.options())
        #expect(
            image.bytes
                == (try ComposedImage(
                    base: try Self.base(), layers: [Self.layer, Self.layer],
                    options: try Self.options()
                ).bytes))
        let config = try ImageConfig(decoding: image.config)
        let run = try #require(config.json["config"])
        #expect(run["Env"]?.texts == ["PATH=/x", "B=2", "A=1"])
        #expect(run["Entrypoint"]?.texts == ["python", "-u"] && run["Cmd"] == nil)
        #expect(run["User"]?.text == "7:8" && run["WorkingDir"]?.text == "/workspace")
        #expect(run["Labels"]?.map == ["z": "1", "a": ""])
        #expect(config.platform == Platform(architecture: "arm64", os: "linux", variant: "v8"))
        #expect(config.json["created"]?.text == "2023-11-14T22:13:20Z")
        #expect(image.manifest.annotations["org.example.note"] == "<b>")
        let keys = run.members?.map(\.key)
        #expect(
            keys == [
                "User", "ExposedPorts", "Env", "Entrypoint", "WorkingDir", "Labels", "Healthcheck",
                "Hostname", "OnBuild",
            ])
    }

    @Test func `a base that is no image is refused`() throws {
        var base = try Self.base()
        base.config = .empty
        #expect(throws: CASError.self) {
            try ComposedImage(
                base: base, layers: [], options: ImageOptions(layers: try LayerOptions()))
        }
        #expect(throws: CASError.self) {
            try ComposedImage(
                base: nil, layers: [ImageLayer](repeating: Self.layer, count: 128),
                options: ImageOptions(layers: try LayerOptions()))
        }
    }
}
