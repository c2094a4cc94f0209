import CASClient
import CASCore
import CASServer
import CASTestSupport
import CASWire
import Testing

@Suite struct AccessTests {
    @Test func `a wrong token is refused, and so is a scheme that is none`() async throws {
        try await onThread {
            let world = try ServerWorld()
            for header in [
                "Bearer nonsense", "Bearer cas_\(String(repeating: "0", count: 32))_00",
                "Basic YTpi",
                "Bearer",
                "Bearer cas_\(String(repeating: "f", count: 32))_\(String(repeating: "f", count: 64))",
            ] {
                let answer = try world.raw().request(
                    "GET", "/v1", headers: ["authorization": header])
                #expect(answer.status == 401, "\(header)")
                #expect(answer.headers["www-authenticate"] == "Bearer realm=\"cas\"")
                #expect(answer.text.hasPrefix("error: "))
                #expect(answer.text.contains("\nhint: "))
            }
            #expect(
                code { try world.withRemote(token: "nonsense") { _ = try $0.describe() } }
                    == .unauthenticated)
        }
    }

    @Test(arguments: ["/v1", "/v1/refs", "/metrics", "/readyz"])
    func `a name that is not loopback is refused on loopback`(path: String) async throws {
        try await onThread {
            let world = try ServerWorld()
            let connection = try world.raw()
            for host in [
                "evil.example", "127.0.0.1.evil.example:80", "localhost.evil.example", "1.2.3.4",
            ] {
                let answer = try connection.request("GET", path, headers: ["host": host])
                #expect(answer.status == 403, "\(host)")
            }
            for host in ["localhost", "LOCALHOST:1", "127.0.0.1", "127.1.2.3:9", "[::1]:8700"] {
                let answer = try connection.request("GET", path, headers: ["host": host])
                #expect(answer.status == 200, "\(host)")
            }
        }
    }

    @Test(arguments: [
        "Forwarded: for=192.0.2.1", "X-Forwarded-For: 192.0.2.1", "x-forwarded-host: a.example",
        "X-Forwarded-Proto: https", "X-Real-IP: 192.0.2.1", "Via: 1.1 a.example",
    ])
    func `on loopback what a proxy passes on needs a token`(header: String) async throws {
        try await onThread {
            let world = try ServerWorld()
            let token = try world.token("read")
            let parts = header.split(separator: ": ").map(String.init)
            let forwarded = [parts[0]: parts[1]]
            for path in ["/v1", "/v1/refs", "/v1/tokens", "/metrics", "/readyz"] {
                let answer = try world.raw().request("GET", path, headers: forwarded)
                #expect(answer.status == 403, "\(path)")
                #expect(answer.text.contains("came through a proxy"), "\(path)")
                #expect(answer.text.contains("proxy_set_header Host $host"), "\(path)")
            }
            #expect(try world.raw().request("GET", "/healthz", headers: forwarded).status == 200)
            let known = forwarded.merging(["authorization": "Bearer \(token)"]) { $1 }
            for path in ["/v1/refs", "/metrics"] {
                #expect(try world.raw().request("GET", path, headers: known).status == 200)
            }
        }
    }

    /// As nginx does unless told otherwise: its own idea of the host, an old version, and no other sign.
    @Test func `on loopback HTTP 1 0 needs a token`() async throws {
        try await onThread {
            let world = try ServerWorld()
            let token = try world.token("read")
            func status(_ more: String) throws -> Int {
                let connection = try world.raw()
                try connection.send(
                    "GET /v1/refs HTTP/1.0\r\nHost: 127.0.0.1:\(connection.port)\r\n"
                        + "Connection: close\r\n\(more)\r\n")
                return try connection.head().status
            }
            #expect(try status("") == 403)
            #expect(try status("Authorization: Bearer \(token)\r\n") == 200)
        }
    }

    @Test(arguments: ["/metrics", "/readyz"])
    func `only a token that is valid spares the look at the host`(path: String) async throws {
        try await onThread {
            let world = try ServerWorld()
            let valid = try world.token("read")
            let zero = String(repeating: "0", count: 64)
            for (token, status) in [
                ("nonsense", 403), ("cas_\(zero.prefix(32))_\(zero)", 403), (valid, 200),
            ] {
                let answer = try world.raw().request(
                    "GET", path,
                    headers: ["host": "evil.example", "authorization": "Bearer \(token)"])
                #expect(answer.status == status, "\(token)")
            }
        }
    }

    @Test func `pages of refs tell nothing of names outside the scope`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.write("a.txt", Array("hello".utf8))
            let readable = ["a/b", "a/b/c:1", "a/b/c:2", "a/b/d", "team", "team/x", "team/y:z"]
            let hidden = ["a", "a/a", "a/b-c", "a/c", "b", "team-a", "team-a/x", "teammate", "z"]
            try world.withRemote { store in
                for name in readable + hidden { try world.push(name, store) }
            }
            let token = try world.token("read:team", "read:a/b", "read:a/b/c", "write:z")
            try world.withRemote(token: token) { store in
                for limit in 1...8 {
                    for prefix in ["", "a", "a/b", "a/b/", "a/b/c", "te", "team", "team/", "z"] {
                        var found: [String] = []
                        var after = ""
                        repeat {
                            let page = try store.refs(prefix: prefix, after: after, limit: limit)
                            found += page.entries.map(\.name.description)
                            #expect(page.entries.count == limit || page.next.isEmpty)
                            #expect(page.next.isEmpty || page.next == found.last)
                            after = page.next
                        } while !after.isEmpty
                        let expected = try readable.filter { $0.hasPrefix(prefix) }.map {
                            try RefName($0).description
                        }
                        #expect(found == expected, "\(prefix), \(limit) a page")
                    }
                }
            }
        }
    }

    /// Which right each route needs on `team/project`.
    private static let routes: [(method: String, path: String, verb: TokenVerb)] = [
        ("POST", "/v1/push/\(push)/missing", .write),
        ("PUT", "/v1/push/\(push)/streams/0/0", .write),
        ("POST", "/v1/push/\(push)?ref=team/project:latest", .write),
        ("DELETE", "/v1/push/\(push)", .write),
        ("POST", "/v1/plan", .read), ("GET", "/v1/plan/x/tree", .read),
        ("GET", "/v1/plan/x/data/0/1", .read), ("POST", "/v1/blobs", .read),
        ("GET", "/v1/blobs/\(digest)", .read), ("GET", "/v1/refs", .read),
        ("GET", "/v1/refs/team/project", .read), ("PUT", "/v1/refs/team/project", .write),
        ("DELETE", "/v1/refs/team/project", .delete), ("GET", "/v1/history/team/project", .read),
        ("GET", "/v1/usage", .read), ("GET", "/v1/tokens", .admin), ("POST", "/v1/tokens", .admin),
        ("DELETE", "/v1/tokens/\(push)", .admin),
    ]
    private static let push = String(repeating: "a", count: 32)
    private static let digest = String(repeating: "b", count: 64)

    @Test func `each route needs its right and no other`() async throws {
        try await onThread {
            let world = try ServerWorld()
            for held in [TokenVerb.read, .write, .delete, .cacheWrite, .admin] {
                let token = try world.token(held == .admin ? "admin" : "\(held.rawValue):team")
                let connection = try world.raw()
                for (method, path, needed) in Self.routes {
                    let hasBody = method != "GET"
                    let answer = try connection.request(
                        method, path, headers: ["authorization": "Bearer \(token)"],
                        body: hasBody ? [] : nil)
                    let isRefused =
                        answer.status == 403
                        || (answer.status == 404 && answer.text.contains("may not read"))
                    #expect(
                        isRefused == (held != needed && held != .admin),
                        "\(held) \(method) \(path): \(answer.status) \(answer.text)")
                    #expect(
                        answer.status < 500 || answer.status == 501, "\(held) \(method) \(path)")
                }
            }
        }
    }

    @Test func `names outside the scope are neither listed nor read nor written`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.write("a.txt", Array("hello".utf8))
            try world.withRemote { store in
                try world.push("team/project", store)
                try world.push("other/secret", store)
            }
            let token = try world.token("read+write+delete:team")
            try world.withRemote(token: token) { store in
                let listed = try store.refs(prefix: "", after: "", limit: 10).entries
                #expect(listed.map(\.name.name) == ["team/project"])
                #expect(try store.usage().rows.map(\.prefix) == ["team"])
                let secret = try RefName("other/secret")
                #expect(try store.ref(secret) == nil)
                #expect(code { _ = try store.plan(PlanRequest(want: "other/secret")) } == .notFound)
                #expect(code { _ = try store.history(secret, before: "", limit: 1) } == .notFound)
                let update = RefUpdate(
                    target: listed[0].target.digest, precondition: .any, provenance: Provenance())
                #expect(code { _ = try store.setRef(secret, update) } == .permissionDenied)
                #expect(code { try store.removeRef(secret, update) } == .permissionDenied)
                #expect(code { try world.push("other/secret", store) } == .permissionDenied)
                // A prefix matches whole components.
                #expect(code { try world.push("teammate/project", store) } == .permissionDenied)
                #expect(try world.push("team/project", store).response?.outcome == .unchanged)
            }
        }
    }

    @Test func `a commit is judged by its body, whatever its address says`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.write("a.txt", Array("hello".utf8))
            let snapshot = try world.withRemote {
                try #require(try world.push("team/project", $0).response?.snapshot)
            }
            let token = try world.token("read+write:team")
            for query in ["?ref=team/project:latest", "", "?ref=other/secret:latest"] {
                let request = PushRequest(
                    pushID: Identifier.random(), ref: try RefName("other/secret"),
                    snapshot: snapshot,
                    base: nil, precondition: .any, provenance: Provenance())
                let answer = try world.raw().request(
                    "POST", "/v1/push/\(request.pushID)\(query)",
                    headers: ["authorization": "Bearer \(token)"], body: commitBody(request))
                #expect([400, 403].contains(answer.status), "\(query): \(answer.status)")
            }
            let entry = try world.withRemote { try $0.ref(try RefName("other/secret")) }
            #expect(entry == nil)
        }
    }

    @Test func `a token ends when it is revoked or expires`() async throws {
        try await onThread {
            let world = try ServerWorld()
            let token = try world.token("read")
            try world.withRemote(token: token) { store in
                _ = try store.describe()
                try world.withAdministrator { admin in
                    for record in try admin.tokens() { try admin.revokeToken(record.id) }
                }
                #expect(code { _ = try store.describe() } == .unauthenticated)
            }
            let old = try world.token("read", expires: Timestamp(seconds: 1))
            #expect(
                code { try world.withRemote(token: old) { _ = try $0.describe() } }
                    == .unauthenticated)
        }
    }

    @Test(arguments: ServerConfiguration.Anonymous.allCases)
    func `other addresses need a token unless a word opens them`(
        anonymous: ServerConfiguration.Anonymous
    ) async throws {
        try await onThread {
            let world = try ServerWorld { configuration, _ in
                try configuration.setListen("0.0.0.0:0")
                configuration.isPlaintext = true
                configuration.anonymous = anonymous
            }
            func status(_ method: String, _ path: String) throws -> Int {
                try world.raw().request(
                    method, path, headers: ["host": "store.example"],
                    body: method == "GET" ? nil : []
                ).status
            }
            #expect(try status("GET", "/healthz") == 200)
            let read = try status("GET", "/v1/refs")
            let write = try status("DELETE", "/v1/push/\(Self.push)")
            let tokens = try status("GET", "/v1/tokens")
            switch anonymous {
            case .nothing: #expect([read, write, tokens] == [401, 401, 401])
            case .read: #expect([read, write, tokens] == [200, 403, 403])
            case .write: #expect([read, write, tokens] == [200, 204, 403])
            }
        }
    }
}
