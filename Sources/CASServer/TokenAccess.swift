import CASCore
import CASHTTP
import CASRepository
import CASWire
import NIOPosix

/// Decides by token what a request may do: one of cas, or one of a trusted issuer.
struct TokenAccess: AccessControl {
    private static let prefix = "cas_"

    private let repository: Repository
    private let isLoopback: Bool
    private let anonymous: ServerConfiguration.Anonymous
    private let identities: IdentityVerifier?
    private let metrics: ServerMetrics
    private let pool: NIOThreadPool

    init(
        _ repository: Repository, _ configuration: ServerConfiguration,
        _ identities: IdentityVerifier?, _ metrics: ServerMetrics, _ pool: NIOThreadPool
    ) {
        self.repository = repository
        isLoopback = configuration.isLoopback
        anonymous = configuration.anonymous
        self.identities = identities
        self.metrics = metrics
        self.pool = pool
    }

    func caller(_ origin: RequestOrigin) async throws -> Caller {
        if let token = origin.token { return widened(try await caller(token)) }
        try checkLoopback(origin)
        if isLoopback { return Caller(scopes: [.all]) }
        guard let everybody else {
            throw CASError(
                .unauthenticated, "this server needs a token",
                hint: "set CAS_TOKEN, or run cas login")
        }
        return Caller(scopes: [everybody])
    }

    /// What everybody may do without a token, by the server's settings.
    private var everybody: TokenScope? {
        switch anonymous {
        case .nothing: nil
        case .read: TokenScope(verbs: [.read])
        case .write: TokenScope(verbs: [.read, .write, .delete])
        }
    }

    /// Nobody may do less for having shown a token: clients of registries send theirs with whatever they pull.
    private func widened(_ caller: Caller) -> Caller {
        guard !isLoopback, let everybody else { return caller }
        var caller = caller
        caller.scopes.append(everybody)
        return caller
    }

    private func caller(_ token: String) async throws -> Caller {
        if token.hasPrefix(TokenAccess.prefix) || !token.contains(".") {
            // Looked up each time: a revoked token ends at once.
            guard
                let record = try await pool.runIfActive({ try repository.authenticate(token) })
            else {
                throw CASError(
                    .unauthenticated, "the token is wrong, expired or revoked",
                    hint: "ask for a new one: cas token create")
            }
            return TokenAccess.caller(record)
        }
        guard let identities else {
            throw CASError(
                .unauthenticated, "this server trusts no issuer of identity tokens",
                hint: "its administrator names issuers with cas serve --trust")
        }
        do {
            let caller = try await identities.verify(token)
            metrics.count(identity: IdentityOutcome.accepted.rawValue)
            return caller
        } catch let failure as IdentityFailure {
            metrics.count(identity: failure.outcome.rawValue)
            throw failure.error
        }
    }

    func caller(of token: Identifier) async throws -> Caller {
        guard let record = try await pool.runIfActive({ try repository.tokenInForce(token) })
        else {
            throw CASError(
                .unauthenticated, "the token behind this one expired or was revoked",
                hint: "ask for a new one: cas token create")
        }
        return widened(TokenAccess.caller(record))
    }

    private static func caller(_ record: TokenRecord) -> Caller {
        Caller(
            scopes: record.scopes,
            subject: "token \(record.name.isEmpty ? record.id.description : record.name)",
            token: record.id, expires: record.expires)
    }

    func check(_ origin: RequestOrigin) async throws {
        guard isLoopback else { return }
        if let token = origin.token {
            do {
                _ = try await caller(token)
                return
            } catch let error as CASError where error.code == .unauthenticated {
                // Then it counts as none.
            }
        }
        try checkLoopback(origin)
    }

    /// On loopback, whoever has no token has to be somebody on this machine.
    private func checkLoopback(_ origin: RequestOrigin) throws {
        guard isLoopback else { return }
        // A web page that a browser on this machine shows could otherwise reach the store under a
        // name of its own that resolves to 127.0.0.1.
        guard let host = origin.host, HostName.isLoopback(host) else {
            throw CASError(
                .permissionDenied, "this server answers to loopback names only",
                hint: "use http://127.0.0.1 or http://localhost, or send a token")
        }
        guard !origin.isForwarded else {
            throw CASError(
                .permissionDenied,
                "this request came through a proxy, and needs a token: without one this server "
                    + "trusts only programs on its own machine",
                hint: "make tokens with cas token create, and let the proxy pass the host on "
                    + "(nginx: proxy_set_header Host $host)")
        }
    }
}
