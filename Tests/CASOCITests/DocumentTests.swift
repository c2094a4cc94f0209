import CASCore
import CASOCI
import CASTestSupport
import CASTree
import Testing

/// The examples of Layers.md are decoded, so that the page can not drift from the code.
@Suite struct DocumentTests {
    private static func example(_ name: String) throws -> [UInt8] {
        try DocumentExamples("Sources/CASOCI/CASOCI.docc/Layers.md").example(name)
    }

    private static func options() throws -> LayerOptions {
        try LayerOptions(prefix: Array("/w".utf8), userID: 1000, groupID: 1000)
    }

    /// The headers of the layer of a small tree, in order.
    private static func headers(_ tree: PlantedTree.Node) throws -> [[UInt8]] {
        let tree = try PlantedTree(tree)
        let archive = try tree.layer(LayerPart(path: [], selection: .whole), try options())
        return stride(from: 0, to: archive.count, by: 512).map {
            Array(archive[$0..<$0 + 512])
        }
    }

    private static let hello = PlantedTree.Node.file(Array("hello\n".utf8))

    @Test func `the example of a header`() throws {
        let example = try Self.example("header")
        let blocks = try Self.headers(.folder(["a": Self.hello]))
        #expect(blocks[1] == example, "\(Hexadecimal.encode(blocks[1]))")
        let archive = example + Array("hello\n".utf8) + [UInt8](repeating: 0, count: 506)
        let entries = try Entries.of(archive)
        #expect(entries.map(\.header.path) == [Array("w/a".utf8)])
        #expect(entries[0].header.modified == DerivedTime.of(Digest.of(entries[0].content)).seconds)
    }

    @Test func `the example of a header that needs PAX`() throws {
        let example = try Self.example("extended-header")
        let blocks = try Self.headers(.folder(["é": .folder([:])]))
        #expect(Array(blocks[1...3].joined()) == example)
        let entries = try Entries.of(example)
        #expect(entries.map(\.header.path) == [Array("w/é".utf8)])
        #expect(entries[0].header.kind == .directory && entries[0].header.userID == 1000)
    }

    @Test func `the example of a part`() throws {
        let example = try Self.example("part")
        let part = try LayerPart(decoding: example)
        #expect(
            part
                == LayerPart(
                    path: Array("lib".utf8),
                    selection: .group(bits: 3, index: 3, excluded: [try EntryName("torch")])))
        #expect(part.encode() == example)
        #expect(part.text(try Self.options()) == "/w/lib (4 of 8)")
    }

    @Test func `the example of a key`() throws {
        // A second file, large enough to stand alone, makes a group of the first.
        let tree = try PlantedTree(
            .folder(["a": Self.hello, "b": .file([UInt8](repeating: 0, count: 1 << 16))]))
        let plan = try LayerPlan(
            root: tree.root, source: tree, options: try Self.options(), smallestClass: 12)
        #expect(plan.items.count == 2)
        #expect(plan.items[0].key == Digest.of(try Self.example("key")))
    }

    @Test func `the example of options`() throws {
        let example = try Self.example("options")
        let options = try ImageOptions(decoding: example)
        #expect(options.layers == (try Self.options()) && options.environment == ["A=1"])
        #expect(options.entrypoint == ["a"] && options.command == nil)
        #expect(options.labels == ["k": "v"])
        #expect(options.encode() == example)
    }
}
