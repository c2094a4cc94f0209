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
            do {
                _ = try readCarried(file, MessageBudget(budget))
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
