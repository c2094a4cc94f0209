import CASClient
import CASCore

/// Where a registry answers, and how it names things there.
package struct RegistryLocation: Hashable, Sendable {
    /// Docker Hub's own registry, which has names of its own for everything.
    private static let hubNames: Set = ["docker.io", "index.docker.io", "registry-1.docker.io"]

    /// The host as it is written in references.
    package let host: String
    /// What answers.
    let origin: WebOrigin
    /// Whether it is Docker Hub.
    let isHub: Bool

    /// The registry at a host: TLS, but on this machine or where `isPlain` says otherwise.
    package init(host: String, isPlain: Bool = false) throws {
        self.host = host
        isHub = RegistryLocation.hubNames.contains(host.lowercased())
        let authority = isHub ? "registry-1.docker.io" : host
        let plain = try WebOrigin(authority: authority, isSecure: false)
        origin =
            isPlain || plain.isLoopback
            ? plain : try WebOrigin(authority: authority, isSecure: true)
    }

    /// A registry whose address is known in full: `http://HOST:PORT`.
    package init(address: String) throws {
        origin = try WebAddress(address).origin
        host = origin.authority
        isHub = false
    }

    /// A repository's name as the registry has it.
    func repository(_ name: String) -> String {
        isHub && !name.contains("/") ? "library/\(name)" : name
    }

    /// Where something is asked for.
    func address(_ path: String) -> WebAddress { WebAddress(origin: origin, path: "/v2/" + path) }
}
