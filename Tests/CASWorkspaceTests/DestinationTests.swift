import CASCore
import CASTestSupport
import CASTree
import Foundation
import Testing

@testable import CASWorkspace

/// The example of Destination.md is what a restore writes and reads; it is the sample of version 1.
@Suite struct DestinationTests {
    private static let page = "Sources/CASWorkspace/CASWorkspace.docc/Destination.md"

    private struct Example {
        let directory: Directory
        let snapshot: Snapshot
        let mark = RestoreState.Mark(
            inode: 1234, size: 2, modified: Timestamp(seconds: 1_700_000_000, nanoseconds: 5),
            changed: Timestamp(seconds: 1_700_000_001, nanoseconds: 500_000_000))

        init() throws {
            directory = Directory(files: [
                FileNode(
                    name: try EntryName("a"), digest: Digest.of(Array("a\n".utf8)), size: 2,
                    isExecutable: false)
            ])
            let message = directory.encode()
            snapshot = Snapshot(
                tree: SizedDigest(digest: Digest.of(message), size: UInt64(message.count)),
                attributes: nil, stableAttributes: nil, totals: directory.ownTotals)
        }

        func encode() -> [UInt8] {
            RestoreState.encode(
                snapshot.digest, snapshot, messages: [directory.encode()], marks: [[mark]])
        }
    }

    private func load(_ bytes: [UInt8]) throws -> RestoreState? {
        let area = try TemporaryDirectory("cas-state-")
        try Data(bytes).write(to: URL(filePath: area.path + "/state"))
        return RestoreState.load(area.path + "/state", limits: .standard)
    }

    @Test func `the example of the format page`() throws {
        let bytes = try DocumentExamples(Self.page).example("state")
        let example = try Example()
        #expect(bytes == example.encode(), "\(Hexadecimal.encode(example.encode()))")
        let state = try #require(try load(bytes))
        #expect(state.snapshot == example.snapshot)
        #expect(state.snapshotDigest == example.snapshot.digest)
        #expect(state.marks == [[example.mark]])
        #expect(
            try state.contents.directory(example.snapshot.tree.digest) == example.directory)
    }

    @Test func `a damaged, cut or newer state is none`() throws {
        let good = try Example().encode()
        for position in good.indices {
            var bad = good
            bad[position] ^= 0x10
            #expect(try load(bad) == nil, "byte \(position)")
        }
        for count in stride(from: 0, to: good.count, by: 9) {
            #expect(try load(Array(good[..<count])) == nil, "\(count) bytes")
        }
        #expect(try load(good + [0]) == nil)
        var newer = Array(good.dropLast(4))
        newer[8] = 2
        newer.append(littleEndian: newer.withUnsafeBytes { Checksum.crc32c($0) })
        #expect(try load(newer) == nil)
    }
}
