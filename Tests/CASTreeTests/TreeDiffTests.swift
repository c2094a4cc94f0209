import CASCore
import CASTestSupport
import CASTree
import Testing

/// Comparisons of trees against one of all their paths.
@Suite struct TreeDiffTests {
    private func expected(
        _ old: ModelTree, _ new: ModelTree
    ) throws -> [[UInt8]: (old: TreeDiff.Node?, new: TreeDiff.Node?)] {
        let before = try old.flattened()
        let after = try new.flattened()
        var changes: [[UInt8]: (old: TreeDiff.Node?, new: TreeDiff.Node?)] = [:]
        for path in Set(before.keys).union(after.keys) where before[path] != after[path] {
            if case .directory = before[path], case .directory = after[path] { continue }
            changes[path] = (before[path], after[path])
        }
        return changes
    }

    @Test(arguments: [UInt64(1), 2, 3, 4])
    func `a comparison finds what comparing all paths finds`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var total = 0
        for round in 0..<(TestForm.isFull ? 3_000 : 150) {
            let old = ModelTree.random(&random, depth: 4)
            let new =
                round % 3 == 0
                ? ModelTree.random(&random, depth: 4) : old.edited(&random, depth: 3)
            let source = MemorySource()
            let from = try old.store(in: source).digest
            let to = try new.store(in: source).digest
            var found: [TreeDiff.Change] = []
            try TreeDiff.run(from: from, to: to, source: source, limits: .standard) {
                found.append($0)
            }
            let expected = try expected(old, new)
            #expect(found.count == expected.count, "seed \(seed), round \(round)")
            for change in found {
                let model = try #require(expected[change.path], "seed \(seed), round \(round)")
                #expect(
                    model.old == change.old && model.new == change.new,
                    "seed \(seed), round \(round)")
            }
            checkOrder(found, "seed \(seed), round \(round)")
            total += found.count
        }
        #expect(total > 300, "the edits change something")
    }

    /// Siblings ascend.
    private func checkOrder(_ changes: [TreeDiff.Change], _ comment: String) {
        var last: [[UInt8]: [UInt8]] = [:]
        for change in changes {
            let slash = change.path.lastIndex(of: 0x2f)
            let parent = slash.map { Array(change.path[..<$0]) } ?? []
            let name = WireText.encode(Array(change.path[(slash.map { $0 + 1 } ?? 0)...]))
            if let before = last[parent] {
                #expect(before.lexicographicallyPrecedes(name), "\(comment)")
            }
            last[parent] = name
        }
    }

    @Test(arguments: [UInt64(5), 6])
    func `equal trees are one comparison, and nothing has only additions`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let model = ModelTree.random(&random, depth: 4)
        let source = MemorySource()
        let root = try model.store(in: source).digest
        try TreeDiff.run(from: root, to: root, source: source, limits: .standard) { change in
            Issue.record("\(change), seed \(seed)")
        }
        #expect(source.lookups == 0)
        var added: Set<[UInt8]> = []
        try TreeDiff.run(from: nil, to: root, source: source, limits: .standard) {
            #expect($0.old == nil && $0.new != nil)
            added.insert($0.path)
        }
        #expect(added == Set(try model.flattened().keys), "seed \(seed)")
    }

    @Test func `a bomb and a missing directory end a comparison`() throws {
        let source = MemorySource()
        var below = source.insert(Directory())
        for _ in 0..<40 {
            below = source.insert(
                Directory(
                    directories: try ["a", "b"].map {
                        DirectoryNode(
                            name: try EntryName($0), digest: below.digest, size: below.size)
                    }))
        }
        var limits = Limits.standard
        limits.treeEntries = 100_000
        let error = #expect(throws: CASError.self) {
            try TreeDiff.run(from: nil, to: below.digest, source: source, limits: limits) { _ in }
        }
        #expect(error?.code == .resourceExhausted)
        let missing = #expect(throws: CASError.self) {
            try TreeDiff.run(
                from: nil, to: Digest.of([1]), source: source, limits: limits
            ) { _ in }
        }
        #expect(missing?.code == .notFound && missing?.digest == Digest.of([1]))
    }
}
