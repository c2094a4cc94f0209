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
    static let formatVersion: UInt8 = 1
    static let headerByteCount = 16
    /// Bytes of messages in one record at most, before they are compressed.
    static let pieceBytes = 1 << 20
    /// Bytes of all messages of one snapshot at most, as they come out.
    static let maximumMessageBytes: UInt64 = 2 << 30
    /// Bytes of one layer with messages at most.
    static let maximumLayerBytes: UInt64 = 512 << 20
    private static let magic = Array("CASCARY\0".utf8)
    private static let level: Int32 = 3

    static func damaged(_ why: String = "its messages are malformed") -> CASError {
        CASError(
            .dataLoss, "the image does not carry its snapshot whole: \(why)",
            hint: "copy it again from where it is still whole")
    }

    /// A file: header, index if it has one, records with the messages, and the record that ends them.
    static func file(_ messages: [CarriedMessage], index: CarrierIndex? = nil) throws -> [UInt8] {
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
            try piece[..<count].withUnsafeBytes { raw in
                _ = try RecordCoding.appendFrame(
                    kind: .chunk, digest: digest, rawLength: count, to: output
                ) { try compressor.encode(raw, into: $0) }
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

    /// Reads a file; its index if it has one, and each message as it comes.
    ///
    /// `budget` is how many bytes of messages may still come out.
    static func read(
        _ file: UnsafeRawBufferPointer, limits: Limits, budget: inout UInt64,
        _ body: (CarriedMessage) throws -> Void
    ) throws -> CarrierIndex? {
        var reader = ByteReader(file)
        guard file.count >= headerByteCount, try reader.array(magic.count) == magic else {
            throw damaged("a file in it is none of cas copy")
        }
        guard try reader.uint8() == formatVersion else {
            throw CASError(
                .unimplemented,
                "a snapshot is carried in a form that this version of cas does not know",
                hint: "use the newest cas")
        }
        let kind = try reader.uint8()
        guard (1...2).contains(kind), try reader.uint16() == 0 else { throw damaged() }
        let headCount = Int(try reader.uint32())
        guard headCount <= CarrierIndex.maximumByteCount, kind == 1 || headCount == 0 else {
            throw damaged()
        }
        let head = try reader.array(headCount)
        let index = kind == 1 ? try CarrierIndex(decoding: head) : nil
        try messages(try reader.take(reader.remaining), limits, &budget, body)
        return index
    }

    private static func messages(
        _ records: UnsafeRawBufferPointer, _ limits: Limits, _ budget: inout UInt64,
        _ body: (CarriedMessage) throws -> Void
    ) throws {
        var decoder = RecordStreamDecoder(limits: limits)
        let decompressor = try Decompressor()
        let raw = ReusableBuffer(capacity: pieceBytes)
        // What of a message has come; a message may stand in several records.
        var pending: [UInt8] = []
        var left = budget
        try decoder.push(records) { record in
            guard record.header.kind != .end else { return }
            guard record.header.kind == .chunk, record.header.rawLength <= pieceBytes else {
                throw damaged()
            }
            guard UInt64(record.header.rawLength) <= left else {
                throw CASError(
                    .resourceExhausted,
                    "the image carries more messages than the "
                        + "\(ByteCount.text(maximumMessageBytes)) that are taken")
            }
            left -= UInt64(record.header.rawLength)
            raw.resize(to: record.header.rawLength)
            try decompressor.decode(
                record.payload, codec: record.header.codec, rawLength: record.header.rawLength,
                into: raw.mutableBytes)
            guard Digest.of(raw.bytes) == record.header.digest else { throw damaged() }
            pending += raw.bytes
            let taken = try pending.withUnsafeBytes { try take($0, limits, body) }
            pending.removeFirst(taken)
        }
        try decoder.finish()
        guard decoder.isEnded, pending.isEmpty else { throw damaged("it ends too early") }
        budget = left
    }

    /// Takes the messages that are there whole; how many bytes they have.
    private static func take(
        _ bytes: UnsafeRawBufferPointer, _ limits: Limits, _ body: (CarriedMessage) throws -> Void
    ) throws -> Int {
        var taken = 0
        while taken < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
            guard let length = try length(rest, limits), length <= rest.count else { return taken }
            var reader = ByteReader(rest)
            try body(try CarriedMessage(&reader, limits: limits))
            taken += length
        }
        return taken
    }

    /// The length of the message that begins here; nil where not even that has come.
    private static func length(_ bytes: UnsafeRawBufferPointer, _ limits: Limits) throws -> Int? {
        guard let tag = bytes.first else { return nil }
        guard (1...3).contains(tag) else { throw damaged() }
        let start = tag == 3 ? 1 + Digest.byteCount : 1
        var place = start
        while true {
            guard place < bytes.count else { return nil }
            guard place - start < 10 else { throw damaged() }
            place += 1
            if bytes[place - 1] < 0x80 { break }
        }
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[start..<place]))
        let count = try reader.varint()
        guard count <= UInt64(limits.directoryBytes) else {
            throw CASError(.resourceExhausted, "a carried message of \(count) bytes is too large")
        }
        return place + Int(count)
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

    /// The only file of an archive.
    static func file(inLayer bytes: [UInt8]) throws -> [UInt8] {
        var found = OnlyFile()
        var reader = TarReader()
        try bytes.withUnsafeBytes { try reader.push($0, to: &found) }
        try reader.finish(to: &found)
        guard found.count == 1 else { throw damaged("a layer holds something else") }
        return found.bytes
    }

    private struct OnlyFile: TarEntryConsumer {
        var bytes: [UInt8] = []
        var count = 0

        mutating func entry(_ header: TarHeader) throws {
            guard header.kind != .directory else { return }
            guard header.kind == .file, count == 0 else {
                throw CarrierFormat.damaged("a layer holds something else")
            }
            count = 1
        }
        mutating func content(_ bytes: UnsafeRawBufferPointer) throws { self.bytes += bytes }
        mutating func endFile() throws {}
    }
}
