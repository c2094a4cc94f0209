import CASCore
import CASFileSystem

/// Reads the names in git's index (gitformat-index(5), versions 2 to 4): what git tracks.
enum GitIndex {
    /// Bytes of an entry before its object name.
    private static let statusBytes = 40

    /// Calls `visit` with each name, in git's order; false if the index does not hold object names of
    /// that many bytes.
    static func parse(
        _ bytes: UnsafeRawBufferPointer, hashBytes: Int, _ visit: ([UInt8]) -> Void
    ) throws -> Bool {
        var reader = ByteReader(bytes)
        guard bytes.count >= 12, try reader.array(4) == Array("DIRC".utf8) else { return false }
        let version = UInt32(bigEndian: try reader.uint32().littleEndian)
        let count = UInt32(bigEndian: try reader.uint32().littleEndian)
        guard (2...4).contains(version) else { return false }
        var name: [UInt8] = []
        for _ in 0..<count {
            let start = reader.offset
            guard reader.remaining > statusBytes + hashBytes + 2 else { return false }
            _ = try reader.take(statusBytes + hashBytes)
            let flags = UInt16(bigEndian: try reader.uint16().littleEndian)
            if flags & 0x4000 != 0 {
                guard version >= 3, reader.remaining >= 2 else { return false }
                _ = try reader.take(2)
            }
            if version == 4 {
                guard let shared = offset(&reader), shared <= name.count else { return false }
                name.removeLast(shared)
            } else {
                name.removeAll(keepingCapacity: true)
            }
            let rest = bytes[reader.offset...].prefix { $0 != 0 }
            guard rest.count < reader.remaining else { return false }
            name += rest
            // The flags hold the name's length, which tells a wrong size of object names.
            let noted = Int(flags & 0xfff)
            guard noted == min(name.count, 0xfff), !name.isEmpty else { return false }
            _ = try reader.take(rest.count + 1)
            if version < 4 {
                let length = reader.offset - start
                let padded = (length - 1 + 8) / 8 * 8
                guard padded - length <= reader.remaining else { return false }
                _ = try reader.take(padded - length)
            }
            visit(name)
        }
        return true
    }

    /// git's offset encoding (gitformat-pack(5)).
    private static func offset(_ reader: inout ByteReader) -> Int? {
        guard reader.remaining > 0, var byte = try? reader.uint8() else { return nil }
        var value = Int(byte & 0x7f)
        while byte & 0x80 != 0 {
            guard value < 1 << 40, let next = try? reader.uint8() else { return nil }
            byte = next
            value = (value + 1) << 7 | Int(byte & 0x7f)
        }
        return value
    }
}
