/// `[…]` of a pattern: single bytes, ranges, escapes and POSIX classes, as git's wildmatch reads them.
enum CharacterClass {
    /// Matches `byte` against the class that opens at `position` of the pattern and moves `position`
    /// to its closing bracket; nil if the class is malformed (then the pattern matches nothing).
    static func match(
        _ pattern: UnsafeBufferPointer<UInt8>, _ position: inout Int, _ byte: UInt8
    ) -> Bool? {
        func at(_ index: Int) -> UInt8 { index < pattern.count ? pattern[index] : 0 }
        position += 1
        var current = at(position)
        let isNegated = current == UInt8(ascii: "!") || current == UInt8(ascii: "^")
        if isNegated {
            position += 1
            current = at(position)
        }
        var previous: UInt8 = 0
        var isMatched = false
        repeat {
            if current == 0 { return nil }
            if current == Byte.backslash {
                position += 1
                current = at(position)
                if current == 0 { return nil }
                if byte == current { isMatched = true }
            } else if current == Byte.hyphen, previous != 0, at(position + 1) != 0,
                at(position + 1) != Byte.closeBracket
            {
                position += 1
                current = at(position)
                if current == Byte.backslash {
                    position += 1
                    current = at(position)
                    if current == 0 { return nil }
                }
                if byte <= current, byte >= previous { isMatched = true }
                current = 0  // A range's end starts no further range.
            } else if current == Byte.openBracket, at(position + 1) == Byte.colon {
                let start = position + 2
                var end = start
                while end < pattern.count, pattern[end] != Byte.closeBracket { end += 1 }
                if end >= pattern.count { return nil }
                if end - start < 1 || pattern[end - 1] != Byte.colon {
                    // No ":]": an ordinary set that holds a bracket.
                    if byte == Byte.openBracket { isMatched = true }
                } else {
                    let name = UnsafeBufferPointer(rebasing: pattern[start..<end - 1])
                    guard let isMember = contains(name, byte) else { return nil }
                    if isMember { isMatched = true }
                    position = end
                    current = 0
                }
            } else if byte == current {
                isMatched = true
            }
            previous = current
            position += 1
            current = at(position)
        } while current != Byte.closeBracket
        return isMatched != isNegated
    }

    private static let names: [(name: [UInt8], contains: @Sendable (UInt8) -> Bool)] = [
        (Array("alnum".utf8), { isAlphabetic($0) || isDigit($0) }),
        (Array("alpha".utf8), { isAlphabetic($0) }),
        (Array("blank".utf8), { $0 == 0x20 || $0 == 0x09 }),
        (Array("cntrl".utf8), { $0 < 0x20 || $0 == 0x7f }),
        (Array("digit".utf8), { isDigit($0) }),
        (Array("graph".utf8), { $0 > 0x20 && $0 < 0x7f }),
        (Array("lower".utf8), { $0 >= 0x61 && $0 <= 0x7a }),
        (Array("print".utf8), { $0 >= 0x20 && $0 < 0x7f }),
        (
            Array("punct".utf8),
            { $0 > 0x20 && $0 < 0x7f && !isAlphabetic($0) && !isDigit($0) }
        ),
        // git's own isspace: no vertical tab, no form feed.
        (Array("space".utf8), { $0 == 0x20 || $0 == 0x09 || $0 == 0x0a || $0 == 0x0d }),
        (Array("upper".utf8), { $0 >= 0x41 && $0 <= 0x5a }),
        (
            Array("xdigit".utf8),
            { isDigit($0) || ($0 >= 0x41 && $0 <= 0x46) || ($0 >= 0x61 && $0 <= 0x66) }
        ),
    ]

    private static func contains(_ name: UnsafeBufferPointer<UInt8>, _ byte: UInt8) -> Bool? {
        for known in names where known.name.elementsEqual(name) { return known.contains(byte) }
        return nil
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }

    private static func isAlphabetic(_ byte: UInt8) -> Bool {
        (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a)
    }
}
