import CASCore

/// The fields of one header block: ustar, GNU's and that of Unix V7.
struct TarBlock {
    /// Its type flag.
    let flag: UInt8
    /// Bytes behind it.
    let size: UInt64
    private let bytes: UnsafeRawBufferPointer

    /// Reads the fields that say where the next header is; nil unless checksum and numbers are right.
    ///
    /// `bytes`, of which there are 512, must outlive the value.
    init?(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count == TarHeader.blockBytes, TarBlock.isSound(bytes),
            let size = TarBlock.number(bytes, 124, 12), size >= 0
        else { return nil }
        self.bytes = bytes
        self.size = UInt64(size)
        flag = bytes[156]
    }

    /// Whether all bytes are zero, as at the end of an archive.
    static func isZero(_ bytes: UnsafeRawBufferPointer) -> Bool {
        firstNonzero(bytes) == nil
    }

    /// Where the first byte is that is not zero.
    static func firstNonzero(_ bytes: UnsafeRawBufferPointer) -> Int? {
        var place = 0
        while place + 8 <= bytes.count {
            if bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self) != 0 { break }
            place += 8
        }
        while place < bytes.count {
            if bytes[place] != 0 { return place }
            place += 1
        }
        return nil
    }

    /// Whether the checksum is that of the block, in which its own field counts as spaces; some programs
    /// of old took bytes as signed.
    private static func isSound(_ bytes: UnsafeRawBufferPointer) -> Bool {
        guard let sum = number(bytes, 148, 8) else { return false }
        var unsigned: Int64 = 0
        var signed: Int64 = 0
        for place in 0..<TarHeader.blockBytes {
            let byte = place >= 148 && place < 156 ? 0x20 : bytes[place]
            unsigned += Int64(byte)
            signed += Int64(Int8(bitPattern: byte))
        }
        return (sum == unsigned || sum == signed) && unsigned > 256
    }

    /// A number in octal digits, with spaces or NULs around it, or in base 256 where the highest bit says so.
    static func number(_ bytes: UnsafeRawBufferPointer, _ offset: Int, _ width: Int) -> Int64? {
        let field = UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + width])
        if field[0] & 0x80 != 0 { return binary(field) }
        var place = 0
        while place < width, field[place] == 0x20 || field[place] == 0 { place += 1 }
        var value: Int64 = 0
        while place < width, field[place] >= 0x30, field[place] <= 0x37 {
            let (product, overflow) = value.multipliedReportingOverflow(by: 8)
            guard !overflow else { return nil }
            value = product | Int64(field[place] - 0x30)
            place += 1
        }
        while place < width {
            guard field[place] == 0x20 || field[place] == 0 else { return nil }
            place += 1
        }
        return value
    }

    /// Two's complement, most significant byte first, where the first byte gives one bit away.
    private static func binary(_ field: UnsafeRawBufferPointer) -> Int64? {
        let isNegative = field[0] & 0x40 != 0
        let sign: UInt8 = isNegative ? 0xff : 0
        var value: UInt64 = 0
        for (index, byte) in field.enumerated() {
            let byte = index == 0 ? (isNegative ? byte : byte & 0x7f) : byte
            if index < field.count - 8 {
                guard byte == sign else { return nil }
            } else {
                value = value << 8 | UInt64(byte)
            }
        }
        let signed = Int64(bitPattern: value)
        return (signed < 0) == isNegative ? signed : nil
    }

    /// The entry as the block alone tells it; throws `dataLoss` where a number is none.
    func header() throws -> TarHeader {
        func field(_ offset: Int, _ width: Int) -> [UInt8] {
            Array(bytes[offset..<offset + width].prefix { $0 != 0 })
        }
        func number(_ offset: Int, _ width: Int) throws -> Int64 {
            guard let number = TarBlock.number(bytes, offset, width) else {
                throw CASError(.dataLoss, "a number in a header of a tar archive is malformed")
            }
            return number
        }
        let isPOSIX = bytes[257..<263].elementsEqual("ustar\0".utf8)
        var path = field(0, 100)
        let prefix = isPOSIX ? field(345, 155) : []
        if !prefix.isEmpty { path = prefix + [UInt8(ascii: "/")] + path }
        return TarHeader(
            path: path, kind: TarHeader.Kind(flag: flag),
            mode: UInt32(truncatingIfNeeded: try number(100, 8)) & 0o7777,
            userID: UInt64(max(0, try number(108, 8))), groupID: UInt64(max(0, try number(116, 8))),
            size: size, modified: try number(136, 12), target: field(157, 100))
    }
}
