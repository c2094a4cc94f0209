import CASCore
import JWTKit

/// The public keys of an issuer (RFC 7517), each made ready for the algorithms that belong to it.
///
/// A key never serves another algorithm: what a token's header says only selects among these, so that
/// `none`, HMAC with a public key as its secret, or a curve on another one's key find nothing.
struct IssuerKeys: Sendable {
    /// Bytes that a document with keys may have.
    static let maximumBytes = 256 << 10
    private static let maximumKeys = 100
    /// Characters of a modulus of 8,192 bits: larger ones cost a server more than they are worth.
    private static let maximumModulus = 1368
    private static let maximumExponent = 12

    /// What a look for a key ends with.
    enum Found: Sendable {
        case key(any JWTAlgorithm)
        /// There is such a key, and it is not for this algorithm.
        case otherAlgorithm
        case unknown
    }

    private var keys: [String: [String: any JWTAlgorithm]] = [:]

    /// Names of the algorithms that tokens may be signed with.
    static let algorithms: Set<String> = [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
    ]

    /// Reads a set of keys; leaves out those that are not for signatures or that nobody knows.
    init(_ document: [UInt8]) async throws {
        guard document.count <= IssuerKeys.maximumBytes else {
            throw CASError(.resourceExhausted, "the set of keys is too large")
        }
        guard let members = JSONValue.object(document), case .list(let list) = members["keys"]
        else {
            throw CASError(
                .dataLoss, "this is no set of keys", hint: "a JWKS document has a member 'keys'")
        }
        guard list.count <= IssuerKeys.maximumKeys else {
            throw CASError(.resourceExhausted, "the set has more than 100 keys")
        }
        for case .object(let key) in list { try await add(key) }
        guard !keys.isEmpty else {
            throw CASError(.dataLoss, "the set holds no key that tokens could be verified with")
        }
    }

    private mutating func add(_ key: [String: JSONValue]) async throws {
        if let use = key["use"]?.text, use != "sig" { return }
        if case .list(let operations) = key["key_ops"], !operations.contains(.text("verify")) {
            return
        }
        let name = key["kid"]?.text ?? ""
        guard name.utf8.count <= IdentityToken.maximumText else { return }
        let only = key["alg"]?.text
        for algorithm in IssuerKeys.algorithms(of: key) where only.map({ $0 == algorithm }) ?? true
        {
            guard keys[name]?[algorithm] == nil, let jwk = IssuerKeys.publicKey(key, algorithm)
            else {
                continue
            }
            // The library tells its keys by a collection only; this one never verifies a token, as a
            // collection falls back to another key for a name that it does not know.
            let collection = JWTKeyCollection()
            do {
                try await collection.add(jwk: jwk)
                keys[name, default: [:]][algorithm] = try await collection.getKey(
                    for: jwk.keyIdentifier)
            } catch {
                // A key that is too small or no point of its curve is as good as absent.
                continue
            }
        }
    }

    private static func algorithms(of key: [String: JSONValue]) -> [String] {
        switch (key["kty"]?.text, key["crv"]?.text) {
        case ("RSA", _): ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
        case ("EC", "P-256"): ["ES256"]
        case ("EC", "P-384"): ["ES384"]
        case ("EC", "P-521"): ["ES512"]
        case ("OKP", "Ed25519"): ["EdDSA"]
        default: []
        }
    }

    /// The key for one algorithm; what a set says of a private part is not taken.
    private static func publicKey(_ key: [String: JSONValue], _ algorithm: String) -> JWK? {
        guard let algorithm = JWK.Algorithm(rawValue: algorithm) else { return nil }
        let identifier = JWKIdentifier(string: "key")
        let x = key["x"]?.text
        switch key["kty"]?.text {
        case "RSA":
            guard let modulus = key["n"]?.text, modulus.utf8.count <= maximumModulus,
                let exponent = key["e"]?.text, exponent.utf8.count <= maximumExponent
            else { return nil }
            return .rsa(algorithm, identifier: identifier, modulus: modulus, exponent: exponent)
        case "EC":
            return .ecdsa(
                algorithm, identifier: identifier, x: x, y: key["y"]?.text,
                curve: key["crv"]?.text.flatMap { ECDSACurve(rawValue: $0) })
        case "OKP":
            return .octetKeyPair(
                algorithm, identifier: identifier, x: x, y: nil,
                curve: key["crv"]?.text.flatMap { EdDSACurve(rawValue: $0) })
        default: return nil
        }
    }

    /// The key of a name, or the only one for a token that names none.
    func find(_ name: String?, _ algorithm: String) -> Found {
        let candidates = name.map { keys[$0] } ?? (keys.count == 1 ? keys.first?.value : nil)
        guard let candidates else { return .unknown }
        return candidates[algorithm].map { .key($0) } ?? .otherAlgorithm
    }
}
