import CASClient
import CASCore
import CASFileSystem
import CASHTTP
import CASTestSupport
import CASWire
import Foundation
import Synchronization
import Testing

@testable import CASServer

/// What a server does with identity tokens, over HTTP.
@Suite(.timeLimit(.minutes(10))) struct IdentityTests {
    /// A server that trusts an issuer by a file of keys.
    private func world(
        _ keys: [TestKey], issuers: [String] = [Claims.kubernetesIssuer], grants: [String] = []
    ) throws -> ServerWorld {
        try ServerWorld { configuration, temporary in
            try configuration.setListen("0.0.0.0:0")
            configuration.isPlaintext = true
            try IdentityTests.write(keys, temporary)
            configuration.issuers = try issuers.map {
                try TrustedIssuer("\($0)=\(temporary.path)/keys.json")
            }
            configuration.grants = try grants.map { try GrantRule($0) }
        }
    }

    private static func write(_ keys: [TestKey], _ temporary: TemporaryDirectory) throws {
        try DiskFileSystem().replace("\(temporary.path)/keys.json", try TestKey.set(keys))
    }

    /// What a server says of the token's rights.
    private func scopes(_ world: ServerWorld, _ token: String) throws -> [String] {
        try world.withRemote(token: token) { try $0.describe().scopes.map(\.description) }
    }

    /// Why it takes no token.
    private func refusal(_ world: ServerWorld, _ token: String) throws -> String {
        let result = Result { try world.withRemote(token: token) { _ = try $0.describe() } }
        let error = try #require(failure(result), "the token was taken")
        #expect(error.code == .unauthenticated)
        #expect(error.hint != nil)
        #expect(!error.message.contains(token.suffix(20)))
        return error.message
    }

    @Test func `a pod reads the names of its namespace and no others`() async throws {
        let rsa = try await TestKey.rsa("one")
        let ec = try await TestKey.ec("two")
        try await onThread {
            let world = try world([rsa, ec])
            for key in [rsa, ec] {
                #expect(
                    try scopes(world, try key.token(Claims.pod("ml-team"))) == ["read:ml-team"])
            }
            try world.write("train.py", [1, 2, 3])
            let writer = try world.configuration.administrator("write")
            try world.withRemote(token: writer) { store in
                try world.push("ml-team/project", store)
                try world.push("others/project", store)
            }
            let token = try ec.token(Claims.pod("ml-team"))
            try world.withRemote(token: token) { store in
                let digest = try world.fetch("ml-team/project", store).plan.snapshot
                #expect(
                    code { _ = try store.plan(PlanRequest(want: "others/project")) } == .notFound)
                #expect(
                    code {
                        _ = try store.setRef(
                            try RefName("ml-team/x"), RefUpdate(target: digest))
                    } == .permissionDenied)
                #expect(code { _ = try store.tokens() } == .permissionDenied)
                let names = try store.refs(prefix: "", after: "", limit: 9).entries.map(\.name.name)
                #expect(names == ["ml-team/project"])
            }
        }
    }

    @Test func `every algorithm that is accepted works`() async throws {
        let keys = [
            try await TestKey.rsa("a", "RS512"), try await TestKey.rsa("b", "PS256"),
            try await TestKey.p521("c"), try await TestKey.edwards("d"),
        ]
        try await onThread {
            let world = try world(keys)
            for key in keys {
                #expect(
                    try scopes(world, try key.token(Claims.pod("a"))) == ["read:a"],
                    "\(key.algorithm)")
            }
        }
    }

    @Test func `what is wrong with a token is said`() async throws {
        let key = try await TestKey.rsa("one")
        let other = try await TestKey.rsa("one")
        let curve = try await TestKey.ec("one")
        try await onThread {
            let world = try world([key])
            func message(_ change: [String: Any?], header: [String: Any?] = [:]) throws -> String {
                try refusal(world, try key.token(Claims.pod("a", change), header: header))
            }
            let now = Date().timeIntervalSince1970
            #expect(try message(["exp": now - 100]).hasPrefix("the token expired at 20"))
            #expect(try message(["exp": nil]).contains("does not say when it expires"))
            for date in [1e18, -1e18, 4e99] {
                #expect(try message(["exp": date]).contains("does not say when it expires"))
            }
            #expect(try message(["exp": "soon"]).contains("does not say when it expires"))
            #expect(try message(["nbf": now + 100]).contains("good from 20"))
            #expect(try message(["iat": now + 100]).contains("good from 20"))
            #expect(try message(["nbf": "now"]).contains("'nbf' is no time"))
            #expect(try message(["aud": "api"]) == "the token is for 'api', not for 'cas'")
            #expect(try message(["aud": ["a", "b"]]) == "the token is for 'a', 'b', not for 'cas'")
            #expect(try message(["aud": nil]) == "the token is for nobody, not for 'cas'")
            #expect(
                try message(["iss": "https://evil.example"]).contains("does not trust the issuer"))
            #expect(try message(["iss": nil]).contains("does not trust the issuer ''"))
            #expect(try message(["sub": ""]).contains("whom it is for"))
            #expect(try message(["sub": String(repeating: "x", count: 2000)]).contains("whom"))
            #expect(try message([:], header: ["kid": "two"]).contains("does not have"))
            #expect(try message([:], header: ["crit": ["x"]]).contains("critical"))
            #expect(try message([:], header: ["alg": "ES256"]).contains("not for 'ES256'"))
            #expect(try message([:], header: ["alg": "RS384"]).contains("signature"))
            // The same name, another key.
            let pod = Claims.pod("a")
            #expect(try refusal(world, try other.token(pod)).contains("signature"))
            #expect(try refusal(world, try curve.token(pod)).contains("not for 'ES256'"))
            // Within the leeway.
            #expect(
                try scopes(
                    world, try key.token(Claims.pod("a", ["exp": now - 20, "nbf": now + 20])))
                    == ["read:a"])
            #expect(try scopes(world, try key.token(pod, header: ["kid": nil])) == ["read:a"])
            let page = try world.raw().request("GET", "/metrics").text
            for outcome in ["expired", "audience", "signature", "algorithm", "accepted", "early"] {
                #expect(page.contains("cas_identity_tokens_total{outcome=\"\(outcome)\"}"))
            }
        }
    }

    @Test func `forged tokens are refused`() async throws {
        let key = try await TestKey.rsa("one")
        let document = String(decoding: try TestKey.set([key]), as: UTF8.self)
        let modulus = key.jwk["n"] ?? ""
        let fakes = [
            try await TestKey.hmac("one", secret: document),
            try await TestKey.hmac("one", secret: modulus),
        ]
        try await onThread {
            let world = try world([key])
            for fake in fakes {
                #expect(
                    try refusal(world, try fake.token(Claims.pod("a"))).contains("'HS256'"))
            }
            let claims = try TestKey.part(Claims.pod("a"))
            for name in ["none", "None", "NONE", "", "RS1", "HS512"] {
                let header = try TestKey.part(["alg": name, "kid": "one"])
                #expect(try refusal(world, "\(header).\(claims).").contains("'\(name)'"))
            }
            // Another payload, header or signature under what was signed.
            let parts = try key.token(Claims.pod("a")).split(separator: ".").map(String.init)
            let tampered = try TestKey.part(Claims.pod("b"))
            #expect(
                try refusal(world, "\(parts[0]).\(tampered).\(parts[2])").contains("signature"))
            let header = try TestKey.part(["alg": "RS256", "kid": "one"])
            #expect(try refusal(world, "\(header).\(parts[1]).\(parts[2])").contains("signature"))
            #expect(
                try refusal(world, "\(parts[0]).\(parts[1]).\(parts[2].dropLast(2))")
                    .contains("signature"))
            for text in [
                "\(parts[0]).\(parts[1])", "\(parts[0]).\(parts[1]).\(parts[2]).x", "..", "a.b.c",
                "\(parts[0])=.\(parts[1]).\(parts[2])", "\(parts[0]).e30x.\(parts[2])",
            ] { #expect(try refusal(world, text).contains("neither one of cas"), "\(text)") }
            let huge = try key.token(Claims.pod("a", ["x": String(repeating: "y", count: 20_000)]))
            #expect(try refusal(world, huge).contains("more than 16 KiB"))
        }
    }

    @Test func `builds write where a rule lets them`() async throws {
        let key = try await TestKey.rsa("one")
        try await onThread {
            let world = try world(
                [key], issuers: [Claims.gitHubIssuer, Claims.gitLabIssuer],
                grants: [
                    "read,write {repository} iss=\(Claims.gitHubIssuer) ref=refs/heads/main",
                    "read {repository_owner} iss=\(Claims.gitHubIssuer) event_name=p*",
                    "read,write ci/{project_path} iss=\(Claims.gitLabIssuer) ref_protected=true",
                ])
            #expect(
                try scopes(world, try key.token(Claims.gitHub("Acme/Train", branch: "main")))
                    == ["read+write:acme/train", "read:acme"])
            #expect(
                try scopes(world, try key.token(Claims.gitHub("Acme/Train", branch: "x")))
                    == ["read:acme"])
            #expect(
                try scopes(world, try key.token(Claims.gitLab("ml/group/train", branch: "v1")))
                    == ["read+write:ci/ml/group/train"])
            // Nothing of what another issuer says counts.
            let mixed = Claims.gitHub(
                "Acme/Train", branch: "x", ["project_path": "ml/group", "ref_protected": "true"])
            #expect(try scopes(world, try key.token(mixed)) == ["read:acme"])
            try world.write("a", [1])
            let main = try key.token(Claims.gitHub("Acme/Train", branch: "main"))
            try world.withRemote(token: main) { store in
                try world.push("acme/train/code", store)
                let provenance = try store.history(
                    try RefName("acme/train/code"), before: "", limit: 1
                ).entries[0].provenance
                #expect(provenance.subject == "repo:Acme/Train:ref:refs/heads/main")
                #expect(code { try world.push("other/x", store) } == .permissionDenied)
            }
        }
    }

    @Test func `a key that is gone is refused, and a new one taken`() async throws {
        let old = try await TestKey.rsa("old")
        let new = try await TestKey.ec("new")
        let time = TestClock()
        let issuer = try LoopbackIssuer()
        issuer.set("/keys", try TestKey.set([old]))
        let remote = RemoteKeys(
            issuer: "x", address: "\(issuer.address)/keys", proxy: nil, cluster: ClusterAccess(),
            certificatesPath: nil)
        let cache = KeyCache(.remote, clock: time, onFailure: { _ in }) { try await remote.load() }
        #expect(await Self.found(cache, "old", "RS256"))
        issuer.set("/keys", try TestKey.set([new]))
        #expect(await Self.found(cache, "old", "RS256"), "kept for a while")
        // Tried a moment ago: an unknown name does not make the server ask again.
        #expect(await !Self.found(cache, "new", "ES256"))
        #expect(issuer.requests.count == 1)
        time.advance(nanoseconds: 10_000_000_000)
        #expect(await Self.found(cache, "new", "ES256"), "an unknown name is looked for at once")
        #expect(await !Self.found(cache, "old", "RS256"))
        #expect(issuer.requests.count == 2)
        // Old keys are not used before another look.
        issuer.set("/keys", try TestKey.set([old]))
        time.advance(nanoseconds: 600_000_000_000)
        #expect(await !Self.found(cache, "new", "ES256"))
        #expect(await Self.found(cache, "old", "RS256"))
        try issuer.stop()
    }

    private static func found(_ cache: KeyCache, _ name: String, _ algorithm: String) async -> Bool
    {
        guard case .found(.key) = await cache.find(name, algorithm) else { return false }
        return true
    }

    @Test func `known keys work while the issuer is away, for a day`() async throws {
        let key = try await TestKey.ec("one")
        let time = TestClock()
        let reasons = Mutex<[String]>([])
        let issuer = try LoopbackIssuer()
        issuer.set("/keys", try TestKey.set([key]))
        let remote = RemoteKeys(
            issuer: "x", address: "\(issuer.address)/keys", proxy: nil, cluster: ClusterAccess(),
            certificatesPath: nil)
        let cache = KeyCache(
            .remote, clock: time,
            onFailure: { error in reasons.withLock { $0.append("\(error)") } }
        ) { try await remote.load() }
        #expect(await Self.found(cache, "one", "ES256"))
        try issuer.stop()
        for _ in 0..<20 {
            time.advance(nanoseconds: 3_600_000_000_000)
            #expect(await Self.found(cache, "one", "ES256"))
        }
        time.advance(nanoseconds: 4 * 3_600_000_000_000)
        guard case .unavailable = await cache.find("one", "ES256") else {
            Issue.record("the keys are a day old")
            return
        }
        #expect(reasons.withLock { $0.count } == 1, "\(reasons.withLock { $0 })")
    }

    @Test func `many that ask at once cost one fetch`() async throws {
        let key = try await TestKey.ec("one")
        let count = Atomic<Int>(0)
        let document = try TestKey.set([key])
        let cache = KeyCache(.remote, clock: TestClock(), onFailure: { _ in }) {
            count.add(1, ordering: .relaxed)
            return try await IssuerKeys(document)
        }
        await withTaskGroup(of: Bool.self) { group in
            for _ in 0..<200 { group.addTask { await Self.found(cache, "one", "ES256") } }
            for await isFound in group { #expect(isFound) }
        }
        #expect(count.load(ordering: .relaxed) == 1)
    }

    @Test func `a discovery document names the keys`() async throws {
        let key = try await TestKey.ec("one")
        let issuer = try LoopbackIssuer()
        issuer.set("/keys", try TestKey.set([key]))
        let path = "/.well-known/openid-configuration"
        func load(_ name: String, _ document: [String: Any], status: Int = 200) async -> String {
            guard let body = try? JSONSerialization.data(withJSONObject: document) else {
                return ""
            }
            issuer.set(path, Array(body), status: status)
            let remote = RemoteKeys(
                issuer: name, address: issuer.address + path, proxy: nil, cluster: ClusterAccess(),
                certificatesPath: nil)
            do {
                _ = try await remote.load()
                return "loaded"
            } catch { return (error as? CASError)?.message ?? "\(error)" }
        }
        let keys = "\(issuer.address)/keys"
        #expect(await load("x", ["issuer": "x", "jwks_uri": keys]) == "loaded")
        #expect(
            await load("x", ["issuer": "y", "jwks_uri": keys]).contains("is about the issuer 'y'"))
        #expect(await load("x", ["issuer": "x"]).contains("has neither keys nor says"))
        #expect(
            await load("x", ["issuer": "x", "jwks_uri": "http://192.0.2.1/keys"])
                .contains("could be anybody's"))
        #expect(
            await load("x", ["issuer": "x", "jwks_uri": keys], status: 500).contains("status 500"))
        issuer.set("/keys", Array("{\"keys\":[]}".utf8))
        #expect(await load("x", ["issuer": "x", "jwks_uri": keys]).contains("holds no key"))
        // The token of a pod goes to the API server of its cluster only.
        #expect(!issuer.requests.contains { $0.headers["authorization"] != nil })
        try issuer.stop()
    }

    @Test func `a file of keys is read again when it changes`() async throws {
        let old = try await TestKey.ec("old")
        let new = try await TestKey.ec("new")
        let temporary = try TemporaryDirectory()
        try Self.write([old], temporary)
        let time = TestClock()
        let file = FileKeys("\(temporary.path)/keys.json", pool: nil)
        let cache = KeyCache(.file, clock: time, onFailure: { _ in }) { try await file.load() }
        #expect(await Self.found(cache, "old", "ES256"))
        try Self.write([new], temporary)
        time.advance(nanoseconds: 1_000_000_000)
        #expect(await !Self.found(cache, "old", "ES256"))
        #expect(await Self.found(cache, "new", "ES256"))
        // One that is half written changes nothing.
        try DiskFileSystem().replace("\(temporary.path)/keys.json", Array("{\"ke".utf8))
        time.advance(nanoseconds: 1_000_000_000)
        #expect(await Self.found(cache, "new", "ES256"))
    }
}

extension ServerConfiguration {
    /// A token made beside the server, as `cas token create --store` does.
    func administrator(_ scope: String) throws -> String {
        let store = try LocalStore(directory: storeDirectory, create: false)
        let answer = try store.createToken(
            TokenRequest(name: "test", scopes: [try TokenScope(scope)], expires: nil))
        try store.close()
        return answer.secret
    }
}
