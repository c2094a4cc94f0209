import CASKubernetes
import CASTestSupport
import Testing

@Suite struct VariableExpansionTests {
    /// What kubelet makes of a text, written from the rule in the API's description of `command`: `$(NAME)` is the
    /// variable if there is one, `$$` is `$`; and as its code has it, a `$` before anything else stays, and the
    /// byte after it is taken for a character.
    private static func expand(_ text: String, _ variables: [String: String]) -> String {
        let bytes = Array(text.utf8)
        var output: [UInt8] = []
        var index = 0
        while index < bytes.count {
            guard bytes[index] == UInt8(ascii: "$"), index + 1 < bytes.count else {
                output.append(bytes[index])
                index += 1
                continue
            }
            let next = bytes[index + 1]
            switch next {
            case UInt8(ascii: "$"):
                output.append(next)
                index += 2
            case UInt8(ascii: "("):
                guard let end = bytes[(index + 2)...].firstIndex(of: UInt8(ascii: ")")) else {
                    output += Array("$(".utf8)
                    index += 2
                    continue
                }
                let name = String(decoding: bytes[(index + 2)..<end], as: UTF8.self)
                output += Array((variables[name] ?? "$(\(name))").utf8)
                index = end + 1
            default:
                output.append(UInt8(ascii: "$"))
                output += Array(String(UnicodeScalar(next)).utf8)
                index += 2
            }
        }
        return String(decoding: output, as: UTF8.self)
    }

    private static let variables = ["a": "WRONG", "HOME": "WRONG", "": "WRONG", "$": "WRONG"]

    @Test func `without the escape the words would not arrive`() {
        #expect(Self.expand("$(a) $$ $é", Self.variables) != "$(a) $$ $é")
        #expect(Self.expand("$(a)$(b)$", Self.variables) == "WRONG$(b)$")
    }

    @Test(arguments: [
        ("", ""), ("$", "$"), ("$HOME", "$HOME"), ("$(HOME)", "$$(HOME)"), ("$$", "$$$$"),
        ("$$(HOME)", "$$$$(HOME)"), ("a$", "a$"), ("cost: 5$ $1", "cost: 5$ $1"), ("$é", "$$é"),
        ("$(", "$$("), ("`date` \"$5\" \\n '${A}'", "`date` \"$5\" \\n '${A}'"),
    ])
    func `only what Kubernetes reads is escaped`(_ text: String, _ written: String) {
        #expect(VariableExpansion.escape(text) == written)
        #expect(Self.expand(written, Self.variables) == text)
    }

    @Test func `any text arrives as it is`() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        let alphabet: [Character] = ["$", "$", "(", ")", "a", "é", "😀", " ", "{", "\n", "\\"]
        for _ in 0..<20_000 {
            let count = Int.random(in: 0...12, using: &random)
            let text = String(
                (0..<count).map { _ in alphabet.randomElement(using: &random) ?? "a" })
            let written = VariableExpansion.escape(text)
            #expect(
                Self.expand(written, Self.variables) == text, "seed \(seed): \(text) -> \(written)")
        }
    }

    @Test func `scripts of ours hold nothing that Kubernetes reads`() {
        for script in [PythonScripts.enter, PythonScripts.bootstrap] {
            #expect(!script.contains("$"))
        }
    }
}
