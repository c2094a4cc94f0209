import CASCore
import CASWire

/// What tokens of an issuer may do: `VERB[,VERB] PREFIX [CLAIM=VALUE ...]`.
///
/// PREFIX is the beginning of a name in whole components, or `*` for all names; a component may be
/// `{CLAIM}`, in whose place the claim's value stands in lower case. CLAIM is a name, or names of nested
/// members joined by `/`: a JSON pointer (RFC 6901) without its first slash, `~1` for a slash in a name and
/// `~0` for a tilde. VALUE is compared as it is; with `*` at its end as a beginning. Of a list one element has
/// to match. A claim that is not there matches nothing.
package struct GrantRule: Hashable, Sendable {
    private static let maximumConditions = 16
    static let issuerClaim = "iss"

    private enum Part: Hashable {
        case component(String)
        case claim([String])
    }

    private struct Condition: Hashable {
        let claim: [String]
        let value: String
        let isPrefix: Bool
    }

    private let verbs: Set<TokenVerb>
    private let prefix: [Part]
    private let conditions: [Condition]

    /// Parses a rule; throws `invalidArgument`.
    package init(_ text: String) throws {
        let words = text.split(separator: " ", omittingEmptySubsequences: true).map(String.init)
        func fail(_ what: String) -> CASError {
            CASError(
                .invalidArgument, "'\(text)' is no rule: \(what)",
                hint: "write for example 'read {kubernetes.io/namespace}' or "
                    + "'read,write ci/{repository} ref=refs/heads/main'")
        }
        guard words.count >= 2 else { throw fail("it lacks verbs or a prefix of names") }
        var verbs: Set<TokenVerb> = []
        for word in words[0].split(separator: ",", omittingEmptySubsequences: false) {
            guard let verb = TokenVerb(rawValue: String(word)) else {
                let known = TokenVerb.allCases.map(\.rawValue).joined(separator: ", ")
                throw fail("'\(word)' is not a right; the rights are \(known)")
            }
            verbs.insert(verb)
        }
        self.verbs = verbs
        prefix = try GrantRule.prefix(words[1], fail)
        guard words.count - 2 <= GrantRule.maximumConditions else {
            throw fail("it has more than \(GrantRule.maximumConditions) conditions")
        }
        conditions = try words.dropFirst(2).map { try GrantRule.condition($0, fail) }
    }

    private static func prefix(_ text: String, _ fail: (String) -> CASError) throws -> [Part] {
        if text == "*" { return [] }
        var rest = text[...]
        if rest.last == "/" { rest.removeLast() }
        var parts: [Part] = []
        // A claim's name may hold slashes: placeholders are cut out before components are.
        while !rest.isEmpty {
            if rest.first == "{" {
                guard let end = rest.firstIndex(of: "}") else { throw fail("a '{' is not closed") }
                parts.append(
                    .claim(try claim(rest[rest.index(after: rest.startIndex)..<end], fail)))
                rest = rest[rest.index(after: end)...]
            } else {
                let component = rest.prefix { $0 != "/" }
                guard RefName.isName(String(component)) else {
                    throw fail("'\(component)' is no component of a name; {CLAIM} is a whole one")
                }
                parts.append(.component(String(component)))
                rest = rest.dropFirst(component.count)
            }
            guard let next = rest.first else { break }
            guard next == "/" else { throw fail("{CLAIM} has to be a whole component") }
            rest = rest.dropFirst()
            guard !rest.isEmpty else { throw fail("its prefix has an empty component") }
        }
        guard !parts.isEmpty else { throw fail("its prefix is empty; all names are '*'") }
        return parts
    }

    private static func condition(
        _ text: String, _ fail: (String) -> CASError
    ) throws -> Condition {
        guard let equals = text.firstIndex(of: "=") else {
            throw fail("'\(text)' is no condition; write CLAIM=VALUE")
        }
        var value = text[text.index(after: equals)...]
        let isPrefix = value.last == "*"
        if isPrefix { value.removeLast() }
        guard !value.contains("*") else { throw fail("'*' may stand at the end of a value only") }
        guard isPrefix || !value.isEmpty else { throw fail("'\(text)' has no value") }
        return Condition(
            claim: try claim(text[..<equals], fail), value: String(value), isPrefix: isPrefix)
    }

    private static func claim(
        _ text: Substring, _ fail: (String) -> CASError
    ) throws -> [String] {
        let names = text.split(separator: "/", omittingEmptySubsequences: false).map {
            String($0).replacing("~1", with: "/").replacing("~0", with: "~")
        }
        guard !text.isEmpty, !names.contains("") else { throw fail("'\(text)' is no claim") }
        return names
    }

    // MARK: - Issuers

    /// Whether the rule says by itself that it is for this issuer and no other.
    func names(issuer: String) -> Bool {
        conditions.contains {
            $0.claim == [GrantRule.issuerClaim] && !$0.isPrefix && $0.value == issuer
        }
    }

    /// Whether it is for an issuer: it names that one, or none.
    func isFor(issuer: String) -> Bool {
        names(issuer: issuer)
            || !conditions.contains { $0.claim == [GrantRule.issuerClaim] }
    }

    /// What tokens may do where no rule is given: pods read the names of their namespace.
    static var kubernetes: GrantRule {
        get throws { try GrantRule("read {kubernetes.io/namespace}") }
    }

    // MARK: - Tokens

    /// What a token with these claims may do by this rule; nil for nothing.
    func scope(_ claims: [String: JSONValue]) -> TokenScope? {
        let isMet = conditions.allSatisfy { condition in
            (GrantRule.value(condition.claim, claims)?.comparable ?? []).contains {
                condition.isPrefix ? $0.hasPrefix(condition.value) : $0 == condition.value
            }
        }
        guard isMet else { return nil }
        guard !prefix.isEmpty else { return TokenScope(verbs: verbs) }
        let last = prefix.lastIndex {
            if case .claim = $0 { return true }
            return false
        }
        var components: [String] = []
        for (index, part) in prefix.enumerated() {
            switch part {
            case .component(let text): components.append(text)
            case .claim(let path):
                // Names are in lower case, as the owners and repositories of GitHub mean nothing else by case.
                // Only those of ASCII: others have letters beyond it that turn into letters of it (U+212A).
                guard let text = GrantRule.value(path, claims)?.text,
                    text.utf8.allSatisfy({ $0 < 0x80 }), case let value = text.lowercased(),
                    RefName.isName(value),
                    // Two values could otherwise be put together to what another token's are.
                    index == last || !value.contains("/")
                else { return nil }
                components.append(value)
            }
        }
        let name = components.joined(separator: "/")
        guard RefName.isName(name) else { return nil }
        return TokenScope(verbs: verbs, prefix: name)
    }

    private static func value(
        _ path: [String], _ claims: [String: JSONValue]
    ) -> JSONValue? {
        var value: JSONValue? = .object(claims)
        for name in path {
            guard case .object(let members) = value else { return nil }
            value = members[name]
        }
        return value
    }
}
