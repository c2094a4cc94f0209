import CASClient
import CASCompression
import CASCore
import CASOCI
import CASPack
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
        let read = try readCarried(example, MessageBudget(1 << 20))
        #expect(
            read.index == nil && read.messages == messages, "\(Hexadecimal.encode(file))")
        #expect(
            read.budget.left == (1 << 20) - UInt64(1 + 1 + tree.directory.count + 1 + 32 + 1 + 4))
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
        #expect(try readCarried(file).messages == messages)
        // In whatever pieces it comes.
        #expect(try readCarried(file, pieces: 70_001).messages == messages)
        let layer = CarrierFormat.layer(file, named: "x", in: [0x61])
        #expect(try readCarried(layer: layer).messages == messages)
    }

    @Test func `much of little is refused, and what repeats itself is carried all the same`() throws
    {
        // Messages of which nearly nothing is left once they are compressed.
        let messages = (0..<12).map { number in
            CarriedMessage.directory([UInt8](repeating: UInt8(number), count: 1 << 20))
        }
        let file = try CarrierFormat.file(messages)
        #expect(try readCarried(file).messages == messages)
        // Somebody else's file has them compressed throughout.
        let bomb = try Self.compressed(messages)
        #expect(bomb.count < 64 << 10)
        let error = #expect(throws: CASError.self) { _ = try readCarried(bomb) }
        #expect(error?.code == .resourceExhausted)
        #expect(error?.message.contains("100 times") == true)
        // Each file begins anew; all together have a limit too.
        let small = try CarrierFormat.file(Array(messages.prefix(3)))
        let budget = try readCarried(small, MessageBudget(8 << 20)).budget
        let next = try readCarried(small, budget).budget
        #expect(throws: CASError.self) { _ = try readCarried(small, next) }
    }

    /// A file as `CarrierFormat` would write it if all records had to be compressed.
    private static func compressed(_ messages: [CarriedMessage]) throws -> [UInt8] {
        let output = ReusableBuffer(capacity: 1 << 16)
        output.append(CarrierFormat.magic + [CarrierFormat.formatVersion, 2, 0, 0, 0, 0, 0, 0])
        let compressor = try Compressor()
        for case .directory(let bytes) in messages {
            var message: [UInt8] = [1]
            message.append(varint: UInt64(bytes.count))
            for part in [message, bytes] {
                try part.withUnsafeBytes { raw in
                    _ = try RecordCoding.appendFrame(
                        kind: .chunk, digest: Digest.of(part), rawLength: part.count, to: output
                    ) { try compressor.encode(raw, into: $0) }
                }
            }
        }
        RecordCoding.appendMark(kind: .end, to: output)
        return Array(output.bytes)
    }

    @Test func `two files in a layer are none of ours`() throws {
        let one = TarHeader(path: [0x61], kind: .file, mode: 0o644).encode()
        let two = TarHeader(path: [0x62], kind: .file, mode: 0o644).encode()
        let end = [UInt8](repeating: 0, count: 1_024)
        for archive in [one + two + end, end, [1, 2, 3]] {
            #expect(throws: CASError.self) { _ = try readCarried(layer: archive) }
        }
    }
}

/// What stands in a file with messages.
struct ReadCarried {
    var index: CarrierIndex?
    var messages: [CarriedMessage] = []
    var budget: MessageBudget
}

/// Reads a file that comes in pieces.
func readCarried(
    _ file: [UInt8], _ budget: MessageBudget = MessageBudget(), pieces: Int = 64 << 20
) throws -> ReadCarried {
    var found = ReadCarried(budget: budget)
    let reader = try CarrierReader(limits: .standard, budget: budget) { found.messages.append($0) }
    for start in stride(from: 0, to: file.count, by: pieces) {
        try file[start..<min(start + pieces, file.count)].withUnsafeBytes { try reader.push($0) }
    }
    found.index = try reader.finish()
    found.budget = reader.budget
    return found
}

/// Reads the only file of an archive.
private func readCarried(layer: [UInt8]) throws -> ReadCarried {
    var found = ReadCarried(budget: MessageBudget())
    let reader = try CarrierReader(limits: .standard, budget: found.budget) {
        found.messages.append($0)
    }
    var file = CarrierArchive(reader)
    var archive = TarReader()
    try layer.withUnsafeBytes { try archive.push($0, to: &file) }
    try archive.finish(to: &file)
    found.index = try file.finish()
    return found
}
