/// The patterns of one ignore file, or of one source on the command line, ready to be matched.
package final class IgnoreList: Sendable {
    /// Where rules come from, weakest first.
    package enum Kind: UInt8, Comparable, Sendable {
        case defaults = 0
        case gitignore = 1
        case casignore = 2
        case exclude = 3
        case include = 4

        package static func < (left: Kind, right: Kind) -> Bool { left.rawValue < right.rawValue }
    }

    /// Files of more bytes are not read: no rule file is that large.
    package static let maximumFileBytes = 16 << 20

    /// What kind of source it is.
    package let kind: Kind
    /// The file's path or the option's name, for messages.
    package let source: String
    /// The bytes that paths start with before the part that path patterns are compared with.
    let baseCount: Int
    /// The slashes within those bytes.
    let baseSlashes: Int
    /// All patterns, weakest first.
    package let patterns: [IgnorePattern]
    /// Indices of path patterns, strongest first.
    let paths: [Int32]
    /// The other patterns.
    private let names: NameTable

    /// A list of compiled patterns that stand in the directory `base` (a path with a slash at its
    /// end, or empty).
    package init(kind: Kind, source: String, base: [UInt8], patterns: [IgnorePattern]) {
        self.kind = kind
        self.source = source
        baseCount = base.count
        baseSlashes = base.count { $0 == Byte.slash }
        self.patterns = patterns
        paths = patterns.indices.reversed().filter { patterns[$0].form == .path }.map { Int32($0) }
        names = NameTable(patterns)
    }

    /// Compiles the text of an ignore file.
    package convenience init(
        kind: Kind, source: String, base: [UInt8], text: UnsafeRawBufferPointer
    ) {
        var patterns: [IgnorePattern] = []
        var start = 0
        if text.count >= 3, text[0] == 0xef, text[1] == 0xbb, text[2] == 0xbf { start = 3 }
        var number = 1
        while start < text.count {
            var end = start
            while end < text.count, text[end] != Byte.newline { end += 1 }
            var last = end
            if last > start, text[last - 1] == UInt8(ascii: "\r") { last -= 1 }
            if let pattern = IgnorePattern(line: text[start..<last], number: number) {
                patterns.append(pattern)
            }
            number += 1
            start = end + 1
        }
        self.init(kind: kind, source: source, base: base, patterns: patterns)
    }

    /// The strongest pattern that matches an entry, as its index; -1 if none does.
    ///
    /// `path` is read only if `active` names path patterns.
    func match(
        name: UnsafeBufferPointer<UInt8>, path: UnsafeBufferPointer<UInt8>, isDirectory: Bool,
        active: [Int32]
    ) -> Int {
        let best = names.match(name, isDirectory: isDirectory)
        for index in active {
            let index = Int(index)
            guard index > best else { break }
            guard isDirectory || !patterns[index].directoriesOnly else { continue }
            let below = UnsafeBufferPointer(rebasing: path[baseCount...])
            if patterns[index].matches(path: below) { return index }
        }
        return best
    }

    /// The path patterns that can match an entry of `directory` (a whole path with a slash at its end,
    /// or empty), strongest first.
    func active(in directory: UnsafeBufferPointer<UInt8>, slashes: Int) -> [Int32] {
        guard !paths.isEmpty, directory.count >= baseCount else { return [] }
        let below = UnsafeBufferPointer(rebasing: directory[baseCount...])
        return paths.filter {
            patterns[Int($0)].canMatch(in: below, slashes: slashes - baseSlashes)
        }
    }

    /// Whether a path pattern can match something below `directory` (without a slash at its end).
    func canMatch(below directory: UnsafeBufferPointer<UInt8>, slashes: Int) -> Bool {
        guard directory.count >= baseCount else { return false }
        let below = UnsafeBufferPointer(rebasing: directory[baseCount...])
        return paths.contains {
            patterns[Int($0)].canMatch(below: below, slashes: slashes - baseSlashes)
        }
    }
}
