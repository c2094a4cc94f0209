import CASCore
import CASOCI

extension FuzzTargets {
    static let archives: [FuzzTarget] = [
        FuzzTarget("tar-splitter", [archiveSample], repair: repairArchive) { bytes in
            let whole = try split(bytes, pieceBytes: max(bytes.count, 1))
            try require(whole.bytes == bytes, "bytes are lost")
            for pieceBytes in [1, 511, 700] {
                let pieces = try split(bytes, pieceBytes: pieceBytes)
                try require(pieces == whole, "pieces of \(pieceBytes) bytes make a difference")
            }
            if whole.isPlain { throw refused() }
        },
        .canonical(
            "tar-splitter-state", stateSamples, decode: { try TarSplitter(state: $0) },
            encode: \.state),
        FuzzTarget("tar-reader", [archiveSample], repair: repairArchive) { bytes in
            var counter = EntryCounter()
            var reader = TarReader()
            try bytes.withUnsafeBytes { try reader.push($0, to: &counter) }
            try reader.finish(to: &counter)
            try require(counter.bytes <= bytes.count, "more content than there is")
        },
    ]

    private static let archiveSample: [UInt8] = {
        let long = [UInt8](repeating: 0x6e, count: 120)
        let headers = [
            TarHeader(path: [0x64], kind: .directory, mode: 0o755),
            TarHeader(path: [0x61], kind: .file, mode: 0o644, size: 700),
            TarHeader(path: long, kind: .file, mode: 0o644, size: 3),
            TarHeader(path: [0xc3, 0xa9], kind: .symlink, mode: 0o777, target: [0x61]),
        ]
        var output: [UInt8] = []
        for header in headers {
            output += header.encode()
            output += [UInt8](repeating: 5, count: Int(header.size))
            output += [UInt8](repeating: 0, count: TarHeader.padding(header.size))
        }
        return output + [UInt8](repeating: 0, count: 1_024)
    }()

    private static let stateSamples: [[UInt8]] = [0, 100, 600, 1_100, 2_100, 3_000, 5_800].map {
        var splitter = TarSplitter()
        var cuts = SplitRecord()
        let count = min($0, archiveSample.count)
        archiveSample[..<count].withUnsafeBytes { bytes in
            // The record takes everything.
            try? splitter.push(bytes, to: &cuts)
        }
        return splitter.state
    }

    /// Makes the checksum of each block right that looks like a header.
    private static func repairArchive(_ bytes: [UInt8]) -> [UInt8] {
        var bytes = bytes
        for start in stride(from: 0, through: bytes.count - 512, by: 512)
        where bytes[start + 257..<start + 262].elementsEqual("ustar".utf8) {
            for place in start + 148..<start + 156 { bytes[place] = 0x20 }
            var sum = bytes[start..<start + 512].reduce(0) { $0 + Int($1) }
            for place in stride(from: start + 153, through: start + 148, by: -1) {
                bytes[place] = 0x30 + UInt8(sum & 7)
                sum >>= 3
            }
            bytes[start + 154] = 0
        }
        return bytes
    }

    private static func split(_ bytes: [UInt8], pieceBytes: Int) throws -> SplitRecord {
        var record = SplitRecord()
        var splitter = TarSplitter()
        for start in stride(from: 0, to: bytes.count, by: pieceBytes) {
            let piece = bytes[start..<min(start + pieceBytes, bytes.count)]
            try piece.withUnsafeBytes { try splitter.push($0, to: &record) }
            splitter = try TarSplitter(state: splitter.state)
        }
        try splitter.finish(to: &record)
        return record
    }
}

/// What a splitter told: all bytes, and where the kind changes.
private struct SplitRecord: TarConsumer, Equatable {
    private(set) var bytes: [UInt8] = []
    private var borders: [String] = []
    private var kind = ""

    var isPlain: Bool { kind == "plain" && borders.count <= 1 }

    private mutating func take(_ kind: String, _ run: UnsafeRawBufferPointer) {
        if kind != self.kind {
            borders.append("\(kind) at \(bytes.count)")
            self.kind = kind
        }
        bytes += run
    }

    mutating func structure(_ bytes: UnsafeRawBufferPointer) throws { take("structure", bytes) }
    mutating func content(_ bytes: UnsafeRawBufferPointer) throws { take("content", bytes) }
    mutating func plain(_ bytes: UnsafeRawBufferPointer) throws { take("plain", bytes) }
    mutating func beginFile(size: UInt64) throws {
        borders.append("file of \(size) at \(bytes.count)")
        kind = "file"
    }
    mutating func endFile() throws {
        borders.append("end at \(bytes.count)")
        kind = "end"
    }
}

private struct EntryCounter: TarEntryConsumer {
    private(set) var bytes = 0

    mutating func entry(_ header: TarHeader) throws { bytes += 1 }
    mutating func content(_ bytes: UnsafeRawBufferPointer) throws { self.bytes += bytes.count }
    mutating func endFile() throws {}
}
