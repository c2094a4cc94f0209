/// git's wildmatch on bytes: `*`, `?`, `**` between slashes, `[…]` with POSIX classes, and escapes.
///
/// A port of git's wildmatch.c (with the early aborts that keep `*a*a*a*b` from taking exponential
/// time), because gitignore files mean exactly what that function does and nothing else.
package struct Wildmatch {
    private enum Outcome {
        case match
        case mismatch
        /// No longer text can help: give up altogether.
        case abort
        /// A single star can not help any more, a double one may.
        case abortToDoubleStar
    }

    private let pattern: UnsafeBufferPointer<UInt8>
    private let text: UnsafeBufferPointer<UInt8>
    private let isPath: Bool

    /// Whether `pattern` matches all of `text`; with `isPath`, only `**` and `/` match a slash.
    package static func matches(
        _ pattern: UnsafeBufferPointer<UInt8>, _ text: UnsafeBufferPointer<UInt8>, isPath: Bool
    ) -> Bool {
        Wildmatch(pattern: pattern, text: text, isPath: isPath).match(0, 0) == .match
    }

    /// The pattern's byte at `index`, 0 behind its end, as in a C string (neither side holds a NUL).
    @inline(__always)
    private func patternByte(_ index: Int) -> UInt8 {
        index < pattern.count ? pattern[index] : 0
    }

    @inline(__always)
    private func textByte(_ index: Int) -> UInt8 { index < text.count ? text[index] : 0 }

    private func slash(from index: Int) -> Int? {
        var position = index
        while position < text.count {
            if text[position] == Byte.slash { return position }
            position += 1
        }
        return nil
    }

    /// Matches the pattern from `patternStart` against the text from `textStart`.
    ///
    /// Recurses once for each star, so its depth is bounded by the stars that IgnorePattern accepts.
    private func match(_ patternStart: Int, _ textStart: Int) -> Outcome {
        var position = patternStart
        var offset = textStart
        while position < pattern.count {
            let current = pattern[position]
            if offset >= text.count, current != Byte.star { return .abort }
            switch current {
            case Byte.star:
                switch star(&position, offset, start: patternStart) {
                case .decided(let outcome): return outcome
                case .consumed(let slash): offset = slash
                }
            case Byte.questionMark:
                if isPath, text[offset] == Byte.slash { return .mismatch }
            case Byte.openBracket:
                switch CharacterClass.match(pattern, &position, text[offset]) {
                case nil: return .abort
                case .some(let matched):
                    if !matched || (isPath && text[offset] == Byte.slash) { return .mismatch }
                }
            case Byte.backslash:
                position += 1
                if text[offset] != patternByte(position) { return .mismatch }
            default:
                if text[offset] != current { return .mismatch }
            }
            position += 1
            offset += 1
        }
        return offset < text.count ? .mismatch : .match
    }

    private enum StarOutcome {
        case decided(Outcome)
        /// A star before a slash took everything up to the slash at this offset of the text.
        case consumed(Int)
    }

    private func star(_ position: inout Int, _ offset: Int, start: Int) -> StarOutcome {
        let first = position
        position += 1
        var crossesSlashes = !isPath
        if patternByte(position) == Byte.star {
            while patternByte(position) == Byte.star { position += 1 }
            let next = patternByte(position)
            let isBounded =
                (first - 1 < start || pattern[first - 1] == Byte.slash)
                && (next == 0 || next == Byte.slash
                    || (next == Byte.backslash && patternByte(position + 1) == Byte.slash))
            if isPath, isBounded {
                // "a/**/b" matches "a/b": first let the double star and its slash match nothing.
                if next == Byte.slash {
                    switch match(position + 1, offset) {
                    case .match: return .decided(.match)
                    case .abort: return .decided(.abort)
                    case .mismatch, .abortToDoubleStar: break
                    }
                }
                crossesSlashes = true
            }
        }
        if position >= pattern.count {
            if !crossesSlashes, slash(from: offset) != nil { return .decided(.abortToDoubleStar) }
            return .decided(.match)
        }
        if !crossesSlashes, pattern[position] == Byte.slash {
            guard let slash = slash(from: offset) else { return .decided(.abort) }
            return .consumed(slash)
        }
        return .decided(rest(position, offset, crossesSlashes: crossesSlashes))
    }

    /// Tries what follows a star at every offset that the star may reach.
    private func rest(_ position: Int, _ start: Int, crossesSlashes: Bool) -> Outcome {
        var offset = start
        let next = pattern[position]
        while offset < text.count {
            if !Byte.isSpecial(next) {
                while offset < text.count, text[offset] != next,
                    crossesSlashes || text[offset] != Byte.slash
                {
                    offset += 1
                }
                if textByte(offset) != next {
                    return crossesSlashes ? .abort : .abortToDoubleStar
                }
            }
            let outcome = match(position, offset)
            if outcome != .mismatch {
                if !crossesSlashes || outcome != .abortToDoubleStar { return outcome }
            } else if !crossesSlashes, text[offset] == Byte.slash {
                return .abortToDoubleStar
            }
            offset += 1
        }
        return .abort
    }
}

/// The bytes that mean something in a pattern.
package enum Byte {
    static let star = UInt8(ascii: "*")
    static let questionMark = UInt8(ascii: "?")
    static let openBracket = UInt8(ascii: "[")
    static let closeBracket = UInt8(ascii: "]")
    static let backslash = UInt8(ascii: "\\")
    static let slash = UInt8(ascii: "/")
    static let dot = UInt8(ascii: ".")
    static let hyphen = UInt8(ascii: "-")
    static let colon = UInt8(ascii: ":")
    static let newline = UInt8(ascii: "\n")

    /// Whether a byte makes a pattern more than a literal.
    @inline(__always)
    static func isSpecial(_ byte: UInt8) -> Bool {
        byte == star || byte == questionMark || byte == openBracket || byte == backslash
    }
}
