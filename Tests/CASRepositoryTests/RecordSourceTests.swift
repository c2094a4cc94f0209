import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASWire
import Synchronization
import Testing

@testable import CASRepository
import CASStorage

/// What serving records costs.
@Suite struct RecordSourceTests {
    /// Counts views of a catalog.
    private final class CountingCatalog: Catalog {
        let reads = Atomic<Int>(0)
        private let inner = InMemoryCatalog()

        func read<Result>(_ body: (any CatalogReader) throws -> Result) throws -> Result {
            reads.add(1, ordering: .relaxed)
            return try inner.read(body)
        }

        func write<Result>(_ body: (any CatalogTransaction) throws -> Result) throws -> Result {
            try inner.write(body)
        }

        func erase() throws { try inner.erase() }

        func close() throws { try inner.close() }
    }

    private static func folder(files: Int, bytes: Int) -> SampleFolder {
        var random = SeededGenerator(seed: 3)
        var folder = SampleFolder()
        for index in 0..<files {
            folder.files["file-\(100 + index)"] = SampleFolder.File(content: random.bytes(bytes))
        }
        return folder
    }

    @Test func `runs of an open pack need no look at the catalog`() throws {
        let catalog = CountingCatalog()
        let fileSystem = SimulatedFileSystem()
        let repository = try Repository.open(
            try TestStore.configuration(nil), fileSystem: fileSystem,
            objects: try DirectoryBackend(directory: "/store/packs", fileSystem: fileSystem),
            catalog: catalog, clock: TestClock())
        let folder = Self.folder(files: 60, bytes: 500)
        try repository.push(try SampleTree(folder), to: "project")
        // Every second one, so that no two lie side by side.
        let names = folder.files.keys.sorted().enumerated().filter { $0.offset % 2 == 0 }
        let digests = names.compactMap { folder.files[$0.element].map { Digest.of($0.content) } }
        #expect(try Fetched(repository, blobs: digests).files.count == 30)
        let before = catalog.reads.load(ordering: .relaxed)
        #expect(try Fetched(repository, blobs: digests).files.count == 30)
        #expect(catalog.reads.load(ordering: .relaxed) - before == 1)
    }

    @Test func `chunks of a blob are read with the same buffers`() throws {
        let store = try TestStore()
        let folder = Self.folder(files: 1, bytes: 100_000)
        try store.repository.push(try SampleTree(folder), to: "project")
        let content = try #require(folder.files.values.first?.content)
        let read = try store.repository.read(
            blob: Digest.of(content), maximumBytes: content.count, domain: .standard)
        #expect(read == content)
        #expect(store.repository.recordBuffers.made == 1)
    }

    /// Pieces of one size, or of any between them.
    @Test(arguments: [[1], [700], [5_000], [1 << 20], [50, 400, 3_000, 100_000]])
    func `a piece has the size that was announced, and the stream is the same`(
        sizes: [Int]
    ) throws {
        var random = SeededGenerator(seed: 11)
        let store = try TestStore()
        var folder = Self.folder(files: 20, bytes: 900)
        folder.files["large"] = SampleFolder.File(
            content: Array(Self.folder(files: 1, bytes: 30_000).files.values)[0].content)
        try store.repository.push(try SampleTree(folder), to: "project")
        let name = try store.repository.plan(PlanRequest(want: "project"), domain: .standard).planID
        for make in [
            { try store.repository.treeRecords(plan: name, domain: .standard) },
            {
                try store.repository.dataRecords(plan: name, share: 0, of: 1, domain: .standard)
            },
            {
                try store.repository.dataRecords(plan: name, share: 1, of: 2, domain: .standard)
            },
        ] {
            let whole = ReusableBuffer()
            #expect(try make().next(into: whole))
            let source = try make()
            let buffer = ReusableBuffer()
            var all: [UInt8] = []
            while true {
                let bytes = sizes[Int(random.next() % UInt64(sizes.count))]
                guard let size = source.size(ofNext: bytes) else { break }
                #expect(try source.next(into: buffer, about: bytes))
                #expect(buffer.count == size)
                all += Array(buffer.bytes)
            }
            #expect(try !source.next(into: buffer, about: 1))
            #expect(all == Array(whole.bytes))
        }
    }
}
