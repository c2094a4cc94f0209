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
private final class CarrierWorld {
    let place: TemporaryDirectory
    let store: LocalStore
    let registry: LoopbackRegistry
    let name = "team/app"

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
                connections: registry.connections
            ) { nil }
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
        request.compression = compression
        let carrier = try CarrierLayers(request, from: store, counters: ProgressCounters())
        var build = ImageBuild(
            base: nil, in: nil, layers: carrier.producers, options: carrier.options,
            compression: compression, target: try client, tag: "1")
        build.createdBy = "cas copy"
        return try build.run(ProgressCounters())
    }

    func open(compresses: Bool = false) throws -> CarriedSnapshot {
        try CarriedSnapshot(
            try image, in: try client, platform: try ImagePlatform("linux/amd64"),
            compresses: compresses)
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
private let large: [UInt8] = {
    var state: UInt64 = 1
    return (0..<3_000_000).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return UInt8(truncatingIfNeeded: state >> 33)
    }
}()

extension CarrierWorld {
    fileprivate func writeTree() throws {
        try write("main.py", Array("print(42)\n".utf8))
        try write("lib/a.py", Array("a = 1\n".utf8))
        try write("lib/b/c.py", Array("a = 1\n".utf8))
        try write("empty", [])
        try write("large.bin", large)
        try DiskFileSystem().createDirectory("\(workspace)/nothing")
    }
}

@Suite struct CarrierTests {
    @Test(arguments: LayerCompression.allCases)
    func `what a registry carries is fetched as it was pushed`(_ kind: LayerCompression) throws {
        let world = try CarrierWorld()
        defer { try? world.close() }
        try world.writeTree()
        let pushed = try world.push()
        try world.carry("team/source", kind)
        let carried = try world.open()
        #expect(carried.digest == pushed)
        #expect(carried.provenance?.author == "ada")
        let summary = try world.fetch(carried)
        #expect(summary.restore.files == 5)
        let again = try world.snapshot(of: "fetched")
        #expect(again.tree == carried.snapshot.tree)
        #expect(again.stableAttributes == carried.snapshot.stableAttributes)
    }

    @Test func `a second copy is the same image, one after an edit sends little`() throws {
        let world = try CarrierWorld()
        defer { try? world.close() }
        try world.writeTree()
        // Two files that are layers of their own.
        try world.write("one.bin", .init(repeating: 7, count: 40 << 20))
        try world.write("two.bin", .init(repeating: 9, count: 40 << 20))
        _ = try world.push()
        let first = try world.carry()
        #expect(try world.carry().isUnchanged)
        try world.write("main.py", Array("print(43)\n".utf8))
        _ = try world.push()
        let second = try world.carry()
        #expect(second.previous == first.digest)
        let layers = second.layers.filter { $0.placement == .uploaded }
        // The group with the edited file, and the index.
        #expect(layers.count == 2)
        #expect(second.sentBytes < 6 << 20)
        _ = try world.fetch(try world.open())
        // An update asks for what lacks only.
        try world.write("main.py", Array("print(44)\n".utf8))
        _ = try world.push()
        try world.carry()
        let summary = try world.fetch(try world.open())
        #expect(summary.restore.written == 1)
        #expect(summary.receivedBytes < 100_000)
    }

    @Test func `messages of many directories are shared out, so that an edit changes few`() throws {
        let world = try CarrierWorld()
        defer { try? world.close() }
        let name = String(repeating: "n", count: 60)
        for directory in 0..<300 {
            for file in 0..<10 {
                try world.write("d\(directory)/\(name)\(file)", Array("\(directory) \(file)".utf8))
            }
        }
        _ = try world.push()
        let first = try world.carry()
        // One layer of the tree, two of messages, the index and what takes them away.
        try #require(first.layers.count == 5)
        try world.write("d17/\(name)3", Array("edited".utf8))
        let pushed = try world.push()
        let second = try world.carry()
        let changed = zip(first.layers, second.layers).map {
            $0.descriptor.digest != $1.descriptor.digest
        }
        try #require(changed.count == 5)
        #expect(changed[0] && changed[1] != changed[2] && changed[3] && !changed[4])
        let carried = try world.open()
        #expect(carried.digest == pushed)
        #expect(try world.fetch(carried).restore.files == 3_000)
        #expect(try world.snapshot(of: "fetched").tree == carried.snapshot.tree)
    }

    @Test func `a registry without ranges is read whole, and every byte checked`() throws {
        let world = try CarrierWorld()
        defer { try? world.close() }
        try world.writeTree()
        let pushed = try world.push()
        try world.carry()
        let registry = world.registry
        registry.set { request, _ in
            guard request.method == "GET", request.headers["range"] != nil else { return nil }
            let parts = request.path.split(separator: "/").map(String.init)
            guard
                let bytes = registry.state.withLock({
                    $0.blobs["team/app"]?[parts.last ?? ""]
                })
            else { return nil }
            return LoopbackAnswer(body: bytes)
        }
        let carried = try world.open()
        #expect(carried.digest == pushed)
        #expect(try world.fetch(carried).restore.files == 5)
        #expect(try world.snapshot(of: "fetched").tree == carried.snapshot.tree)
    }

    @Test func `a connection that breaks is gone on with`() throws {
        let world = try CarrierWorld()
        defer { try? world.close() }
        try world.writeTree()
        _ = try world.push()
        try world.carry()
        let carried = try world.open()
        let registry = world.registry
        let isCut = Mutex(false)
        registry.set { request, _ in
            guard request.method == "GET", let range = request.headers["range"],
                isCut.withLock({ isCut in
                    defer { isCut = true }
                    return !isCut
                })
            else { return nil }
            let ends = range.dropFirst(6).split(separator: "-").compactMap { Int($0) }
            let name = request.path.split(separator: "/").last.map(String.init) ?? ""
            guard let bytes = registry.state.withLock({ $0.blobs["team/app"]?[name] }) else {
                return nil
            }
            return LoopbackAnswer(status: 206, body: Array(bytes[ends[0]...ends[1]]), cut: 100_000)
        }
        #expect(try world.fetch(carried).restore.files == 5)
        #expect(try world.snapshot(of: "fetched").tree == carried.snapshot.tree)
    }

    @Test func `layers that somebody compressed anew carry it still`() throws {
        let world = try CarrierWorld()
        defer { try? world.close() }
        try world.writeTree()
        let pushed = try world.push()
        let report = try world.carry()
        for format in StreamCompressor.Format.allCases {
            var layers: [Descriptor] = []
            for layer in report.image.manifest.layers {
                let plain = try world.client.bytes(layer, maximumBytes: 64 << 20)
                var bytes: [UInt8] = []
                let compressor = try StreamCompressor(format)
                try plain.withUnsafeBytes {
                    try compressor.compress($0, isLast: true) { bytes += $0 }
                }
                var descriptor = world.registry.put(world.name, blob: bytes)
                descriptor.mediaType =
                    format == .gzip ? MediaType.dockerLayerGzip : MediaType.imageLayerZstd
                layers.append(descriptor)
            }
            // As a copy to Docker's own schema does: no annotation stays.
            try world.changeManifest {
                $0.layers = layers
                $0.mediaType = MediaType.dockerManifest
                $0.annotations = [:]
            }
            let carried = try world.open()
            #expect(carried.digest == pushed)
            let name = "fetched-\(format)"
            #expect(try world.fetch(carried, into: name).restore.files == 5)
            #expect(try world.snapshot(of: name).tree == carried.snapshot.tree)
        }
    }

    @Test func `into another store, by chunks`() throws {
        let world = try CarrierWorld()
        defer { try? world.close() }
        try world.writeTree()
        let pushed = try world.push()
        try world.carry(options: "prefix=/opt/app\nowner=7:8")
        let other = try LocalStore(
            directory: "\(world.place.path)/other", create: true, isTrusted: false)
        defer { try? other.close() }
        let carried = try world.open(compresses: true)
        #expect(carried.imageOptions == "owner=7:8\nprefix=/opt/app")
        let ref = try RefName("team/back")
        func bring(_ carried: CarriedSnapshot) throws -> WarmSummary {
            try Transfer.run(
                TransferOptions(
                    want: carried.digest.description, ref: ref, provenance: Provenance()),
                from: carried, to: other, counters: ProgressCounters())
        }
        #expect(try bring(carried).isMoved)
        #expect(try other.ref(ref)?.target.digest == pushed)
        // Of a large file with an edit in it some chunks come.
        var bytes = large
        bytes[1_500_000] ^= 1
        try world.write("large.bin", bytes)
        let edited = try world.push()
        try world.carry()
        let summary = try bring(try world.open(compresses: true))
        #expect(try other.ref(ref)?.target.digest == edited)
        #expect(summary.receivedBytes < 1_000_000)
        let fetched = try Fetch.run(
            FetchOptions(
                want: "team/back", destination: "\(world.place.path)/back", workers: 2),
            connection: other, counters: ProgressCounters())
        #expect(fetched.restore.files == 5)
    }

    @Test func `what an image shows has nothing of what restores it`() throws {
        let world = try CarrierWorld()
        defer { try? world.close() }
        try world.writeTree()
        // Somebody has the usual name already.
        try world.write(".cas-carrier", [1])
        _ = try world.push()
        let report = try world.carry()
        let names = try report.image.manifest.layers.suffix(2).map { layer in
            var names = Names()
            var reader = TarReader()
            let bytes = try world.client.bytes(layer, maximumBytes: 1 << 20)
            try bytes.withUnsafeBytes { try reader.push($0, to: &names) }
            try reader.finish(to: &names)
            return names.all
        }
        #expect(names == [[".cas-carrier-2", ".cas-carrier-2/index"], [".wh..cas-carrier-2"]])
    }
}

private struct Names: TarEntryConsumer {
    var all: [String] = []

    mutating func entry(_ header: TarHeader) throws {
        all.append(String(decoding: header.path, as: UTF8.self))
    }
    mutating func content(_ bytes: UnsafeRawBufferPointer) throws {}
    mutating func endFile() throws {}
}

/// Images that carry less, or something else, than they say.
@Suite struct CarrierHostilityTests {
    private func code(_ world: CarrierWorld) -> CASError.Code? {
        do {
            _ = try world.fetch(try world.open())
            return nil
        } catch let error as CASError { return error.code } catch { return .unknown }
    }

    private func world() throws -> (CarrierWorld, ImageBuild.Report) {
        let world = try CarrierWorld()
        try world.writeTree()
        _ = try world.push()
        return (world, try world.carry())
    }

    @Test func `an image that carries nothing says so`() throws {
        let (world, _) = try world()
        defer { try? world.close() }
        let layers = try WorkspaceLayers(
            "team/source", from: world.store, options: try LayerOptions(), compression: .none,
            memory: nil, temporaryDirectory: nil, maximumLayers: 64)
        var options = ImageOptions(layers: try LayerOptions())
        (options.os, options.architecture) = ("linux", "amd64")
        _ = try ImageBuild(
            base: nil, in: nil, layers: layers.layers, options: options, compression: .none,
            target: try world.client, tag: "1"
        ).run(ProgressCounters())
        #expect(code(world) == .failedPrecondition)
    }

    @Test func `other bytes in any blob are refused, and nothing of them stays`() throws {
        let (world, report) = try world()
        defer { try? world.close() }
        for layer in report.image.manifest.layers + [report.image.manifest.config] {
            let digest = layer.digest.description
            let truth = try #require(
                world.registry.state.withLock { $0.blobs[world.name]?[digest] })
            var lie = truth
            // Within the first file, or the first file's content.
            lie[min(lie.count - 1, 1_030)] ^= 1
            world.registry.state.withLock { $0.blobs[world.name]?[digest] = lie }
            let found = code(world)
            // A header that nobody reads may be anything; the whiteout is for runtimes only.
            if found == nil {
                #expect(layer == report.image.manifest.layers.last || layer.size > 1 << 20)
            } else {
                #expect(found == .dataLoss, "\(layer)")
            }
            world.registry.state.withLock { $0.blobs[world.name]?[digest] = truth }
        }
        #expect(code(world) == nil)
    }

    @Test func `wrong content of a file is found before it has its name`() throws {
        let (world, report) = try world()
        defer { try? world.close() }
        let layer = report.image.manifest.layers[0].digest.description
        let needle = Array("print(42)".utf8)
        world.registry.state.withLock { state in
            guard var bytes = state.blobs["team/app"]?[layer] else { return }
            for start in stride(from: 0, to: bytes.count - 512, by: 512)
            where bytes[start..<start + needle.count].elementsEqual(needle) {
                bytes[start + 6] = 0x35
            }
            state.blobs["team/app"]?[layer] = bytes
        }
        #expect(code(world) == .dataLoss)
        #expect(try DiskFileSystem().size("\(world.place.path)/fetched/main.py") == nil)
    }

    @Test func `what lacks is not found`() throws {
        let (world, report) = try world()
        defer { try? world.close() }
        for layer in report.image.manifest.layers.dropLast() {
            let digest = layer.digest.description
            let truth = world.registry.state.withLock { $0.blobs[world.name]?[digest] }
            world.registry.state.withLock { $0.blobs[world.name]?[digest] = nil }
            #expect(code(world) == .notFound)
            world.registry.state.withLock { $0.blobs[world.name]?[digest] = truth }
        }
        try world.changeManifest { $0.layers.removeFirst() }
        #expect(code(world) == .dataLoss)
        world.registry.state.withLock { $0.manifests[world.name] = nil }
        #expect(code(world) == .notFound)
    }

    @Test func `a layer that expands beyond what its tree needs is refused`() throws {
        let (world, report) = try world()
        defer { try? world.close() }
        var bytes: [UInt8] = []
        let compressor = try StreamCompressor(.zstd)
        let zeros = [UInt8](repeating: 0, count: 1 << 20)
        for _ in 0..<64 {
            try zeros.withUnsafeBytes { try compressor.compress($0) { bytes += $0 } }
        }
        try compressor.compress(UnsafeRawBufferPointer(start: nil, count: 0), isLast: true) {
            bytes += $0
        }
        var descriptor = world.registry.put(world.name, blob: bytes)
        descriptor.mediaType = MediaType.imageLayerZstd
        try world.changeManifest { $0.layers[0] = descriptor }
        _ = report
        // The layer is too long, or its first file is another; nobody waits for all of it.
        #expect([.resourceExhausted, .dataLoss].contains(code(world)))
    }

    @Test func `files that are none, and indexes of another tree`() throws {
        let index = CarrierIndex(
            snapshot: [UInt8](repeating: 0, count: Snapshot.byteCount),
            options: try LayerOptions(), layers: [], messages: [])
        let good = try CarrierFormat.file([.directory([1, 2, 3])], index: index)
        func read(_ file: [UInt8], budget: UInt64 = 1 << 20) -> CASError.Code? {
            var budget = budget
            do {
                _ = try file.withUnsafeBytes {
                    try CarrierFormat.read($0, limits: .standard, budget: &budget) { _ in }
                }
                return nil
            } catch let error as CASError { return error.code } catch { return .unknown }
        }
        #expect(read(good) == nil)
        #expect(read(good, budget: 4) == .resourceExhausted)
        for count in 0..<good.count { #expect(read(Array(good[..<count])) == .dataLoss) }
        #expect(read(good + [0]) == .dataLoss)
        var newer = good
        newer[8] = 2
        #expect(read(newer) == .unimplemented)
        for place in good.indices {
            var bad = good
            bad[place] ^= 0x41
            // Whatever it is taken for, nothing traps.
            _ = read(bad)
        }
    }
}
