import CASCore
import CASOCI
import HTTPTypes
import Hummingbird

/// How a request without sufficient credentials is told where to get them.
struct Challenge: Sendable {
    /// The absolute address of the token endpoint, as this client reaches it.
    let realm: String
    /// The host as the client calls it.
    let service: String

    /// The address that a request came to: its own host, and the scheme of the connection or, where a proxy
    /// encrypts, of what the proxy says; this only tells the client its own address back.
    init(_ request: Request, isTLS: Bool, publicURL: String) {
        let host = request.head.authority ?? ""
        let known = Challenge.isHost(host) ? host : "localhost"
        var scheme = isTLS ? "https" : "http"
        if let forwarded = HTTPField.Name("X-Forwarded-Proto").flatMap({ request.headers[$0] }) {
            let first = forwarded.prefix { $0 != "," }.lowercased()
            if first == "https" || first == "http" { scheme = first }
        } else if publicURL == "https://\(known)" || publicURL.hasPrefix("https://\(known)/") {
            scheme = "https"
        }
        service = known
        realm = "\(scheme)://\(known)/v2/token"
    }

    /// Whether a text may stand in a header within quotes, and in an address as its host.
    private static func isHost(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 255
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."), UInt8(ascii: "-"),
                    UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "["), UInt8(ascii: "]"):
                    true
                default: false
                }
            }
    }

    /// 401, with what is wanted.
    func refusal(
        _ message: String, _ scopes: [RegistryScope], hint: String? = nil, isWrong: Bool = false,
        isScopeMissing: Bool = false
    ) -> Refusal {
        var text = "Bearer realm=\"\(realm)\",service=\"\(service)\""
        if !scopes.isEmpty {
            text += ",scope=\"\(scopes.map(\.description).joined(separator: " "))\""
        }
        if isScopeMissing { text += ",error=\"insufficient_scope\"" }
        if isWrong { text += ",error=\"invalid_token\"" }
        var refusal = Refusal(.unauthorized, message, detail: hint)
        refusal.headers[.wwwAuthenticate] = text
        return refusal
    }

    /// 401 of the token endpoint itself, which knows one way to say who somebody is.
    func basicRefusal(_ message: String, hint: String?) -> Refusal {
        var refusal = Refusal(.unauthorized, message, detail: hint)
        refusal.headers[.wwwAuthenticate] = "Basic realm=\"\(service)\""
        return refusal
    }
}
