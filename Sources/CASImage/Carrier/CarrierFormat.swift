import CASCompression
import CASCore
import CASOCI
import CASPack

/// One message that an image carries beside the files of its tree (Carrier.md, "Messages").
enum CarriedMessage: Hashable {
    case directory([UInt8])
    case attributes([UInt8])
    /// How the blob of a digest is composed.
    case chunkList(Digest, [UInt8])

    fileprivate var tag: UInt8 {
        switch self {
        case .directory: 1
        case .attributes: 2
        case .chunkList: 3
        }
    }

    fileprivate func append(to output: inout [UInt8]) {
        output.append(tag)
        let bytes: [UInt8]
        switch self {
        case .directory(let message), .attributes(let message): bytes = message
        case .chunkList(let digest, let list):
            output.append(digest: digest)
            bytes = list
        }
        output.append(varint: UInt64(bytes.count))
        output += bytes
    }

    init(_ reader: inout ByteReader, limits: Limits) throws {
        let tag = try reader.uint8()
        let digest = tag == 3 ? try reader.digest() : nil
        let count = try reader.varint()
        guard count <= UInt64(limits.directoryBytes) else {
            throw CASError(.resourceExhausted, "a carried message of \(count) bytes is too large")
        }
        let bytes = try reader.array(Int(count))
        switch (tag, digest) {
        case (1, _): self = .directory(bytes)
        case (2, _): self = .attributes(bytes)
        case (3, .some(let digest)): self = .chunkList(digest, bytes)
        default: throw CarrierFormat.damaged()
        }
    }
}

/// The files in which an image carries messages, and the layers around them (Carrier.md).
enum CarrierFormat {
    static let magic = Array("CASCARY\0".utf8)
    static let formatVersion: UInt8 = 1
    static let headerByteCount = 16
    /// Bytes of messages in one record at most, before they are compressed.
    static let pieceBytes = 1 << 20
    /// Bytes of all messages of one snapshot at most, as they come out.
    static let maximumMessageBytes: UInt64 = 2 << 30
    /// Bytes of messages that any file may unpack to, and how many times its stored bytes beyond that.
    static let freeMessageBytes: UInt64 = 4 << 20
    static let maximumRatio: UInt64 = 100
    /// Bytes of one layer with messages at most.
    static let maximumLayerBytes: UInt64 = 512 << 20
    private static let level: Int32 = 3

    static func damaged(_ why: String = "its messages are malformed") -> CASError {
        CASError(
            .dataLoss, "the image does not carry its snapshot whole: \(why)",
            hint: "copy it again from where it is still whole")
    }

    /// A file: header, index if it has one, records with the messages, and the record that ends them.
    static func file(_ messages: [CarriedMessage], index: CarrierIndex? = nil) throws -> [UInt8] {
        var budget = MessageBudget()
        return try file(messages, index: index, &budget)
    }

    /// The same as one of several files of an image; throws `resourceExhausted` where nobody would read them all.
    static func file(
        _ messages: [CarriedMessage], index: CarrierIndex? = nil, _ budget: inout MessageBudget
    ) throws -> [UInt8] {
        budget.beginFile()
        let head = index?.encode() ?? []
        var start = magic
        start += [formatVersion, index == nil ? 2 : 1, 0, 0]
        start.append(littleEndian: UInt32(head.count))
        let output = ReusableBuffer(capacity: 1 << 16)
        output.append(start + head)
        let compressor = try Compressor(level: level, shortLevel: level)
        var piece: [UInt8] = []
        func flush(_ count: Int) throws {
            guard count > 0 else { return }
            let digest = Digest.of(Array(piece[..<count]))
            let start = output.count
            try piece[..<count].withUnsafeBytes { raw in
                let header = try RecordCoding.appendFrame(
                    kind: .chunk, digest: digest, rawLength: count, to: output
                ) { try compressor.encode(raw, into: $0) }
                var stored = header.storedLength
                if !budget.allows(count, stored: stored) {
                    // Nobody would believe how much it unpacks to.
                    output.resize(to: start)
                    RecordCoding.append(kind: .chunk, digest: digest, payload: raw, to: output)
                    stored = count
                }
                try budget.take(count, stored: stored)
            }
            piece.removeFirst(count)
        }
        for message in messages {
            message.append(to: &piece)
            while piece.count >= pieceBytes { try flush(pieceBytes) }
        }
        try flush(piece.count)
        RecordCoding.appendMark(kind: .end, to: output)
        return Array(output.bytes)
    }
}

// MARK: - Layers

extension CarrierFormat {
    /// The directory in which layers hold such files; another one where the image has that already.
    static func directory(besides taken: Set<[UInt8]>) -> [UInt8] {
        let usual = Array(".cas-carrier".utf8)
        var name = usual
        var number = 2
        while taken.contains(name) {
            name = usual + Array("-\(number)".utf8)
            number += 1
        }
        return name
    }

    /// A plain archive of a directory with one file.
    static func layer(_ file: [UInt8], named name: String, in directory: [UInt8]) -> [UInt8] {
        var output = TarHeader(path: directory, kind: .directory, mode: 0o755).encode()
        output += TarHeader(
            path: directory + Array("/\(name)".utf8), kind: .file, mode: 0o644,
            size: UInt64(file.count)
        ).encode()
        output += file
        output += repeatElement(0, count: TarHeader.padding(UInt64(file.count)))
        return output + [UInt8](repeating: 0, count: 2 * TarHeader.blockBytes)
    }

    /// A plain archive that takes a directory of the layers below away.
    static func whiteout(_ directory: [UInt8]) -> [UInt8] {
        TarHeader(path: Array(".wh.".utf8) + directory, kind: .file, mode: 0o644).encode()
            + [UInt8](repeating: 0, count: 2 * TarHeader.blockBytes)
    }
}
