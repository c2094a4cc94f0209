import CASCore
import CASOCI
import CASRepository
import CASServer
import CASTestSupport
import CASWire
import Synchronization
import Testing

/// Who may do what, and how clients get the credentials for it.
@Suite struct AccessTests {
    /// A server that other machines could reach, with tokens by name.
    private static func world(
        _ scopes: [String: [String]], anonymous: ServerConfiguration.Anonymous = .nothing
    ) throws -> (world: RegistryWorld, secrets: [String: String], ids: [String: Identifier]) {
        let made = Mutex<[String: TokenResponse]>([:])
        let world = try RegistryWorld({ configuration, _ in
            try configuration.setListen("0.0.0.0:0")
            configuration.isPlaintext = true
            configuration.anonymous = anonymous
        }) { repository in
            for (name, texts) in scopes {
                let response = try repository.createToken(
                    TokenRequest(name: name, scopes: try texts.map { try TokenScope($0) }))
                made.withLock { $0[name] = response }
            }
        }
        let all = made.withLock { $0 }
        return (world, all.mapValues(\.secret), all.mapValues { $0.record.id })
    }

    private static func basic(_ secret: String) -> [String: String] {
        ["authorization": "Basic \(base64("anybody:\(secret)"))"]
    }

    private static func base64(_ text: String) -> String {
        let alphabet = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
        var output = ""
        let bytes = Array(text.utf8)
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = Array(bytes[start..<min(start + 3, bytes.count)])
            let bits = group.reduce(0) { $0 << 8 | Int($1) } << (8 * (3 - group.count))
            for index in 0..<4 {
                output.append(index > group.count ? "=" : alphabet[bits >> (18 - 6 * index) & 63])
            }
        }
        return output
    }

    private static func bearer(
        _ client: RegistryClient, _ secret: String?, _ scopes: String...
    ) throws -> [String: String] {
        let query = scopes.map {
            "&scope=\($0.replacing(":", with: "%3A").replacing(",", with: "%2C"))"
        }
        let answer = try client.request(
            "GET", "/v2/token?service=x\(query.joined())", secret.map(basic) ?? [:])
        #expect(answer.status == 200, "\(answer.text)")
        let token = answer.json["token"]?.text ?? ""
        #expect(answer.json["access_token"]?.text == token)
        #expect((answer.json["expires_in"]?.integer ?? 0) >= 60)
        return ["authorization": "Bearer \(token)"]
    }

    @Test func `who shows nothing is told where to go`() async throws {
        try await onThread {
            let (world, secrets, _) = try Self.world(["writer": ["read+write:team"]])
            let client = try world.client()
            let host = ["host": "registry.example.org:5000"]
            for (method, path, scope) in [
                ("GET", "/v2/", nil), ("GET", "/v2/_catalog", "registry:catalog:*"),
                ("GET", "/v2/team/a/tags/list", "repository:team/a:pull"),
                ("HEAD", "/v2/team/a/manifests/v1", "repository:team/a:pull"),
                ("POST", "/v2/team/a/blobs/uploads/", "repository:team/a:pull,push"),
                ("DELETE", "/v2/team/a/manifests/v1", "repository:team/a:delete"),
            ] as [(String, String, String?)] {
                var expected =
                    "Bearer realm=\"http://registry.example.org:5000/v2/token\""
                    + ",service=\"registry.example.org:5000\""
                if let scope { expected += ",scope=\"\(scope)\"" }
                let answer = try client.request(method, path, host)
                #expect(answer.status == 401, "\(path)")
                #expect(answer.headers["www-authenticate"] == expected)
                #expect(method == "HEAD" || answer.code == "UNAUTHORIZED")
                let forwarded = try client.request(
                    method, path, host.merging(["x-forwarded-proto": "https"]) { $1 })
                #expect(
                    forwarded.headers["www-authenticate"]
                        == expected.replacing("http://", with: "https://"))
            }
            for value in [
                "Bearer", "Basic", "Basic !", "Digest x", "Bearer casr.x.y", "Bearer no.no.no",
            ] {
                let answer = try client.request("GET", "/v2/", ["authorization": value])
                #expect((answer.status, answer.code) == (401, "UNAUTHORIZED"), "\(value)")
                #expect(answer.headers["www-authenticate"]?.contains("realm=") == true)
            }
            let odd = try client.request("GET", "/v2/", ["host": "a\"b"])
            #expect(odd.status == 400 || odd.headers["www-authenticate"]?.contains("a\"b") == false)
            let secret = try #require(secrets["writer"])
            for headers in [Self.basic(secret), ["authorization": "bearer \(secret)"]] {
                #expect(try client.request("GET", "/v2/", headers).status == 200)
            }
            #expect(try client.request("GET", "/v2/", Self.basic(secret + "0")).status == 401)
        }
    }

    @Test func `rights are those of the token, by repository`() async throws {
        try await onThread {
            let (world, secrets, _) = try Self.world([
                "writer": ["read+write:team"], "reader": ["read:team/a"],
                "deleter": ["read+delete:team"], "other": ["read+write+delete:other"],
            ])
            func client(_ name: String) throws -> RegistryClient {
                try world.client(Self.basic(secrets[name] ?? ""))
            }
            let digest = try client("writer").pushImage("team/a", "v1")
            let blob = OCIDigest.of(Array("{}".utf8))
            try client("writer").pushImage("team/b", "v1")
            for (name, method, path, status) in [
                ("reader", "GET", "/v2/team/a/manifests/v1", 200),
                ("reader", "GET", "/v2/team/a/blobs/\(blob)", 200),
                ("reader", "GET", "/v2/team/b/manifests/v1", 403),
                ("reader", "POST", "/v2/team/a/blobs/uploads/", 403),
                ("reader", "DELETE", "/v2/team/a/manifests/v1", 403),
                ("writer", "DELETE", "/v2/team/a/manifests/\(digest)", 403),
                ("writer", "DELETE", "/v2/team/a/blobs/\(blob)", 403),
                ("other", "GET", "/v2/team/a/tags/list", 403),
                ("other", "HEAD", "/v2/team/a/blobs/\(blob)", 403),
                ("other", "HEAD", "/v2/team/none/blobs/\(blob)", 403),
                ("other", "HEAD", "/v2/other/a/blobs/\(blob)", 404),
                ("other", "GET", "/v2/team/a/referrers/\(digest)", 403),
                ("other", "POST", "/v2/other/a/blobs/uploads/?mount=\(blob)&from=team/a", 202),
                ("other", "POST", "/v2/other/a/blobs/uploads/?mount=\(blob)", 202),
                ("writer", "POST", "/v2/team/c/blobs/uploads/?mount=\(blob)&from=team/a", 201),
                ("deleter", "DELETE", "/v2/team/b/manifests/v1", 202),
            ] {
                let answer = try client(name).request(method, path)
                #expect(answer.status == status, "\(name) \(method) \(path): \(answer.text)")
                #expect(status != 403 || method == "HEAD" || answer.code == "DENIED")
            }
            for (name, names) in [
                ("reader", ["team/a"]), ("writer", ["team/a", "team/b", "team/c"]), ("other", []),
            ] {
                let list = try client(name).request("GET", "/v2/_catalog").json
                #expect(list["repositories"]?.texts == names, "\(name)")
            }
            let manifest = try client("reader").request("GET", "/v2/team/a/manifests/v1").body
            let put = try client("reader").put("team/a", "v2", manifest)
            #expect((put.status, put.code) == (403, "DENIED"))
            #expect(try client("writer").request("GET", "/v2/team/a/manifests/v2").status == 404)
        }
    }

    @Test func `a bearer is as wide as it was asked for, and ends with its token`() async throws {
        try await onThread {
            let (world, secrets, ids) = try Self.world([
                "writer": ["read+write:team"], "admin": ["admin"],
            ])
            let client = try world.client()
            let writer = try #require(secrets["writer"])
            let pull = try Self.bearer(client, writer, "repository:team/a:pull")
            let push = try Self.bearer(
                client, writer, "repository:team/a:pull,push", "repository:team/b:pull")
            let foreign = try Self.bearer(client, writer, "repository:other/a:pull,push,delete")
            let lists = try Self.bearer(client, writer, "registry:catalog:*")
            try world.client(push).push("team/a", [1])
            let path = "/v2/team/a/blobs/\(OCIDigest.of([1]))"
            for (headers, method, path, status) in [
                (pull, "GET", "/v2/", 200), (pull, "GET", path, 200),
                (pull, "POST", "/v2/team/a/blobs/uploads/", 401), (push, "GET", path, 200),
                (push, "GET", "/v2/team/b/tags/list", 404),
                (push, "GET", "/v2/team/c/tags/list", 401),
                (push, "GET", "/v2/other/a/tags/list", 403), (push, "DELETE", path, 403),
                (foreign, "GET", "/v2/other/a/tags/list", 403), (foreign, "GET", path, 401),
                (lists, "GET", "/v2/_catalog", 200), (pull, "GET", "/v2/_catalog", 401),
            ] {
                let answer = try client.request(method, path, headers)
                #expect(answer.status == status, "\(method) \(path): \(answer.text)")
                guard status == 401 else { continue }
                let challenge = answer.headers["www-authenticate"] ?? ""
                #expect(challenge.contains("error=\"insufficient_scope\""))
                #expect(challenge.contains("scope=\""))
            }
            let mount = "/v2/team/b/blobs/uploads/?mount=\(OCIDigest.of([1]))"
            let narrow = try Self.bearer(client, writer, "repository:team/b:pull,push")
            for query in ["", "&from=team/a"] {
                let answer = try client.request("POST", mount + query, narrow)
                #expect(answer.status == 401)
                #expect(
                    answer.headers["www-authenticate"]?.contains(
                        "scope=\"repository:team/b:pull,push repository:team/a:pull\"") == true)
            }
            // Who names a source hears nothing of another one that has the blob.
            for source in ["team/z", "other/z", "NO"] {
                let answer = try client.request("POST", "\(mount)&from=\(source)", narrow)
                #expect(answer.status == 202, "\(source)")
            }
            let wide = try Self.bearer(
                client, writer,
                "repository:team/b:pull,push repository:team/a:pull"
                    .replacing(" ", with: "%20"))
            #expect(try client.request("POST", mount, wide).status == 201)
            // A bearer is no credential for another one.
            let again = try client.request(
                "GET", "/v2/token?scope=repository:team/a:push", pull)
            #expect(again.status == 401)
            let admin = try world.client(["authorization": "Bearer \(secrets["admin"] ?? "")"])
            let id = try #require(ids["writer"])
            #expect(try admin.request("DELETE", "/v1/tokens/\(id)").status == 204)
            for headers in [pull, push, lists, Self.basic(writer)] {
                let answer = try client.request("GET", path, headers)
                #expect((answer.status, answer.code) == (401, "UNAUTHORIZED"))
            }
        }
    }

    @Test func `the token endpoint takes both forms of a request`() async throws {
        try await onThread {
            let (world, secrets, _) = try Self.world(["reader": ["read:team"]])
            let client = try world.client()
            let secret = try #require(secrets["reader"])
            let form = ["content-type": "application/x-www-form-urlencoded"]
            for (text, status) in [
                (
                    "grant_type=password&username=a&password=\(secret)&service=x&scope=repository:team/a:pull",
                    200
                ),
                ("grant_type=refresh_token&refresh_token=\(secret)&client_id=c&scope=", 200),
                ("grant_type=password&username=a&password=wrong", 401),
                ("grant_type=password&username=a&password=", 401),
                ("grant_type=implicit", 400), ("", 400),
            ] {
                let answer = try client.request("POST", "/v2/token", form, body: Array(text.utf8))
                #expect(answer.status == status, "\(text): \(answer.text)")
                guard status == 200 else { continue }
                #expect(answer.json["issued_at"]?.text?.hasSuffix("Z") == true)
                #expect(answer.headers["cache-control"] == "no-store")
                let token = answer.json["access_token"]?.text ?? ""
                let tags = try client.request(
                    "GET", "/v2/team/a/tags/list", ["authorization": "Bearer \(token)"])
                #expect(tags.status == (text.contains("team/a") ? 404 : 401))
            }
            let wrong = try client.request("GET", "/v2/token?scope=a", Self.basic("cas_no"))
            #expect(wrong.status == 401)
            #expect(wrong.headers["www-authenticate"]?.hasPrefix("Basic realm=") == true)
            let many = (0..<33).map { "scope=repository:a\($0):pull" }.joined(separator: "&")
            #expect(
                try client.request("GET", "/v2/token?\(many)", Self.basic(secret)).status == 400)
            let large = [UInt8](repeating: 0x61, count: 200_000)
            #expect(try client.request("POST", "/v2/token", form, body: large).status == 413)
        }
    }

    @Test func `everybody reads where the server says so`() async throws {
        try await onThread {
            let (world, secrets, _) = try Self.world(
                ["writer": ["read+write:team"], "stranger": ["read+write:other"]],
                anonymous: .read)
            let client = try world.client()
            try world.client(Self.basic(secrets["writer"] ?? "")).pushImage("team/a", "v1")
            let nobody = try Self.bearer(client, nil, "repository:team/a:pull,push")
            // Clients that look for a challenge do so here only: without one they could not log in.
            let ping = try client.request("GET", "/v2/", ["host": "registry.example.org"])
            #expect((ping.status, ping.code) == (401, "UNAUTHORIZED"))
            #expect(
                ping.headers["www-authenticate"]
                    == "Bearer realm=\"http://registry.example.org/v2/token\""
                    + ",service=\"registry.example.org\"")
            let writer = Self.basic(secrets["writer"] ?? "")
            for headers in [nobody, writer] {
                #expect(try client.request("GET", "/v2/", headers).status == 200)
            }
            #expect(try client.request("GET", "/v2/", Self.basic("cas_no")).status == 401)
            // Nobody may do less for having logged in, nor more.
            let stranger = Self.basic(secrets["stranger"] ?? "")
            let short = try Self.bearer(
                client, secrets["stranger"], "repository:team/a:pull,push")
            for headers in [stranger, short] {
                #expect(try client.request("GET", "/v2/team/a/manifests/v1", headers).status == 200)
                let push = try client.request("POST", "/v2/team/a/blobs/uploads/", headers)
                #expect((push.status, push.code) == (403, "DENIED"))
            }
            for headers in [[:], nobody] {
                #expect(try client.request("GET", "/v2/team/a/manifests/v1", headers).status == 200)
                let push = try client.request("POST", "/v2/team/a/blobs/uploads/", headers)
                #expect(push.status == 401)
                #expect(
                    push.headers["www-authenticate"]?.contains("repository:team/a:pull,push")
                        == true)
            }
        }
    }

    @Test func `on loopback a program of this machine needs nothing, a proxy does`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            try client.pushImage("a", "v1")
            for headers in [
                ["host": "evil.example"], ["via": "1.1 a"], ["x-forwarded-for": "1.2.3.4"],
            ] {
                for path in ["/v2/", "/v2/a/manifests/v1"] {
                    let answer = try client.request("GET", path, headers)
                    #expect(answer.status == 401)
                    #expect(answer.headers["www-authenticate"]?.hasPrefix("Bearer ") == true)
                }
                #expect(try client.request("GET", "/v2/token?scope=a", headers).status == 401)
            }
        }
    }
}
