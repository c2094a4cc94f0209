import CASCore
import CASFileSystem
import CASTestSupport
import CASTree
import CASWire
import Foundation
import Testing

@testable import CASRepository

/// Removal for good: refused at once, gone from the files, and not to be brought back.
@Suite struct PurgeTests {
    private let secret = Array("the secret of a purge test, 7f3a9c".utf8)

    private func tree(_ seed: UInt64, withSecret: Bool) throws -> SampleTree {
        var random = SeededGenerator(seed: seed)
        var folder = SampleFolder.random(&random, depth: 2, largestFile: 2_000)
        folder.files["plain"] = SampleFolder.File(content: random.bytes(500))
        if withSecret { folder.files["key"] = SampleFolder.File(content: secret) }
        return try SampleTree(folder)
    }

    @discardableResult
    private func run(_ store: TestStore, _ request: MaintenanceRequest) throws
        -> MaintenanceProgress
    {
        let task = try PurgeTask(store.repository, request, domain: .standard)
        while try task.step() {}
        return task.progress
    }

    /// Whether bytes are anywhere in the files of a store on disk.
    private func isAnywhere(_ bytes: [UInt8], _ store: TestStore) throws -> Bool {
        let root = try #require(store.directory?.path)
        let files = try #require(FileManager.default.enumerator(atPath: root))
        var found = false
        for case let name as String in files {
            guard let data = FileManager.default.contents(atPath: root + "/" + name) else {
                continue
            }
            if data.range(of: Data(bytes)) != nil { found = true }
        }
        return found
    }

    @Test func `the bytes of a file are nowhere in the store afterwards`() throws {
        let store = try TestStore(.disk)
        let tree = try tree(1, withSecret: true)
        try store.repository.push(tree, to: "team/leak")
        try store.repository.push(try self.tree(2, withSecret: true), to: "team/leak")
        let other = try self.tree(3, withSecret: false)
        try store.repository.push(other, to: "team/fine")
        try store.reopen()
        #expect(try isAnywhere(secret, store))
        let digest = Digest.of(secret)
        let progress = try run(
            store, MaintenanceRequest(kind: .purge, digest: digest, reason: "a key"))
        #expect(progress["purged"] == 1)
        #expect(progress["packsInUse"] == 0)
        #expect(
            Set(progress.findings.map(\.kind)) == ["ref", "history"]
                && progress.findings.allSatisfy { $0.text == "key" })
        #expect(try !isAnywhere(secret, store))
        try other.expectWhole(in: store.repository, "team/fine")
        // Readers are refused, and so is whoever brings it back.
        #expect(
            try store.repository.read(blob: digest, maximumBytes: 1000, domain: .standard) == nil)
        #expect(
            try code { try store.repository.push(tree, to: "team/again") } == .failedPrecondition)
        #expect(
            try code {
                _ = try store.repository.missing([digest], push: .random(), domain: .standard)
            } == .failedPrecondition)
        #expect(try !isAnywhere(secret, store))
        // Nor does a rebuild.
        _ = try store.rebuild()
        #expect(
            try code { try store.repository.push(tree, to: "team/again") } == .failedPrecondition)
        let collector = try Collector(store.repository)
        while try collector.step() {}
        #expect(collector.progress["incomplete"] == 0)
    }

    @Test func `a file in chunks goes with the chunks that only it has`() throws {
        let store = try TestStore(.disk)
        var random = SeededGenerator(seed: 21)
        let content = random.bytes(60_000)
        var folder = SampleFolder()
        folder.files["large"] = SampleFolder.File(content: content)
        folder.files["plain"] = SampleFolder.File(content: random.bytes(300))
        try store.repository.push(try SampleTree(folder), to: "team/large")
        try store.reopen()
        let pieces = stride(from: 100, to: 60_000, by: 5_000).map { Array(content[$0..<$0 + 48]) }
        #expect(try pieces.contains { try isAnywhere($0, store) })
        let progress = try run(
            store,
            MaintenanceRequest(kind: .purge, digest: Digest.of(content), reason: "too large"))
        #expect(progress["purged"] > 1)
        #expect(try !pieces.contains { try isAnywhere($0, store) })
        let error = #expect(throws: CASError.self) {
            _ = try store.repository.plan(PlanRequest(want: "team/large"), domain: .standard)
        }
        #expect(error?.message.contains("too large") == true)
    }

    @Test func `a ref goes with what only it keeps, and nothing else`() throws {
        let store = try TestStore(.memory)
        let gone = try tree(4, withSecret: true)
        let kept = try tree(5, withSecret: true)
        try store.repository.push(gone, to: "team/gone")
        try store.repository.push(kept, to: "team/kept")
        let dry = try run(
            store,
            MaintenanceRequest(
                kind: .purge, isDryRun: true, ref: try RefName("team/gone"), reason: "licence"))
        #expect(dry["purged"] > 0)
        #expect(try store.repository.ref(try RefName("team/gone"), domain: .standard) != nil)
        let progress = try run(
            store,
            MaintenanceRequest(kind: .purge, ref: try RefName("team/gone"), reason: "licence"))
        #expect(progress["purged"] == dry["purged"])
        #expect(progress["removedRefs"] == 1)
        #expect(try store.repository.ref(try RefName("team/gone"), domain: .standard) == nil)
        try kept.expectWhole(in: store.repository, "team/kept")
        let error = #expect(throws: CASError.self) {
            try store.repository.push(gone, to: "team/gone")
        }
        #expect(error?.message.contains("licence") == true)
        // History still says that there was something; a collection does not take that for a gap.
        let collector = try Collector(store.repository)
        while try collector.step() {}
        #expect(collector.progress["incomplete"] == 0)
        try kept.expectWhole(in: store.repository, "team/kept")
    }

    @Test func `a purge that was interrupted is finished by another one`() throws {
        let store = try TestStore(.disk)
        try store.repository.push(try tree(9, withSecret: true), to: "team/leak")
        try store.reopen()
        let request = MaintenanceRequest(kind: .purge, digest: Digest.of(secret), reason: "a key")
        let task = try PurgeTask(store.repository, request, domain: .standard)
        while task.progress.phase != "rewriting packs", try task.step() {}
        #expect(try isAnywhere(secret, store))
        try store.reopen()
        try run(store, request)
        #expect(try !isAnywhere(secret, store))
    }

    @Test func `a push that ends while a purge does keeps what it has`() throws {
        let store = try TestStore(.memory)
        try store.repository.push(try tree(10, withSecret: true), to: "team/gone")
        let request = MaintenanceRequest(
            kind: .purge, ref: try RefName("team/gone"), reason: "licence")
        let other = try tree(11, withSecret: true)
        let task = try PurgeTask(store.repository, request, domain: .standard)
        var isPushed = false
        while try task.step() {
            guard task.progress.phase == "removing it", !isPushed else { continue }
            isPushed = true
            try store.repository.push(other, to: "team/new")
        }
        #expect(isPushed)
        try other.expectWhole(in: store.repository, "team/new")
    }

    @Test func `empty files and directories can be pushed after a purge of some`() throws {
        let store = try TestStore(.memory)
        var folder = SampleFolder()
        folder.files["plain"] = SampleFolder.File(content: secret)
        folder.files["empty"] = SampleFolder.File(content: [])
        folder.folders["nothing"] = SampleFolder()
        try store.repository.push(try SampleTree(folder), to: "team/gone")
        try run(
            store,
            MaintenanceRequest(kind: .purge, ref: try RefName("team/gone"), reason: "licence"))
        folder.files["plain"] = SampleFolder.File(content: [1])
        folder.folders["nothing"]?.modified = Timestamp(seconds: 1_500_000_001)
        let tree = try SampleTree(folder)
        try store.repository.push(tree, to: "team/new")
        try tree.expectWhole(in: store.repository, "team/new")
        #expect(
            try code {
                try run(
                    store, MaintenanceRequest(kind: .purge, digest: .empty, reason: "nothing"))
            } == .invalidArgument)
    }

    @Test func `another process refuses what was purged since it opened the store`() throws {
        let store = try TestStore(.memory)
        try store.repository.push(try tree(12, withSecret: true), to: "team/leak")
        let first = store.repository
        try store.openBeside()
        try run(
            store,
            MaintenanceRequest(kind: .purge, digest: Digest.of(secret), reason: "a key"))
        #expect(
            try code {
                _ = try first.missing([Digest.of(secret)], push: .random(), domain: .standard)
            } == .failedPrecondition)
    }

    @Test func `what keeps a blob is the same however small the steps are`() throws {
        let store = try TestStore(.memory)
        var random = SeededGenerator(seed: 77)
        var trees: [SampleTree] = []
        for number in 0..<6 {
            var folder = SampleFolder()
            for name in ["a", "b", "c"] {
                folder.folders[name] = .random(&random, depth: 3, largestFile: 300)
            }
            // Deep in some of them, of which two share the directory.
            if number % 2 == 0 {
                folder.folders["c"]?.folders["z"] = SampleFolder(files: [
                    "key": .init(content: secret)
                ])
            }
            trees.append(try SampleTree(folder))
            try store.repository.push(trees[number], to: "team/r\(number)")
        }
        try store.repository.push(trees[1], to: "team/r0")
        let attributes = try #require(trees[2].snapshot.attributes).digest
        for digest in [Digest.of(secret), trees[2].snapshot.tree.digest, attributes] {
            let whole = try RootSearch(
                store.repository, digest, entriesPerStep: .max, domain: .standard)
            var steps = 0
            while try whole.step() { steps += 1 }
            #expect(!whole.progress.findings.isEmpty)
            let small = try RootSearch(
                store.repository, digest, entriesPerStep: 5, domain: .standard)
            var smallSteps = 0
            while try small.step() { smallSteps += 1 }
            #expect(small.progress.findings == whole.progress.findings)
            #expect(small.progress.figures == whole.progress.figures)
            #expect(smallSteps > 3 * steps, "\(smallSteps) and \(steps)")
        }
    }

    @Test func `what keeps a blob is found, with its path`() throws {
        let store = try TestStore(.memory)
        try store.repository.push(try tree(6, withSecret: true), to: "team/a")
        try store.repository.push(try tree(7, withSecret: true), to: "team/b:v1")
        try store.repository.push(try tree(8, withSecret: false), to: "team/c")
        let search = try RootSearch(store.repository, Digest.of(secret), domain: .standard)
        while try search.step() {}
        #expect(search.progress.findings.map(\.name) == ["team/a:latest", "team/b:v1"])
        #expect(search.progress.findings.allSatisfy { $0.kind == "ref" && $0.text == "key" })
        #expect(throws: CASError.self) {
            try RootSearch(store.repository, Digest.of([1]), domain: .standard)
        }
    }
}
