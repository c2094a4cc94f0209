import CASCore

/// The proxy that traffic to a server goes through.
struct ProxyAddress: Hashable, Sendable {
    let host: String
    let port: UInt16

    /// `host:port`.
    var text: String { "\(host):\(port)" }

    /// The proxy for a server: HTTPS_PROXY for TLS only (HTTP_PROXY is not read: a CGI request may set
    /// it), unless NO_PROXY names the server or it is this machine.
    static func choose(
        for address: ServerAddress, _ environment: EnvironmentVariables
    ) -> Setting<ProxyAddress>? {
        guard address.isSecure, !address.isLoopback else { return nil }
        let variables = ["HTTPS_PROXY", "https_proxy"]
        guard let variable = variables.first(where: { environment[$0] != nil }),
            let text = environment[variable], let proxy = ProxyAddress(text)
        else { return nil }
        let exceptions = environment["NO_PROXY"] ?? environment["no_proxy"] ?? ""
        guard !isExcepted(address, exceptions) else { return nil }
        return Setting(proxy, .environment(variable))
    }

    /// `http://host:port`, or `host:port`.
    private init?(_ text: String) {
        let url = text.contains("://") ? text : "http://\(text)"
        guard let address = try? ServerAddress(url) else { return nil }
        host = address.host
        port = address.port
    }

    /// As curl reads it: `*`, names and their subdomains, with or without a leading dot or a port.
    private static func isExcepted(_ address: ServerAddress, _ list: String) -> Bool {
        list.lowercased().split { $0 == "," || $0 == " " }.contains { entry in
            if entry == "*" { return true }
            var name = entry
            if name.first == "." { name.removeFirst() }
            if name == address.host || name == address.authority { return true }
            return address.host.hasSuffix("." + name)
        }
    }
}
