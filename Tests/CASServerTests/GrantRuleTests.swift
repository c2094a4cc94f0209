import CASCore
import CASWire
import Testing

@testable import CASServer

/// Rules by which the claims of a token become rights.
@Suite struct GrantRuleTests {
    private func scope(_ rule: String, _ claims: [String: JSONValue]) throws -> String? {
        try GrantRule(rule).scope(claims)?.description
    }

    private static let pod: [String: JSONValue] = [
        "iss": .text("k8s"), "sub": .text("system:serviceaccount:ml:trainer"),
        "kubernetes.io": .object([
            "namespace": .text("ml"), "serviceaccount": .object(["name": .text("trainer")]),
        ]),
        "groups": .list([.text("a"), .text("ops"), .list([.text("nested")])]),
        "a/b": .text("slash"), "count": .integer(3), "flag": .boolean(true),
    ]

    @Test func `letters beyond ASCII do not turn into another identity's`() throws {
        let rule = "read,write users/{name}"
        #expect(try scope(rule, ["name": .text("Kim")]) == "read+write:users/kim")
        // The Kelvin sign is a k in lower case.
        #expect(try scope(rule, ["name": .text("\u{212A}im")]) == nil)
    }

    @Test(arguments: [
        ("read {kubernetes.io/namespace}", "read:ml"),
        ("read {kubernetes.io/namespace}/", "read:ml"),
        (
            "read,write runs/{kubernetes.io/namespace}/{kubernetes.io/serviceaccount/name}",
            "read+write:runs/ml/trainer"
        ),
        ("write x/{a~1b}", "write:x/slash"), ("read *", "read"),
        ("cache-write cache", "cache-write:cache"),
        ("read x groups=ops", "read:x"), ("read x groups=o*", "read:x"),
        ("read x groups=*", "read:x"),
        ("read x count=3", "read:x"), ("read x flag=true", "read:x"),
        ("read x sub=system:serviceaccount:ml:*", "read:x"),
        ("read x kubernetes.io/namespace=ml iss=k8s", "read:x"),
    ])
    func `a rule that fits gives its rights`(rule: String, scope wanted: String) throws {
        #expect(try scope(rule, Self.pod) == wanted)
    }

    @Test(arguments: [
        "read {missing}", "read {kubernetes.io}", "read {count}", "read x groups=nested",
        "read x groups=op", "read x missing=*", "read x iss=other", "read x kubernetes.io=*",
        "read x sub=system", "read {sub}",
    ])
    func `a rule that does not fit gives none`(rule: String) throws {
        #expect(try scope(rule, Self.pod) == nil)
    }

    @Test(arguments: [
        "", "/", "..", "a/..", "../b", "a//b", "/a", "a/", "a b", "a:b", "a@b", ".a", "a.", "-a",
        "a\u{0}", "ä", "a*", "*", "a\nb", String(repeating: "a", count: 300), "sha256:x",
    ])
    func `a value can not break out of the prefix`(value: String) throws {
        #expect(try scope("read team/{x}", ["x": .text(value)]) == nil)
        #expect(try scope("read {x}", ["x": .text(value)]) == nil)
        #expect(try scope("read team/{x}/cache", ["x": .text(value)]) == nil)
    }

    @Test func `values are in lower case, and only the last may have slashes`() throws {
        let claims: [String: JSONValue] = ["a": .text("Acme/Train"), "b": .text("Main")]
        #expect(try scope("read {a}", claims) == "read:acme/train")
        #expect(try scope("read {b}/{a}", claims) == "read:main/acme/train")
        // `x` and `y/z` would be the same name as `x/y` and `z`.
        #expect(try scope("read {a}/{b}", claims) == nil)
    }

    @Test(arguments: [
        "", "read", "reads x", "read, x", "read team-{x}", "read {x}y", "read {x}{y}", "read {x",
        "read {}", "read {a//b}", "read /x", "read a//b", "read X", "read x claim", "read x =y",
        "read x a=", "read x a=b*c", "read x/*", "read " + String(repeating: "x ", count: 40),
    ])
    func `what is no rule says how one is written`(text: String) throws {
        let error = #expect(throws: CASError.self) { try GrantRule(text) }
        #expect(error?.code == .invalidArgument)
        #expect(error?.hint?.contains("write for example") == true)
    }

    private func check(
        _ issuers: [String], _ grants: [String], audience: String = "cas"
    ) throws -> CASError? {
        var configuration = ServerConfiguration(storeDirectory: "/nowhere", threads: 4)
        configuration.audience = audience
        configuration.issuers = try issuers.map { try TrustedIssuer($0) }
        configuration.grants = try grants.map { try GrantRule($0) }
        do { try configuration.check() } catch { return error as? CASError }
        return nil
    }

    @Test func `issuers and rules have to belong together`() throws {
        let pods = "\(Claims.kubernetesIssuer)=/keys.json"
        let hub = "\(Claims.gitHubIssuer)=\(Claims.gitHubIssuer)/.well-known/jwks"
        let lab = "\(Claims.gitLabIssuer)=\(Claims.gitLabIssuer)/oauth/discovery/keys"
        let hubRule = "write {repository} iss=\(Claims.gitHubIssuer)"
        #expect(try check([pods], []) == nil)
        #expect(try check([hub], ["write {repository}"]) == nil)
        #expect(try check([pods, hub], [hubRule, "read x iss=\(Claims.kubernetesIssuer)"]) == nil)
        for (issuers, grants, text) in [
            ([hub], [], "may do nothing without a --grant"),
            ([lab], [], "may do nothing without a --grant"),
            ([pods, hub], [hubRule], "may do nothing without a --grant"),
            ([pods, "https://other.example=/keys.json"], [], "each needs a --grant"),
            ([pods, hub], ["read x"], "has to name its own"),
            ([pods, hub], ["read x iss=https*"], "has to name its own"),
            ([pods], ["read x iss=https://other.example"], "that --trust does not name"),
            ([pods, pods], [], "named twice"), ([], ["read x"], "--trust, which is missing"),
        ] as [([String], [String], String)] {
            let error = try check(issuers, grants)
            #expect(error?.message.contains(text) == true, "\(text): \(error?.message ?? "")")
        }
        #expect(
            try check([pods], [], audience: "")?.message.contains("--audience is empty") == true)
    }

    @Test(arguments: [
        "", "=", "x=", "=x", "https://x", "x=http://cas.example/keys", "x=ftp://cas.example/keys",
        "x=https://user@cas.example/keys",
    ])
    func `a trust that is none is refused`(text: String) throws {
        #expect(throws: CASError.self) { try TrustedIssuer(text) }
    }
}
