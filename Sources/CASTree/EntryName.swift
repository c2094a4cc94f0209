import CASCore

/// The name of an entry in a directory: any bytes but `/` and NUL (Trees.md, "Names").
package struct EntryName: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// The name as the file system has it.
    package let bytes: [UInt8]
    /// The name as messages have it, valid UTF-8; shares its storage with `bytes` where they agree.
    package let wire: [UInt8]

    /// Checks a name from a file system; throws `invalidArgument`.
    package init(_ bytes: [UInt8]) throws {
        try EntryName.check(bytes)
        self.bytes = bytes
        wire = WireText.encode(bytes)
    }

    /// Checks a name from text.
    package init(_ text: String) throws {
        try self.init(Array(text.utf8))
    }

    /// Checks a name from a message; throws `dataLoss` unless it is the only spelling of a good name.
    package init(wire: [UInt8]) throws {
        bytes = try WireText.decode(wire)
        do {
            try EntryName.check(bytes)
        } catch {
            throw CASError(
                .dataLoss, "a directory has an entry with a forbidden name", cause: error)
        }
        self.wire = wire
    }

    private static func check(_ bytes: [UInt8]) throws {
        guard !bytes.isEmpty, bytes.count <= Limits.standard.nameBytes else {
            throw CASError(
                .invalidArgument, "a name of \(bytes.count) bytes is not allowed",
                path: PathText.printable(bytes))
        }
        var isDots = bytes.count <= 2
        for byte in bytes {
            guard byte != UInt8(ascii: "/"), byte != 0 else {
                throw CASError(
                    .invalidArgument, "'\(PathText.printable(bytes))' holds a slash or a NUL")
            }
            if byte != UInt8(ascii: ".") { isDots = false }
        }
        if isDots {
            throw CASError(
                .invalidArgument, "'\(PathText.printable(bytes))' is not the name of an entry")
        }
    }

    /// The name for a person, control characters and invalid bytes escaped.
    package var text: String { PathText.printable(bytes) }
    /// The name for a person.
    package var description: String { text }

    package static func == (left: EntryName, right: EntryName) -> Bool {
        left.bytes == right.bytes
    }

    package func hash(into hasher: inout Hasher) {
        bytes.withUnsafeBytes { hasher.combine(bytes: $0) }
    }

    package static func < (left: EntryName, right: EntryName) -> Bool {
        ByteOrder.precedes(left.wire, right.wire)
    }
}

/// Order of byte strings as unsigned bytes.
package enum ByteOrder {
    /// Whether `left` comes before `right`.
    package static func precedes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        compare(left, right) < 0
    }

    /// Negative, zero or positive as `left` comes before, equals or comes behind `right`.
    package static func compare(_ left: [UInt8], _ right: [UInt8]) -> Int {
        left.withUnsafeBufferPointer { left in
            right.withUnsafeBufferPointer { right in
                let common = min(left.count, right.count)
                var index = 0
                while index < common {
                    if left[index] != right[index] { return left[index] < right[index] ? -1 : 1 }
                    index += 1
                }
                return left.count - right.count
            }
        }
    }
}

/// Byte strings inside text fields, which hold valid UTF-8 only (Trees.md, "Names").
///
/// A byte that is no part of a valid UTF-8 sequence becomes the code point U+F700 plus the byte. So that
/// this can be undone, the code points U+F780 to U+F7FF are themselves written byte by byte.
package enum WireText {
    /// The text form.
    package static func encode(_ bytes: [UInt8]) -> [UInt8] {
        if bytes.allSatisfy({ $0 < 0x80 }) { return bytes }
        return escape(bytes) ?? bytes
    }

    /// The bytes that a text stands for; throws `dataLoss` unless it is what `encode` makes of them.
    package static func decode(_ text: [UInt8]) throws -> [UInt8] {
        if text.allSatisfy({ $0 < 0x80 }) { return text }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var index = 0
        var isEscaped = false
        while index < text.count {
            let length = sequenceLength(text, at: index)
            guard length > 0 else { throw malformed() }
            if let byte = escapedByte(text, at: index, length) {
                bytes.append(byte)
                isEscaped = true
            } else {
                bytes.append(contentsOf: text[index..<index + length])
            }
            index += length
        }
        if isEscaped, encode(bytes) != text { throw malformed() }
        return bytes
    }

    private static func malformed() -> CASError {
        CASError(.dataLoss, "a name in a directory message is not in canonical form")
    }

    /// The escaped form, nil if nothing needs an escape.
    private static func escape(_ bytes: [UInt8]) -> [UInt8]? {
        var output: [UInt8] = []
        output.reserveCapacity(bytes.count + 16)
        var index = 0
        var isEscaped = false
        while index < bytes.count {
            let length = sequenceLength(bytes, at: index)
            if length > 0, escapedByte(bytes, at: index, length) == nil {
                output.append(contentsOf: bytes[index..<index + length])
                index += length
                continue
            }
            isEscaped = true
            for byte in bytes[index..<index + max(length, 1)] {
                output.append(contentsOf: [0xef, 0x9e + (byte >> 6 & 1), 0x80 | byte & 0x3f])
            }
            index += max(length, 1)
        }
        return isEscaped ? output : nil
    }

    /// The byte that the code point at `index` escapes; nil for any other code point.
    private static func escapedByte(_ text: [UInt8], at index: Int, _ length: Int) -> UInt8? {
        guard length == 3, text[index] == 0xef, text[index + 1] == 0x9e || text[index + 1] == 0x9f
        else { return nil }
        return 0x80 | (text[index + 1] & 1) << 6 | text[index + 2] & 0x3f
    }

    /// Bytes of the well-formed UTF-8 sequence at `index` (Unicode 15, table 3-7); 0 if there is none.
    private static func sequenceLength(_ bytes: [UInt8], at index: Int) -> Int {
        let first = bytes[index]
        if first < 0x80 { return 1 }
        let length: Int
        var low: UInt8 = 0x80
        var high: UInt8 = 0xbf
        switch first {
        case 0xc2...0xdf: length = 2
        case 0xe0: (length, low) = (3, 0xa0)
        case 0xed: (length, high) = (3, 0x9f)
        case 0xe1...0xef: length = 3
        case 0xf0: (length, low) = (4, 0x90)
        case 0xf4: (length, high) = (4, 0x8f)
        case 0xf1...0xf3: length = 4
        default: return 0
        }
        guard index + length <= bytes.count, bytes[index + 1] >= low, bytes[index + 1] <= high,
            bytes[(index + 1)..<(index + length)].allSatisfy({ $0 & 0xc0 == 0x80 })
        else { return 0 }
        return length
    }
}

/// Paths and names for people.
package enum PathText {
    /// Valid UTF-8 as it is; control characters, backslashes and invalid bytes as `\xNN`.
    package static func printable(_ bytes: some Sequence<UInt8>) -> String {
        let array = Array(bytes)
        if array.allSatisfy({ $0 >= 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\\") }) {
            return String(decoding: array, as: UTF8.self)
        }
        if let text = String(validating: array, as: UTF8.self),
            !text.unicodeScalars.contains(where: {
                $0.properties.generalCategory == .control || $0 == "\\"
                    || $0.properties.generalCategory == .format
            })
        {
            return text
        }
        var text = ""
        for byte in array {
            if byte >= 0x20, byte < 0x7f, byte != UInt8(ascii: "\\") {
                text.unicodeScalars.append(Unicode.Scalar(byte))
            } else {
                text += "\\x" + Hexadecimal.encode([byte])
            }
        }
        return text
    }
}
