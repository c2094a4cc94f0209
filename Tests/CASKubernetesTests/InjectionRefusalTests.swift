import CASCore
import CASKubernetes
import Testing

@Suite struct InjectionRefusalTests {
    private func pod(_ spec: String, container: String = "") -> String {
        "kind: Pod\nmetadata: {name: a}\nspec:\n\(spec)  containers:\n  - name: main\n    image: x\n\(container)"
    }

    @Test func `a manifest without pods is refused with the kinds that it has`() throws {
        let error = InjectionSupport.refusal(
            "kind: Service\n---\nkind: ConfigMap\n---\nkind: Service\n")
        #expect(error.message == "the manifest bears no pods; it holds Service, ConfigMap")
        for text in ["a: b\n", "[1, 2]\n", "x\n", "kind: [Pod]\n", "kind: Pod\nspec: 3\n"] {
            #expect(InjectionSupport.refusal(text).code == .notFound)
        }
        for text in ["", "\n", "# only a comment\n", "---\n---\n", "null\n"] {
            #expect(InjectionSupport.refusal(text).message == "the manifest is empty")
        }
    }

    @Test func `a TrainJob is refused with a hint, beside pods it is named`() throws {
        let job =
            "kind: TrainJob\nmetadata: {name: t}\nspec:\n  podTemplateOverrides:\n  - spec: {containers: [{name: node}]}\n"
        let error = InjectionSupport.refusal(job)
        #expect(error.hint?.contains("cas k8s runtime") == true, "\(error)")
        let both = job + "---\n" + pod("")
        let result = try Injection.apply(Array(both.utf8), .init(InjectionSupport.delivery()))
        #expect(String(decoding: result.text, as: UTF8.self).hasPrefix(job))
        #expect(result.notes.count == 2 && result.notes[1].hasPrefix("TrainJob/t bears no pods"))
        #expect(result.notes[0] == "line 7: Pod/a: main gets it")
    }

    @Test func `names that are taken are refused by line`() throws {
        let cases: [(String, Int, String)] = [
            (pod("  volumes:\n  - name: cas-code\n    emptyDir: {}\n"), 5, "volume 'cas-code'"),
            (pod("  volumes:\n  - {name: cas-token, emptyDir: {}}\n"), 5, "volume 'cas-token'"),
            (
                pod("  initContainers:\n  - name: cas-fetch\n    image: y\n"), 5,
                "init container 'cas-fetch'"
            ),
            (
                pod(
                    "",
                    container:
                        "    volumeMounts:\n    - {name: z, mountPath: /z}\n    - {name: y, mountPath: /cas/}\n"
                ), 9, "mounted at '/cas'"
            ),
            (
                pod(
                    "", container: "    volumeMounts:\n    - name: y\n      mountPath: /cas/code\n"),
                8, "mounted at '/cas/code'"
            ),
            (pod("", container: "    volumeMounts: {}\n"), 7, "a list is expected"),
            (pod("").replacing("{name: a}", with: "[x]"), 2, "an object is expected"),
            (pod("  volumes: *x\n"), 0, "undefined alias"),
            (pod("") + "  - image: y\n", 7, "a container without a name"),
        ]
        for (text, line, message) in cases {
            let error = InjectionSupport.refusal(text)
            #expect(error.message.contains(message), "\(error)\n\(text)")
            if line > 0 { #expect(error.message.hasPrefix("line \(line): "), "\(error)\n\(text)") }
        }
    }

    @Test func `a container that is not there is refused with those that are`() throws {
        let error = InjectionSupport.refusal(pod(""), container: "other")
        #expect(error.message.contains("'other'") && error.hint == "its containers are: main")
    }

    @Test func `what is no YAML is refused by line`() throws {
        for (text, line) in [
            ("kind: Pod\nspec: [\n", 3), ("kind: Pod\n a: b\n", 2), ("a: b\na: c\n", 1),
            ("kind: Pod\n\tspec: x\n", 2), ("kind: \"Pod\n", 2),
        ] {
            let error = InjectionSupport.refusal(text)
            #expect(error.message.contains("line \(line)"), "\(error)")
        }
        #expect(throws: CASError.self) {
            try Injection.apply([0x61, 0xff], .init(InjectionSupport.delivery()))
        }
    }

    @Test func `complex keys are refused by line`() throws {
        let error = InjectionSupport.refusal(
            pod("").replacing("  containers:", with: "  ? containers\n  :"))
        #expect(error.message.hasPrefix("line 4: "), "\(error)")
        #expect(
            InjectionSupport.refusal("kind: Pod\n? [a, b]\n: c\n").message.hasPrefix("line 2: "))
    }

    @Test func `bombs and great depth are refused`() throws {
        var bomb = "kind: Pod\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1..<12 {
            let aliases = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            bomb += "a\(level): &a\(level) [\(aliases)]\n"
        }
        #expect(InjectionSupport.refusal(bomb).code == .resourceExhausted)
        let deep =
            "kind: Pod\nx: " + String(repeating: "[", count: 300)
            + String(repeating: "]", count: 300)
        #expect(InjectionSupport.refusal(deep).code == .resourceExhausted)
        let many = String(repeating: "---\na\n", count: 10_001)
        #expect(InjectionSupport.refusal(many).code == .resourceExhausted)
        let large = "#" + String(repeating: "x", count: Injection.maximumBytes)
        #expect(InjectionSupport.refusal(large).code == .resourceExhausted)
    }
}
