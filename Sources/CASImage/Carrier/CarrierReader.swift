import CASCompression
import CASCore
import CASOCI
import CASPack

/// How many bytes of messages may come out of what was sent, so that little can not become much.
struct MessageBudget {
    /// What may still come out of all files.
    private(set) var left: UInt64
    /// What may still come out of this file for what came of it.
    private var earned = CarrierFormat.freeMessageBytes

    init(_ maximumBytes: UInt64 = CarrierFormat.maximumMessageBytes) { left = maximumBytes }

    /// The next file begins.
    mutating func beginFile() { earned = CarrierFormat.freeMessageBytes }

    /// Whether so much more may come out of so many stored bytes.
    func allows(_ count: Int, stored: Int) -> Bool {
        UInt64(count) <= min(left, earned + CarrierFormat.maximumRatio * UInt64(stored))
    }

    mutating func take(_ count: Int, stored: Int) throws {
        guard UInt64(count) <= left else {
            throw CASError(
                .resourceExhausted,
                "the image carries more messages than the "
                    + "\(ByteCount.text(CarrierFormat.maximumMessageBytes)) that are taken")
        }
        guard allows(count, stored: stored) else {
            throw CASError(
                .resourceExhausted,
                "the messages in the image unpack to more than "
                    + "\(CarrierFormat.maximumRatio) times their size")
        }
        left -= UInt64(count)
        earned += CarrierFormat.maximumRatio * UInt64(stored)
        earned -= UInt64(count)
    }
}

/// Reads a file with messages as it comes: header, index if it has one, records (Carrier.md, "Files").
final class CarrierReader {
    /// What may still come out of this and the next files.
    private(set) var budget: MessageBudget
    private let limits: Limits
    private let body: (CarriedMessage) throws -> Void
    /// Header and index, until they are there.
    private var head: [UInt8] = []
    private var headCount = CarrierFormat.headerByteCount
    private var kind: UInt8 = 0
    private var index: CarrierIndex?
    private var decoder: RecordStreamDecoder
    private let decompressor: Decompressor
    private let raw = ReusableBuffer(capacity: CarrierFormat.pieceBytes)
    /// What of a message has come; a message may stand in several records.
    private var pending: [UInt8] = []

    /// A reader before the first byte; `body` gets each message.
    init(
        limits: Limits, budget: MessageBudget, _ body: @escaping (CarriedMessage) throws -> Void
    ) throws {
        self.limits = limits
        self.budget = budget
        self.body = body
        self.budget.beginFile()
        decoder = RecordStreamDecoder(limits: limits)
        decompressor = try Decompressor()
    }

    /// Takes the next bytes; after a throw nothing more.
    func push(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while head.count < headCount {
            guard !rest.isEmpty else { return }
            let count = min(headCount - head.count, rest.count)
            head += rest[..<count]
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            guard head.count == headCount else { return }
            if headCount == CarrierFormat.headerByteCount { try readHeader() }
            if head.count == headCount, kind == 1 {
                index = try CarrierIndex(
                    decoding: Array(head[CarrierFormat.headerByteCount...]))
            }
        }
        guard !rest.isEmpty else { return }
        try decoder.push(rest) { try take($0) }
    }

    /// Ends the file; its index if it has one.
    func finish() throws -> CarrierIndex? {
        guard head.count == headCount, kind > 0 else {
            throw CarrierFormat.damaged("a file in it is none of cas copy")
        }
        try decoder.finish()
        guard decoder.isEnded, pending.isEmpty else {
            throw CarrierFormat.damaged("it ends too early")
        }
        return index
    }

    private func readHeader() throws {
        try head.withUnsafeBytes { bytes in
            var reader = ByteReader(bytes)
            guard try reader.array(CarrierFormat.magic.count) == CarrierFormat.magic else {
                throw CarrierFormat.damaged("a file in it is none of cas copy")
            }
            guard try reader.uint8() == CarrierFormat.formatVersion else {
                throw CASError(
                    .unimplemented,
                    "a snapshot is carried in a form that this version of cas does not know",
                    hint: "use the newest cas")
            }
            kind = try reader.uint8()
            guard (1...2).contains(kind), try reader.uint16() == 0 else {
                throw CarrierFormat.damaged()
            }
            let count = Int(try reader.uint32())
            guard count <= CarrierIndex.maximumByteCount, kind == 1 || count == 0 else {
                throw CarrierFormat.damaged()
            }
            headCount += count
        }
    }

    private func take(_ record: RecordView) throws {
        let header = record.header
        guard header.kind != .end else { return }
        guard header.kind == .chunk, header.rawLength <= CarrierFormat.pieceBytes else {
            throw CarrierFormat.damaged()
        }
        try budget.take(header.rawLength, stored: record.payload.count)
        raw.resize(to: header.rawLength)
        try decompressor.decode(
            record.payload, codec: header.codec, rawLength: header.rawLength,
            into: raw.mutableBytes)
        guard Digest.of(raw.bytes) == header.digest else { throw CarrierFormat.damaged() }
        pending += raw.bytes
        let taken = try pending.withUnsafeBytes { try messages($0) }
        pending.removeFirst(taken)
    }

    /// Takes the messages that are there whole; how many bytes they have.
    private func messages(_ bytes: UnsafeRawBufferPointer) throws -> Int {
        var taken = 0
        while taken < bytes.count {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[taken...])
            guard let length = try length(rest), length <= rest.count else { return taken }
            var reader = ByteReader(rest)
            try body(try CarriedMessage(&reader, limits: limits))
            taken += length
        }
        return taken
    }

    /// The length of the message that begins here; nil where not even that has come.
    private func length(_ bytes: UnsafeRawBufferPointer) throws -> Int? {
        guard let tag = bytes.first else { return nil }
        guard (1...3).contains(tag) else { throw CarrierFormat.damaged() }
        let start = tag == 3 ? 1 + Digest.byteCount : 1
        var place = start
        while true {
            guard place < bytes.count else { return nil }
            guard place - start < 10 else { throw CarrierFormat.damaged() }
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

/// The only file of an archive, handed on as it comes.
struct CarrierArchive: TarEntryConsumer {
    private let file: CarrierReader
    private var count = 0

    init(_ file: CarrierReader) { self.file = file }

    mutating func entry(_ header: TarHeader) throws {
        guard header.kind != .directory else { return }
        guard header.kind == .file, count == 0 else { throw CarrierArchive.other }
        count = 1
    }
    mutating func content(_ bytes: UnsafeRawBufferPointer) throws { try file.push(bytes) }
    mutating func endFile() throws {}

    /// Ends the archive; the index of the file if it has one.
    func finish() throws -> CarrierIndex? {
        guard count == 1 else { throw CarrierArchive.other }
        return try file.finish()
    }

    private static var other: CASError { CarrierFormat.damaged("a layer holds something else") }
}
