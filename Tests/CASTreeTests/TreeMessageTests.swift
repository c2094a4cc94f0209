import CASCore
import CASTestSupport
import CASTree
import Foundation
import Testing

/// Attributes and snapshots, and the examples of the page that describes them.
@Suite struct TreeMessageTests {
    /// The examples by the name that stands behind "```".
    private static func examples() throws -> [String: [UInt8]] {
        let page = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "Sources/CASTree/CASTree.docc/Trees.md")
        var examples: [String: [UInt8]] = [:]
        var name: String?
        for line in try String(contentsOf: page, encoding: .utf8).split(separator: "\n") {
            if line.hasPrefix("```") {
                name = line.count > 3 ? String(line.dropFirst(3)) : nil
            } else if let name {
                examples[name, default: []] += try #require(
                    Hexadecimal.decode(line.filter { $0 != " " }))
            }
        }
        return examples
    }

    @Test func `the example of a directory`() throws {
        let example = try #require(try Self.examples()["directory"])
        let directory = Directory(
            files: [
                FileNode(name: try EntryName("a"), digest: .empty, size: 0, isExecutable: false)
            ],
            symlinks: [SymlinkNode(name: try EntryName("l"), target: [0x61])])
        #expect(try Directory(decodingCanonical: example, limits: .standard) == directory)
        #expect(directory.encode() == example)
    }

    @Test func `the example of attributes`() throws {
        let example = try #require(try Self.examples()["attributes"])
        let attributes = AttributesDirectory(
            own: FileAttributes(
                permissions: 0o755, modified: Timestamp(seconds: 1_700_000_000)),
            files: [
                FileAttributes(
                    permissions: 0o644,
                    modified: Timestamp(seconds: 1_700_000_000, nanoseconds: 500_000_000))
            ])
        #expect(try AttributesDirectory(decoding: example, limits: .standard) == attributes)
        #expect(attributes.encode() == example)
    }

    @Test func `the example of a snapshot`() throws {
        let example = try #require(try Self.examples()["snapshot"])
        let snapshot = Snapshot(
            tree: SizedDigest(digest: .empty, size: 0), attributes: nil, stableAttributes: nil,
            totals: TreeTotals(directories: 1))
        #expect(try Snapshot(decoding: example) == snapshot)
        #expect(snapshot.encode() == example)
        #expect(snapshot.digest == Digest.of(example))
    }

    private static func time(_ random: inout SeededGenerator) -> Timestamp {
        Timestamp(
            seconds: Int64(bitPattern: random.next()),
            nanoseconds: UInt32.random(in: 0..<1_000_000_000, using: &random))
    }

    private static func attributes(_ random: inout SeededGenerator) -> AttributesDirectory {
        func one(_ random: inout SeededGenerator) -> FileAttributes {
            FileAttributes(
                permissions: UInt16.random(in: 0...0o777, using: &random), modified: time(&random))
        }
        var value = AttributesDirectory(own: one(&random))
        for _ in 0..<Int.random(in: 0..<4, using: &random) { value.files.append(one(&random)) }
        for _ in 0..<Int.random(in: 0..<4, using: &random) { value.symlinks.append(time(&random)) }
        for _ in 0..<Int.random(in: 0..<4, using: &random) {
            value.directories.append(
                SizedDigest(digest: Digest.of(random.bytes(4)), size: random.next()))
        }
        return value
    }

    @Test(arguments: [UInt64(1), 2, 3])
    func `attributes come back, and no cut or addition of them does`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<60 {
            let value = Self.attributes(&random)
            let bytes = value.encode()
            #expect(
                try AttributesDirectory(decoding: bytes, limits: .standard) == value, "seed \(seed)"
            )
            for count in bytes.indices {
                #expect(throws: CASError.self, "seed \(seed), \(count) bytes of \(bytes)") {
                    try AttributesDirectory(decoding: Array(bytes[..<count]), limits: .standard)
                }
            }
            #expect(throws: CASError.self, "seed \(seed)") {
                try AttributesDirectory(decoding: bytes + [0], limits: .standard)
            }
        }
    }

    @Test func `attributes have one encoding, and nothing beyond permission bits and a second`() {
        let own: [UInt8] = [0xed, 0x01] + [UInt8](repeating: 0, count: 12)
        let refused: [(String, [UInt8])] = [
            ("a count in two bytes", [1] + own + [0x80, 0, 0, 0]),
            ("a set-user-ID bit", [1, 0xed, 0x09] + own.dropFirst(2) + [0, 0, 0]),
            (
                "a whole second of nanoseconds",
                [1, 0xed, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xca, 0x9a, 0x3b, 0, 0, 0]
            ),
            ("more files than bytes", [1] + own + [0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0]),
        ]
        #expect(throws: Never.self) {
            try AttributesDirectory(decoding: [1] + own + [0, 0, 0], limits: .standard)
        }
        for (form, bytes) in refused {
            let error = #expect(throws: CASError.self, "\(form)") {
                try AttributesDirectory(decoding: bytes, limits: .standard)
            }
            #expect(error?.code == .dataLoss, "\(form)")
        }
        let newer = #expect(throws: CASError.self) {
            try AttributesDirectory(decoding: [2] + own + [0, 0, 0], limits: .standard)
        }
        #expect(newer?.code == .unimplemented)
        #expect(
            FileAttributes(permissions: 0o7777, modified: .init(seconds: 0)).permissions == 0o777)
    }

    @Test(arguments: [UInt64(4), 5])
    func `a snapshot comes back, and every changed reserved or absent field is refused`(
        seed: UInt64
    ) throws {
        var random = SeededGenerator(seed: seed)
        for round in 0..<40 {
            func sized(_ random: inout SeededGenerator) -> SizedDigest {
                SizedDigest(digest: Digest.of(random.bytes(4)), size: random.next())
            }
            let value = Snapshot(
                tree: sized(&random), attributes: round & 1 == 0 ? nil : sized(&random),
                stableAttributes: round & 2 == 0 ? nil : Digest.of(random.bytes(4)),
                totals: TreeTotals(
                    files: random.next(), directories: random.next(), symlinks: random.next(),
                    bytes: random.next()))
            let bytes = value.encode()
            #expect(bytes.count == Snapshot.byteCount)
            #expect(try Snapshot(decoding: bytes) == value, "seed \(seed)")
            for position in 0..<8 {
                var changed = bytes
                changed[position] ^= 0x04
                #expect(throws: CASError.self, "seed \(seed), byte \(position)") {
                    try Snapshot(decoding: changed)
                }
            }
            for bad in [Array(bytes.dropLast()), bytes + [0], []] {
                #expect(throws: CASError.self) { try Snapshot(decoding: bad) }
            }
            guard value.attributes == nil else { continue }
            var hidden = bytes
            hidden[50] = 1
            #expect(throws: CASError.self, "attributes that the flags deny, seed \(seed)") {
                try Snapshot(decoding: hidden)
            }
        }
    }

    @Test func `a snapshot is unchanged where only times of directories differ`() {
        func snapshot(_ tree: UInt8, _ attributes: UInt8, _ stable: UInt8?) -> Snapshot {
            Snapshot(
                tree: SizedDigest(digest: Digest.of([tree]), size: 1),
                attributes: SizedDigest(digest: Digest.of([attributes]), size: 1),
                stableAttributes: stable.map { Digest.of([$0]) }, totals: TreeTotals())
        }
        #expect(snapshot(1, 1, 1).isUnchanged(from: snapshot(1, 2, 1)))
        #expect(!snapshot(1, 1, 1).isUnchanged(from: snapshot(1, 2, 2)))
        #expect(!snapshot(1, 1, 1).isUnchanged(from: snapshot(2, 1, 1)))
        #expect(!snapshot(1, 1, nil).isUnchanged(from: snapshot(1, 2, nil)))
        #expect(snapshot(1, 1, nil).isUnchanged(from: snapshot(1, 1, 1)))
    }
}
