package import AsyncHTTPClient

/// An HTTP proxy on the way to a server.
package struct ServerProxy: Hashable, Sendable {
    /// Its name or address, IPv6 without brackets.
    package var host: String
    /// Its port.
    package var port: UInt16
    /// Who it should be told asks; nil for nobody.
    package var user: String?
    /// The password of that user.
    package var password: String

    /// A proxy.
    package init(host: String, port: UInt16, user: String? = nil, password: String = "") {
        self.host = host
        self.port = port
        self.user = user
        self.password = password
    }

    /// The proxy as the HTTP client takes it.
    package var setting: HTTPClient.Configuration.Proxy {
        .server(
            host: host, port: Int(port),
            authorization: user.map { .basic(username: $0, password: password) })
    }
}
