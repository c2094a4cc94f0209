import CASCore
import CASOCI
import CASTestSupport
import CASTree
import Testing

/// How trees are cut into layers.
@Suite struct LayerPlanTests {
    private static func options(_ prefix: String = "/work/space") throws -> LayerOptions {
        try LayerOptions(prefix: Array(prefix.utf8), userID: 1000, groupID: 100)
    }

    /// What each layer holds by path, without the directories that only lead there.
    private static func contents(
        _ archive: [UInt8], _ part: LayerPart, _ options: LayerOptions
    ) throws -> [String: Entries.Entry] {
        var found: [String: Entries.Entry] = [:]
        let lead = "work/space" + (part.path.isEmpty ? "" : "/")
        let above = String(decoding: part.path, as: UTF8.self)
        for entry in try Entries.of(archive) {
            let path = String(decoding: entry.header.path, as: UTF8.self)
            #expect(found[path] == nil, "\(path) is there twice")
            let isAbove = "work/space/\(above)/".hasPrefix(path + "/")
            if isAbove, entry.header.kind == .directory { continue }
            #expect(path.hasPrefix(lead), "\(path) in a layer of \(above)")
            found[String(path.dropFirst("work/space/".utf8.count))] = entry
        }
        return found
    }

    @Test(arguments: 0..<30)
    func `parts are disjoint and are the tree`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let node = PlantedTree.random(&random)
        let tree = try PlantedTree(node)
        let options = try Self.options()
        let maximum = random.pick([1, 2, 7, 64])
        let plan = try LayerPlan(
            root: tree.root, source: tree, options: options, maximumParts: maximum,
            smallestClass: random.pick([0, 11, 13]))
        #expect(plan.items.count <= maximum && !plan.items.isEmpty, "seed \(seed)")
        var found: [String: Entries.Entry] = [:]
        var above: Set<String> = []
        for item in plan.items {
            #expect(try LayerPart(decoding: item.part.encode()) == item.part)
            let archive = try tree.layer(item.part, options)
            let size = try LayerEncoder(options).size(item.part, root: tree.root, source: tree)
            #expect(size == UInt64(archive.count), "seed \(seed)")
            let held = try Self.contents(archive, item.part, options)
            found.merge(held) { first, _ in
                Issue.record("seed \(seed): \(first.header) is in two layers")
                return first
            }
            var path = String(decoding: item.part.path, as: UTF8.self)
            while !path.isEmpty {
                above.insert(path)
                path = path.split(separator: "/").dropLast().joined(separator: "/")
            }
        }
        var expected = node.flattened()
        for path in above { expected[path] = nil }
        #expect(Set(found.keys) == Set(expected.keys), "seed \(seed)")
        for (path, node) in expected {
            guard let entry = found[path] else { continue }
            #expect(Self.agrees(entry, node), "seed \(seed): \(path)")
        }
    }

    private static func agrees(_ entry: Entries.Entry, _ node: PlantedTree.Node) -> Bool {
        let header = entry.header
        guard header.userID == 1000, header.groupID == 100 else { return false }
        switch node {
        case .file(let content, let isExecutable):
            return header.kind == .file && entry.content == content
                && header.mode == (isExecutable ? 0o755 : 0o644)
                && header.modified == DerivedTime.of(Digest.of(content)).seconds
        case .link(let target):
            return header.kind == .symlink && header.target == Array(target.utf8)
        case .folder:
            return header.kind == .directory && header.mode == 0o755 && header.modified == 0
        }
    }

    /// Changes the content of one file, not its size.
    private static func edited(_ node: PlantedTree.Node, _ path: [Substring]) -> PlantedTree.Node {
        switch node {
        case .file(let content, let isExecutable):
            return .file(content.map { $0 ^ 0x55 }, isExecutable: isExecutable)
        case .link: return node
        case .folder(var entries):
            let name = String(path[0])
            if let child = entries[name] {
                entries[name] = edited(child, Array(path.dropFirst()))
            }
            return .folder(entries)
        }
    }

    @Test(arguments: 0..<20)
    func `an edit moves no border and changes one layer`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let node = PlantedTree.random(&random)
        let options = try Self.options("")
        func plan(_ tree: PlantedTree) throws -> LayerPlan {
            try LayerPlan(root: tree.root, source: tree, options: options, smallestClass: 10)
        }
        let tree = try PlantedTree(node)
        let before = try plan(tree)
        #expect(try plan(PlantedTree(node)).items == before.items)
        let files = node.flattened().filter { _, node in
            if case .file(let content, _) = node { return !content.isEmpty }
            return false
        }
        for path in files.keys.sorted().prefix(12) {
            let after = try PlantedTree(Self.edited(node, path.split(separator: "/")))
            let items = try plan(after).items
            #expect(items.map(\.part) == before.items.map(\.part), "seed \(seed), \(path)")
            let changed = zip(items, before.items).filter { $0.key != $1.key }
            #expect(changed.count == 1, "seed \(seed), \(path)")
            for (new, old) in zip(items, before.items) {
                let isSame =
                    try after.layer(new.part, options) == tree.layer(old.part, options)
                #expect(isSame == (new.key == old.key), "seed \(seed), \(path)")
            }
        }
    }

    @Test func `options are part of a key`() throws {
        let tree = try PlantedTree(.folder(["a": .file([1])]))
        let keys = try [
            LayerOptions(), LayerOptions(prefix: [0x61]), LayerOptions(userID: 1),
            LayerOptions(groupID: 1),
        ].map { try LayerPlan(root: tree.root, source: tree, options: $0).items[0].key }
        #expect(Set(keys).count == 4)
        #expect(
            try LayerPlan(root: tree.root, source: tree, options: LayerOptions()).items.map(\.part)
                == [LayerPart(path: [], selection: .whole)])
    }

    @Test func `a large file stands alone, and small things keep together`() throws {
        var code: [String: PlantedTree.Node] = [:]
        for index in 0..<20 { code["m\(index).py"] = .file([UInt8(index)]) }
        let tree = try PlantedTree(
            .folder([
                "code": .folder(code), "README": .file([1]),
                "lib": .folder([
                    "torch": .folder(["big.so": .file([UInt8](repeating: 1, count: 1 << 20))])
                ]),
            ]))
        let plan = try LayerPlan(
            root: tree.root, source: tree, options: try LayerOptions(), smallestClass: 16)
        #expect(
            plan.items.map { $0.part.text(LayerPlanTests.none) } == [
                "/", "/lib/torch/big.so",
            ])
    }

    private static let none: LayerOptions = {
        do { return try LayerOptions() } catch { preconditionFailure("\(error)") }
    }()

    @Test func `one more bit splits each group in two`() throws {
        for index in 0..<200 {
            let name = try EntryName("name-\(index)")
            for bits in UInt8(0)..<16 {
                #expect(
                    LayerPart.group(name, bits: bits + 1) >> 1 == LayerPart.group(name, bits: bits))
            }
        }
    }

    @Test func `prefixes are checked`() throws {
        #expect(try LayerOptions(prefix: Array("//a//b/".utf8)).prefix == Array("a/b".utf8))
        for text in ["..", "a/../b", ".", "a\0b", String(repeating: "a/", count: 600)] {
            #expect(throws: CASError.self) { try LayerOptions(prefix: Array(text.utf8)) }
        }
    }

    @Test func `an incomplete tree is told`() throws {
        let tree = try PlantedTree(.folder([:]))
        let error = #expect(throws: CASError.self) {
            try LayerPlan(root: Digest.of([9]), source: tree, options: LayerOptions())
        }
        #expect(error?.code == .failedPrecondition)
    }
}
