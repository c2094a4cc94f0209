/// The patterns without a slash of one list, laid out for the scan: every entry of a workspace is
/// looked up here.
///
/// Raw memory instead of arrays, because counting references to them cost more than the comparisons.
/// `@unchecked Sendable`: nothing is written after `init`.
final class NameTable: @unchecked Sendable {
    private struct Rule {
        /// Where its bytes lie.
        let start: Int
        let count: Int
        /// Its place in the list: a greater one is stronger.
        let index: Int
        let form: IgnorePattern.Form
        let directoriesOnly: Bool
    }

    private static let groups = 513
    /// Rules by group, within a group strongest first.
    ///
    /// Groups 0 to 255: those that name the first
    /// byte; 256 to 511: those that name the last one; 512: all others.
    private let rules: UnsafeMutableBufferPointer<Rule>
    /// Where each group starts in `rules`, and where the last one ends.
    private let starts: UnsafeMutableBufferPointer<Int>
    private let bytes: UnsafeMutableBufferPointer<UInt8>

    init(_ patterns: [IgnorePattern]) {
        var grouped: [(group: Int, rule: Rule)] = []
        var all: [UInt8] = []
        for (index, pattern) in patterns.enumerated().reversed() where pattern.form != .path {
            let rule = Rule(
                start: all.count, count: pattern.bytes.count, index: index, form: pattern.form,
                directoriesOnly: pattern.directoriesOnly)
            all += pattern.bytes
            grouped.append((NameTable.group(pattern), rule))
        }
        var starts = [Int](repeating: 0, count: NameTable.groups + 1)
        for (group, _) in grouped { starts[group + 1] += 1 }
        for group in 0..<NameTable.groups { starts[group + 1] += starts[group] }
        var next = starts
        rules = .allocate(capacity: grouped.count)
        for (group, rule) in grouped {
            rules.initializeElement(at: next[group], to: rule)
            next[group] += 1
        }
        self.starts = .allocate(capacity: starts.count)
        _ = self.starts.initialize(from: starts)
        bytes = .allocate(capacity: all.count)
        _ = bytes.initialize(from: all)
    }

    deinit {
        rules.deallocate()
        starts.deallocate()
        bytes.deallocate()
    }

    private static func group(_ pattern: IgnorePattern) -> Int {
        switch pattern.form {
        case .literalName, .wildName:
            pattern.prefixCount > 0 ? Int(pattern.bytes[0]) : 512
        case .suffixName: pattern.bytes.last.map { 256 + Int($0) } ?? 512
        case .path: 512
        }
    }

    /// The strongest pattern that matches, as its index in the list; -1 if none does.
    func match(_ name: UnsafeBufferPointer<UInt8>, isDirectory: Bool) -> Int {
        guard let first = name.first, let last = name.last else { return -1 }
        var best = match(group: Int(first), name, isDirectory, above: -1)
        best = match(group: 256 + Int(last), name, isDirectory, above: best)
        return match(group: 512, name, isDirectory, above: best)
    }

    @inline(__always)
    private func match(
        group: Int, _ name: UnsafeBufferPointer<UInt8>, _ isDirectory: Bool, above best: Int
    ) -> Int {
        var position = starts[group]
        let end = starts[group + 1]
        while position < end, rules[position].index > best {
            if isDirectory || !rules[position].directoriesOnly, matches(rules[position], name) {
                return rules[position].index
            }
            position += 1
        }
        return best
    }

    private func matches(_ rule: Rule, _ name: UnsafeBufferPointer<UInt8>) -> Bool {
        switch rule.form {
        case .literalName: return name.count == rule.count && isEnd(of: name, rule)
        case .suffixName: return name.count >= rule.count && isEnd(of: name, rule)
        case .wildName:
            let pattern = UnsafeBufferPointer(
                rebasing: bytes[rule.start..<rule.start + rule.count])
            return Wildmatch.matches(pattern, name, isPath: false)
        case .path: return false
        }
    }

    @inline(__always)
    private func isEnd(of name: UnsafeBufferPointer<UInt8>, _ rule: Rule) -> Bool {
        let shift = name.count - rule.count
        var index = rule.count - 1
        while index >= 0 {
            if name[shift + index] != bytes[rule.start + index] { return false }
            index -= 1
        }
        return true
    }
}
