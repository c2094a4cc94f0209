import CASCore
import CASKubernetes
import Testing

@Suite struct ManifestYAMLTests {
    @Test(arguments: [
        "", "yes", "No", "on", "y", "null", "~", "1", "1e3", "0x1f", "1_000", "12:30:45", ".inf",
        "- a", "a: b",
        "a #b", "'x'", "\"", "\\n", " lead", "trail ", "two\nlines", "two\nlines\n", "\n", "a\r\nb",
        "tab\t", "ü",
        "*a", "&a", "!t", "%x", "@x", "`x`", "{a}", "[a]", "a,b", "$(date)", "team/p@sha256:00",
        "http://x.svc:8700", "x:", ":x", "<<", "=", "2026-11-26", "e\u{301}", "\u{7}",
        "#!/bin/sh\n# x\n",
    ])
    func `text comes back as text`(_ text: String) throws {
        let document: ManifestValue = [
            "a": .list([.text(text)]), "b": .object([.init(text, .text(text))]),
        ]
        let written = try ManifestYAML.write([document, ["x": 1]])
        #expect(try ManifestYAML.parse(written) == [document, ["x": 1]], "\(written)")
    }

    @Test func `order, numbers and empty collections stay`() throws {
        let document: ManifestValue = [
            "z": 1, "a": true, "e": .null, "l": [], "o": .object([]), "d": .decimal("1.5"),
        ]
        let written = try ManifestYAML.write([document])
        #expect(written == "z: 1\na: true\ne: null\nl: []\no: {}\nd: 1.5\n")
        #expect(try ManifestYAML.parse(written) == [document])
    }

    @Test(arguments: ["a: [\n", "a: 1\n---\nb: \"\n", "a: *x\n", "a: 1\na: 2\n", "a: b: c\n"])
    func `what is no YAML is refused, not cut off`(_ text: String) {
        #expect(throws: CASError.self) { try ManifestYAML.parse(text) }
    }

    @Test func `a bomb of aliases is refused`() throws {
        var text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<12 {
            let alias = "*a\(level - 1)"
            text +=
                "a\(level): &a\(level) [\(Array(repeating: alias, count: 10).joined(separator: ", "))]\n"
        }
        #expect(throws: (any Error).self) { try ManifestYAML.parse(text) }
    }
}
