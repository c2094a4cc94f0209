import CASClient
import CASCore
import CASFileSystem
import CASOCI
import Synchronization

/// Proves to one registry who asks: Basic, or tokens of the service that it names, kept per scope.
final class RegistryAuthorizer: Sendable {
    /// Seconds a token is good for where its answer does not say.
    private static let standardSeconds: Int64 = 60
    private static let answerBytes = 1 << 20

    private enum Scheme {
        case basic(String)
        case bearer(realm: WebAddress, service: String?)
    }

    private struct Token {
        let text: String
        let end: UInt64
    }

    private struct State {
        var scheme: Scheme?
        var tokens: [Set<RegistryScope>: Token] = [:]
        var isCredentialAsked = false
        var credential: RegistryCredential?
    }

    private let location: RegistryLocation
    private let credentials: @Sendable () throws -> RegistryCredential?
    private let exchange: @Sendable (WebAddress, WebRequest) throws -> (WebHead, [UInt8])
    private let clock: any WallClock
    private let state = Mutex(State())

    /// `credentials` is asked once, when the registry wants to know who asks; `exchange` sends a request.
    init(
        _ location: RegistryLocation, clock: any WallClock = SystemClock(),
        credentials: @escaping @Sendable () throws -> RegistryCredential?,
        exchange: @escaping @Sendable (WebAddress, WebRequest) throws -> (WebHead, [UInt8])
    ) {
        self.location = location
        self.clock = clock
        self.credentials = credentials
        self.exchange = exchange
    }

    /// What to send as `Authorization`; nil while the registry wants nothing.
    func authorization(for scopes: Set<RegistryScope>) throws -> String? {
        switch state.withLock({ $0.scheme }) {
        case nil: return nil
        case .basic(let value): return value
        case .bearer(let realm, let service):
            let now = clock.monotonicNanoseconds()
            if let token = state.withLock({ $0.tokens[scopes] }), token.end > now {
                return "Bearer " + token.text
            }
            return "Bearer " + (try fetch(scopes, realm, service))
        }
    }

    /// Takes what a registry answered with status 401; whether it makes sense to ask again.
    func take(
        _ challenges: [AuthenticationChallenge], scopes: Set<RegistryScope>, isRepeated: Bool
    ) throws -> Bool {
        guard !isRepeated else { return false }
        if let bearer = challenges.first(where: { $0.scheme == "bearer" }) {
            guard let text = bearer.parameters["realm"] else { return false }
            let realm = try WebAddress(text, relativeTo: location.address(""))
            guard realm.origin.isSecure || !location.origin.isSecure else {
                throw CASError(
                    .permissionDenied,
                    "\(location.host) wants a token from \(realm.origin), which has no TLS, so "
                        + "nothing was sent there")
            }
            state.withLock { state in
                state.scheme = .bearer(realm: realm, service: bearer.parameters["service"])
                state.tokens[scopes] = nil
            }
            return true
        }
        guard challenges.contains(where: { $0.scheme == "basic" }),
            case .basic(let user, let password)? = try credential()
        else { return false }
        state.withLock { $0.scheme = .basic(Self.basic(user, password)) }
        return true
    }

    /// Whether there is anything that tells a registry who asks.
    var hasCredential: Bool { state.withLock { $0.credential != nil } }

    private func credential() throws -> RegistryCredential? {
        if let known = state.withLock({ $0.isCredentialAsked ? .some($0.credential) : nil }) {
            return known
        }
        let found = try credentials()
        state.withLock { state in
            state.isCredentialAsked = true
            state.credential = found
        }
        return found
    }

    private static func basic(_ user: String, _ password: String) -> String {
        "Basic " + Base64.encode(Array("\(user):\(password)".utf8))
    }

    // MARK: - Tokens

    private func fetch(
        _ scopes: Set<RegistryScope>, _ realm: WebAddress, _ service: String?
    ) throws -> String {
        let credential = try credential()
        if case .bearer(let token)? = credential { return token }
        let words = scopes.map(\.description).sorted()
        let (head, body): (WebHead, [UInt8])
        if case .identityToken(let token)? = credential {
            (head, body) = try refresh(realm, service, words, token)
        } else {
            var address = realm
            if let service { address = address.adding(query: "service", service) }
            for word in words { address = address.adding(query: "scope", word) }
            var headers: [(name: String, value: String)] = [("accept", "application/json")]
            if case .basic(let user, let password)? = credential {
                address = address.adding(query: "account", user)
                headers.append(("authorization", Self.basic(user, password)))
            }
            (head, body) = try exchange(address, WebRequest("GET", address.path, headers: headers))
        }
        guard head.status == 200 else {
            throw RegistryFailure.token(head, body, location, realm, credential != nil)
        }
        return try keep(body, scopes, realm)
    }

    private func refresh(
        _ realm: WebAddress, _ service: String?, _ scopes: [String], _ token: String
    ) throws -> (WebHead, [UInt8]) {
        let form = [
            ("grant_type", "refresh_token"), ("client_id", "cas"), ("service", service ?? ""),
            ("scope", scopes.joined(separator: " ")), ("refresh_token", token),
        ].map { "\($0)=\(WebAddress.escape($1))" }.joined(separator: "&")
        let headers = [
            (name: "accept", value: "application/json"),
            (name: "content-type", value: "application/x-www-form-urlencoded"),
        ]
        return try exchange(
            realm,
            WebRequest("POST", realm.path, headers: headers, body: .bytes(Array(form.utf8))))
    }

    private func keep(
        _ body: [UInt8], _ scopes: Set<RegistryScope>, _ realm: WebAddress
    ) throws -> String {
        let answer: JSON
        do { answer = try JSON(decoding: body, limit: Self.answerBytes) } catch {
            throw RegistryFailure.garbled("\(realm.origin)", cause: error)
        }
        guard let text = answer["token"]?.text ?? answer["access_token"]?.text, !text.isEmpty,
            text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
        else {
            throw CASError(.unauthenticated, "\(realm.origin) gave no token for \(location.host)")
        }
        let seconds = max(0, answer["expires_in"]?.integer ?? Self.standardSeconds)
        // A tenth is left for the way of the request.
        let end =
            clock.monotonicNanoseconds() + UInt64(min(seconds, 86_400)) * 900_000_000
        state.withLock { $0.tokens[scopes] = Token(text: text, end: end) }
        return text
    }
}
