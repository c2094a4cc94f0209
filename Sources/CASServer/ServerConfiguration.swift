package import CASCore
package import CASHTTP
package import CASRepository
package import Logging

/// What a server is started with.
package struct ServerConfiguration: Sendable {
    /// What somebody without a token may do on an address that is not loopback.
    package enum Anonymous: String, Sendable, CaseIterable {
        case nothing
        case read
        case write
    }

    /// The host or address to listen on.
    package var host = "127.0.0.1"
    /// The port; 0 for any free one.
    package var port = 8700
    /// The directory of the store.
    package var storeDirectory: String
    /// The certificate chain, PEM; nil without TLS.
    package var certificatePath: String?
    /// The private key, PEM.
    package var keyPath: String?
    /// Whether an address other than loopback may do without TLS.
    package var isPlaintext = false
    /// What needs no token on an address other than loopback.
    package var anonymous = Anonymous.nothing
    /// What the server tells of itself.
    package var announcement = ServerAnnouncement()
    /// Issuers of identity tokens.
    package var issuers: [TrustedIssuer] = []
    /// Whom identity tokens must be for.
    package var audience = "cas"
    /// What these tokens may do; empty for what pods need.
    package var grants: [GrantRule] = []
    /// Certificates to trust instead of the system's when keys are fetched; nil for those.
    package var certificateAuthorities: String?
    /// The cluster that the server runs in, if it does.
    package var cluster = ClusterAccess()
    /// The executable to hand out as the client; nil for none.
    package var clientExecutable: String?
    /// Threads for blocking work.
    package var threads: Int
    /// The least severe log entries to write.
    package var logLevel = Logger.Level.info
    /// How long a shutdown waits for answers in progress; then it cuts them off (Kubernetes kills at 30 s).
    package var shutdownSeconds: Int64 = 25
    /// What the server does with its store by itself.
    package var background = BackgroundSettings()
    /// Seconds for which a snapshot stays that was fetched by digest.
    package var protectedSeconds: UInt64 = 14 * 86_400
    /// Limits on requests.
    package var limits = Limits.standard

    /// A server of a store, everything else as usual.
    package init(storeDirectory: String, threads: Int) {
        self.storeDirectory = storeDirectory
        self.threads = max(4, min(threads, 64))
    }

    /// Parses `HOST:PORT`, `[::1]:PORT` or `:PORT`.
    package mutating func setListen(_ text: String) throws {
        let wrong = CASError(
            .invalidArgument, "'\(text)' is no HOST:PORT to listen on",
            hint: "write for example 127.0.0.1:8700, 0.0.0.0:8700 or [::1]:8700")
        var rest = text[...]
        var address: Substring
        if rest.hasPrefix("["), let end = rest.firstIndex(of: "]") {
            address = rest[rest.index(after: rest.startIndex)..<end]
            rest = rest[rest.index(after: end)...]
        } else if let colon = rest.lastIndex(of: ":") {
            address = rest[..<colon]
            rest = rest[colon...]
        } else {
            throw wrong
        }
        guard !text.isEmpty, !address.contains("[") else { throw wrong }
        // Only in brackets: `::1` could mean a port as well.
        guard text.hasPrefix("[") || !address.contains(":") else { throw wrong }
        if address.isEmpty { address = "0.0.0.0" }
        guard rest.first == ":", rest.dropFirst().allSatisfy(\.isWholeNumber),
            let number = UInt16(rest.dropFirst())
        else { throw wrong }
        port = Int(number)
        host = String(address)
    }

    /// Whether only this machine can connect.
    package var isLoopback: Bool { HostName.isLoopback(host) }

    /// Whether connections are encrypted.
    package var isTLS: Bool { certificatePath != nil }

    /// Throws `invalidArgument` for settings that contradict each other or open the store by accident.
    package func check() throws {
        guard (certificatePath == nil) == (keyPath == nil) else {
            throw CASError(
                .invalidArgument, "--tls-certificate and --tls-key belong together")
        }
        guard !isTLS || !isPlaintext else {
            throw CASError(.invalidArgument, "--plaintext contradicts --tls-certificate")
        }
        guard isLoopback || isTLS || isPlaintext else {
            throw CASError(
                .invalidArgument, "\(host) can be reached from other machines, and there is no TLS",
                hint: "give --tls-certificate and --tls-key, or say --plaintext where something "
                    + "in front of the server encrypts")
        }
        try checkIdentity()
    }
}

extension ServerConfiguration {
    /// Throws `invalidArgument` for issuers without rules and for rules without an issuer.
    private func checkIdentity() throws {
        let names = issuers.map(\.issuer)
        guard Set(names).count == names.count else {
            throw CASError(.invalidArgument, "an issuer is named twice by --trust")
        }
        guard !issuers.isEmpty || grants.isEmpty else {
            throw CASError(
                .invalidArgument, "--grant is about the tokens of --trust, which is missing")
        }
        guard !audience.isEmpty else {
            throw CASError(.invalidArgument, "--audience is empty: any token would do")
        }
        guard !grants.isEmpty || names.count <= 1 else {
            throw CASError(
                .invalidArgument,
                "of several issuers, each needs a --grant: a namespace of one is not that of another",
                hint: "for example --grant 'read {kubernetes.io/namespace} iss=\(names[0])'")
        }
        for rule in grants where names.count > 1 && !names.contains(where: rule.names(issuer:)) {
            throw CASError(
                .invalidArgument, "of several issuers, a --grant has to name its own",
                hint: "add iss=ISSUER to each rule")
        }
        for rule in grants where !names.contains(where: rule.isFor(issuer:)) {
            throw CASError(.invalidArgument, "a --grant names an issuer that --trust does not name")
        }
        for issuer in issuers {
            let isGranted = grants.contains { $0.isFor(issuer: issuer.issuer) }
            guard isGranted || (grants.isEmpty && !issuer.isBuilder) else {
                throw CASError(
                    .invalidArgument, "tokens of \(issuer.issuer) may do nothing without a --grant",
                    hint: "for example --grant 'read,write ci/{repository} ref=refs/heads/main'")
            }
        }
    }
}

/// Names of hosts.
enum HostName {
    /// Whether a host or a `Host` header names this machine's loopback.
    static func isLoopback(_ text: String) -> Bool {
        var name = text.lowercased()
        if name.hasPrefix("[") {
            name = String(name.dropFirst().prefix { $0 != "]" })
        } else if name.count(where: { $0 == ":" }) == 1 {
            name = String(name.prefix { $0 != ":" })
        }
        if name == "localhost" || name.hasSuffix(".localhost") || name == "::1" { return true }
        let parts = name.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
