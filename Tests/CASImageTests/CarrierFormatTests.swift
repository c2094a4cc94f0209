import CASClient
import CASCore
import CASOCI
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASImage

/// The examples of Carrier.md are decoded, so that the page can not drift from the code.
@Suite struct CarrierFormatTests {
    private static func example(_ name: String) throws -> [UInt8] {
        try DocumentExamples("Sources/CASImage/CASImage.docc/Carrier.md").example(name)
    }

    /// One file `a` with "hello\n", below /w.
    private static func index(_ tree: PlantedSnapshot) throws -> CarrierIndex {
        CarrierIndex(
            snapshot: tree.snapshot.encode(),
            provenance: Provenance(author: "ada", time: Timestamp(seconds: 1_700_000_000))
                .encode(),
            imageOptions: "prefix=/w",
            options: try LayerOptions(prefix: Array("/w".utf8)),
            layers: [
                CarrierIndex.Layer(
                    diffID: Digest.of([1]), size: 2_560,
                    part: LayerPart(path: [], selection: .whole))
            ], messages: [])
    }

    private struct PlantedSnapshot {
        let directory: [UInt8]
        let snapshot: Snapshot

        init() throws {
            let content = Array("hello\n".utf8)
            let root = Directory(files: [
                FileNode(
                    name: try EntryName("a"), digest: Digest.of(content), size: 6,
                    isExecutable: false)
            ])
            directory = root.encode()
            snapshot = Snapshot(
                tree: SizedDigest(digest: Digest.of(directory), size: UInt64(directory.count)),
                attributes: nil, stableAttributes: nil, totals: root.ownTotals)
        }
    }

    @Test func `the example of an index`() throws {
        let example = try Self.example("index")
        let tree = try PlantedSnapshot()
        let index = try Self.index(tree)
        #expect(index.encode() == example, "\(Hexadecimal.encode(index.encode()))")
        #expect(try CarrierIndex(decoding: example) == index)
    }

    @Test func `the example of a file`() throws {
        let example = try Self.example("file")
        let tree = try PlantedSnapshot()
        let chunk = Digest.of([7])
        let messages: [CarriedMessage] = [
            .directory(tree.directory), .chunkList(Digest.of([8]), Array(chunk.bytes.prefix(4))),
        ]
        let file = try CarrierFormat.file(messages)
        // The bytes of a frame are those of a version of zstd; what is in it counts.
        var budget: UInt64 = 1 << 20
        var found: [CarriedMessage] = []
        let index = try example.withUnsafeBytes {
            try CarrierFormat.read($0, limits: .standard, budget: &budget) { found.append($0) }
        }
        #expect(index == nil && found == messages, "\(Hexadecimal.encode(file))")
        #expect(budget == (1 << 20) - UInt64(1 + 1 + tree.directory.count + 1 + 32 + 1 + 4))
    }

    @Test func `indexes that are none`() throws {
        let good = try Self.index(try PlantedSnapshot()).encode()
        for count in 0..<good.count {
            #expect(throws: CASError.self) {
                let index = try CarrierIndex(decoding: Array(good[..<count]))
                // A prefix may be an index without its last fields, but not of more layers.
                guard index.layers.isEmpty else { return }
                throw CASError(.dataLoss, "it has no layer")
            }
        }
        var newer = good
        newer[1] = 2
        let error = #expect(throws: CASError.self) { _ = try CarrierIndex(decoding: newer) }
        #expect(error?.code == .unimplemented)
        // A field of a newer program is skipped.
        var more = good
        more.append(field: 11, text: "more")
        #expect(try CarrierIndex(decoding: more).encode() == good)
        var many = try Self.index(try PlantedSnapshot())
        many.messages = .init(repeating: Digest.of([1]), count: 127)
        #expect(throws: CASError.self) { _ = try CarrierIndex(decoding: many.encode()) }
    }

    @Test func `a message may stand in several records`() throws {
        let large = [UInt8](repeating: 3, count: 3 << 20)
        let messages: [CarriedMessage] = [
            .attributes([1]), .directory(large), .chunkList(.zero, large), .directory([2]),
        ]
        let file = try CarrierFormat.file(messages)
        var budget = CarrierFormat.maximumMessageBytes
        var found: [CarriedMessage] = []
        _ = try file.withUnsafeBytes {
            try CarrierFormat.read($0, limits: .standard, budget: &budget) { found.append($0) }
        }
        #expect(found == messages)
        #expect(
            try CarrierFormat.file(inLayer: CarrierFormat.layer(file, named: "x", in: [0x61]))
                == file)
    }

    @Test func `two files in a layer are none of ours`() throws {
        let one = TarHeader(path: [0x61], kind: .file, mode: 0o644).encode()
        let two = TarHeader(path: [0x62], kind: .file, mode: 0o644).encode()
        let end = [UInt8](repeating: 0, count: 1_024)
        for archive in [one + two + end, end, [1, 2, 3]] {
            #expect(throws: CASError.self) { _ = try CarrierFormat.file(inLayer: archive) }
        }
    }
}
