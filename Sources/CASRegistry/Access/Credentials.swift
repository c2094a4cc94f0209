import CASCore
import CASHTTP
import HTTPTypes
import Hummingbird

/// What a request says of who sends it.
enum Credentials: Hashable, Sendable {
    case none
    /// A token of cas, or one of an issuer: as a bearer, or as the password of any user.
    case token(String)
    /// One that this door issued.
    case issued(String)

    /// Reads the Authorization header; throws `unauthenticated` for one that is none.
    init(_ request: Request) throws {
        guard let header = request.headers[.authorization] else {
            self = .none
            return
        }
        let parts = header.split(separator: " ", maxSplits: 1)
        let value = parts.count > 1 ? parts[1].drop { $0 == " " } : ""
        switch parts.first?.lowercased() {
        case "bearer" where value.hasPrefix(BearerTokens.prefix): self = .issued(String(value))
        case "bearer" where !value.isEmpty: self = .token(String(value))
        case "basic":
            guard let bytes = Base64.decode(value),
                let text = String(validating: bytes, as: UTF8.self),
                let colon = text.firstIndex(of: ":")
            else { throw Credentials.malformed }
            self.init(password: String(text[text.index(after: colon)...]))
        default: throw Credentials.malformed
        }
    }

    /// A password; an empty one is none, as clients send for nobody.
    init(password: String) { self = password.isEmpty ? .none : .token(password) }

    private static var malformed: CASError {
        CASError(
            .unauthenticated, "the authorization header is none",
            hint: "send 'Authorization: Bearer' and a token, or Basic with the token as password")
    }
}

/// Who sends a request.
extension RegistryDoor {
    /// Who it is; throws a `Refusal` with a challenge for nobody that may be asked, and for wrong
    /// credentials.
    func caller(
        _ request: Request, _ scope: RegistryScope?, _ challenge: Challenge
    ) async throws -> RegistryCaller {
        do {
            return try await caller(try Credentials(request), request)
        } catch let error as CASError where error.code == .unauthenticated {
            throw challenge.refusal(
                error.message, scope.map { [$0] } ?? [], hint: error.hint,
                isWrong: request.headers.contains(.authorization))
        } catch let error as CASError
            where error.code == .permissionDenied && !request.headers.contains(.authorization)
        {
            // Clients of registries say nothing before they are asked.
            throw challenge.refusal(
                error.message, scope.map { [$0] } ?? [], hint: error.hint)
        }
    }

    /// Who has these credentials; throws `unauthenticated` for wrong ones.
    func caller(_ credentials: Credentials, _ request: Request) async throws -> RegistryCaller {
        switch credentials {
        case .none:
            return RegistryCaller(
                caller: try await shared.access.caller(RequestOrigin(request, token: nil)),
                grants: nil, isAnonymous: true)
        case .token(let token):
            return RegistryCaller(
                caller: try await shared.access.caller(RequestOrigin(request, token: token)),
                grants: nil, isAnonymous: false)
        case .issued(let text):
            guard let content = tokens.read(text, now: clock.now().seconds) else {
                throw CASError(
                    .unauthenticated, "the token is over, or not one of this server",
                    hint: "ask the token endpoint for a new one")
            }
            return try await caller(content, request)
        }
    }

    private func caller(
        _ content: BearerTokens.Content, _ request: Request
    ) async throws -> RegistryCaller {
        switch content.owner {
        case .token(let identifier):
            return RegistryCaller(
                caller: try await shared.access.caller(of: identifier), grants: content.grants,
                isAnonymous: false)
        case .identity(let scopes, let subject):
            return RegistryCaller(
                caller: Caller(scopes: scopes, subject: subject), grants: content.grants,
                isAnonymous: false)
        case .anonymous:
            // Counts as nobody, so that it is asked for credentials where it may do too little.
            return RegistryCaller(
                caller: try await shared.access.caller(RequestOrigin(request, token: nil)),
                grants: content.grants, isAnonymous: true)
        }
    }
}
