package import AsyncHTTPClient
import CASCore
import NIOCore
import Glibc
import NIOSSL

/// Whether a certificate was made for the server that was asked for (RFC 6125, RFC 2818).
///
/// NIOSSL also accepts a certificate for the address that a connection happens to lead to, so that
/// whoever owns a certificate for an address could stand in for every name that resolves to it. This
/// is asked in addition, before the first request: a name has to be among the certificate's names, and
/// an address among its addresses.
package enum ServerIdentity {
    /// What a certificate is for.
    enum Name: Equatable {
        case domain([UInt8])
        case address([UInt8])
    }

    /// Lets a client of a single host check whom each connection leads to before anything is sent on it; one
    /// to another is closed.
    package static func require(_ host: String, _ configuration: inout HTTPClient.Configuration) {
        configuration.http1_1ConnectionDebugInitializer = { channel in
            let checked = channel.nioSSL_peerCertificate().flatMapThrowing {
                try check($0, host: host)
            }
            checked.whenFailure { _ in
                // Later, so that the pool hears of the failure first.
                channel.eventLoop.execute { channel.close(promise: nil) }
            }
            return checked
        }
    }

    /// Throws if a certificate, which has been verified otherwise, is not for a host.
    static func check(_ certificate: NIOSSLCertificate?, host: String) throws {
        guard let certificate else {
            throw CASError(.failedPrecondition, "the server at \(host) shows no certificate")
        }
        var names: [Name] = []
        for name in certificate._subjectAlternativeNames() {
            switch name.nameType {
            case .dnsName: names.append(.domain(Array(name.contents)))
            case .ipAddress: names.append(.address(Array(name.contents)))
            default: continue
            }
        }
        // One that names nothing was compared by its common name, which is no address.
        guard !names.isEmpty, !covers(names, host: host) else { return }
        throw CASError(
            .failedPrecondition, otherName(host),
            hint: "use a name that the certificate has: "
                + names.map(text).joined(separator: ", "))
    }

    /// What is said of a certificate that is not for a host.
    static func otherName(_ host: String) -> String {
        "the certificate that answers at \(host) is for another name"
    }

    /// Whether one of these names stands for a host: a name, or an address without brackets.
    static func covers(_ names: [Name], host: String) -> Bool {
        if let address = addressBytes(host) { return names.contains(.address(address)) }
        let wanted = canonical(host.utf8)
        return names.contains { name in
            guard case .domain(let bytes) = name else { return false }
            let pattern = canonical(bytes)
            guard pattern.starts(with: "*.".utf8) else { return pattern == wanted }
            // A star is one label, the first.
            guard let dot = wanted.firstIndex(of: UInt8(ascii: ".")), dot > 0 else { return false }
            return wanted[dot...] == pattern[1...]
        }
    }

    private static func canonical(_ name: some Sequence<UInt8>) -> ArraySlice<UInt8> {
        let lower = name.map { byte in
            (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte | 0x20 : byte
        }
        return lower.last == UInt8(ascii: ".") ? lower.dropLast() : lower[...]
    }

    private static func addressBytes(_ host: String) -> [UInt8]? {
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: count)
            if inet_pton(family, host, &bytes) == 1 { return bytes }
        }
        return nil
    }

    private static func text(_ name: Name) -> String {
        switch name {
        case .domain(let bytes): String(decoding: bytes, as: UTF8.self)
        case .address(let bytes) where bytes.count == 4:
            bytes.map { "\($0)" }.joined(separator: ".")
        case .address(let bytes):
            "["
                + stride(from: 0, to: bytes.count - 1, by: 2).map {
                    String(UInt16(bytes[$0]) << 8 | UInt16(bytes[$0 + 1]), radix: 16)
                }.joined(separator: ":") + "]"
        }
    }
}
