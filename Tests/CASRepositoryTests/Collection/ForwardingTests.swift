import CASCatalog
import CASCore
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// How scattered snapshots lie is known, and what is too scattered is brought together.
@Suite struct ForwardingTests {
    /// Scattered at once: a test's tree has few files.
    private static var eager: ForwardPolicy {
        var policy = ForwardPolicy()
        policy.toleratedRanges = 2
        policy.averageRunBytes = 8 << 10
        policy.shortRunBytes = 16 << 10
        return policy
    }

    private func run(_ task: any MaintenanceTask) throws {
        while try task.step() {}
    }

    private func measure(_ store: TestStore, _ tree: SampleTree) throws -> SnapshotMeasure? {
        try run(Measuring(store.repository, domain: .standard))
        return try store.repository.catalog.read {
            try $0.measure(of: tree.digest, domain: .standard)
        }
    }

    /// A folder of small files, of which some change with every version.
    private struct Versions {
        var random: SeededGenerator
        var folder = SampleFolder()

        init(seed: UInt64, files: Int = 60) {
            random = SeededGenerator(seed: seed)
            for number in 0..<files {
                let count = Int.random(in: 1...900, using: &random)
                folder.folders["part-\(number / 10)", default: SampleFolder()]
                    .files["file-\(number)"] = SampleFolder.File(content: random.bytes(count))
            }
            // In chunks.
            folder.files["large"] = SampleFolder.File(content: random.bytes(20_000))
        }

        mutating func next() throws -> SampleTree {
            for (name, part) in folder.folders {
                for file in part.files.keys where Int.random(in: 0..<6, using: &random) == 0 {
                    let count = Int.random(in: 1...900, using: &random)
                    folder.folders[name]?.files[file]?.content = random.bytes(count)
                }
            }
            return try SampleTree(folder)
        }
    }

    private func expectWhole(_ store: TestStore, _ ref: String, _ tree: SampleTree) throws {
        let fetched = try Fetched(store.repository, ref)
        #expect(fetched.files == tree.files.filter { $0.key != .empty })
    }

    @Test(arguments: Storage.allCases)
    func `a first push lies in few runs and is measured once`(storage: Storage) throws {
        let store = try TestStore(storage)
        var versions = Versions(seed: 1)
        let tree = try versions.next()
        try store.repository.push(tree, to: "team/project")
        let measure = try #require(try measure(store, tree))
        #expect(measure.restoredBytes == tree.files.values.reduce(0) { $0 + UInt64($1.count) })
        #expect(measure.readBytes > measure.restoredBytes / 2)
        // One run in each pack, at most.
        #expect(measure.ranges <= UInt64(try store.packs().count))
        let again = Measuring(store.repository, domain: .standard)
        try run(again)
        #expect(again.progress["measuredSnapshots"] == 0)
    }

    @Test(arguments: Storage.allCases, [UInt64](1...4))
    func `scattered files are brought together and stay what they were`(
        storage: Storage, seed: UInt64
    ) throws {
        let store = try TestStore(storage)
        var versions = Versions(seed: seed)
        var trees: [SampleTree] = []
        for number in 0..<8 {
            trees.append(try versions.next())
            try store.repository.push(trees[number], to: "team/project:v\(number)")
            try store.repository.push(trees[number], to: "team/project")
        }
        let last = trees[trees.count - 1]
        let before = try #require(try measure(store, last))
        #expect(before.ranges > 10)
        let task = Forwarding(store.repository, policy: Self.eager, domain: .standard)
        try run(task)
        #expect(task.progress["forwardedSnapshots"] > 0)
        let after = try #require(try measure(store, last))
        #expect(after.ranges < before.ranges)
        #expect(after.restoredBytes == before.restoredBytes)
        #expect(after.readBytes == before.readBytes)
        for (number, tree) in trees.enumerated() {
            try expectWhole(store, "team/project:v\(number)", tree)
        }
        try expectWhole(store, "team/project", last)
        // On a disk this process, which lives, goes on holding the locks of its packs.
        try store.reopen(closing: storage == .disk || seed % 2 == 0)
        try expectWhole(store, "team/project", last)
        for (number, tree) in trees.enumerated() {
            try expectWhole(store, "team/project:v\(number)", tree)
        }
        _ = try store.rebuild()
        try expectWhole(store, "team/project", last)
    }

    @Test func `refs that share files do not fight over them`() throws {
        let store = try TestStore()
        var versions = Versions(seed: 77)
        for number in 0..<10 {
            try store.repository.push(try versions.next(), to: "team/project:v\(number)")
        }
        var copied: [UInt64] = []
        for _ in 0..<6 {
            try run(Measuring(store.repository, domain: .standard))
            let task = Forwarding(store.repository, policy: Self.eager, domain: .standard)
            try run(task)
            copied.append(task.progress["forwardedBytes"])
        }
        // Once everything was brought together there is nothing left to do.
        #expect(copied[0] > 0)
        #expect(copied.suffix(3) == [0, 0, 0])
    }

    @Test func `what lies well is left alone`() throws {
        let store = try TestStore()
        var versions = Versions(seed: 5)
        let tree = try versions.next()
        try store.repository.push(tree, to: "team/project")
        let before = try #require(try measure(store, tree))
        let packBytes = store.repository.counters.packBytes
        let task = Forwarding(store.repository, domain: .standard)
        try run(task)
        #expect(store.repository.counters.packBytes == packBytes)
        #expect(try measure(store, tree) == before)
    }

    @Test func `a snapshot that lost a file is not measured and holds nothing up`() throws {
        let store = try TestStore()
        var versions = Versions(seed: 6)
        let (first, second) = (try versions.next(), try versions.next())
        try store.repository.push(first, to: "team/first")
        try store.repository.push(second, to: "team/second")
        let lost = try #require(first.files.keys.first { second.files[$0] == nil })
        try store.repository.catalog.write {
            try $0.remove(locations: [lost], domain: .standard)
        }
        #expect(try measure(store, first) == nil)
        #expect(try measure(store, second) != nil)
    }

    @Test func `a policy calls scattered what has many short runs`() {
        let policy = ForwardPolicy()
        func isScattered(_ ranges: UInt64, _ bytes: UInt64) -> Bool {
            policy.isScattered(
                SnapshotMeasure(ranges: ranges, readBytes: bytes, restoredBytes: bytes))
        }
        #expect(isScattered(2952, 53_000_000))
        #expect(!isScattered(134, 53_000_000))
        #expect(!isScattered(64, 1000))
        #expect(!isScattered(0, 0))
    }
}
