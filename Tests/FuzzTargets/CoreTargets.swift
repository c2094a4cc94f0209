import CASChunking
import CASCompression
import CASCore
import CASTree

extension FuzzTargets {
    static let core: [FuzzTarget] = [
        .text(
            "digest-text", [digest.hexadecimal],
            parse: { text in
                guard let digest = Digest(hexadecimal: text) else { throw refused() }
                return digest
            }, print: \.hexadecimal),
        .text(
            "identifier-text", ["\(identifier)"],
            parse: { text in
                guard let identifier = Identifier(hexadecimal: text) else { throw refused() }
                return identifier
            }, print: \.description),
        .text(
            "ref-name", ["team/project:v1", "a.b_c__d--e/f", "a:_X.y-z"],
            parse: { try RefName($0) }, print: \.description),
        .text(
            "reference",
            [
                "cas://host:8700/team/project:v1", "localhost/a", "a.b/c@\(digest)", "\(digest)",
                "cas://h/\(digest)", "[::1]:1/x",
            ], parse: { try Reference($0) }, print: \.description),
        FuzzTarget("byte-count", ["1.5GiB", "64K", "123", "0b"].map { Array($0.utf8) }) { bytes in
            let text = String(decoding: bytes, as: UTF8.self)
            guard let count = ByteCount.parse(text) else { return }
            let first = text.utf8.first ?? 0
            try require(first >= 0x2e && first <= 0x39, "'\(text)' is \(count) bytes")
            try require(!text.contains("e"), "'\(text)' is \(count) bytes")
            _ = ByteCount.text(count)
        },
        FuzzTarget("protobuf", [[0x08, 1, 0x12, 1, 0x61, 0x19] + [UInt8](repeating: 2, count: 8)]) {
            bytes in
            try bytes.withUnsafeBytes { bytes in
                var reader = Protobuf.Reader(bytes)
                while let field = try reader.next() { try reader.skip(field.type) }
            }
        },
        FuzzTarget("printable", [[0x61, 0xff, 0x5c, 0x1b], Array("é\u{202e}".utf8)]) { bytes in
            let text = PathText.printable(bytes)
            try require(
                text.utf8.allSatisfy { $0 >= 0x20 && $0 != 0x7f }, "'\(text)' has a control")
            try require(unescape(Array(text.utf8)) == bytes, "'\(text)' is ambiguous")
        },
    ]

    /// Undoes `\xNN`.
    private static func unescape(_ text: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        var rest = text[...]
        while let byte = rest.popFirst() {
            guard byte == 0x5c else {
                bytes.append(byte)
                continue
            }
            rest = rest.dropFirst()
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            bytes += Hexadecimal.decode(digits) ?? []
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    static func refused() -> CASError { CASError(.invalidArgument, "refused") }

    /// Two bytes choose the parameters, the rest is cut.
    static let chunking: [FuzzTarget] = [
        FuzzTarget("chunker", [[10, 0] + [UInt8](repeating: 7, count: 9_000)]) { bytes in
            guard bytes.count > 2 else { return }
            let parameters = try ChunkerParameters(
                averageBytes: 1 << Int(bytes[0] & 31) | Int(bytes[0] >> 7), seed: UInt32(bytes[1]))
            let chunker = Chunker(parameters)
            try Array(bytes[2...]).withUnsafeBytes { content in
                var rest = content
                while rest.count > 0 {
                    let length = chunker.nextCut(rest)
                    try require(length > 0 && length <= rest.count, "a cut at \(length)")
                    try require(length <= parameters.maximumBytes, "a chunk of \(length) bytes")
                    try require(
                        length >= parameters.minimumBytes || length == rest.count,
                        "a chunk of \(length) bytes before the end")
                    // Content behind the longest chunk has no influence.
                    let window = UnsafeRawBufferPointer(
                        rebasing: rest[..<min(rest.count, parameters.maximumBytes)])
                    try require(chunker.nextCut(window) == length, "a cut depends on what follows")
                    rest = UnsafeRawBufferPointer(rebasing: rest[length...])
                }
            }
        }
    ]

    /// Two bytes are the declared length, the rest is a frame of zstd.
    static let frames: [FuzzTarget] = [
        FuzzTarget(
            "frame", [[5, 0] + helloFrame, [0, 0, 0x28, 0xb5, 0x2f, 0xfd, 0x20, 0, 1, 0, 0]]
        ) {
            bytes in
            guard bytes.count > 2 else { return }
            let length = Int(bytes[0]) | Int(bytes[1]) << 8
            var output = [UInt8](repeating: 0xa5, count: length + 8)
            let decompressor = try Decompressor()
            try bytes[2...].withUnsafeBytes { stored in
                try output.withUnsafeMutableBytes { target in
                    try decompressor.decode(stored, codec: .zstd, rawLength: length, into: target)
                }
            }
            let behind = output[length...].allSatisfy { $0 == 0xa5 }
            try require(behind, "bytes behind the declared length were written")
        }
    ]

    /// "hello", in a raw block (RFC 8878).
    private static let helloFrame: [UInt8] = [
        0x28, 0xb5, 0x2f, 0xfd, 0x20, 5, 0x29, 0, 0, 0x68, 0x65, 0x6c, 0x6c, 0x6f,
    ]
}
