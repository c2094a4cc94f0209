import CASCore
import CASFileSystem
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Foundation
import Testing

/// Committed stores of each format, with their catalogs: today's program opens them in place.
@Suite struct StoreFormatTests {
    /// One of them, and what was done to it (the files say so).
    struct Sample: Sendable, CustomTestStringConvertible {
        let name: String
        let token: String
        var keeps = false
        var hasImages = false
        var testDescription: String { name }
    }

    static let samples = [
        Sample(
            name: "store-1-indexed.txt",
            token:
                "cas_3bc07c42b6b811c7c56aae4f7deea3e2_0e0a77e91229d8361bcde2fda5c10561b787560835b8d1b1889bc467f621b135"
        ),
        Sample(
            name: "store-2.txt",
            token:
                "cas_ed3dedbba06d8fb859bbc0437c37a9e9_4a5e80c0aab41d2419ec12a2570a374a25a449fe3e45a23beabd780b977f11aa",
            keeps: true),
        Sample(
            name: "store-3.txt",
            token:
                "cas_ed3dedbba06d8fb859bbc0437c37a9e9_4a5e80c0aab41d2419ec12a2570a374a25a449fe3e45a23beabd780b977f11aa",
            keeps: true, hasImages: true),
    ]
    private static let snapshot = "3d629e1d08c7e0d1f618631affbbaf81cf954b6cec7dd303b5fe3b46599be346"
    private static let contents = [
        "a": 2, "d/run": 10, "large": 2_450_000,
    ]

    /// Writes the files of a sample into a directory.
    private func unpack(_ name: String) throws -> TemporaryDirectory {
        let directory = try TemporaryDirectory("cas-sample-")
        let source = URL(filePath: #filePath).deletingLastPathComponent().appending(path: name)
        var files: [String: [UInt8]] = [:]
        var path = ""
        for line in try String(contentsOf: source, encoding: .utf8).split(separator: "\n") {
            let words = line.split(separator: " ")
            if words[0] == "file" {
                path = String(words[1])
            } else if words[0] == "zeros" {
                files[path, default: []] += Array(
                    repeating: 0, count: try #require(Int(words[1])))
            } else if words[0] != "#" {
                files[path, default: []] += try #require(Hexadecimal.decode(line))
            }
        }
        for (path, bytes) in files {
            let url = URL(filePath: directory.path).appending(path: path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(bytes).write(to: url)
        }
        return directory
    }

    private func check(_ store: Repository, _ sample: Sample) throws {
        let name = try RefName("team/project:v1")
        let entry = try #require(try store.ref(name, domain: .standard))
        #expect(entry.target.digest.hexadecimal == StoreFormatTests.snapshot)
        #expect(
            try store.history(name, before: nil, limit: 9, domain: .standard).count == 2)
        let expiring = try #require(try store.ref(try RefName("team/try"), domain: .standard))
        #expect(expiring.lifetime == 7 * 86_400 && expiring.expires != nil)
        let removed = try RefName("team/project:v2")
        #expect(try store.ref(removed, domain: .standard) == nil)
        #expect(
            try store.history(removed, before: nil, limit: 9, domain: .standard).map(\.target)
                .contains(nil))
        #expect(try store.authenticate(sample.token)?.name == "ci")
        #expect(try store.tokens().filter { $0.revoked != nil }.map(\.name) == ["old"])
        let fetched = try Fetched(store, "team/project:v1")
        #expect(try fetched.folder().sizes == StoreFormatTests.contents)
        #expect(
            try ScrubTests.scrub(store).findings.isEmpty, "every record reads as it should")
        if sample.hasImages { try checkImages(store) }
        guard sample.keeps else { return }
        let pins = try store.pinPage(prefix: "", after: "", limit: 9, domain: .standard) { _ in true
        }
        #expect(pins.entries.map(\.reason) == ["release"])
        #expect(try store.rules(domain: .standard).map(\.pattern) == ["team/*"])
        #expect(try store.ref(try RefName("team/leak"), domain: .standard) == nil)
        #expect(
            try code {
                _ = try store.missing(
                    [Digest.of(Array("secret\n".utf8))], push: .random(), domain: .standard)
            } == .failedPrecondition, "what was purged is not taken again")
    }

    private func checkImages(_ store: Repository) throws {
        let name = "team/image"
        let text = Array(#"{"schemaVersion":2}"#.utf8)
        let manifest = Digest.of(text)
        let layer = SampleImage.layer
        let entry = try store.ref(try RefName(name: name, tag: "v1"), domain: .standard)
        #expect(entry?.target == RefTarget(kind: .manifest, digest: manifest))
        let link = try #require(try store.link(name, manifest, domain: .standard))
        #expect(link.isRoot && link.parts.count == 2 && link.subject == Digest.of([1]))
        #expect(link.artifactType == "application/x.sample")
        #expect(try store.read(blob: manifest, maximumBytes: 99, domain: .standard) == text)
        let blobs = try store.links(name, kind: .blob, after: nil, limit: 9, domain: .standard)
        #expect(Set(blobs.map(\.digest)) == [Digest.of(layer), Digest.of([5])])
        #expect(try store.blobBytes(Digest.of(layer)) == layer)
        #expect(
            try store.digest(
                alias: text.withUnsafeBytes { SHA512Hasher.of($0) }, domain: .standard) == manifest)
        #expect(try store.link("team/other", Digest.of([5]), domain: .standard) == nil)
    }

    @Test(arguments: samples)
    func `opens in place, is written to, and is rebuilt with everything in it`(
        _ sample: Sample
    ) throws {
        let directory = try unpack(sample.name)
        for _ in 0..<2 {
            let store = try StoreLocation.open(directory: directory.path, create: false)
            try check(store, sample)
            try store.close()
        }
        let line = try DiskFileSystem().read("\(directory.path)/format", maximumBytes: 99)
        #expect(line == Array("cas store 3\n".utf8))
        let (report, _) = try StoreLocation.rebuildIndex(directory: directory.path)
        #expect(report.unreadable.isEmpty && report.damaged == 0 && report.incompleteRefs.isEmpty)
        let store = try StoreLocation.open(directory: directory.path, create: false)
        try check(store, sample)
        let tree = try SampleTree.random(800)
        try store.push(tree, to: "other/project")
        try tree.expectWhole(in: store, "other/project")
        try store.close()
    }

    @Test func `an older store in use is not changed under whoever uses it`() throws {
        let directory = try unpack("store-1-indexed.txt")
        let path = "\(directory.path)/lock"
        let use = try #require(try FileLock(path: path, isShared: true))
        let error = #expect(throws: CASError.self) {
            _ = try StoreLocation.open(directory: directory.path, create: false)
        }
        #expect(error?.code == .failedPrecondition)
        #expect(error?.message == "somebody is using the store with an older cas")
        let line = try DiskFileSystem().read("\(directory.path)/format", maximumBytes: 99)
        #expect(line == Array("cas store 1\n".utf8))
        withExtendedLifetime(use) {}
    }
}

extension SampleFolder {
    /// Bytes of all files by their paths.
    var sizes: [String: Int] {
        var sizes = files.mapValues(\.content.count)
        for (name, folder) in folders {
            for (path, size) in folder.sizes { sizes["\(name)/\(path)"] = size }
        }
        return sizes
    }
}
