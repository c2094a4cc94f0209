import CASCore

/// Takes the entries of an archive in order.
package protocol TarEntryConsumer {
    /// An entry; if it is a file of some bytes, these follow.
    mutating func entry(_ header: TarHeader) throws
    /// Bytes of the file of the last entry.
    mutating func content(_ bytes: UnsafeRawBufferPointer) throws
    /// The last entry, which was a file with content, has ended.
    mutating func endFile() throws
}

/// Reads the entries of a tar archive that comes in buffers of any size: ustar, GNU's long names, PAX.
///
/// Unlike the splitter it throws `dataLoss` at the first thing that it does not understand.
package struct TarReader {
    /// Bytes of headers without a file between them, at most; they are gathered before they are read.
    private static let maximumStructureBytes = 64 << 20

    private var splitter = TarSplitter()
    private var structure: [UInt8] = []
    /// Zero bytes at the front of `structure`, which belong to the file before.
    private var padding = 0
    private var globals: [PAXRecord] = []

    /// A reader before the first byte.
    package init() {}

    /// Takes the next bytes of the archive.
    package mutating func push(
        _ bytes: UnsafeRawBufferPointer, to consumer: inout some TarEntryConsumer
    ) throws {
        try withBridge(&consumer) { splitter, bridge in try splitter.push(bytes, to: &bridge) }
    }

    /// Ends the archive; throws `dataLoss` where it ends too early.
    package mutating func finish(to consumer: inout some TarEntryConsumer) throws {
        let isWhole = splitter.isBetweenEntries
        try withBridge(&consumer) { splitter, bridge in
            try splitter.finish(to: &bridge)
            guard isWhole else { throw TarReader.malformed("it ends within an entry") }
            try bridge.flush()
        }
    }

    private mutating func withBridge<Consumer: TarEntryConsumer>(
        _ consumer: inout Consumer,
        _ body: (inout TarSplitter, inout Bridge<Consumer>) throws -> Void
    ) throws {
        var bridge = Bridge(
            consumer: consumer, structure: structure, padding: padding, globals: globals)
        structure = []
        defer {
            consumer = bridge.consumer
            structure = bridge.structure
            padding = bridge.padding
            globals = bridge.globals
        }
        try body(&splitter, &bridge)
    }

    static func malformed(_ what: String) -> CASError {
        CASError(.dataLoss, "a tar archive is malformed: \(what)")
    }

    private struct Bridge<Consumer: TarEntryConsumer>: TarConsumer {
        var consumer: Consumer
        var structure: [UInt8]
        var padding: Int
        var globals: [PAXRecord]

        mutating func structure(_ bytes: UnsafeRawBufferPointer) throws {
            guard structure.count + bytes.count <= TarReader.maximumStructureBytes else {
                throw CASError(.resourceExhausted, "a tar archive has too many headers in a row")
            }
            structure += bytes
        }

        mutating func beginFile(size: UInt64) throws {
            try flush()
            padding = TarHeader.padding(size)
        }

        mutating func content(_ bytes: UnsafeRawBufferPointer) throws {
            try consumer.content(bytes)
        }

        mutating func endFile() throws { try consumer.endFile() }

        mutating func plain(_ bytes: UnsafeRawBufferPointer) throws {
            throw TarReader.malformed("something in it is no header")
        }

        /// Reads the headers that have come.
        mutating func flush() throws {
            let bytes = structure
            structure = []
            let start = min(padding, bytes.count)
            padding = 0
            try bytes[start...].withUnsafeBytes { bytes in
                for header in try TarHeader.decode(bytes, globals: &globals) {
                    try consumer.entry(header)
                }
            }
        }
    }
}

extension TarHeader {
    /// Reads headers one after the other, without content between them, up to the end of the archive.
    ///
    /// `globals` are the records that count for all entries from here on; throws `dataLoss`.
    static func decode(
        _ bytes: UnsafeRawBufferPointer, globals: inout [PAXRecord]
    ) throws -> [TarHeader] {
        var headers: [TarHeader] = []
        var records: [PAXRecord] = []
        var longName: [UInt8]?
        var longTarget: [UInt8]?
        var reader = ByteReader(bytes)
        while reader.remaining >= blockBytes {
            let run = try reader.take(blockBytes)
            if TarBlock.isZero(run) { return headers }
            guard let block = TarBlock(run) else {
                throw TarReader.malformed("something in it is no header")
            }
            guard case .other(let flag) = Kind(flag: block.flag) else {
                var header = try block.header()
                if let longName { header.path = longName }
                if let longTarget { header.target = longTarget }
                try header.apply(globals + records)
                // Where the next header is nobody says for all entries.
                if let value = PAXRecord.value("size", in: records) {
                    header.size = try PAXRecord.integer(value)
                }
                header.normalise()
                headers.append(header)
                (records, longName, longTarget) = ([], nil, nil)
                continue
            }
            let content = try reader.array(Int(block.size))
            _ = try reader.take(padding(block.size))
            switch flag {
            case UInt8(ascii: "x"): records += try PAXRecord.parse(content)
            case UInt8(ascii: "g"): globals += try PAXRecord.parse(content)
            case UInt8(ascii: "L"): longName = Array(content.prefix { $0 != 0 })
            case UInt8(ascii: "K"): longTarget = Array(content.prefix { $0 != 0 })
            default: throw TarReader.malformed("an entry of an unknown kind")
            }
        }
        guard reader.isAtEnd, records.isEmpty, longName == nil, longTarget == nil else {
            throw TarReader.malformed("it ends within a header")
        }
        return headers
    }

    private mutating func apply(_ records: [PAXRecord]) throws {
        if let value = PAXRecord.value("path", in: records) { path = value }
        if let value = PAXRecord.value("linkpath", in: records) { target = value }
        if let value = PAXRecord.value("uid", in: records) {
            userID = try PAXRecord.integer(value)
        }
        if let value = PAXRecord.value("gid", in: records) {
            groupID = try PAXRecord.integer(value)
        }
        if let value = PAXRecord.value("mtime", in: records) {
            modified = try PAXRecord.seconds(value)
        }
    }

    /// A slash at the end makes a directory of what old programs wrote as a file, and is no part of the path.
    private mutating func normalise() {
        guard path.last == UInt8(ascii: "/"), path.count > 1 else { return }
        if kind == .file, size == 0 { kind = .directory }
        while path.count > 1, path.last == UInt8(ascii: "/") { path.removeLast() }
    }
}
