import Yams

/// The bytes of a manifest, with the line breaks as YAML 1.1 sees them.
struct ManifestText {
    let bytes: [UInt8]
    /// The offset of the first byte of each line.
    private let lines: [Int]

    init(_ bytes: [UInt8]) {
        self.bytes = bytes
        var lines = [0]
        var index = 0
        while index < bytes.count {
            let length = Self.lineBreak(bytes, at: index)
            index += max(length, 1)
            if length > 0 { lines.append(index) }
        }
        self.lines = lines
    }

    /// The length of the line break at a place; 0 if there is none.
    private static func lineBreak(_ bytes: [UInt8], at index: Int) -> Int {
        switch bytes[index] {
        case 0x0a: return 1
        case 0x0d: return index + 1 < bytes.count && bytes[index + 1] == 0x0a ? 2 : 1
        // U+0085, U+2028 and U+2029 are breaks for libyaml, and so in its marks.
        case 0xc2: return index + 1 < bytes.count && bytes[index + 1] == 0x85 ? 2 : 0
        case 0xe2:
            guard index + 2 < bytes.count, bytes[index + 1] == 0x80 else { return 0 }
            return bytes[index + 2] == 0xa8 || bytes[index + 2] == 0xa9 ? 3 : 0
        default: return 0
        }
    }

    /// The byte at a place; nil at the end.
    subscript(_ index: Int) -> UInt8? { bytes.indices.contains(index) ? bytes[index] : nil }

    /// The offset of a mark, which counts lines and characters from 1.
    func offset(of mark: Mark?) -> Int {
        guard let mark, mark.line >= 1 else { return 0 }
        guard mark.line <= lines.count else { return bytes.count }
        var offset = lines[mark.line - 1]
        var column = mark.column - 1
        while column > 0, offset < bytes.count {
            offset += 1
            while offset < bytes.count, bytes[offset] & 0xc0 == 0x80 { offset += 1 }
            column -= 1
        }
        return offset
    }

    private func index(at offset: Int) -> Int {
        var low = 0
        var high = lines.count
        while high - low > 1 {
            let middle = (low + high) / 2
            if lines[middle] <= offset { low = middle } else { high = middle }
        }
        return low
    }

    /// The number of the line with a byte, from 1.
    func line(at offset: Int) -> Int { index(at: offset) + 1 }

    /// The offset of the first byte of the line with a byte.
    func lineStart(_ offset: Int) -> Int { lines[index(at: offset)] }

    /// The offset of the line break that ends the line with a byte, or of the end.
    func lineEnd(_ offset: Int) -> Int {
        var end = offset
        while end < bytes.count, Self.lineBreak(bytes, at: end) == 0 { end += 1 }
        return end
    }

    /// What lies before a byte on its line.
    func prefix(_ offset: Int) -> ArraySlice<UInt8> { bytes[lineStart(offset)..<offset] }

    /// The characters before a byte on its line.
    func column(_ offset: Int) -> Int { prefix(offset).count { $0 & 0xc0 != 0x80 } }

    /// The line break that new lines near a byte get: that of its own line, or of the line before it.
    func newline(_ offset: Int) -> String {
        let end = lineEnd(offset)
        let length = end < bytes.count ? Self.lineBreak(bytes, at: end) : 0
        if length > 0 { return String(decoding: bytes[end..<end + length], as: UTF8.self) }
        let start = lineStart(offset)
        guard start > 0 else { return "\n" }
        return start > 1 && bytes[start - 2] == 0x0d && bytes[start - 1] == 0x0a ? "\r\n" : "\n"
    }

    /// Where the text of a value begins behind its anchor, its tag, and the lines and comments after them.
    func contentStart(_ offset: Int) -> Int {
        var index = offset
        while let byte = self[index], byte == UInt8(ascii: "&") || byte == UInt8(ascii: "!") {
            while let next = self[index], !Self.isSpace(next), !",[]{}".utf8.contains(next) {
                index += 1
            }
            index = skipSpace(index)
        }
        return index
    }

    /// The first byte at or after a place that is neither space, line break nor comment.
    private func skipSpace(_ offset: Int) -> Int {
        var index = offset
        while let byte = self[index] {
            if byte == UInt8(ascii: "#"), index > 0, Self.isSpace(bytes[index - 1]) {
                index = lineEnd(index)
            } else if Self.isSpace(byte) {
                index += 1
            } else {
                break
            }
        }
        return index
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d
    }

    /// The first offset of some bytes at or after a place.
    func find(_ wanted: [UInt8], from offset: Int) -> Int? {
        guard !wanted.isEmpty, offset <= bytes.count else { return nil }
        var index = offset
        while index + wanted.count <= bytes.count {
            if bytes[index] == wanted[0], bytes[index..<index + wanted.count].elementsEqual(wanted)
            {
                return index
            }
            index += 1
        }
        return nil
    }
}
