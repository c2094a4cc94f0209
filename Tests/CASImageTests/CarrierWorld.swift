import CASClient
import CASCompression
import CASCore
import CASFileSystem
import CASOCI
import CASTestSupport
import CASTree
import CASWire
import CASWorkspace
import Synchronization
import Testing

@testable import CASImage

/// A store with a snapshot, and a registry that carries it.
final class CarrierWorld {
    let place: TemporaryDirectory
    let store: LocalStore
    let registry: LoopbackRegistry
    let name = "team/app"
    /// How often clients ask for a blob.
    var blobAttempts = RegistryClient.patientAttempts

    init() throws {
        place = try TemporaryDirectory()
        store = try LocalStore(directory: "\(place.path)/store", create: true)
        registry = try LoopbackRegistry()
    }

    func close() throws {
        try store.close()
        try registry.stop()
    }

    var workspace: String { "\(place.path)/source" }

    func write(_ path: String, _ bytes: [UInt8]) throws {
        let path = "\(workspace)/\(path)"
        try DiskFileSystem().createDirectory(FilePaths.parent(path))
        try DiskFileSystem().replace(path, bytes)
    }

    /// Pushes the workspace.
    func push(_ ref: String = "team/source") throws -> Digest {
        var options = PushOptions(directory: workspace, ref: try RefName(ref), workers: 2)
        options.provenance = Provenance(author: "ada", time: Timestamp(seconds: 1_700_000_000))
        _ = try Push.run(options, connection: store, counters: ProgressCounters())
        return try #require(try store.ref(try RefName(ref))).target.digest
    }

    var client: RegistryClient {
        get throws {
            RegistryClient(
                try RegistryLocation(host: try registry.server.host), name: name,
                connections: registry.connections, blobAttempts: blobAttempts, credentials: { nil })
        }
    }

    var image: ImageReference {
        get throws { try ImageReference("oci://\(try registry.server.host)/\(name):1") }
    }

    @discardableResult
    func carry(
        _ ref: String = "team/source", options: String = "",
        _ compression: LayerCompression = .none
    ) throws -> ImageBuild.Report {
        var request = CarrierLayers.Request(path: ref)
        request.imageOptions = options
        request.provenance = try store.ref(try RefName(ref))?.provenance
        // Whoever makes an image may write into it what he likes.
        request.provenance?.subject = "somebody@example.org"
        request.compression = compression
        let carrier = try CarrierLayers(request, from: store, counters: ProgressCounters())
        var build = ImageBuild(
            base: nil, in: nil, layers: carrier.producers, options: carrier.options,
            compression: compression, target: try client, tag: "1")
        build.createdBy = "cas copy"
        return try build.run(ProgressCounters())
    }

    func open(compresses: Bool = false, scratch: LayerScratch? = nil) throws -> CarriedSnapshot {
        try CarriedSnapshot(
            try image, in: try client, platform: try ImagePlatform("linux/amd64"),
            compresses: compresses, scratch: scratch)
    }

    /// Stores each layer anew in some form, as some programs that copy images do.
    func recompress(_ report: ImageBuild.Report, _ format: StreamCompressor.Format) throws {
        var layers: [Descriptor] = []
        for layer in report.image.manifest.layers {
            let plain = try client.bytes(layer, maximumBytes: 256 << 20)
            var bytes: [UInt8] = []
            let compressor = try StreamCompressor(format)
            try plain.withUnsafeBytes {
                try compressor.compress($0, isLast: true) { bytes += $0 }
            }
            var descriptor = registry.put(name, blob: bytes)
            descriptor.mediaType =
                format == .gzip ? MediaType.dockerLayerGzip : MediaType.imageLayerZstd
            layers.append(descriptor)
        }
        // As a copy to Docker's own schema does: no annotation stays.
        try changeManifest {
            $0.layers = layers
            $0.mediaType = MediaType.dockerManifest
            $0.annotations = [:]
        }
    }

    /// Fetches what is carried and says which snapshot a push of that is.
    func fetch(_ carried: CarriedSnapshot, into name: String = "fetched") throws -> FetchSummary {
        try Fetch.run(
            FetchOptions(
                want: carried.digest.description, destination: "\(place.path)/\(name)", workers: 2),
            connection: carried, counters: ProgressCounters())
    }

    /// The snapshot that a push of a fetched directory makes.
    func snapshot(of name: String) throws -> Snapshot {
        let ref = try RefName("team/check")
        _ = try Push.run(
            PushOptions(directory: "\(place.path)/\(name)", ref: ref, workers: 2),
            connection: store, counters: ProgressCounters())
        let digest = try #require(try store.ref(ref)).target.digest
        return try Snapshot(
            decoding: try store.plan(PlanRequest(want: digest.description)).snapshotMessage)
    }

    func changeManifest(_ change: (inout ImageManifest) -> Void) throws {
        var manifest = try ImageManifest(
            decoding: try #require(registry.manifest(name, "1")))
        change(&manifest)
        registry.put(name, tag: "1", manifest.mediaType, manifest.encode())
    }
}

/// Several chunks, no two alike.
let severalChunks: [UInt8] = {
    var state: UInt64 = 1
    return (0..<3_000_000).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 33)
    }
}()

extension CarrierWorld {
    func writeTree() throws {
        try write("main.py", Array("print(42)\n".utf8))
        try write("lib/a.py", Array("a = 1\n".utf8))
        try write("lib/b/c.py", Array("a = 1\n".utf8))
        try write("empty", [])
        try write("large.bin", severalChunks)
        try DiskFileSystem().createDirectory("\(workspace)/nothing")
    }
}
