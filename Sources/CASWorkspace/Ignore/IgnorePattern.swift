/// One line of a gitignore file, compiled.
package struct IgnorePattern: Sendable {
    /// Longer patterns match nothing.
    static let maximumBytes = 4096
    /// Patterns with more runs of stars match nothing: the matcher recurses once for each, on a stack
    /// of 1 MiB.
    static let maximumStars = 128

    /// How a pattern is compared, cheapest first.
    enum Form: UInt8, Sendable {
        /// A name without wildcards: compared as bytes.
        case literalName
        /// `*` and a literal end: compared at the end of a name.
        case suffixName
        /// Any other pattern without a slash: wildmatch on the name.
        case wildName
        /// A pattern with a slash: matched against the path below the file it stands in.
        case path
    }

    /// What is compared; without `!`, without the slash at the start and at the end, for `.suffixName`
    /// without the star, for a literal without escapes.
    let bytes: [UInt8]
    let form: Form
    /// `!`: what matches is kept.
    package let isNegated: Bool
    /// A slash at the end: matches directories only.
    let directoriesOnly: Bool
    /// Literal bytes at the start of `bytes`.
    let prefixCount: Int
    /// The number of slashes in a path that can match, if that is known.
    let slashes: Int?
    /// The line in its file, from 1.
    package let line: Int
    /// The line as it was written, for messages.
    package let source: [UInt8]

    /// Compiles one line without its newline; nil for comments and lines that can match nothing.
    package init?(line written: some Collection<UInt8>, number: Int) {
        var rest = Array(written.prefix { $0 != 0 })
        guard let first = rest.first, first != UInt8(ascii: "#") else { return nil }
        IgnorePattern.trimTrailingSpaces(&rest)
        source = rest
        line = number
        isNegated = rest.first == UInt8(ascii: "!")
        if isNegated { rest.removeFirst() }
        directoriesOnly = rest.last == Byte.slash
        if directoriesOnly { rest.removeLast() }
        guard !rest.isEmpty, rest.count <= IgnorePattern.maximumBytes,
            IgnorePattern.stars(rest) <= IgnorePattern.maximumStars
        else { return nil }
        if let literal = IgnorePattern.literal(rest) {
            (bytes, form, prefixCount) = literal
            slashes = form == .path ? literal.0.count(where: { $0 == Byte.slash }) : nil
            if bytes.isEmpty { return nil }
            return
        }
        guard rest.contains(Byte.slash) else {
            slashes = nil
            if rest[0] == Byte.star, !rest.dropFirst().contains(where: Byte.isSpecial) {
                (bytes, form) = (Array(rest.dropFirst()), .suffixName)
                prefixCount = 0
            } else {
                (bytes, form) = (rest, .wildName)
                prefixCount = rest.prefix { !Byte.isSpecial($0) }.count
            }
            return
        }
        if rest[0] == Byte.slash { rest.removeFirst() }
        bytes = rest
        form = .path
        prefixCount = rest.prefix { !Byte.isSpecial($0) }.count
        slashes = IgnorePattern.fixedSlashes(rest)
    }

    /// Whether a path, relative to the directory of the file that holds the pattern, matches.
    func matches(path: UnsafeBufferPointer<UInt8>) -> Bool {
        bytes.withUnsafeBufferPointer { pattern in
            guard prefixCount <= path.count,
                path[..<prefixCount].elementsEqual(pattern[..<prefixCount])
            else { return false }
            if prefixCount == pattern.count, path.count == prefixCount { return true }
            // As git does, the literal start is cut off first: in "foo**/bar" the stars then stand at
            // the start of the pattern and cross slashes.
            return Wildmatch.matches(
                UnsafeBufferPointer(rebasing: pattern[prefixCount...]),
                UnsafeBufferPointer(rebasing: path[prefixCount...]), isPath: true)
        }
    }

    /// Whether it can match an entry of the directory whose path (with a slash at the end, or empty)
    /// is `directory`; one check per directory saves one per entry.
    func canMatch(in directory: UnsafeBufferPointer<UInt8>, slashes depth: Int) -> Bool {
        if let slashes, slashes != depth { return false }
        return isCompatible(with: directory)
    }

    /// Whether it can match something at any depth below the directory with that path (without a
    /// slash at its end).
    func canMatch(below directory: UnsafeBufferPointer<UInt8>, slashes depth: Int) -> Bool {
        if let slashes, slashes < depth { return false }
        guard isCompatible(with: directory) else { return false }
        return prefixCount <= directory.count || bytes[directory.count] == Byte.slash
    }

    private func isCompatible(with directory: UnsafeBufferPointer<UInt8>) -> Bool {
        let shared = min(prefixCount, directory.count)
        return bytes[..<shared].elementsEqual(directory[..<shared])
    }

    private static func stars(_ pattern: [UInt8]) -> Int {
        zip([0] + pattern, pattern).count { $0 != Byte.star && $1 == Byte.star }
    }

    /// git's trim_trailing_spaces: spaces at the end go unless a backslash stands before them.
    private static func trimTrailingSpaces(_ line: inout [UInt8]) {
        var lastRun: Int?
        var index = 0
        while index < line.count {
            if line[index] == UInt8(ascii: " ") {
                if lastRun == nil { lastRun = index }
            } else {
                if line[index] == Byte.backslash {
                    index += 1
                    if index == line.count { return }
                }
                lastRun = nil
            }
            index += 1
        }
        if let lastRun { line.removeSubrange(lastRun...) }
    }

    /// The pattern without its escapes, if escapes are all that is special in it.
    private static func literal(_ pattern: [UInt8]) -> ([UInt8], Form, Int)? {
        var plain: [UInt8] = []
        var index = pattern[0] == Byte.slash ? 1 : 0
        let form: Form = pattern.contains(Byte.slash) ? .path : .literalName
        while index < pattern.count {
            switch pattern[index] {
            case Byte.backslash:
                index += 1
                // A backslash at the very end matches nothing; wildmatch says so.
                guard index < pattern.count else { return nil }
                plain.append(pattern[index])
            case let byte where Byte.isSpecial(byte): return nil
            case let byte: plain.append(byte)
            }
            index += 1
        }
        return (plain, form, plain.count)
    }

    /// How many slashes a matching path has: those of the pattern, unless `**` or a class hides some.
    private static func fixedSlashes(_ pattern: [UInt8]) -> Int? {
        var slashes = 0
        var previous: UInt8 = 0
        for byte in pattern {
            if byte == Byte.openBracket || (byte == Byte.star && previous == Byte.star) {
                return nil
            }
            if byte == Byte.slash { slashes += 1 }
            previous = byte
        }
        return slashes
    }
}
