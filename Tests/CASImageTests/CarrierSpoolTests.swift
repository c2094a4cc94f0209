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

/// Layers of which parts are wanted that no registry can be asked for.
@Suite struct CarrierSpoolTests {
    /// Files of one directory; sixty of them take three requests.
    private func world(
        files: Int = 12
    ) throws -> (CarrierWorld, Digest, ImageBuild.Report) {
        let world = try CarrierWorld()
        var state: UInt64 = 7
        for number in 0..<files {
            let words = (0..<175_000).map { _ in
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return state
            }
            try world.write("d/f\(number)", words.withUnsafeBytes { Array($0) })
        }
        let pushed = try world.push()
        return (world, pushed, try world.carry())
    }

    private func requests(_ world: CarrierWorld, of layer: Descriptor, since start: Int) throws
        -> [LoopbackRequest]
    {
        try world.registry.server.requests.dropFirst(start).filter {
            $0.method == "GET" && $0.path.hasSuffix("\(layer.digest)")
        }
    }

    private func bring(_ carried: CarriedSnapshot, to store: LocalStore) throws -> WarmSummary {
        try Transfer.run(
            TransferOptions(
                want: carried.digest.description, ref: try RefName("team/back"),
                provenance: Provenance()),
            from: carried, to: store, counters: ProgressCounters())
    }

    private func largest(_ world: CarrierWorld) throws -> Descriptor {
        let manifest = try ImageManifest(
            decoding: try #require(world.registry.manifest(world.name, "1")))
        return try #require(manifest.layers.max { $0.size < $1.size })
    }

    @Test(arguments: StreamCompressor.Format.allCases)
    func `a compressed layer is read once, however many batches want parts of it`(
        _ format: StreamCompressor.Format
    ) throws {
        let (world, pushed, report) = try world(files: 60)
        defer { try? world.close() }
        try world.recompress(report, format)
        let layer = try largest(world)
        let other = try LocalStore(
            directory: "\(world.place.path)/other", create: true, isTrusted: false)
        defer { try? other.close() }
        let notes = Mutex<[String]>([])
        let directory = "\(world.place.path)/scratch"
        let carried = try world.open(
            compresses: true,
            scratch: LayerScratch(
                directory: directory, onNote: { line in notes.withLock { $0.append(line) } }))
        let start = try world.registry.server.requests.count
        #expect(try bring(carried, to: other).isMoved)
        #expect(try other.ref(try RefName("team/back"))?.target.digest == pushed)
        let found = try requests(world, of: layer, since: start)
        // As far as the first batch wanted it, and the rest; never the same again.
        #expect((1...2).contains(found.count))
        #expect(found.count { $0.headers["range"] == nil } == 1)
        // It is said, once, and nothing has a name there even now.
        #expect(notes.withLock { $0.count } == 1)
        #expect(notes.withLock { $0.first }?.contains(directory) == true)
        #expect(try names(in: directory).isEmpty)
        carried.close()
    }

    @Test func `without room for it a layer is read as before, and that is said`() throws {
        let (world, pushed, report) = try world(files: 60)
        defer { try? world.close() }
        try world.recompress(report, .zstd)
        let other = try LocalStore(
            directory: "\(world.place.path)/other", create: true, isTrusted: false)
        defer { try? other.close() }
        let notes = Mutex<[String]>([])
        let carried = try world.open(
            compresses: true,
            scratch: LayerScratch(
                directory: "\(world.place.path)/scratch", freeBytes: { _ in 1 << 20 },
                onNote: { line in notes.withLock { $0.append(line) } }))
        let start = try world.registry.server.requests.count
        #expect(try bring(carried, to: other).isMoved)
        #expect(try other.ref(try RefName("team/back"))?.target.digest == pushed)
        #expect(notes.withLock { $0.count } == 1)
        #expect(notes.withLock { $0.first }?.contains("read again") == true)
        #expect(try requests(world, of: try largest(world), since: start).count > 2)
    }

    @Test func `a directory that can not be used does not fail a copy`() throws {
        let (world, pushed, report) = try world()
        defer { try? world.close() }
        try world.recompress(report, .zstd)
        try DiskFileSystem().replace("\(world.place.path)/file", [1])
        let other = try LocalStore(
            directory: "\(world.place.path)/other", create: true, isTrusted: false)
        defer { try? other.close() }
        let carried = try world.open(
            compresses: true, scratch: LayerScratch(directory: "\(world.place.path)/file/scratch"))
        #expect(try bring(carried, to: other).isMoved)
        #expect(try other.ref(try RefName("team/back"))?.target.digest == pushed)
    }

    @Test func `a fetch of all reads each compressed layer once, and unpacks none beside it`()
        throws
    {
        let (world, _, report) = try world()
        defer { try? world.close() }
        try world.recompress(report, .zstd)
        let notes = Mutex<[String]>([])
        let carried = try world.open(
            scratch: LayerScratch(
                directory: "\(world.place.path)/scratch",
                onNote: { line in notes.withLock { $0.append(line) } }))
        let start = try world.registry.server.requests.count
        #expect(try world.fetch(carried).restore.files == 12)
        #expect(try world.snapshot(of: "fetched").tree == carried.snapshot.tree)
        #expect(try requests(world, of: try largest(world), since: start).count == 1)
        #expect(notes.withLock { $0.isEmpty })
    }

    @Test func `a registry without ranges is not asked for a plain layer again and again`() throws {
        let (world, pushed, _) = try world()
        defer { try? world.close() }
        let registry = world.registry
        registry.set { request, _ in
            guard request.method == "GET", request.headers["range"] != nil else { return nil }
            let name = request.path.split(separator: "/").last.map(String.init) ?? ""
            return registry.state.withLock { $0.blobs["team/app"]?[name] }.map {
                LoopbackAnswer(body: $0)
            }
        }
        let other = try LocalStore(
            directory: "\(world.place.path)/other", create: true, isTrusted: false)
        defer { try? other.close() }
        let carried = try world.open(
            compresses: true, scratch: LayerScratch(directory: "\(world.place.path)/scratch"))
        let start = try world.registry.server.requests.count
        #expect(try bring(carried, to: other).isMoved)
        #expect(try other.ref(try RefName("team/back"))?.target.digest == pushed)
        // At most four find out that there are no ranges, then it is read up to what is wanted and once whole.
        let layer = try largest(world)
        #expect(try requests(world, of: layer, since: start).count <= 6)
    }

    @Test func `a layer that breaks off in the middle is gone on with`() throws {
        let (world, pushed, report) = try world()
        defer { try? world.close() }
        try world.recompress(report, .gzip)
        let layer = try largest(world)
        let isCut = Mutex(false)
        let registry = world.registry
        registry.set { request, _ in
            guard request.method == "GET", request.path.hasSuffix("\(layer.digest)"),
                isCut.withLock({ isCut in
                    defer { isCut = true }
                    return !isCut
                }),
                let bytes = registry.state.withLock({ $0.blobs["team/app"]?["\(layer.digest)"] })
            else { return nil }
            return LoopbackAnswer(body: bytes, cut: 3_000_000)
        }
        let other = try LocalStore(
            directory: "\(world.place.path)/other", create: true, isTrusted: false)
        defer { try? other.close() }
        let carried = try world.open(
            compresses: true, scratch: LayerScratch(directory: "\(world.place.path)/scratch"))
        #expect(try bring(carried, to: other).isMoved)
        #expect(try other.ref(try RefName("team/back"))?.target.digest == pushed)
    }

    @Test func `another layer than the image says is found, and believed no more`() throws {
        let (world, _, report) = try world()
        defer { try? world.close() }
        try world.recompress(report, .zstd)
        let layer = try largest(world)
        world.registry.state.withLock { state in
            let middle = (state.blobs["team/app"]?["\(layer.digest)"]?.count ?? 0) / 2
            state.blobs["team/app"]?["\(layer.digest)"]?[middle] ^= 1
        }
        let other = try LocalStore(
            directory: "\(world.place.path)/other", create: true, isTrusted: false)
        defer { try? other.close() }
        let carried = try world.open(
            compresses: true, scratch: LayerScratch(directory: "\(world.place.path)/scratch"))
        let start = try world.registry.server.requests.count
        for _ in 0..<2 {
            let error = #expect(throws: CASError.self) { _ = try bring(carried, to: other) }
            #expect(error?.code == .dataLoss)
        }
        #expect(try requests(world, of: layer, since: start).count <= 2)
        #expect(try other.ref(try RefName("team/back")) == nil)
    }

    @Test func `a registry that is away is tried so many times, and not so many times that`() throws
    {
        let (world, _, _) = try world()
        defer { try? world.close() }
        world.blobAttempts = 3
        let carried = try world.open(
            scratch: LayerScratch(directory: "\(world.place.path)/scratch"))
        let layer = try largest(world)
        world.registry.set { request, _ in
            request.path.hasSuffix("\(layer.digest)") ? LoopbackAnswer(status: 503) : nil
        }
        let start = try world.registry.server.requests.count
        let error = #expect(throws: CASError.self) { _ = try world.fetch(carried) }
        #expect(error?.code == .unavailable)
        // Three times by each of two threads.
        #expect(try requests(world, of: layer, since: start).count <= 6)
    }

    private func names(in directory: String) throws -> [String] {
        try DiskFileSystem().list(directory)
    }
}
