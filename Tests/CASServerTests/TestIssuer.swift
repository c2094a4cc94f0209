import CASCore
import CASFileSystem
import CryptoExtras
import Foundation
import JWTKit

/// A key of an issuer, made in the test.
struct TestKey: Sendable {
    let name: String
    let algorithm: String
    private let signer: any JWTAlgorithm
    /// Its public half as a member of a key set.
    let jwk: [String: String]

    private init(
        _ name: String, _ algorithm: String, _ jwk: [String: String],
        _ add: (JWTKeyCollection) async throws -> Void
    ) async throws {
        self.name = name
        self.algorithm = algorithm
        self.jwk = jwk.merging(["kid": name, "use": "sig"]) { $1 }
        let collection = JWTKeyCollection()
        try await add(collection)
        signer = try await collection.getKey()
    }

    static func rsa(_ name: String, _ algorithm: String = "RS256") async throws -> TestKey {
        let key = try Insecure.RSA.PrivateKey(
            backing: _RSA.Signing.PrivateKey(keySize: .bits2048))
        let parts = try key.publicKey.getKeyPrimitives()
        return try await TestKey(
            name, algorithm,
            ["kty": "RSA", "n": encode(parts.modulus), "e": encode(parts.publicExponent)]
        ) {
            if algorithm.hasPrefix("PS") {
                await $0.add(pss: key, digestAlgorithm: .sha256)
            } else {
                await $0.add(rsa: key, digestAlgorithm: algorithm == "RS512" ? .sha512 : .sha256)
            }
        }
    }

    static func ec(_ name: String) async throws -> TestKey {
        let key = ES256PrivateKey()
        let point = key.publicKey.parameters
        return try await TestKey(
            name, "ES256",
            ["kty": "EC", "crv": "P-256", "x": url(point?.x ?? ""), "y": url(point?.y ?? "")]
        ) { await $0.add(ecdsa: key) }
    }

    static func p521(_ name: String) async throws -> TestKey {
        let key = ES512PrivateKey()
        let point = key.publicKey.parameters
        return try await TestKey(
            name, "ES512",
            ["kty": "EC", "crv": "P-521", "x": url(point?.x ?? ""), "y": url(point?.y ?? "")]
        ) { await $0.add(ecdsa: key) }
    }

    static func edwards(_ name: String) async throws -> TestKey {
        let key = try EdDSA.PrivateKey(curve: .ed25519)
        return try await TestKey(
            name, "EdDSA",
            ["kty": "OKP", "crv": "Ed25519", "x": encode(key.publicKey.rawRepresentation)]
        ) { await $0.add(eddsa: key) }
    }

    /// A key whose secret everybody knows.
    static func hmac(_ name: String, secret: String) async throws -> TestKey {
        try await TestKey(name, "HS256", [:]) {
            await $0.add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256)
        }
    }

    /// A token with these claims; header fields replace what the key says.
    func token(_ claims: [String: Any], header: [String: Any?] = [:]) throws -> String {
        var fields: [String: Any] = ["alg": algorithm, "kid": name, "typ": "JWT"]
        for (field, value) in header { fields[field] = value }
        let signed = try TestKey.part(fields) + "." + TestKey.part(claims)
        return signed + "." + TestKey.encode(Data(try signer.sign(Array(signed.utf8))))
    }

    static func part(_ object: [String: Any]) throws -> String {
        encode(try JSONSerialization.data(withJSONObject: object))
    }

    static func encode(_ data: Data) -> String { url(data.base64EncodedString()) }

    private static func url(_ base64: String) -> String {
        base64.replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }

    /// A document with the public halves of keys.
    static func set(_ keys: [TestKey]) throws -> [UInt8] {
        Array(try JSONSerialization.data(withJSONObject: ["keys": keys.map(\.jwk)]))
    }
}

/// Claims as the issuers of this world write them.
enum Claims {
    static let kubernetesIssuer = "https://kubernetes.default.svc.cluster.local"
    static let gitHubIssuer = "https://token.actions.githubusercontent.com"
    static let gitLabIssuer = "https://gitlab.com"

    static func times(from begin: Double = -10, to end: Double = 3600) -> [String: Any] {
        let now = Date().timeIntervalSince1970.rounded()
        return ["iat": now + begin, "nbf": now + begin, "exp": now + end]
    }

    /// What a projected token of a pod holds.
    static func pod(
        _ namespace: String, _ change: [String: Any?] = [:]
    ) -> [String: Any] {
        var claims = times()
        claims["iss"] = kubernetesIssuer
        claims["aud"] = ["cas"]
        claims["sub"] = "system:serviceaccount:\(namespace):trainer"
        claims["kubernetes.io"] = [
            "namespace": namespace,
            "pod": ["name": "train-0", "uid": "6ca93a8b-5d8e-4a2a-8a57-6f39a1f5ad0b"],
            "serviceaccount": ["name": "trainer", "uid": "0a4c35c4-e2fa-46f4-a1a2-f3d36d9d0d4f"],
        ]
        for (name, value) in change { claims[name] = value }
        return claims
    }

    static func gitHub(
        _ repository: String, branch: String, _ change: [String: Any?] = [:]
    ) -> [String: Any] {
        var claims = times()
        claims["iss"] = gitHubIssuer
        claims["aud"] = "cas"
        claims["sub"] = "repo:\(repository):ref:refs/heads/\(branch)"
        claims["repository"] = repository
        claims["repository_owner"] = String(repository.prefix { $0 != "/" })
        claims["ref"] = "refs/heads/\(branch)"
        claims["event_name"] = "push"
        claims["run_attempt"] = "1"
        claims["runner_environment"] = "github-hosted"
        for (name, value) in change { claims[name] = value }
        return claims
    }

    static func gitLab(_ project: String, branch: String) -> [String: Any] {
        var claims = times()
        claims["iss"] = gitLabIssuer
        claims["aud"] = "cas"
        claims["sub"] = "project_path:\(project):ref_type:branch:ref:\(branch)"
        claims["project_path"] = project
        claims["namespace_path"] = project.split(separator: "/").dropLast().joined(separator: "/")
        claims["ref"] = branch
        claims["ref_type"] = "branch"
        claims["ref_protected"] = "true"
        claims["user_access_level"] = "developer"
        return claims
    }
}
