import CASCore
import CASTree

extension FuzzTargets {
    static let trees: [FuzzTarget] = [
        .canonical(
            "directory", [directorySample, []],
            decode: { try Directory(decodingCanonical: $0, limits: limits) },
            encode: { $0.encode() }),
        .canonical(
            "attributes", [attributesSample],
            decode: { try AttributesDirectory(decoding: $0, limits: limits) },
            encode: { $0.encode() }),
        .canonical(
            "snapshot", [snapshotSample], decode: { try Snapshot(decoding: $0) },
            encode: { $0.encode() }),
        .canonical(
            "entry-name", [[0x61], [0x61, 0xef, 0x9f, 0xbf, 0x62], [0xc3, 0xa9]],
            decode: { try EntryName(wire: $0) }, encode: \.wire),
        .canonical(
            "entry-name-bytes", [[0x61, 0xff, 0x62], [0xef, 0x9e, 0x80]],
            decode: { try EntryName($0) },
            encode: { name in
                guard let again = try? EntryName(wire: name.wire), again == name else { return [] }
                return again.bytes
            }),
    ]

    private static let directorySample: [UInt8] = {
        func node(_ name: [UInt8]) -> [UInt8] {
            var output: [UInt8] = []
            output.append(element: 1, bytes: name)
            var sized: [UInt8] = []
            sized.append(element: 1, bytes: digest.hexadecimal.utf8)
            sized.append(field: 2, varint: 300)
            output.append(element: 2, bytes: sized)
            return output
        }
        var output: [UInt8] = []
        output.append(element: 1, bytes: node([0x61]) + [0x20, 1])
        output.append(element: 1, bytes: node([0x61, 0xef, 0x9f, 0xbf]))
        output.append(element: 2, bytes: node([0x64]))
        output.append(element: 3, bytes: [0x0a, 1, 0x6c, 0x12, 3, 0x2e, 0x2e, 0x2f])
        return output
    }()

    private static let attributesSample: [UInt8] = AttributesDirectory(
        own: FileAttributes(permissions: 0o755, modified: time),
        files: [FileAttributes(permissions: 0o644, modified: time)], symlinks: [time],
        directories: [SizedDigest(digest: digest, size: 7)]
    ).encode()

    static let snapshotSample: [UInt8] = Snapshot(
        tree: SizedDigest(digest: digest, size: 1),
        attributes: SizedDigest(digest: other, size: 2), stableAttributes: digest,
        totals: TreeTotals(files: 1, directories: 2, symlinks: 3, bytes: 4)
    ).encode()
}
