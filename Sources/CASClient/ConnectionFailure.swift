import AsyncHTTPClient
import CASCore
import Glibc
import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// What a failed connection means, in words for whoever typed the address.
///
/// The libraries below describe their own state; none of their text reaches a person.
struct ConnectionFailure {
    /// The server's address.
    let location: String
    /// Its host.
    let host: String
    /// The proxy on the way, as `HOST:PORT`; nil for none.
    let proxy: String?

    private static let checkHint = "see that it runs and that the address is right"

    private var isSecure: Bool { location.hasPrefix("https://") }

    /// The error for a person.
    func explain(_ error: any Error) -> CASError {
        switch error {
        case let error as NIOConnectionError: return unreachable(error)
        case let error as NIOSSLError: return tls(error)
        // Not of a handshake, so of preparing one; only a file of ours can be wrong there.
        case is BoringSSLError: return noCertificates
        case let error as NIOSSLExtraError where error == .failedToValidateHostname:
            return otherName
        case let error as NIOSSLExtraError where error == .serverHostnameImpossibleToMatch:
            return otherName
        case let error as HTTPClientError: return client(error)
        case HTTPParserError.invalidEOFState: return closed
        case is HTTPParserError:
            guard !isSecure else { return garbled }
            return CASError(
                .failedPrecondition, "what answers at \(location) does not speak HTTP",
                hint: "if it speaks TLS, write https:// instead of http://")
        case let error as IOError: return system(error.errnoCode)
        case let error as ChannelError: return channel(error)
        case is SocketAddressError, is SocketAddressError.UnknownHost: return noSuchHost(host)
        default:
            return CASError(
                .unavailable, "the connection to \(location) failed",
                hint: Self.checkHint, cause: error)
        }
    }

    // MARK: - Connecting

    private func unreachable(_ error: NIOConnectionError) -> CASError {
        guard let first = error.connectionErrors.first else { return noSuchHost(error.host) }
        return explainConnecting(first.error)
    }

    private func explainConnecting(_ error: any Error) -> CASError {
        switch error {
        case let error as IOError: system(error.errnoCode)
        case let error as ChannelError: channel(error)
        case is SocketAddressError, is SocketAddressError.UnknownHost: noSuchHost(host)
        default: unavailable("it can not be reached")
        }
    }

    private func noSuchHost(_ name: String) -> CASError {
        if let proxy {
            return CASError(
                .unavailable, "the proxy \(proxy) is not known: no such host",
                hint: "see that HTTPS_PROXY is right, or name the server in NO_PROXY")
        }
        return CASError(
            .unavailable, "the server at \(location) can not be reached: no such host '\(name)'",
            hint: "see that the address is right and that names are resolved here")
    }

    private func unavailable(_ what: String) -> CASError {
        if let proxy {
            return CASError(
                .unavailable, "the proxy \(proxy) can not be reached: \(what)",
                hint:
                    "see that HTTPS_PROXY is right and that it runs, or name the server in NO_PROXY"
            )
        }
        return CASError(
            .unavailable, "the server at \(location) can not be reached: \(what)",
            hint: Self.checkHint)
    }

    private func system(_ code: CInt) -> CASError {
        switch code {
        case ECONNREFUSED: unavailable("connection refused")
        case ECONNRESET, EPIPE, ECONNABORTED, ENOTCONN: closed
        case ETIMEDOUT: unavailable("no answer in time")
        case ENETUNREACH, EHOSTUNREACH, EADDRNOTAVAIL: unavailable("there is no way to it")
        default: unavailable(String(cString: strerror(code)).lowercased())
        }
    }

    private func channel(_ error: ChannelError) -> CASError {
        switch error {
        case .connectTimeout: unavailable("no answer in time")
        default: closed
        }
    }

    private var closed: CASError {
        CASError(
            .unavailable, "the connection to \(location) was closed in the middle",
            hint: isSecure
                ? Self.checkHint : "\(Self.checkHint); a server with TLS is at https://")
    }

    private var garbled: CASError {
        CASError(
            .unavailable, "the answer of \(location) is garbled",
            hint: "something between here and the server may have answered in its place")
    }

    // MARK: - TLS

    private var otherName: CASError {
        CASError(
            .failedPrecondition, ServerIdentity.otherName(host),
            hint: "use a name or address that stands in the certificate")
    }

    private func tls(_ error: NIOSSLError) -> CASError {
        switch error {
        case .handshakeFailed(let reason): handshake("\(reason)")
        case .unableToValidateCertificate, .noCertificateToValidate: notTrusted
        case .uncleanShutdown: closed
        case .noSuchFilesystemObject, .failedToLoadCertificate: noCertificates
        default: noTLS
        }
    }

    /// BoringSSL's reasons are names of its own; those that a person can act on are told apart.
    private func handshake(_ reason: String) -> CASError {
        if reason.contains("CERTIFICATE_VERIFY_FAILED") { return notTrusted }
        if reason.contains("WRONG_VERSION_NUMBER") || reason.contains("HTTP_REQUEST")
            || reason.contains("UNSUPPORTED_PROTOCOL")
        {
            return noTLS
        }
        if reason.contains("ALERT") {
            return CASError(
                .failedPrecondition, "the server at \(location) refuses this TLS connection",
                hint: "see the server's log")
        }
        return closed
    }

    private var noCertificates: CASError {
        CASError(
            .failedPrecondition, "there are no certificates to trust",
            hint: "CAS_CA_FILE is a file of certificates in PEM form; an empty root file system "
                + "needs /etc/ssl/certs/ca-certificates.crt")
    }

    private var notTrusted: CASError {
        CASError(
            .failedPrecondition, "the certificate that answers at \(location) is not trusted",
            hint: "name the certificates to trust in CAS_CA_FILE; an empty root file system "
                + "needs /etc/ssl/certs/ca-certificates.crt")
    }

    private var noTLS: CASError {
        CASError(
            .failedPrecondition, "what answers at \(location) does not speak TLS",
            hint: "if the server has none, write http:// instead of https://")
    }

    // MARK: - Requests

    private func client(_ error: HTTPClientError) -> CASError {
        switch error {
        case .connectTimeout, .httpProxyHandshakeTimeout, .tlsHandshakeTimeout,
            .getConnectionFromPoolTimeout:
            return unavailable("no answer in time")
        case .readTimeout, .writeTimeout, .deadlineExceeded:
            return CASError(
                .unavailable, "the server at \(location) fell silent", hint: Self.checkHint)
        case .proxyAuthenticationRequired:
            return CASError(
                .unauthenticated, "the proxy \(proxy ?? "") wants a user and a password",
                hint: "HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT")
        case .invalidProxyResponse:
            return CASError(
                .failedPrecondition, "the proxy \(proxy ?? "") does not lead to \(location)",
                hint: "ask whoever runs it, or name the server in NO_PROXY")
        case .remoteConnectionClosed, .cancelled, .requestStreamCancelled, .uncleanShutdown:
            return closed
        default: return garbled
        }
    }
}
