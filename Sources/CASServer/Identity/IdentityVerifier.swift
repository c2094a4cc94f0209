import CASCore
import CASHTTP
import JWTKit
import NIOPosix

/// Decides whether an identity token is good, and what its holder may do.
final class IdentityVerifier: Sendable {
    /// How far clocks may be apart.
    private static let leeway: Double = 60
    private static let claimsHint =
        "the issuer has to write sub and exp, and times as numbers (RFC 7519)"

    private let issuers: [String: KeyCache]
    private let rules: [GrantRule]
    private let audience: String
    private let clock: any WallClock
    private let pool: NIOThreadPool

    init(
        issuers: [String: KeyCache], rules: [GrantRule], audience: String, clock: any WallClock,
        pool: NIOThreadPool
    ) {
        self.issuers = issuers
        self.rules = rules
        self.audience = audience
        self.clock = clock
        self.pool = pool
    }

    /// Fetches keys that are not there yet, so that the first pod does not wait for them.
    func prefetch() {
        for cache in issuers.values { Task { await cache.refreshIfOld() } }
    }

    /// Whom a token is for; throws IdentityFailure, or CancellationError where the server stops.
    func verify(_ text: String) async throws -> Caller {
        let token = try await pool.runIfActive { try IdentityToken(text) }
        // Not accepted whatever key there is, and said before anything is fetched for it.
        guard IssuerKeys.algorithms.contains(token.algorithm) else {
            throw IdentityFailure(
                .algorithm,
                "the token is signed with '\(token.algorithm)', which this server does not accept",
                hint: "it accepts \(IssuerKeys.algorithms.sorted().joined(separator: ", "))")
        }
        let issuer = token.claims["iss"]?.text ?? ""
        guard let cache = issuers[issuer] else {
            throw IdentityFailure(
                .issuer,
                "this server does not trust the issuer '\(issuer.prefix(256))' of the token",
                hint: "the server's administrator names issuers with cas serve --trust")
        }
        let key = try await key(for: token, issuer, cache)
        return try await pool.runIfActive { [self] in
            try checkSignature(token, key)
            try checkClaims(token.claims)
            let subject = try subject(token.claims)
            let scopes = rules.filter { $0.isFor(issuer: issuer) }.compactMap {
                $0.scope(token.claims)
            }
            let expires = token.claims["exp"]?.date.map { Timestamp(seconds: Int64($0)) }
            return Caller(scopes: scopes, subject: subject, expires: expires)
        }
    }

    private func key(
        for token: IdentityToken, _ issuer: String, _ cache: KeyCache
    ) async throws -> any JWTAlgorithm {
        switch await cache.find(token.keyID, token.algorithm) {
        case .found(.key(let key)): return key
        case .found(.otherAlgorithm):
            throw IdentityFailure(
                .algorithm, "the key of the token is not for '\(token.algorithm)'",
                hint: "the token was not made by \(issuer)")
        case .found(.unknown):
            throw IdentityFailure(
                .key,
                "the token is signed with a key that \(issuer) does not have, or not any more",
                hint: "read the token's file again; the issuer changes its keys from time to time")
        case .unavailable:
            throw IdentityFailure(
                .unavailable, "the keys of \(issuer) can not be had at the moment",
                hint: "the server's log says why; try again in a moment")
        }
    }

    private func checkSignature(_ token: IdentityToken, _ key: any JWTAlgorithm) throws {
        let isRight: Bool
        // A signature of another length than the key's makes the library throw.
        do { isRight = try key.verify(token.signature, signs: token.signed) } catch {
            isRight = false
        }
        guard isRight else {
            throw IdentityFailure(
                .signature, "the signature of the token is wrong", hint: "it was changed or cut")
        }
    }

    private func checkClaims(_ claims: [String: JSONValue]) throws {
        let audiences: [String] =
            switch claims["aud"] {
            case .text(let text): [text]
            case .list(let list): list.compactMap(\.text)
            default: []
            }
        guard audiences.contains(audience) else {
            let names = audiences.prefix(4).map { "'\($0.prefix(256))'" }.joined(separator: ", ")
            throw IdentityFailure(
                .audience,
                "the token is for \(names.isEmpty ? "nobody" : names), not for '\(audience)'",
                hint: "ask for one with the audience '\(audience)': in a pod a projected "
                    + "serviceAccountToken")
        }
        let now = clock.now()
        let seconds = Double(now.seconds)
        guard let expires = claims["exp"]?.date else {
            throw IdentityFailure(
                .claims, "the token does not say when it expires",
                hint: IdentityVerifier.claimsHint)
        }
        guard seconds < expires + IdentityVerifier.leeway else {
            throw IdentityFailure(
                .expired,
                "the token expired at \(Timestamp(seconds: Int64(expires)).iso8601)",
                hint: "the client reads CAS_TOKEN_FILE again when it changes; is it still renewed?")
        }
        for name in ["nbf", "iat"] {
            guard let claim = claims[name] else { continue }
            guard let begin = claim.date else {
                throw IdentityFailure(
                    .claims, "the token's '\(name)' is no time", hint: IdentityVerifier.claimsHint)
            }
            guard begin <= seconds + IdentityVerifier.leeway else {
                throw IdentityFailure(
                    .early,
                    "the token is good from \(Timestamp(seconds: Int64(begin)).iso8601) on only",
                    hint: "compare the clocks of the issuer and of this server (\(now.iso8601))")
            }
        }
    }

    private func subject(_ claims: [String: JSONValue]) throws -> String {
        guard let subject = claims["sub"]?.text, !subject.isEmpty,
            subject.utf8.count <= IdentityToken.maximumText
        else {
            throw IdentityFailure(
                .claims, "the token does not say whom it is for", hint: IdentityVerifier.claimsHint)
        }
        return subject
    }
}
