import CASCore
import CASHTTP
import CASOCI
import HTTPTypes
import Hummingbird
import NIOCore

/// `/v2/token`: short-lived tokens for who has shown credentials, in both forms that clients know.
extension RegistryDoor {
    func token(
        _ query: RegistryQuery, _ request: Request, _ context: Context, _ notes: inout RequestNotes
    ) async throws -> Response {
        var form = query
        var credentials: Credentials
        if request.method == .post {
            let body = shared.body(request, limit: shared.limits.smallRequestBytes)
            defer { body.end() }
            context.askForBody(request)
            try await receive(body, request, context)
            notes.received = body.buffer.count
            form = RegistryQuery(String(decoding: body.buffer.bytes, as: UTF8.self))
            credentials = try RegistryDoor.credentials(form)
        } else {
            do { credentials = try Credentials(request) } catch let error as CASError {
                throw challenge(request).basicRefusal(error.message, hint: error.hint)
            }
        }
        // One token is not made of another: each is as narrow as it was asked for.
        if case .issued = credentials { credentials = .none }
        let caller: RegistryCaller
        do {
            caller = try await self.caller(credentials, request)
        } catch let error as CASError
            where error.code == .unauthenticated || error.code == .permissionDenied
        {
            throw challenge(request).basicRefusal(error.message, hint: error.hint)
        }
        notes.subject = caller.subject
        let wanted = form.all("scope").flatMap(RegistryScope.list)
        guard wanted.count <= BearerTokens.maximumScopes else {
            throw Refusal(
                .denied, "a token is issued for at most \(BearerTokens.maximumScopes) scopes",
                status: 400)
        }
        return issue(wanted, caller, credentials)
    }

    private static func credentials(_ form: RegistryQuery) throws -> Credentials {
        switch form["grant_type"] {
        case "password": return Credentials(password: form["password"] ?? "")
        case "refresh_token": return Credentials(password: form["refresh_token"] ?? "")
        default:
            throw Refusal(
                .unsupported, "the grant_type is neither password nor refresh_token", status: 400)
        }
    }

    private func issue(
        _ wanted: [RegistryScope], _ caller: RegistryCaller, _ credentials: Credentials
    ) -> Response {
        let now = clock.now()
        let lasting = now.seconds + shared.limits.registryTokenSeconds
        let expires = min(lasting, caller.caller.expires?.seconds ?? .max)
        let owner: BearerTokens.Owner =
            if case .none = credentials {
                .anonymous
            } else if let token = caller.caller.token {
                .token(token)
            } else {
                .identity(caller.caller.scopes, subject: caller.subject)
            }
        let text = tokens.issue(
            BearerTokens.Content(owner: owner, grants: caller.granted(wanted), expires: expires))
        let body = JSON.object([
            JSON.Member("token", .text(text)), JSON.Member("access_token", .text(text)),
            JSON.Member("expires_in", .integer(max(1, expires - now.seconds))),
            JSON.Member("issued_at", .text(now.iso8601)),
        ])
        return RegistryDoor.json(body, headers: [.cacheControl: "no-store"])
    }
}
