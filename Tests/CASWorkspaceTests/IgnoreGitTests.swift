import CASCore
import CASFileSystem
import CASTree
import CASWorkspace
import Foundation
import Testing

/// Our rules against git's own, on generated ignore files and trees.
@Suite struct IgnoreGitTests {
    private static let names = [
        "a", "b", "c", "ab", "abc", "foo", "bar", "foobar", "a.b", ".a", "[a]", "a*", "a b", "a ",
        "!a", "#a", "x-y", "]", "\\a", "A", "1", "a\u{0b}", "a\t", "é", "foo.o", "b.foo",
    ]
    private static let tokens = [
        "*", "*", "?", "**", "/", "/", "/", "a", "b", "c", "foo", "bar", ".", ".o", "[ab]", "[!a]",
        "[^b]", "[a-c]", "[]a]", "[a\\]]", "[[:alpha:]]", "[[:space:]]", "[[:punct:]]",
        "[[:upper:][:digit:]]", "[[:nope:]]", "[[:", "[", "]", "\\", "\\*", "\\a", " ", "\\ ", "!",
        "#", "-", "**/", "/**", "/**/", "*.o", "\\!", "\\#", "é", "\t", "[--x]", "[a-]",
    ]

    private static func pattern(_ random: inout ScanRandom) -> String {
        var text = Int.random(in: 0..<6, using: &random) == 0 ? "!" : ""
        if Int.random(in: 0..<3, using: &random) == 0 {
            // Patterns that name something are rare among random ones.
            text += Int.random(in: 0..<3, using: &random) == 0 ? "/" : ""
            text += (0...Int.random(in: 0..<3, using: &random)).map { _ in random.pick(names) }
                .joined(separator: random.pick(["/", "/", "/**/", "*/"]))
        } else {
            for _ in 0...Int.random(in: 0..<5, using: &random) { text += random.pick(tokens) }
        }
        if Int.random(in: 0..<5, using: &random) == 0 { text += "/" }
        if Int.random(in: 0..<8, using: &random) == 0 { text += random.pick([" ", "\r", "  "]) }
        return text
    }

    private static func ignoreFile(_ random: inout ScanRandom) -> String {
        let lines = (0..<Int.random(in: 1..<9, using: &random)).map { _ in pattern(&random) }
        let start = Int.random(in: 0..<10, using: &random) == 0 ? "\u{feff}" : ""
        return start + lines.joined(separator: "\n") + random.pick(["", "\n", "\r\n"])
    }

    /// Fills a directory; all paths made, directories with a slash at the end.
    private static func fill(
        _ area: ScanArea, _ prefix: String, depth: Int, _ random: inout ScanRandom
    ) throws -> [String] {
        var paths: [String] = []
        var used: Set<String> = []
        for _ in 0..<Int.random(in: 2..<7, using: &random) {
            let name = random.pick(names)
            guard used.insert(name).inserted else { continue }
            if depth < 4, Int.random(in: 0..<2, using: &random) == 0 {
                try area.directory(prefix + name)
                paths.append(prefix + name + "/")
                paths += try fill(area, prefix + name + "/", depth: depth + 1, &random)
            } else {
                try area.write(prefix + name)
                paths.append(prefix + name)
            }
        }
        if depth == 0 || Int.random(in: 0..<3, using: &random) == 0 {
            try area.write(prefix + ".gitignore", ignoreFile(&random))
            paths.append(prefix + ".gitignore")
        }
        return paths
    }

    /// What git says: for each ignored path the rule, as `source:line`.
    private static func ignored(_ area: ScanArea, _ paths: [String]) throws -> [String: String] {
        let input = paths.map { $0.hasSuffix("/") ? String($0.dropLast()) : $0 }
        let output = try area.run(
            ["git", "check-ignore", "--no-index", "-z", "-v", "-n", "--stdin"],
            input: Data(input.joined(separator: "\0").utf8), allowed: [0, 1])
        let fields = output.split(separator: 0, omittingEmptySubsequences: false)
            .map { String(decoding: $0, as: UTF8.self) }
        try #require(fields.count == 4 * paths.count + 1)
        var rules: [String: String] = [:]
        for (index, path) in paths.enumerated() {
            let pattern = fields[4 * index + 2]
            if !fields[4 * index].isEmpty, !pattern.hasPrefix("!") {
                rules[path] = "\(fields[4 * index]):\(fields[4 * index + 1])"
            }
        }
        return rules
    }

    @Test(arguments: 0..<8)
    func `leaves out exactly what git ignores`(part: UInt64) throws {
        for round in 0..<25 {
            let seed = part * 1000 + UInt64(round)
            var random = ScanRandom(seed: seed)
            let area = try ScanArea()
            try area.run(["git", "init", "-q", "."])
            if Bool.random(using: &random) {
                try area.write(".git/info/exclude", Self.ignoreFile(&random))
            }
            let paths = try Self.fill(area, "", depth: 0, &random)
            let expected = try Self.ignored(area, paths)
            let scan = try HashedScan(area.path)
            var rules: [String: String] = [:]
            for entry in scan.tree.skipped {
                guard case .rule(let match) = entry.reason else { continue }
                let path = String(decoding: entry.path, as: UTF8.self)
                // git names the source in quotes where it has unusual bytes; we escape them.
                rules[path + (entry.isDirectory ? "/" : "")] =
                    "\(match.list.source):\(match.pattern.line)"
            }
            let kept = Set(scan.files)
            for path in paths {
                let isTop = !paths.contains {
                    $0.hasSuffix("/") && $0 != path && path.hasPrefix($0) && expected[$0] != nil
                }
                if !path.hasSuffix("/") {
                    let name = PathText.printable(path.utf8)
                    #expect(
                        kept.contains(name) == (expected[path] == nil),
                        "seed \(seed): '\(path)', git says \(expected[path] ?? "keep")")
                }
                guard isTop else { continue }
                #expect(
                    (rules[path] == nil) == (expected[path] == nil),
                    "seed \(seed): '\(path)' \(rules[path] ?? "-"), git \(expected[path] ?? "-")")
                if let rule = rules[path], let theirs = expected[path],
                    rule.utf8.allSatisfy({ $0 < 0x80 && $0 != 0x5c })
                {
                    #expect(rule == theirs, "seed \(seed): '\(path)'")
                }
            }
        }
    }

    @Test(arguments: [
        ("*a", 127, "*b", "a", 4000), ("**/a/", 127, "*b", "a/", 1500),
        ("**/", 127, "*b", "a/", 1500), ("**a", 127, "*b", "a", 4000),
        ("*a/", 126, "**/*b", "a/", 1500), ("[a]*", 128, "b", "a", 4000),
    ])
    func `a hostile pattern takes neither exponential time nor the stack`(
        part: String, count: Int, end: String, text: String, times: Int
    ) throws {
        let pattern = Array((String(repeating: part, count: count) + end).utf8)
        let text = Array((String(repeating: text, count: times) + "c").utf8)
        #expect(IgnorePattern(line: pattern, number: 1) != nil)
        let thread = try WorkerThread(name: "stack") {
            pattern.withUnsafeBufferPointer { pattern in
                text.withUnsafeBufferPointer {
                    #expect(!Wildmatch.matches(pattern, $0, isPath: false))
                    #expect(!Wildmatch.matches(pattern, $0, isPath: true))
                }
            }
        }
        try thread.join()
    }

    @Test func `a pattern of absurd length or with too many stars counts for nothing`() {
        #expect(IgnorePattern(line: Array(repeating: 0x61, count: 4096), number: 1) != nil)
        #expect(IgnorePattern(line: Array(repeating: 0x61, count: 4097), number: 1) == nil)
        let stars = Array(String(repeating: "*a", count: 129).utf8)
        #expect(IgnorePattern(line: stars, number: 1) == nil)
        #expect(IgnorePattern(line: stars.dropFirst(2), number: 1) != nil)
    }
}
