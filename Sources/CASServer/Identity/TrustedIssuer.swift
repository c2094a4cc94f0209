package import CASClient
import CASCore
import FoundationEssentials

/// An issuer of identity tokens that a server trusts, and where its keys are.
package struct TrustedIssuer: Sendable {
    /// Where the keys are.
    package enum Source: Hashable, Sendable {
        /// A JWKS document, or the discovery document that names it.
        case url(String)
        /// A JWKS document on this machine.
        case file(String)
    }

    /// The `iss` of its tokens, exactly.
    package let issuer: String
    /// Where its keys are.
    package let source: Source
    /// The proxy on the way there; nil for none.
    package var proxy: ServerProxy?

    /// Parses `ISSUER=URL` or `ISSUER=FILE`; throws `invalidArgument`.
    package init(_ text: String) throws {
        guard let equals = text.firstIndex(of: "="), equals > text.startIndex,
            text.index(after: equals) < text.endIndex
        else {
            throw CASError(
                .invalidArgument, "'\(text)' names no issuer and its keys",
                hint: "write ISSUER=URL or ISSUER=FILE, for example "
                    + "https://token.actions.githubusercontent.com="
                    + "https://token.actions.githubusercontent.com/.well-known/jwks")
        }
        issuer = String(text[..<equals])
        let place = String(text[text.index(after: equals)...])
        guard place.contains("://") else {
            source = .file(place)
            return
        }
        source = .url(place)
        _ = try TrustedIssuer.host(of: place)
    }

    /// Host and port of an address that keys may come from; throws `invalidArgument` for another one.
    static func host(of address: String) throws -> (host: String, port: Int) {
        guard let url = URL(string: address), let host = url.host, !host.isEmpty,
            url.user == nil, url.scheme == "https" || url.scheme == "http"
        else {
            throw CASError(.invalidArgument, "'\(address)' is no address that keys could come from")
        }
        guard url.scheme == "https" || HostName.isLoopback(host) else {
            throw CASError(
                .invalidArgument,
                "keys from \(address) could be anybody's: without TLS they must be on this machine",
                hint: "name an https:// address, or a file")
        }
        return (host, url.port ?? (url.scheme == "https" ? 443 : 80))
    }

    /// Hosts of issuers whose tokens are about builds, not about namespaces of Kubernetes.
    private static let builders: Set<String> = [
        "token.actions.githubusercontent.com", "gitlab.com", "agent.buildkite.com",
        "oidc.circleci.com", "accounts.google.com", "app.terraform.io",
    ]

    /// Whether its tokens certainly have no claims of Kubernetes, so that the rule for these is of no use.
    var isBuilder: Bool {
        guard let host = URL(string: issuer)?.host else { return false }
        return TrustedIssuer.builders.contains(host)
            || host.hasSuffix(".actions.githubusercontent.com")
    }
}

/// The API server of the cluster that a server runs in, and how its pods ask it for keys.
package struct ClusterAccess: Sendable {
    /// Hosts that are that API server; the token goes to no other.
    package var hosts: Set<String> = [
        "kubernetes", "kubernetes.default", "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ]
    /// Its ports.
    package var ports: Set<Int> = [443]
    /// Where kubelet puts `token` and `ca.crt`.
    package var directory = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// The usual one, as the variables of a pod say.
    package init(host: String? = nil, port: String? = nil) {
        if let host { hosts.insert(host) }
        if let port = port.flatMap({ Int($0) }) { ports.insert(port) }
    }
}
