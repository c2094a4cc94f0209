/// One entry of a tar archive, without its content (POSIX.1-2017, pax, "ustar Interchange Format").
package struct TarHeader: Hashable, Sendable {
    /// Bytes of a block; headers and content begin at multiples of it.
    package static let blockBytes = 512

    /// What kind of thing an entry is.
    package enum Kind: Hashable, Sendable {
        case file
        case hardLink
        case symlink
        case characterDevice
        case blockDevice
        case directory
        case pipe
        /// Anything else, by its type flag.
        case other(UInt8)

        init(flag: UInt8) {
            self =
                switch flag {
                case UInt8(ascii: "0"), UInt8(ascii: "7"), 0: .file
                case UInt8(ascii: "1"): .hardLink
                case UInt8(ascii: "2"): .symlink
                case UInt8(ascii: "3"): .characterDevice
                case UInt8(ascii: "4"): .blockDevice
                case UInt8(ascii: "5"): .directory
                case UInt8(ascii: "6"): .pipe
                default: .other(flag)
                }
        }

        /// The type flag that is written for it.
        var flag: UInt8 {
            switch self {
            case .file: UInt8(ascii: "0")
            case .hardLink: UInt8(ascii: "1")
            case .symlink: UInt8(ascii: "2")
            case .characterDevice: UInt8(ascii: "3")
            case .blockDevice: UInt8(ascii: "4")
            case .directory: UInt8(ascii: "5")
            case .pipe: UInt8(ascii: "6")
            case .other(let flag): flag
            }
        }
    }

    /// The path, without a slash at the end.
    package var path: [UInt8]
    /// What kind of thing it is.
    package var kind: Kind
    /// Permission bits.
    package var mode: UInt32
    /// The owner's number.
    package var userID: UInt64
    /// The group's number.
    package var groupID: UInt64
    /// Bytes of content behind the header.
    package var size: UInt64
    /// Whole seconds since 1970.
    package var modified: Int64
    /// What a link points at.
    package var target: [UInt8]

    /// An entry from its parts.
    package init(
        path: [UInt8], kind: Kind, mode: UInt32, userID: UInt64 = 0, groupID: UInt64 = 0,
        size: UInt64 = 0, modified: Int64 = 0, target: [UInt8] = []
    ) {
        self.path = path
        self.kind = kind
        self.mode = mode
        self.userID = userID
        self.groupID = groupID
        self.size = size
        self.modified = modified
        self.target = target
    }

    /// Zero bytes between content of that size and the next header.
    package static func padding(_ size: UInt64) -> Int {
        let rest = Int(size % UInt64(blockBytes))
        return rest == 0 ? 0 : blockBytes - rest
    }
}

/// Writes headers: ustar, with a PAX header before it only where ustar can not say it (Layers.md, "Header").
extension TarHeader {
    /// What the name of a PAX header is; nobody reads it.
    private static let extendedName = Array("././@PaxHeader".utf8)
    private static let largestSize: UInt64 = 0o77_777_777_777
    private static let largestNumber: UInt64 = 0o7_777_777

    /// The header's bytes, a multiple of 512; one entry, one encoding.
    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        append(to: &output)
        return output
    }

    /// Adds the header's bytes to `output`.
    package func append(to output: inout [UInt8]) {
        var name = fullName
        var prefix: ArraySlice<UInt8> = []
        var records: [PAXRecord] = []
        if groupID > TarHeader.largestNumber { records.append(PAXRecord("gid", groupID)) }
        if !TarHeader.fits(target) { records.append(PAXRecord("linkpath", target)) }
        if modified < 0 || UInt64(modified) > TarHeader.largestSize {
            records.append(PAXRecord("mtime", Array("\(modified)".utf8)))
        }
        if !TarHeader.fits(name) {
            if let slash = TarHeader.split(name) {
                prefix = name[..<slash]
                name.removeSubrange(...slash)
            } else {
                records.append(PAXRecord("path", name))
            }
        }
        if size > TarHeader.largestSize { records.append(PAXRecord("size", size)) }
        if userID > TarHeader.largestNumber { records.append(PAXRecord("uid", userID)) }
        if !records.isEmpty { TarHeader.append(records, to: &output) }
        TarHeader.appendBlock(to: &output) { block in
            block.put(TarHeader.ascii(name), at: 0, width: 100)
            block.putOctal(UInt64(mode & 0o7777), at: 100, width: 8)
            block.putOctal(userID > TarHeader.largestNumber ? 0 : userID, at: 108, width: 8)
            block.putOctal(groupID > TarHeader.largestNumber ? 0 : groupID, at: 116, width: 8)
            block.putOctal(size > TarHeader.largestSize ? 0 : size, at: 124, width: 12)
            let time = modified < 0 ? 0 : UInt64(modified)
            block.putOctal(time > TarHeader.largestSize ? 0 : time, at: 136, width: 12)
            block.flag = kind.flag
            block.put(TarHeader.ascii(target), at: 157, width: 100)
            block.put(prefix, at: 345, width: 155)
        }
    }

    private var fullName: [UInt8] {
        kind == .directory ? path + [UInt8(ascii: "/")] : path
    }

    private static func fits(_ text: [UInt8]) -> Bool {
        text.count <= 100 && text.allSatisfy { $0 < 0x80 }
    }

    /// The last slash with at most 155 bytes before it and 1 to 100 behind it; nil where there is none.
    private static func split(_ name: [UInt8]) -> Int? {
        guard name.count <= 256, name.allSatisfy({ $0 < 0x80 }) else { return nil }
        let last = min(155, name.count - 2)
        guard last > 0 else { return nil }
        for slash in stride(from: last, to: 0, by: -1) where name[slash] == UInt8(ascii: "/") {
            return name.count - slash - 1 <= 100 ? slash : nil
        }
        return nil
    }

    /// For readers that do not know PAX: ASCII, cut to what fits.
    private static func ascii(_ text: [UInt8]) -> [UInt8] {
        text.prefix(100).map { $0 < 0x80 ? $0 : UInt8(ascii: "_") }
    }

    private static func append(_ records: [PAXRecord], to output: inout [UInt8]) {
        let content = PAXRecord.encode(records)
        appendBlock(to: &output) { block in
            block.put(extendedName, at: 0, width: 100)
            block.putOctal(0o644, at: 100, width: 8)
            block.putOctal(0, at: 108, width: 8)
            block.putOctal(0, at: 116, width: 8)
            block.putOctal(UInt64(content.count), at: 124, width: 12)
            block.putOctal(0, at: 136, width: 12)
            block.flag = UInt8(ascii: "x")
        }
        output += content
        output += repeatElement(0, count: padding(UInt64(content.count)))
    }

    private static func appendBlock(
        to output: inout [UInt8], _ body: (inout BlockWriter) -> Void
    ) {
        let start = output.count
        output += repeatElement(0, count: blockBytes)
        output.withUnsafeMutableBytes { bytes in
            var block = BlockWriter(UnsafeMutableRawBufferPointer(rebasing: bytes[start...]))
            body(&block)
            block.finish()
        }
    }
}

/// Fills in one block.
private struct BlockWriter {
    private let bytes: UnsafeMutableRawBufferPointer

    init(_ bytes: UnsafeMutableRawBufferPointer) { self.bytes = bytes }

    var flag: UInt8 {
        get { bytes[156] }
        nonmutating set { bytes[156] = newValue }
    }

    func put(_ text: some Collection<UInt8>, at offset: Int, width: Int) {
        var place = offset
        for byte in text.prefix(width) {
            bytes[place] = byte
            place += 1
        }
    }

    /// Octal digits with zeros before them, and a NUL.
    func putOctal(_ value: UInt64, at offset: Int, width: Int) {
        var rest = value
        for place in stride(from: offset + width - 2, through: offset, by: -1) {
            bytes[place] = UInt8(ascii: "0") + UInt8(rest & 7)
            rest >>= 3
        }
    }

    /// Fills in what is the same in all headers, and the checksum.
    func finish() {
        put("ustar\0".utf8, at: 257, width: 6)
        put("00".utf8, at: 263, width: 2)
        putOctal(0, at: 329, width: 8)
        putOctal(0, at: 337, width: 8)
        put("        ".utf8, at: 148, width: 8)
        var sum: UInt64 = 0
        for byte in bytes { sum += UInt64(byte) }
        putOctal(sum, at: 148, width: 7)
        bytes[154] = 0
    }
}
