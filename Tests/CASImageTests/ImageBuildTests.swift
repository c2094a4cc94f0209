import CASClient
import CASCompression
import CASCore
import CASOCI
import CASTestSupport
import CASWire
import CASWorkspace
import CASFileSystem
import Synchronization
import Testing

@testable import CASImage

/// A store with a snapshot, and registries to build from and to.
final class BuildWorld {
    let place: TemporaryDirectory
    let store: LocalStore
    let registry: LoopbackRegistry

    init() throws {
        place = try TemporaryDirectory()
        store = try LocalStore(directory: "\(place.path)/store", create: true)
        registry = try LoopbackRegistry()
    }

    func close() throws {
        try store.close()
        try registry.stop()
    }

    /// Pushes files to a ref.
    func push(_ ref: String, _ files: [String: [UInt8]]) throws {
        let root = "\(place.path)/\(ref)"
        for (name, bytes) in files {
            let path = "\(root)/\(name)"
            try DiskFileSystem().createDirectory(FilePaths.parent(path))
            try DiskFileSystem().replace(path, bytes)
        }
        var options = PushOptions(directory: root, ref: try RefName(ref), workers: 2)
        options.provenance = Provenance(time: Timestamp(seconds: 1_700_000_000))
        _ = try Push.run(
            options, connection: store, counters: ProgressCounters())
    }

    func client(_ name: String) throws -> RegistryClient {
        RegistryClient(
            try RegistryLocation(host: try registry.server.host), name: name,
            connections: registry.connections
        ) { nil }
    }

    func layers(
        _ ref: String, _ compression: LayerCompression = .none, memory: LayerMemory? = nil,
        place goal: WorkspaceLayers.Place = .elsewhere
    ) throws -> [any LayerProducer] {
        try WorkspaceLayers(
            ref, from: store, options: try LayerOptions(prefix: Array("/workspace".utf8)),
            compression: compression, memory: memory,
            temporaryDirectory: "\(place.path)/layers", maximumLayers: 64,
            place: goal
        ).layers
    }

    func build(
        _ layers: [any LayerProducer], _ compression: LayerCompression = .none,
        to name: String = "team/app"
    ) throws -> ImageBuild {
        var options = ImageOptions(layers: try LayerOptions(prefix: Array("/workspace".utf8)))
        options.created = 1_700_000_000
        options.architecture = "amd64"
        options.os = "linux"
        return ImageBuild(
            base: nil, in: nil, layers: layers, options: options, compression: compression,
            target: try client(name), tag: "1")
    }
}

let buildFiles: [String: [UInt8]] = [
    "main.py": Array("print(42)\n".utf8), "lib/a.py": Array("a = 1\n".utf8), "empty": [],
    "large.bin": (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 &* 2_654_435_761 >> 13) },
]

@Suite struct ImageBuildTests {
    @Test(arguments: LayerCompression.allCases)
    func `layers are in the registry as they were described`(_ kind: LayerCompression) throws {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        let report = try world.build(try world.layers("team/src", kind), kind).run(
            ProgressCounters())
        #expect(report.layers.map(\.placement) == [.uploaded])
        let found = try #require(world.registry.manifest("team/app", "1"))
        #expect(found == report.image.bytes)
        let layer = report.layers[0].descriptor
        #expect(layer.mediaType == kind.mediaType)
        let stored = try world.client("team/app").bytes(layer, maximumBytes: 16 << 20)
        let config = try ImageConfig(decoding: report.image.config)
        switch kind {
        case .none: #expect(config.diffIDs == [OCIDigest.of(stored).description])
        case .gzip: #expect(stored.prefix(4) == [0x1f, 0x8b, 8, 0])
        case .zstd: #expect(stored.prefix(4) == [0x28, 0xb5, 0x2f, 0xfd])
        }
    }

    @Test func `all kinds of layers have one content`() throws {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        let found = try LayerCompression.allCases.map { kind in
            try world.layers("team/src", kind).map { try $0.describe() }
        }
        #expect(Set(found.map { $0.map(\.diffID) }).count == 1)
        #expect(Set(found.flatMap { $0.map(\.digest) }).count == 3)
    }

    @Test func `the same inputs are the same image, and nothing is sent twice`() throws {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        let first = try world.build(try world.layers("team/src")).run(ProgressCounters())
        let second = try world.build(try world.layers("team/src")).run(ProgressCounters())
        #expect(first.digest == second.digest)
        #expect(!first.isUnchanged)
        #expect(second.isUnchanged)
        #expect(second.layers.map(\.placement) == [.present])
        #expect(second.sentBytes == 0)
    }

    @Test func `what is remembered is not read again, and is checked when it is sent`() throws {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        let path = "\(world.place.path)/known"
        let memory = try LayerMemory(path: path)
        let layer = try #require(try world.layers("team/src", memory: memory).first)
        let truth = try layer.describe()
        try memory.save()
        let again = try #require(
            try world.layers("team/src", memory: try LayerMemory(path: path)).first)
        #expect(try again.describe() == truth)
        // A file that lies.
        let text = try #require(try DiskFileSystem().read(path, maximumBytes: 10_000))
        let wrong = String(decoding: text, as: UTF8.self).replacing(
            truth.digest.hexadecimal, with: Digest.of([1]).hexadecimal)
        try DiskFileSystem().replace(path, Array(wrong.utf8))
        let lying = try LayerMemory(path: path)
        let error = #expect(throws: CASError.self) {
            _ = try world.build(try world.layers("team/src", memory: lying)).run(
                ProgressCounters())
        }
        #expect(error?.code == .dataLoss)
        #expect(world.registry.manifest("team/app", "1") == nil)
        // And it is forgotten.
        _ = try world.build(try world.layers("team/src", memory: lying)).run(ProgressCounters())
    }

    @Test func `what a registry finds to be another layer is forgotten`() throws {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        let path = "\(world.place.path)/known"
        let memory = try LayerMemory(path: path)
        _ = try #require(try world.layers("team/src", memory: memory).first).describe()
        try memory.save()
        #expect(try DiskFileSystem().read(path, maximumBytes: 10_000)?.isEmpty == false)
        world.registry.set { request, _ in
            guard request.method == "PUT", request.path.contains("/uploads/") else { return nil }
            return LoopbackAnswer(
                status: 400, body: RegistryError.body([RegistryError(.digestInvalid, "no")]))
        }
        let error = #expect(throws: CASError.self) {
            _ = try world.build(try world.layers("team/src", memory: memory)).run(
                ProgressCounters())
        }
        #expect(error?.code == .dataLoss)
        try memory.save()
        #expect(try DiskFileSystem().read(path, maximumBytes: 10_000)?.isEmpty == true)
    }

    @Test func `a dry run says the digest and changes nothing`() throws {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        var build = try world.build(try world.layers("team/src"))
        build.isDryRun = true
        let dry = try build.run(ProgressCounters())
        #expect(dry.layers.map(\.placement) == [nil])
        #expect(
            try world.registry.server.lines.allSatisfy {
                $0.hasPrefix("GET") || $0.hasPrefix("HEAD")
            })
        #expect(
            try world.build(try world.layers("team/src")).run(ProgressCounters()).digest
                == dry.digest)
    }

    @Test func `of a base only manifest and configuration are read where it can be mounted`() throws
    {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        let lower = try world.build(try world.layers("team/src"), to: "base/image").run(
            ProgressCounters())
        try world.push("team/code", ["main.py": Array("print(43)\n".utf8)])
        let reference = try ImageReference("base/image:1")
        let repository = try world.client("base/image")
        let resolved = try ResolvedImage(reference, in: repository, platform: .standard)
        let before = try world.registry.server.lines.count
        var build = try world.build(try world.layers("team/code"))
        build.base = BaseImage(
            manifest: resolved.manifest,
            config: try ImageConfig(decoding: resolved.configuration), name: "base/image:1",
            digest: resolved.top.digest)
        build.baseRepository = repository
        let report = try build.run(ProgressCounters())
        #expect(report.layers.map(\.placement) == [.mounted, .uploaded])
        #expect(report.layers[0].descriptor == lower.layers[0].descriptor)
        let lines = try world.registry.server.lines.dropFirst(before)
        #expect(!lines.contains { $0.hasPrefix("GET /v2/base/image/blobs/") })
        // The tag is read, and nothing else; for the base's layer, ours and the configuration it is asked whether they
        // are there; one mount does for the base, and what is sent (again, where a connection broke) is not its.
        func count(_ method: String) -> Int { lines.count { $0.hasPrefix(method) } }
        #expect([count("GET"), count("HEAD")] == [1, 3])
        let requests = try world.registry.server.requests.dropFirst(before)
        #expect(requests.count { $0.query("from") == "base/image" } == 1)
        let digest = lower.layers[0].descriptor.digest.description
        #expect(!requests.contains { $0.method == "PUT" && $0.query("digest") == digest })
        #expect(report.image.manifest.annotations[Annotation.baseName] == "base/image:1")
        // Where it can not be mounted, it is copied.
        world.registry.state.withLock { $0.mounts = false }
        build.target = try world.client("team/other")
        #expect(
            try build.run(ProgressCounters()).layers.map(\.placement) == [.uploaded, .uploaded])
    }

    @Test func `an image in a store of this process`() throws {
        let world = try BuildWorld()
        defer { try? world.close() }
        try world.push("team/src", buildFiles)
        var build = try world.build(try world.layers("team/src"))
        let images = LocalImages(world.store, name: "team/app") { Provenance() }
        build.target = images
        let first = try build.run(ProgressCounters())
        #expect(first.layers.map(\.placement) == [.uploaded])
        #expect(try images.manifest("1")?.bytes == first.image.bytes)
        #expect(try images.manifest("2") == nil)
        #expect(try images.tags() == ["1"])
        build.layers = try world.layers("team/src")
        #expect(try build.run(ProgressCounters()).isUnchanged)
        let layer = first.layers[0].descriptor
        var read = 0
        try images.read(layer) { read += $0.count }
        #expect(read == Int(layer.size))
        let other = LocalImages(world.store, name: "team/other") { Provenance() }
        build.layers = try world.layers("team/src")
        build.target = other
        #expect(try build.run(ProgressCounters()).layers.map(\.placement) == [.mounted])
    }

    @Test func `the image of a platform`() throws {
        func descriptor(_ architecture: String, _ variant: String = "") -> Descriptor {
            Descriptor(
                mediaType: MediaType.imageManifest,
                digest: .of(Array((architecture + variant).utf8)),
                size: 1,
                platform: Platform(architecture: architecture, os: "linux", variant: variant))
        }
        let index = ImageIndex(manifests: [
            descriptor("unknown"), descriptor("arm", "v6"), descriptor("arm", "v7"),
            descriptor("arm64"), descriptor("amd64"),
        ])
        for (text, found) in [
            ("linux/amd64", descriptor("amd64")), ("linux/arm/v7", descriptor("arm", "v7")),
            ("linux/arm64/v8", descriptor("arm64")),
        ] {
            #expect(try ImagePlatform(text).choose(index, of: "x") == found)
        }
        let error = #expect(throws: CASError.self) {
            try ImagePlatform("linux/s390x").choose(index, of: "x")
        }
        #expect(error?.hint?.contains("linux/arm/v6") == true)
        for bad in ["linux", "linux/", "a/b/c/d", ""] {
            #expect(throws: CASError.self) { try ImagePlatform(bad) }
        }
    }

    @Test func `a Dockerfile says the same`() throws {
        var options = ImageOptions(layers: try LayerOptions())
        options.environment = ["A=b \"c\" $d", "E="]
        options.entrypoint = ["python3", "a b.py"]
        options.command = []
        options.labels = ["k": "v\\"]
        options.user = "1000"
        let text = try DockerfileText(
            base: "docker.io/library/python:3.12", owner: "0:0",
            workspaces: [("team/deps", "/opt/deps"), ("team/app:v1", "/work space")],
            options: options, directories: [try EmptyDirectory("/var/cache=1777")])
        #expect(
            text.description == """
                # Fill the context first:
                #   cas fetch --reproducible team/deps layer1
                #   cas fetch --reproducible team/app:v1 layer2
                # .dockerignore has to leave out: **/.cas
                FROM docker.io/library/python:3.12
                COPY --chown=0:0 ["layer1/","/opt/deps/"]
                COPY --chown=0:0 ["layer2/","/work space/"]
                RUN ["install","-d","-m","1777","-o","0","-g","0","/var/cache"]
                ENV A="b \\"c\\" \\$d"
                ENV E=""
                LABEL "k"="v\\\\"
                USER 1000
                WORKDIR "/work space"
                ENTRYPOINT ["python3","a b.py"]
                CMD []

                """)
    }

    @Test func `a Dockerfile quotes what would be expanded, and names the flags for annotations`()
        throws
    {
        var options = ImageOptions(layers: try LayerOptions())
        options.environment = ["A-b=c", "D$e=f"]
        options.user = "a b$c"
        options.workingDirectory = #"/work $HOME/\x"#
        options.annotations = ["org.example.b": "it's $1", "org.example.a": "x"]
        func text(_ options: ImageOptions) throws -> DockerfileText {
            try DockerfileText(
                base: "a.example/python:3.12", owner: "0:0",
                workspaces: [("team/app:v1", "/$x 'y' \\ \"z\"")], options: options)
        }
        let found = try text(options)
        #expect(found.needsFlags)
        #expect(
            found.description == #"""
                # Fill the context first:
                #   cas fetch --reproducible team/app:v1 layer1
                # .dockerignore has to leave out: **/.cas
                # Annotations are for the builder's command line:
                #   --annotation 'org.example.a=x'
                #   --annotation 'org.example.b=it'\''s $1'
                FROM a.example/python:3.12
                COPY --chown=0:0 ["layer1/","/\\$x \\'y\\' \\\\ \\\"z\\\"/"]
                ENV A-b="c"
                ENV "D\$e"="f"
                USER "a b\$c"
                WORKDIR "/work \$HOME/\\x"

                """#)
        options.annotations = ["a": "b\nRUN evil"]
        #expect(throws: CASError.self) { _ = try text(options) }
        options.annotations = [:]
        #expect(try !text(options).needsFlags)
    }
}
