import CASCatalog
import CASCore
import CASOCI
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// Uploads in progress beside a purge: what they have is kept as what a ref has.
@Suite struct UploadPurgeTests {
    private static let name = "team/image"

    /// A store with a ref that has a file of several chunks.
    private func store(_ content: [UInt8]) throws -> TestStore {
        let store = try TestStore()
        var folder = SampleFolder()
        folder.files["large"] = SampleFolder.File(content: content)
        var random = SeededGenerator(seed: 30)
        folder.folders["more"] = .random(&random, depth: 2, largestFile: 300)
        try store.repository.push(try SampleTree(folder), to: "team/gone")
        return store
    }

    private func purge(
        _ store: TestStore, ref: String? = nil, _ digest: Digest? = nil
    ) throws -> PurgeTask {
        var pace = CollectionPace()
        pace.rows = 4
        pace.directories = 2
        let request = MaintenanceRequest(
            kind: .purge, digest: digest, ref: try ref.map { try RefName($0) }, reason: "licence")
        return try PurgeTask(store.repository, request, pace: pace, domain: .standard)
    }

    private func finish(_ store: TestStore, _ upload: Identifier, _ bytes: [UInt8]) throws {
        let digest = try store.repository.finishUpload(
            Self.name, upload, expecting: .sha256(Digest.of(bytes)), domain: .standard)
        #expect(try store.repository.blobBytes(digest) == bytes)
    }

    @Test func `an upload keeps the chunks that it has of what is purged, at any step`() throws {
        var random = SeededGenerator(seed: 31)
        let content = random.bytes(12_000)
        // What was not cut yet is no chunk that it has.
        let first = content + random.bytes(5_000)
        let rest = random.bytes(5_000)
        var (step, kept, isOver) = (0, 0, false)
        while !isOver {
            let store = try store(content)
            let upload = try store.repository.beginUpload(Self.name, domain: .standard)
            let task = try purge(store, ref: "team/gone")
            for _ in 0..<step where !isOver { isOver = try !task.step() }
            do {
                try store.repository.appendBlob(first, to: Self.name, upload)
                kept += 1
                while try task.step() {}
                if step % 2 == 0 { try store.reopen() }
                try store.repository.appendBlob(rest, to: Self.name, upload)
                try finish(store, upload, first + rest)
            } catch let error as CASError where error.code == .failedPrecondition {
                // Removed before the upload had it.
                try store.repository.appendBlob(rest, to: Self.name, upload, at: 0)
                while try task.step() {}
                try finish(store, upload, rest)
            } catch {
                Issue.record("step \(step): \(error)")
            }
            #expect(
                try store.repository.ref(try RefName("team/gone"), domain: .standard) == nil)
            step += 1
        }
        #expect(kept > 10 && kept < step, "\(kept) of \(step)")
    }

    @Test func `a chunk that is purged itself goes from an upload, too`() throws {
        var random = SeededGenerator(seed: 32)
        let content = random.bytes(12_000)
        let store = try store(content)
        let upload = try store.repository.beginUpload(Self.name, domain: .standard)
        try store.repository.appendBlob(content + content, to: Self.name, upload)
        let chunk = try #require(
            try store.repository.catalog.read {
                try $0.chunkList(of: Digest.of(content), domain: .standard)
            }?.chunks.first)
        let task = try purge(store, chunk)
        while try task.step() {}
        try store.reopen()
        let repository = store.repository
        #expect(try repository.blobBytes(chunk) == nil)
        #expect(
            try code { try repository.appendBlob([1], to: Self.name, upload) } == .notFound)
        #expect(
            try code { try repository.uploadBlob(content, to: Self.name) } == .failedPrecondition)
    }

    @Test func `an upload of what is purged is given up at its end`() throws {
        var random = SeededGenerator(seed: 33)
        let content = random.bytes(12_000)
        let store = try store(content)
        let upload = try store.repository.beginUpload(Self.name, domain: .standard)
        try store.repository.appendBlob(content, to: Self.name, upload)
        let chunks = try #require(
            try store.repository.catalog.read {
                try $0.chunkList(of: Digest.of(content), domain: .standard)
            }?.chunks)
        let task = try purge(store, Digest.of(content))
        while try task.step() {}
        let repository = store.repository
        #expect(
            try code { try finish(store, upload, content) } == .failedPrecondition)
        #expect(try repository.uploadStatus(Self.name, upload, domain: .standard) == nil)
        store.clock.advance(nanoseconds: 3_600_000_000_000)
        try repository.collectAll()
        for chunk in chunks { #expect(try repository.blobBytes(chunk) == nil) }
    }
}
