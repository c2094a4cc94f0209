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
        #expect(carried.provenance?.author == "ada" && carried.provenance?.subject == "")
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
            try world.recompress(report, format)
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
        var bytes = severalChunks
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
