import CASCore
import CASPack

/// Good checksums and lengths over mutated bytes, so that a fuzzer gets behind them.
extension FuzzTargets {
    /// Writes an integer over the bytes at `offset`.
    package static func write(
        _ value: some FixedWidthInteger, _ bytes: inout [UInt8], at offset: Int
    ) {
        var encoded: [UInt8] = []
        encoded.append(littleEndian: value)
        bytes.replaceSubrange(offset..<offset + encoded.count, with: encoded)
    }

    /// The checksum of some of the bytes.
    package static func checksum(_ bytes: [UInt8], _ range: Range<Int>) -> UInt32 {
        bytes[range].withUnsafeBytes { Checksum.crc32c($0) }
    }

    /// Makes a run of records of any bytes that are long enough.
    @Sendable static func repairRecords(_ input: [UInt8]) -> [UInt8] {
        var bytes = input
        repairRecords(&bytes, from: 0, to: bytes.count)
        return bytes
    }

    private static func repairRecords(_ bytes: inout [UInt8], from start: Int, to end: Int) {
        var offset = start
        while end - offset >= RecordHeader.byteCount + RecordHeader.trailerByteCount {
            bytes.replaceSubrange(offset..<offset + 5, with: Array("CASR".utf8) + [1])
            let room = end - offset - RecordHeader.byteCount - RecordHeader.trailerByteCount
            let isMark = (33...35).contains(bytes[offset + 5])
            let claimed = Int(bytes[offset + 12]) | Int(bytes[offset + 13]) << 8
            let stored = isMark ? 0 : min(claimed, room)
            write(UInt32(stored), &bytes, at: offset + 12)
            if bytes[offset + 6] == 0, !isMark { write(UInt32(stored), &bytes, at: offset + 8) }
            let header = checksum(bytes, offset..<offset + 60)
            write(header, &bytes, at: offset + 60)
            let payload = offset + RecordHeader.byteCount
            let trailer = checksum(bytes, payload..<payload + stored)
            write(trailer, &bytes, at: payload + stored)
            offset = payload + stored + RecordHeader.trailerByteCount
        }
    }

    /// Makes a pack's header, footer and trailer agree with themselves and with its size.
    @Sendable static func repairPack(_ input: [UInt8]) -> [UInt8] {
        var bytes = input
        guard bytes.count >= PackHeader.byteCount + PackTrailer.byteCount else { return bytes }
        bytes.replaceSubrange(0..<9, with: Array("CASPACK\0".utf8) + [1])
        write(checksum(bytes, 0..<60), &bytes, at: 60)
        let trailer = bytes.count - PackTrailer.byteCount
        let room = (trailer - PackHeader.byteCount) / PackFooter.entryByteCount
        let count = min(Int(bytes[trailer + 8]), room)
        let entries = trailer - count * PackFooter.entryByteCount
        repairRecords(&bytes, from: PackHeader.byteCount, to: entries)
        write(UInt64(entries), &bytes, at: trailer)
        write(UInt32(count), &bytes, at: trailer + 8)
        write(checksum(bytes, entries..<trailer), &bytes, at: trailer + 12)
        bytes.replaceSubrange(
            trailer + 16..<trailer + 28, with: Array("CASFOOT\0".utf8) + [1, 0, 0, 0])
        write(checksum(bytes, trailer..<trailer + 28), &bytes, at: trailer + 28)
        return bytes
    }
}
