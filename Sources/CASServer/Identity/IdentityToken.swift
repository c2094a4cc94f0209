import CASCore

/// Why an identity token was not taken, or that it was: a label in metrics.
enum IdentityOutcome: String, CaseIterable, Sendable {
    case accepted, malformed, issuer, algorithm, key, signature, audience, expired, early, claims
    /// The keys of the issuer could not be had.
    case unavailable
}

/// A token that was not taken.
struct IdentityFailure: Error {
    let outcome: IdentityOutcome
    let error: CASError

    init(_ outcome: IdentityOutcome, _ message: String, hint: String? = nil) {
        self.outcome = outcome
        error = CASError(
            outcome == .unavailable ? .unavailable : .unauthenticated, message, hint: hint)
    }
}

/// A signed token in compact form (RFC 7515, RFC 7519), taken apart and not believed yet.
struct IdentityToken: Sendable {
    /// Bytes that a token may have: those of Kubernetes have about 1,200, with many groups 4,000.
    static let maximumBytes = 16 << 10
    /// Characters of a text in the header, and of the subject.
    static let maximumText = 1024

    /// What the header says it is signed with.
    let algorithm: String
    /// Which key of the issuer, if it says so.
    let keyID: String?
    /// What it says.
    let claims: [String: JSONValue]
    /// What is signed.
    let signed: [UInt8]
    let signature: [UInt8]

    init(_ text: String) throws(IdentityFailure) {
        let bytes = Array(text.utf8)
        guard bytes.count <= IdentityToken.maximumBytes else {
            throw IdentityFailure(
                .malformed,
                "the token has more than \(ByteCount.text(UInt64(IdentityToken.maximumBytes)))",
                hint: "ask the issuer for one with fewer claims")
        }
        let parts = bytes.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        guard parts.count == 3, let header = Base64URL.decode(parts[0]),
            let payload = Base64URL.decode(parts[1]), let signature = Base64URL.decode(parts[2]),
            let members = JSONValue.object(header), let claims = JSONValue.object(payload),
            let algorithm = members["alg"]?.text, algorithm.utf8.count <= 64,
            (members["kid"]?.text?.utf8.count ?? 0) <= IdentityToken.maximumText
        else {
            throw IdentityFailure(
                .malformed, "the token is neither one of cas nor a JSON Web Token",
                hint: "tokens of cas begin with cas_; is CAS_TOKEN_FILE the right file?")
        }
        // RFC 7515, 4.1.11: what must be understood and is not makes a token invalid.
        guard members["crit"] == nil, members["b64"] == nil else {
            throw IdentityFailure(
                .malformed, "the token has critical extensions",
                hint: "the server knows none; ask the issuer for a plain token")
        }
        self.algorithm = algorithm
        keyID = members["kid"]?.text
        self.claims = claims
        self.signature = signature
        signed = Array(bytes.prefix(parts[0].count + 1 + parts[1].count))
    }
}
