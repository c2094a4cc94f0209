import CASCatalog
import CASCore
import CASOCI
import CASPack
import CASTestSupport
import CASTree
import CASWire
import Testing

@testable import CASRepository

/// Layers that are tar archives share their files' chunks with workspaces.
@Suite struct TarLayerTests {
    private static let name = "team/image"

    /// A plain archive of a folder, and the contents in it.
    private func archive(_ folder: SampleFolder, _ path: String = "") -> [UInt8] {
        var output: [UInt8] = []
        for (name, file) in folder.files.sorted(by: { $0.key < $1.key }) {
            var header = TarHeader(path: Array((path + name).utf8), kind: .file, mode: 0o644)
            header.size = UInt64(file.content.count)
            output += header.encode() + file.content
            output += [UInt8](repeating: 0, count: TarHeader.padding(header.size))
        }
        for (name, inner) in folder.folders.sorted(by: { $0.key < $1.key }) {
            output += TarHeader(
                path: Array((path + name + "/").utf8), kind: .directory, mode: 0o755
            ).encode()
            output += archive(inner, path + name + "/")
        }
        return output
    }

    private func contents(_ folder: SampleFolder) -> [[UInt8]] {
        folder.files.values.map(\.content) + folder.folders.values.flatMap { contents($0) }
    }

    private func chunks(_ store: TestStore) throws -> Set<Digest> {
        Set(
            try store.repository.catalog.read {
                try $0.locations(after: nil, limit: 100_000, domain: .standard)
            }.filter { $0.location.kind == .chunk }.map(\.digest))
    }

    @Test func `with more files than a list has terms it is cut coarsely, however it comes`() throws
    {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        var folder = SampleFolder()
        for number in 0..<200 {
            folder.files["file\(number)"] = SampleFolder.File(
                content: random.bytes(Int.random(in: 1_900...2_100, using: &random)))
        }
        let bytes = archive(folder) + [UInt8](repeating: 0, count: 1_024)
        var first: [ChunkList.Term]?
        for round in 0..<6 {
            let store = try TestStore { $0.limits.imageBlobTerms = 200 }
            let identifier = try store.repository.beginUpload(Self.name, domain: .standard)
            var start = 0
            while start < bytes.count {
                let most = round == 0 ? bytes.count : 100_000
                let end = min(bytes.count, start + Int.random(in: most / 2...most, using: &random))
                try store.repository.appendBlob(
                    Array(bytes[start..<end]), to: Self.name, identifier)
                start = end
                if round > 1 { try store.reopen(closing: round > 3) }
            }
            let digest = try store.repository.finishUpload(
                Self.name, identifier, expecting: .sha256(Digest.of(bytes)), domain: .standard)
            #expect(try store.repository.blobBytes(digest) == bytes, "round \(round)")
            let terms = try store.repository.terms(of: digest, domain: .standard)
            #expect(terms.count > 100 && terms.count <= 200)
            if let first { #expect(terms == first, "round \(round)") }
            first = terms
        }
    }

    @Test func `its files are the workspace's chunks, however it comes`() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        for round in 0..<10 {
            let store = try TestStore()
            var folder = SampleFolder.random(&random, depth: 3, largestFile: 3_000)
            folder.files["large"] = SampleFolder.File(content: random.bytes(15_000))
            try store.repository.push(try SampleTree(folder), to: "team/files")
            let before = try chunks(store)
            let bytes = archive(folder) + [UInt8](repeating: 0, count: 1_024)
            let pieces = (0..<8).map { _ in Int.random(in: 0...6_000, using: &random) }
            let identifier = try store.repository.beginUpload(Self.name, domain: .standard)
            var start = 0
            for piece in pieces + [bytes.count] {
                let end = min(bytes.count, start + piece)
                try store.repository.appendBlob(
                    Array(bytes[start..<end]), to: Self.name, identifier)
                start = end
                if Bool.random(using: &random) { try store.reopen(closing: false) }
            }
            let digest = try store.repository.finishUpload(
                Self.name, identifier, expecting: .sha256(Digest.of(bytes)), domain: .standard)
            #expect(try store.repository.blobBytes(digest) == bytes, "round \(round)")
            let new = try chunks(store).subtracting(before)
            let headers = try new.reduce(0) { sum, digest in
                sum + (try store.repository.blobBytes(digest)?.count ?? 0)
            }
            let files = contents(folder).reduce(0) { $0 + $1.count }
            #expect(
                headers <= bytes.count - files, "only what is between files is new: round \(round)")
            // The other way: a workspace of what a layer brought.
            let second = try TestStore()
            try second.repository.uploadBlob(bytes, to: Self.name)
            let layer = try chunks(second)
            try second.repository.push(try SampleTree(folder), to: "team/files")
            #expect(try chunks(second) == layer, "round \(round)")
        }
    }

    @Test func `a second version costs what changed`() throws {
        var random = SeededGenerator(seed: 5)
        var folder = SampleFolder()
        for index in 0..<200 {
            folder.files["file-\(index)"] = SampleFolder.File(content: random.bytes(1_500))
        }
        let store = try TestStore()
        try store.repository.uploadBlob(archive(folder), to: Self.name)
        let first = try chunks(store)
        for index in 0..<2 { folder.files["file-\(index)"]?.content = random.bytes(1_500) }
        try store.repository.uploadBlob(archive(folder), to: Self.name)
        #expect(try chunks(store).subtracting(first).count <= 4)
    }
}
