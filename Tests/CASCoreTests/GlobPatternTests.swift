import CASCore
import CASTestSupport
import Testing

@Suite struct GlobPatternTests {
    private func matches(_ pattern: String, _ name: String) throws -> Bool {
        try GlobPattern(names: pattern).matches(name)
    }

    @Test func `one star stays within a component and two do not`() throws {
        #expect(try matches("team/*", "team/project"))
        #expect(try !matches("team/*", "team/project/ci"))
        #expect(try !matches("team/*", "team"))
        #expect(try !matches("team/*", "teams/project"))
        #expect(try matches("team/**", "team/project/ci"))
        #expect(try matches("**", "anything/at/all"))
        #expect(try matches("*", "anything"))
        #expect(try !matches("*", "any/thing"))
        #expect(try matches("**/ci", "team/project/ci"))
        #expect(try !matches("**/ci", "ci"))
        #expect(try matches("team/*/ci-*", "team/a/ci-1"))
        #expect(try matches("team/p*t", "team/pt"))
        #expect(try matches("team/project", "team/project"))
    }

    @Test func `patterns of tags match whole tags`() throws {
        #expect(try GlobPattern(tags: "v*").matches("v1.2"))
        #expect(try !GlobPattern(tags: "v*").matches("nv1"))
        #expect(try GlobPattern(tags: "*-RC*").matches("v1-RC2"))
        #expect(try !GlobPattern(tags: "stable").matches("stable2"))
    }

    @Test(arguments: ["", "/", "team//x", "team/", "Team/*", "team/***", "a b", "team:v1", "té"])
    func `what is no pattern of names is refused`(_ text: String) {
        let error = #expect(throws: CASError.self) { try GlobPattern(names: text) }
        #expect(error?.code == .invalidArgument)
    }

    @Test(arguments: ["", "a/b", "v?", "***", String(repeating: "a", count: 129)])
    func `what is no pattern of tags is refused`(_ text: String) {
        let error = #expect(throws: CASError.self) { try GlobPattern(tags: text) }
        #expect(error?.code == .invalidArgument)
    }

    @Test func `every match begins with the literal prefix`() throws {
        #expect(try GlobPattern(names: "team/p*/x").literalPrefix == "team/p")
        #expect(try GlobPattern(names: "**").literalPrefix.isEmpty)
    }

    /// The definition, word for word, and slow.
    private func model(_ pattern: Substring, _ text: Substring) -> Bool {
        if pattern.hasPrefix("**") {
            let rest = pattern.dropFirst(2)
            return model(rest, text) || (!text.isEmpty && model(pattern, text.dropFirst()))
        }
        guard let first = pattern.first else { return text.isEmpty }
        if first == "*" {
            return model(pattern.dropFirst(), text)
                || (text.first.map { $0 != "/" } ?? false && model(pattern, text.dropFirst()))
        }
        return text.first == first && model(pattern.dropFirst(), text.dropFirst())
    }

    @Test(arguments: [UInt64(1), 2, 3, 4])
    func `matching is what the definition says`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var found = 0
        for _ in 0..<3_000 {
            let pieces = ["a", "b", "a", "/", "*", "**", "*a"]
            let pattern = (0..<Int.random(in: 1...7, using: &random)).map { _ in
                pieces.randomElement(using: &random) ?? "a"
            }.joined()
            let text = (0..<Int.random(in: 1...8, using: &random)).map { _ in
                ["a", "b", "/"].randomElement(using: &random) ?? "a"
            }.joined()
            guard let glob = try? GlobPattern(names: pattern) else { continue }
            let expected = model(pattern[...], text[...])
            #expect(glob.matches(text) == expected, "seed \(seed): '\(pattern)' on '\(text)'")
            found += expected ? 1 : 0
        }
        #expect(found > 50, "seed \(seed): hardly anything matched")
    }

    @Test func `a pattern of many stars takes no time`() throws {
        let pattern = try GlobPattern(
            names: String(repeating: "a*", count: 100) + "b")
        #expect(!pattern.matches(String(repeating: "a", count: 255)))
    }

    @Test func `durations are written in the largest unit that is exact`() {
        #expect(DurationText.text(0) == "0s")
        #expect(DurationText.text(45) == "45s")
        #expect(DurationText.text(5400) == "90m")
        #expect(DurationText.text(36 * 3600) == "36h")
        #expect(DurationText.text(30 * 86_400) == "30d")
    }
}
