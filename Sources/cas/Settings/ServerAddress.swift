import CASClient
import CASCore

/// The address of a server, taken apart as far as settings need it.
struct ServerAddress: Hashable, Sendable {
    let isSecure: Bool
    /// Lower-case host name or address; IPv6 in brackets.
    let host: String
    let port: UInt16
    /// Below which path the server answers; empty, or with a slash in front and none behind.
    let path: String

    /// Parses `http://HOST[:PORT][/PATH]` and `https://…`; throws `invalidArgument`.
    init(_ text: String) throws {
        func fail(_ what: String) -> CASError {
            CASError(
                .invalidArgument, "'\(text)' is not a server's address: \(what)",
                hint: "write http://127.0.0.1:8700 or https://cas.example.com")
        }
        var rest = Substring(text)
        if rest.hasPrefix("https://") {
            isSecure = true
            rest = rest.dropFirst(8)
        } else if rest.hasPrefix("http://") {
            isSecure = false
            rest = rest.dropFirst(7)
        } else {
            throw fail("it starts with neither http:// nor https://")
        }
        let authority = rest.prefix { $0 != "/" }
        var path = rest.dropFirst(authority.count)
        while path.last == "/" { path.removeLast() }
        let isPlain = path.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !"?#\\\"".utf8.contains($0) }
        guard isPlain else { throw fail("its path has characters that do not belong there") }
        self.path = String(path)
        (host, port) = try ServerAddress.split(
            authority, defaultPort: isSecure ? 443 : 80, fail: fail)
    }

    /// The address of a host that stands in a reference: TLS, but for this machine.
    init(host text: String) throws {
        let name = text.prefix { $0 != ":" }
        let isHere = WebOrigin.isLoopback(String(name)) || text.hasPrefix("[::1]")
        try self.init((isHere ? "http://" : "https://") + text)
    }

    private static func split(
        _ authority: Substring, defaultPort: UInt16, fail: (String) -> CASError
    ) throws -> (String, UInt16) {
        guard !authority.contains("@") else { throw fail("it must not hold a user or password") }
        var name = authority
        var port = defaultPort
        let bracket = authority.lastIndex(of: "]")
        if let colon = authority.lastIndex(of: ":"), bracket.map({ $0 < colon }) ?? true {
            guard let number = UInt16(authority[authority.index(after: colon)...]), number > 0
            else { throw fail("its port is no number from 1 to 65535") }
            port = number
            name = authority[..<colon]
        }
        let isName = name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
                UInt8(ascii: "_"):
                true
            case UInt8(ascii: "["), UInt8(ascii: "]"), UInt8(ascii: ":"): bracket != nil
            default: false
            }
        }
        guard !name.isEmpty, isName else { throw fail("its host is not a name or address") }
        return (name.lowercased(), port)
    }

    /// Host and port, under which tokens are kept.
    var authority: String { "\(host):\(port)" }

    /// The address in full.
    var url: String {
        let isDefault = port == (isSecure ? 443 : 80)
        return (isSecure ? "https://" : "http://") + host + (isDefault ? "" : ":\(port)") + path
    }

    /// Whether traffic to it stays on this machine.
    var isLoopback: Bool { WebOrigin.isLoopback(host) }
}
