import CASCore
import CASHTTP
import CASRepository
import CASWire

/// Decides by token what a request may do.
struct TokenAccess: AccessControl {
    private let repository: Repository
    private let isLoopback: Bool
    private let anonymous: ServerConfiguration.Anonymous

    init(_ repository: Repository, _ configuration: ServerConfiguration) {
        self.repository = repository
        isLoopback = configuration.isLoopback
        anonymous = configuration.anonymous
    }

    func scopes(_ origin: RequestOrigin) throws -> [TokenScope] {
        if let token = origin.token {
            // Looked up each time: a revoked token ends at once.
            guard let record = try repository.authenticate(token) else {
                throw CASError(
                    .unauthenticated, "the token is wrong, expired or revoked",
                    hint: "ask for a new one: cas token create")
            }
            return record.scopes
        }
        try checkLoopback(origin)
        if isLoopback { return [.all] }
        switch anonymous {
        case .nothing:
            throw CASError(
                .unauthenticated, "this server needs a token",
                hint: "set CAS_TOKEN, or run cas login")
        case .read: return [TokenScope(verbs: [.read])]
        case .write: return [TokenScope(verbs: [.read, .write, .delete])]
        }
    }

    func check(_ origin: RequestOrigin) throws {
        guard isLoopback else { return }
        if let token = origin.token, try repository.authenticate(token) != nil { return }
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
