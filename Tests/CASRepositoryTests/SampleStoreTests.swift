import CASCore
import CASPack
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Foundation
import Testing

/// The committed store of format 1 stays readable (Store.md); store-1.txt says what was done to it.
@Suite struct SampleStoreTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory("cas-sample-")
        for (path, bytes) in try Self.files() {
            let url = URL(filePath: directory.path).appending(path: path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(bytes).write(to: url)
        }
    }

    /// The files by path.
    private static func files() throws -> [String: [UInt8]] {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "store-1.txt")
        var files: [String: [UInt8]] = [:]
        var path = ""
        for line in try String(contentsOf: url, encoding: .utf8).split(separator: "\n") {
            if line.hasPrefix("file ") {
                path = String(line.dropFirst(5))
            } else if !line.hasPrefix("#") {
                files[path, default: []] += try #require(Hexadecimal.decode(line))
            }
        }
        return files
    }

    @Test func `its format line is that of the page but for the number`() throws {
        let example = try DocumentExamples("Sources/CASRepository/CASRepository.docc/Store.md")
            .example("format")
        #expect(example == Array("cas store 3\n".utf8))
        #expect(try Self.files()["format"] == Array("cas store 1\n".utf8))
        #expect(try StoreLocation.exists(directory.path))
    }

    @Test func `a newer format is refused before anything is touched`() throws {
        try Data("cas store 4\n".utf8).write(
            to: URL(filePath: directory.path).appending(path: "format"))
        let before = try FileManager.default.subpathsOfDirectory(atPath: directory.path).sorted()
        for create in [false, true] {
            let error = #expect(throws: CASError.self) {
                _ = try StoreLocation.open(directory: directory.path, create: create)
            }
            #expect(error?.code == .failedPrecondition)
        }
        #expect(throws: CASError.self) {
            _ = try StoreLocation.rebuildIndex(directory: directory.path)
        }
        let after = try FileManager.default.subpathsOfDirectory(atPath: directory.path).sorted()
        #expect(before == after)
    }

    @Test func `its packs end with footers that name every record`() throws {
        var kinds: [RecordKind: Int] = [:]
        for (path, bytes) in try Self.files() where path.hasSuffix(".pack") {
            try bytes.withUnsafeBytes { bytes in
                let header = try PackHeader(decoding: bytes)
                #expect(path == "packs/\(header.identifier).pack")
                let trailer = try PackTrailer(
                    decoding: UnsafeRawBufferPointer(rebasing: bytes.suffix(PackTrailer.byteCount)),
                    packBytes: UInt64(bytes.count))
                let start = Int(trailer.footerOffset)
                let footer = try PackFooter(
                    decoding: UnsafeRawBufferPointer(
                        rebasing: bytes[start..<start + trailer.entriesByteCount]),
                    trailer: trailer)
                for entry in footer.entries {
                    let record = try RecordCoding.decode(
                        UnsafeRawBufferPointer(rebasing: bytes[Int(entry.offset)...]),
                        limits: .standard)
                    #expect(PackFooter.Entry(record.header, offset: entry.offset) == entry)
                    kinds[entry.kind, default: 0] += 1
                }
            }
        }
        #expect(kinds[.event] == 7, "\(kinds)")
        #expect(kinds[.directory] == 2 && kinds[.attributes] == 2)
        #expect(kinds[.snapshot] == 1 && kinds[.chunk] == 2)
    }

    @Test func `its index is rebuilt, and everything is there`() throws {
        let (report, _) = try StoreLocation.rebuildIndex(directory: directory.path)
        #expect(report.packs == 7 && report.unreadable.isEmpty && report.damaged == 0)
        #expect(report.refs == 1 && report.incompleteRefs.isEmpty)
        let store = try StoreLocation.open(directory: directory.path, create: false)
        defer { #expect(throws: Never.self) { try store.close() } }
        let entry = try #require(
            try store.ref(try RefName("team/project:v1"), domain: .standard))
        #expect(
            entry.target.digest.hexadecimal
                == "38dfc41e29ddcb9ff08b6c7a1c1822f6b8c614fcb0a137820afea1dceb4c9420")
        let removed = try RefName("team/project:v2")
        #expect(try store.ref(removed, domain: .standard) == nil, "it was removed")
        let history = try store.history(removed, before: nil, limit: 9, domain: .standard)
        #expect(history.count == 2 && history[0].target == nil)
        #expect(try read(store, try #require(entry.tree)) == ["a": "a\n", "d/run": "#!/bin/sh\n"])
        let secret = "12d2acd104661ae2ade00f37c2377101b0fa633ca66b0c1f48372c8aeb4f6aff"
        let token = "cas_9363932ed0a28bde08b3ff01ffb8baf7_" + secret
        #expect(try store.authenticate(token)?.name == "ci")
        #expect(try store.tokens().filter { $0.revoked != nil }.map(\.name) == ["old"])
    }

    /// The files below a tree, by path.
    private func read(_ store: Repository, _ root: Digest) throws -> [String: String] {
        var found: [String: String] = [:]
        var pending = [("", root)]
        while let (path, digest) = pending.popLast() {
            let message = try #require(
                try store.read(blob: digest, maximumBytes: 9_999, domain: .standard))
            let directory = try Directory(decodingCanonical: message, limits: .standard)
            for file in directory.files {
                let content = try #require(
                    try store.read(blob: file.digest, maximumBytes: 99, domain: .standard))
                found[path + file.name.text] = String(decoding: content, as: UTF8.self)
            }
            for child in directory.directories {
                pending.append((path + child.name.text + "/", child.digest))
            }
        }
        return found
    }
}
