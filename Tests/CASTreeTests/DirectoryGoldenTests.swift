import CASCore
import CASTree
import Foundation
import Testing

/// Directory messages agree with what Google's protocol buffers library makes of the same values.
///
/// directory-golden.txt was written by directory-golden.py, which says how to run it.
@Suite struct DirectoryGoldenTests {
    /// One case of the file: what it describes and the bytes that Google's library wrote.
    struct GoldenCase {
        var title: String
        var directory = Directory()
        var message: [UInt8] = []
    }

    static func cases() throws -> [GoldenCase] {
        let url = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "directory-golden.txt")
        var cases: [GoldenCase] = []
        for line in try String(contentsOf: url, encoding: .utf8).split(separator: "\n") {
            let words = line.split(separator: " ", omittingEmptySubsequences: false)
            func name() throws -> EntryName {
                try EntryName(wire: try #require(Hexadecimal.decode(words[1])))
            }
            func digest() throws -> Digest { try #require(Digest(hexadecimal: words[2])) }
            func size() throws -> UInt64 { try #require(UInt64(words[3])) }
            let last = cases.indices.last ?? 0
            switch words[0] {
            case "#": continue
            case "case": cases.append(GoldenCase(title: String(line)))
            case "file":
                cases[last].directory.files.append(
                    FileNode(
                        name: try name(), digest: try digest(), size: try size(),
                        isExecutable: words[4] == "1"))
            case "directory":
                cases[last].directory.directories.append(
                    DirectoryNode(name: try name(), digest: try digest(), size: try size()))
            case "symlink":
                let target = try #require(Hexadecimal.decode(words[2]))
                cases[last].directory.symlinks.append(
                    SymlinkNode(name: try name(), target: try WireText.decode(target)))
            case "message": cases[last].message = try #require(Hexadecimal.decode(words[1]))
            default: Issue.record("an unknown line: \(line)")
            }
        }
        try #require(cases.count >= 25, "the file is there and was read")
        return cases
    }

    @Test func `a directory is encoded as Google's library encodes it`() throws {
        for golden in try Self.cases() {
            #expect(golden.directory.encode() == golden.message, "\(golden.title)")
        }
    }

    @Test func `what Google's library encoded is decoded`() throws {
        for golden in try Self.cases() {
            let decoded = try Directory(decodingCanonical: golden.message, limits: .standard)
            #expect(decoded == golden.directory, "\(golden.title)")
        }
    }

    @Test func `entries in any order are encoded in the order of unsigned bytes`() throws {
        for golden in try Self.cases() {
            var directory = golden.directory
            directory.files.reverse()
            directory.directories.reverse()
            directory.symlinks.reverse()
            directory.sort()
            #expect(directory.encode() == golden.message, "\(golden.title)")
        }
    }

    @Test func `no cut of a message is a message of another directory`() throws {
        for golden in try Self.cases() where golden.message.count < 2_000 {
            for count in 0..<golden.message.count {
                let cut = Array(golden.message[..<count])
                guard let decoded = try? Directory(decodingCanonical: cut, limits: .standard) else {
                    continue
                }
                // A cut between two entries is a smaller directory, and nothing else.
                #expect(decoded.encode() == cut, "\(golden.title), \(count) bytes")
                #expect(decoded.count < golden.directory.count)
            }
        }
    }

    @Test func `entries are found by name`() throws {
        for golden in try Self.cases() {
            let directory = golden.directory
            for file in directory.files { #expect(directory.file(file.name) == file) }
            for child in directory.directories {
                #expect(directory.directory(child.name) == child)
            }
            for link in directory.symlinks { #expect(directory.symlink(link.name) == link) }
            #expect(directory.file(try EntryName("no such name")) == nil)
        }
    }
}
