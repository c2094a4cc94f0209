import CASCore

/// Scheme, host and port of what answers HTTP, and nothing else of its address.
package struct WebOrigin: Hashable, Sendable, CustomStringConvertible {
    /// Whether it speaks TLS.
    package let isSecure: Bool
    /// Its name in lower case, or its address; IPv6 without brackets.
    package let host: String
    /// Its port.
    package let port: UInt16

    /// An origin from its parts.
    package init(isSecure: Bool, host: String, port: UInt16) {
        self.isSecure = isSecure
        self.host = host.lowercased()
        self.port = port
    }

    /// `HOST[:PORT]` with a scheme that is known; throws `invalidArgument`.
    package init(authority: some StringProtocol, isSecure: Bool) throws {
        var name = Substring(authority)
        var port: UInt16 = isSecure ? 443 : 80
        if let colon = name.lastIndex(of: ":"), name.lastIndex(of: "]").map({ $0 < colon }) ?? true
        {
            guard let number = UInt16(name[name.index(after: colon)...]), number > 0 else {
                throw WebOrigin.bad(authority)
            }
            port = number
            name = name[..<colon]
        }
        if name.first == "[", name.last == "]" {
            name = name.dropFirst().dropLast()
            guard name.utf8.allSatisfy(WebOrigin.isAddressByte) else {
                throw WebOrigin.bad(authority)
            }
        } else {
            guard name.utf8.allSatisfy(WebOrigin.isNameByte) else { throw WebOrigin.bad(authority) }
        }
        guard !name.isEmpty else { throw WebOrigin.bad(authority) }
        self.init(isSecure: isSecure, host: String(name), port: port)
    }

    private static func bad(_ text: some StringProtocol) -> CASError {
        CASError(
            .invalidArgument, "'\(text)' is no host", hint: "write HOST, HOST:PORT or [IPV6]:PORT")
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
            UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private static func isAddressByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "f"), UInt8(ascii: "A")...UInt8(ascii: "F"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: ":"), UInt8(ascii: "."):
            true
        default: false
        }
    }

    /// Whether what is sent to it stays on this machine.
    package var isLoopback: Bool { WebOrigin.isLoopback(host) }

    /// Whether a host, without a port, is this machine by its very name: `127.0.0.1.example.org` may be anywhere.
    package static func isLoopback(_ host: String) -> Bool {
        if ["localhost", "::1", "[::1]"].contains(host) { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }

    /// The host as it stands in addresses, with its port where that is not the scheme's.
    package var authority: String {
        let name = host.contains(":") ? "[\(host)]" : host
        return port == (isSecure ? 443 : 80) ? name : "\(name):\(port)"
    }

    /// `https://HOST[:PORT]`.
    package var description: String { (isSecure ? "https://" : "http://") + authority }
}

/// An address of HTTP: where to ask, and for what.
package struct WebAddress: Hashable, Sendable, CustomStringConvertible {
    /// Where to ask.
    package var origin: WebOrigin
    /// Path and query, from the first slash on.
    package var path: String

    /// An address from its parts.
    package init(origin: WebOrigin, path: String) {
        self.origin = origin
        self.path = path
    }

    /// Reads an address that an answer holds (`Location`, `realm`), which may be relative to `base`.
    ///
    /// Throws `invalidArgument` for what is no address of HTTP.
    package init(_ text: String, relativeTo base: WebAddress? = nil) throws {
        func bad() -> CASError {
            CASError(.invalidArgument, "'\(text)' is no address of HTTP")
        }
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { throw bad() }
        let whole = text.prefix { $0 != "#" }
        guard let scheme = whole.firstRange(of: "://"), !whole.hasPrefix("/"),
            !whole.hasPrefix("?")
        else {
            guard let base else { throw bad() }
            origin = base.origin
            if whole.hasPrefix("//") {
                self = try WebAddress((base.origin.isSecure ? "https:" : "http:") + whole)
            } else if whole.hasPrefix("/") {
                path = String(whole)
            } else {
                let above = base.path.prefix { $0 != "?" }
                let folder = above.lastIndex(of: "/").map { above[...$0] } ?? "/"
                path = String((whole.hasPrefix("?") ? above : folder) + whole)
            }
            return
        }
        let isSecure: Bool
        switch whole[..<scheme.lowerBound].lowercased() {
        case "https": isSecure = true
        case "http": isSecure = false
        default: throw bad()
        }
        let rest = whole[scheme.upperBound...]
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        origin = try WebOrigin(authority: authority, isSecure: isSecure)
        let path = rest[authority.endIndex...]
        self.path = path.hasPrefix("/") ? String(path) : "/" + path
    }

    /// The address with one more member of its query, whose parts are escaped.
    package func adding(query name: String, _ value: String) -> WebAddress {
        let separator = path.contains("?") ? "&" : "?"
        return WebAddress(
            origin: origin,
            path: path + separator + WebAddress.escape(name) + "=" + WebAddress.escape(value))
    }

    /// Percent encoding (RFC 3986, 2.3) of a member of a query.
    package static func escape(_ text: String) -> String {
        var output = ""
        for byte in text.utf8 {
            let scalar = Unicode.Scalar(byte)
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9", "-", ".", "_", "~":
                output.unicodeScalars.append(scalar)
            default: output += "%" + Hexadecimal.encode([byte]).uppercased()
            }
        }
        return output
    }

    /// The address in full.
    package var description: String { "\(origin)\(path)" }
}
