import CASCore
import CASHTTP
import CASWire
import Synchronization

/// The short-lived tokens of this door: signed, not stored.
///
/// One says which token of cas stands behind it, or what an identity token allowed, or that nothing does,
/// and for which repositories it was issued. Whatever stands behind is looked up with each request, so that
/// it ends with it. The key is random and lives as long as the process: clients get a new token then,
/// as they do after the few minutes that one lasts.
final class BearerTokens: Sendable {
    /// What a bearer begins with.
    static let prefix = "casr."
    /// Scopes that one is issued for at most.
    static let maximumScopes = 32

    /// Who stands behind one.
    enum Owner: Hashable, Sendable {
        /// A token of cas.
        case token(Identifier)
        /// Somebody with an identity token.
        case identity([TokenScope], subject: String)
        /// Nobody.
        case anonymous
    }

    /// What one says.
    struct Content: Hashable, Sendable {
        var owner: Owner
        var grants: [RegistryScope]
        var expires: Int64
    }

    private let key: [UInt8]

    /// Tokens that are good within this process.
    init(key: [UInt8] = Identifier.random().bytes + Identifier.random().bytes) { self.key = key }

    /// The token that says this.
    func issue(_ content: Content) -> String {
        var lines = ["1", "\(content.expires)"]
        switch content.owner {
        case .token(let identifier): lines.append("token \(identifier)")
        case .identity(let scopes, let subject):
            let hexadecimal = Hexadecimal.encode(Array(subject.utf8))
            lines.append(
                (["identity", hexadecimal] + scopes.map(\.description)).joined(separator: " "))
        case .anonymous: lines.append("anonymous")
        }
        lines += content.grants.map(\.description)
        let payload = Array(lines.joined(separator: "\n").utf8)
        let code = MessageAuthentication.code(payload, key: key)
        return BearerTokens.prefix + Base64.encodeURL(payload) + "." + Base64.encodeURL(code.bytes)
    }

    /// What a token says; nil for one of somebody else, of another process, or that is over at `now`.
    func read(_ text: String, now: Int64) -> Content? {
        let parts = text.dropFirst(BearerTokens.prefix.count)
            .split(separator: ".", omittingEmptySubsequences: false)
        guard text.hasPrefix(BearerTokens.prefix), parts.count == 2,
            let payload = Base64.decode(parts[0]), let code = Base64.decode(parts[1]),
            // Codes of codes are compared: how long that takes says nothing about the code.
            MessageAuthentication.code(code, key: key)
                == MessageAuthentication.code(
                    MessageAuthentication.code(payload, key: key).bytes, key: key)
        else { return nil }
        let lines = String(decoding: payload, as: UTF8.self).split(separator: "\n")
        guard lines.count >= 3, lines[0] == "1", let expires = Int64(lines[1]), now < expires,
            let owner = BearerTokens.owner(
                lines[2].split(separator: " ", omittingEmptySubsequences: false))
        else { return nil }
        return Content(
            owner: owner, grants: lines.dropFirst(3).compactMap { RegistryScope($0) },
            expires: expires)
    }

    private static func owner(_ words: [Substring]) -> Owner? {
        switch words.first {
        case "anonymous": return .anonymous
        case "token" where words.count == 2:
            return Identifier(hexadecimal: words[1]).map { .token($0) }
        case "identity" where words.count >= 2:
            guard let subject = Hexadecimal.decode(words[1]) else { return nil }
            var scopes: [TokenScope] = []
            for word in words.dropFirst(2) {
                // Written by this process, so that one that can not be read says that all is wrong.
                guard let scope = try? TokenScope(String(word)) else { return nil }
                scopes.append(scope)
            }
            return .identity(scopes, subject: String(decoding: subject, as: UTF8.self))
        default: return nil
        }
    }
}
