import CASCore
import CASTestSupport
import CASTree
import Testing

/// Walks over trees that are honest, hostile or not whole.
@Suite struct TreeWalkTests {
    /// Forty directories, each of which names the next one twice: 2^40 files from 40 messages.
    private func bomb(levels: Int, in source: MemorySource) throws -> Digest {
        var below = source.insert(
            Directory(files: [
                FileNode(name: try EntryName("f"), digest: .empty, size: 0, isExecutable: false)
            ]))
        for _ in 1..<levels {
            below = source.insert(
                Directory(directories: [
                    DirectoryNode(name: try EntryName("a"), digest: below.digest, size: below.size),
                    DirectoryNode(name: try EntryName("b"), digest: below.digest, size: below.size),
                ]))
        }
        return below.digest
    }

    @Test func `forty directories that name 2^40 files are refused, each looked at once`() throws {
        let source = MemorySource()
        let root = try bomb(levels: 41, in: source)
        let error = #expect(throws: CASError.self) {
            try TreeWalk.totals(root: root, source: source, limits: .standard)
        }
        #expect(error?.code == .resourceExhausted)
        #expect(source.lookups <= 41)
        var limits = Limits.standard
        limits.treeEntries = 10_000
        let walk = #expect(throws: CASError.self) {
            try TreeWalk.run(root: root, attributes: nil, source: source, limits: limits) { _ in
                true
            }
        }
        #expect(walk?.code == .resourceExhausted)
    }

    @Test func `sums that do not fit a word are refused and do not wrap`() throws {
        let source = MemorySource()
        // 64 levels would wrap to a small number.
        let root = try bomb(levels: 65, in: source)
        var limits = Limits.standard
        limits.treeEntries = .max - 1
        #expect(throws: CASError.self) {
            try TreeWalk.totals(root: root, source: source, limits: limits)
        }
        let big = source.insert(
            Directory(
                files: try ["a", "b", "c"].map {
                    FileNode(
                        name: try EntryName($0), digest: .empty, size: UInt64(Int64.max),
                        isExecutable: false)
                }))
        limits = .standard
        let error = #expect(throws: CASError.self) {
            try TreeWalk.totals(root: big.digest, source: source, limits: limits)
        }
        #expect(error?.code == .resourceExhausted)
        limits.treeBytes = .max
        #expect(
            try TreeWalk.totals(root: big.digest, source: source, limits: limits).totals.bytes
                == .max)
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `totals and the walk agree with the model`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<(TestForm.isFull ? 2_000 : 100) {
            let model = ModelTree.random(&random, depth: 4)
            let source = MemorySource()
            let root = try model.store(in: source).digest
            let flat = try model.flattened()
            var expected = TreeTotals(directories: 1)
            var depth = 1
            for (path, node) in flat {
                switch node {
                case .file(_, let size, _): expected.add(TreeTotals(files: 1, bytes: size))
                case .symlink: expected.add(TreeTotals(symlinks: 1))
                case .directory:
                    expected.add(TreeTotals(directories: 1))
                    depth = max(depth, path.count { $0 == 0x2f } + 2)
                }
            }
            let sums = try TreeWalk.totals(root: root, source: source, limits: .standard)
            #expect(sums.totals == expected && sums.depth == depth, "seed \(seed)")
            var met: [[UInt8]] = []
            try TreeWalk.run(root: root, attributes: nil, source: source, limits: .standard) {
                met.append($0.path)
                #expect($0.depth == ($0.path.isEmpty ? 0 : $0.path.count { $0 == 0x2f } + 1))
                return true
            }
            var directories: [[UInt8]] = [[]]
            for (path, node) in flat { if case .directory = node { directories.append(path) } }
            #expect(Set(met) == Set(directories) && met.count == directories.count, "seed \(seed)")
            for (index, path) in met.enumerated() where !path.isEmpty {
                let parent = path.lastIndex(of: 0x2f).map { Array(path[..<$0]) } ?? []
                #expect(met[..<index].contains(parent), "parents come first, seed \(seed)")
            }
        }
    }

    @Test func `a walk does not enter where it is told not to`() throws {
        let source = MemorySource()
        let root = try bomb(levels: 20, in: source)
        var steps = 0
        try TreeWalk.run(root: root, attributes: nil, source: source, limits: .standard) { step in
            steps += 1
            return step.depth < 2
        }
        #expect(steps == 1 + 2 + 4)
    }

    @Test func `a missing directory is named`() throws {
        let source = MemorySource()
        let leaf = source.insert(Directory())
        let root = source.insert(
            Directory(directories: [
                DirectoryNode(name: try EntryName("d"), digest: leaf.digest, size: leaf.size)
            ]))
        source.remove(leaf.digest)
        let walk = #expect(throws: CASError.self) {
            try TreeWalk.run(root: root.digest, attributes: nil, source: source, limits: .standard)
            {
                _ in true
            }
        }
        #expect(walk?.code == .notFound && walk?.digest == leaf.digest && walk?.path == "d")
        let totals = #expect(throws: CASError.self) {
            try TreeWalk.totals(root: root.digest, source: source, limits: .standard)
        }
        #expect(totals?.code == .notFound && totals?.digest == leaf.digest)
    }

    @Test func `a tree deeper than allowed is refused`() throws {
        let source = MemorySource()
        let root = try bomb(levels: 6, in: source)
        var limits = Limits.standard
        limits.treeDepth = 6
        #expect(
            try TreeWalk.totals(root: root, source: source, limits: limits).depth == 6)
        limits.treeDepth = 5
        #expect(throws: CASError.self) {
            try TreeWalk.totals(root: root, source: source, limits: limits)
        }
        #expect(throws: CASError.self) {
            try TreeWalk.run(root: root, attributes: nil, source: source, limits: limits) { _ in
                true
            }
        }
    }

    @Test func `attributes go along, and those of another shape are refused`() throws {
        let source = MemorySource()
        let time = Timestamp(seconds: 5)
        let own = FileAttributes(permissions: 0o700, modified: time)
        let leaf = source.insert(Directory())
        let leafAttributes = source.insert(AttributesDirectory(own: own))
        let root = source.insert(
            Directory(directories: [
                DirectoryNode(name: try EntryName("d"), digest: leaf.digest, size: leaf.size)
            ]))
        let good = source.insert(AttributesDirectory(own: own, directories: [leafAttributes]))
        var seen: [[UInt8]: AttributesDirectory?] = [:]
        try TreeWalk.run(
            root: root.digest, attributes: good.digest, source: source, limits: .standard
        ) {
            seen[$0.path] = .some($0.attributes)
            return true
        }
        #expect(seen.count == 2 && seen.values.allSatisfy { $0?.own == own })
        for (bad, code) in [
            (source.insert(AttributesDirectory(own: own)), CASError.Code.dataLoss),
            (
                source.insert(
                    AttributesDirectory(own: own, symlinks: [time], directories: [leafAttributes])),
                .dataLoss
            ),
            (SizedDigest(digest: Digest.of([9]), size: 1), .notFound),
        ] {
            let error = #expect(throws: CASError.self) {
                try TreeWalk.run(
                    root: root.digest, attributes: bad.digest, source: source, limits: .standard
                ) { _ in true }
            }
            #expect(error?.code == code)
        }
    }
}
