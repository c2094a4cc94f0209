import CASCore

/// The proxy that traffic to a server goes through.
struct ProxyAddress: Hashable, Sendable {
    let host: String
    let port: UInt16
    /// Who asks; nil where nobody is named.
    let user: String?
    let password: String

    /// `host:port`, with a user's name in front; never the password.
    var text: String {
        (user.map { "\($0):***@" } ?? "") + "\(host):\(port)"
    }

    /// The proxy for a server: HTTPS_PROXY for TLS only (HTTP_PROXY is not read: a CGI request may set
    /// it), unless NO_PROXY names the server or it is this machine.
    static func choose(
        for address: ServerAddress, _ environment: EnvironmentVariables
    ) throws -> Setting<ProxyAddress>? {
        guard address.isSecure, !address.isLoopback else { return nil }
        let variables = ["HTTPS_PROXY", "https_proxy"]
        guard let variable = variables.first(where: { environment[$0] != nil }),
            let text = environment[variable]
        else { return nil }
        let exceptions = environment["NO_PROXY"] ?? environment["no_proxy"] ?? ""
        guard !isExcepted(address, exceptions) else { return nil }
        return Setting(try ProxyAddress(text, variable), .environment(variable))
    }

    /// `[http://][user:password@]host:port`; user and password with escapes as in every URL.
    private init(_ text: String, _ variable: String) throws {
        // The text may hold a password: the message does not repeat it.
        func fail(_ what: String) -> CASError {
            CASError(
                .invalidArgument, "\(variable) is no proxy that cas can use: \(what)",
                hint: "\(variable)=http://[USER:PASSWORD@]HOST:PORT, or name the server in NO_PROXY"
            )
        }
        var rest = text[...]
        if let end = text.firstRange(of: "://") {
            let scheme = text[..<end.lowerBound].lowercased()
            guard scheme == "http" else { throw fail("its scheme is '\(scheme)', not http") }
            rest = text[end.upperBound...]
        }
        var parts: [String] = []
        if let at = rest.lastIndex(of: "@") {
            parts = try rest[..<at].split(
                separator: ":", maxSplits: 1, omittingEmptySubsequences: false
            ).map {
                guard let plain = ProxyAddress.unescaped($0) else {
                    throw fail("a '%' in its user or password begins no escape (write %25)")
                }
                return plain
            }
            rest = rest[rest.index(after: at)...]
        }
        let address: ServerAddress
        do { address = try ServerAddress("http://\(rest)") } catch _ as CASError {
            throw fail("it names no HOST:PORT")
        }
        guard address.path.isEmpty else { throw fail("it has a path") }
        host = address.host
        port = address.port
        user = parts.first
        password = parts.count > 1 ? parts[1] : ""
    }

    /// A part of a URL without its escapes; nil if one is broken or the result is no text.
    private static func unescaped(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var rest = Substring(text).utf8
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            let digits = Substring(rest.prefix(2))
            guard digits.utf8.count == 2, digits.allSatisfy(\.isHexDigit),
                let value = UInt8(digits, radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
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
