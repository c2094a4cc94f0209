import CASClient
import CASCore
import CASTestSupport
import CASWire
import Testing

/// Rules, pins and quotas over the wire: who may do what.
@Suite struct KeepingTests {
    private func world() throws -> (world: ServerWorld, digest: Digest) {
        let world = try ServerWorld()
        try world.write("file", content(seed: 1, count: 1000))
        let digest = try world.withRemote { store in
            try world.push("other/x", store)
            return try world.push("team/a", store).snapshot
        }
        return (world, digest)
    }

    private func code(
        _ world: ServerWorld, _ token: String, _ body: (RemoteStore) throws -> Void
    ) -> CASError.Code? {
        CASServerTests.code { try world.withRemote(token: token, body) }
    }

    @Test func `who may write a name pins it, and only an administrator a bare digest`()
        async throws
    {
        try await onThread {
            let (world, digest) = try world()
            let writer = try world.token("read+write:team")
            let reader = try world.token("read")
            let admin = try world.token("admin")
            func pin(_ name: String) -> (RemoteStore) throws -> Void {
                { _ = try $0.pin(digest, name: name, PinRequest(reason: "for \(name)")) }
            }
            #expect(code(world, writer, pin("team/a")) == nil)
            #expect(code(world, writer, pin("team")) == nil)
            #expect(code(world, writer, pin("other/x")) == .permissionDenied)
            #expect(code(world, writer, pin("")) == .permissionDenied)
            #expect(code(world, reader, pin("team/a")) == .permissionDenied)
            #expect(code(world, admin, pin("")) == nil)
            #expect(code(world, admin, pin("other/x")) == nil)
            #expect(code(world, admin, pin("Not A Name")) == .invalidArgument)
            func names(_ token: String) throws -> [String] {
                try world.withRemote(token: token) { store in
                    try store.pins(prefix: "", after: "", limit: 10).entries.map(\.name)
                }
            }
            #expect(try names(admin) == ["", "other/x", "team", "team/a"])
            #expect(try names(writer) == ["team", "team/a"])
            #expect(try names(reader) == ["other/x", "team", "team/a"])
            func unpin(_ name: String) -> (RemoteStore) throws -> Void {
                { try $0.unpin(digest, name: name, PinRequest()) }
            }
            #expect(code(world, writer, unpin("other/x")) == .permissionDenied)
            #expect(code(world, writer, unpin("")) == .permissionDenied)
            #expect(code(world, reader, unpin("team/a")) == .permissionDenied)
            #expect(code(world, writer, unpin("team/a")) == nil)
            #expect(code(world, writer, unpin("team/a")) == .notFound)
            #expect(code(world, admin, unpin("")) == nil)
            #expect(try names(admin) == ["other/x", "team"])
        }
    }

    @Test func `the subject of a pin is whom the token is for and not what a client says`()
        async throws
    {
        try await onThread {
            let (world, digest) = try world()
            let request = PinRequest(provenance: Provenance(author: "ada", subject: "root"))
            let pin = try world.withRemote(token: try world.token("write")) { store in
                try store.pin(digest, name: "team/a", request)
            }
            #expect(pin.provenance.author == "ada")
            #expect(pin.provenance.subject != "root")
        }
    }

    @Test func `only an administrator sees and sets rules`() async throws {
        try await onThread {
            let (world, _) = try world()
            let writer = try world.token("read+write+delete+cache-write")
            let partial = try world.token("admin:team")
            let admin = try world.token("admin")
            var rule = RetentionRule(pattern: "team/**")
            rule.keep = 3
            let set: (RemoteStore) throws -> Void = { [rule] in _ = try $0.set(rule: rule) }
            let remove: (RemoteStore) throws -> Void = { [rule] in try $0.remove(rule: rule) }
            let list: (RemoteStore) throws -> Void = { _ = try $0.rules() }
            for token in [writer, partial] {
                #expect(code(world, token, set) == .permissionDenied)
                #expect(code(world, token, remove) == .permissionDenied)
                #expect(code(world, token, list) == .permissionDenied)
            }
            #expect(code(world, admin, set) == nil)
            let rules = try world.withRemote(token: admin) { try $0.rules() }
            #expect(rules.map(\.pattern) == ["team/**"])
            #expect(rules.map(\.keep) == [3])
            #expect(code(world, admin, remove) == nil)
            #expect(code(world, admin, remove) == .notFound)
            rule.pattern = "Team"
            let wrong: (RemoteStore) throws -> Void = { [rule] in _ = try $0.set(rule: rule) }
            #expect(code(world, admin, wrong) == .invalidArgument)
        }
    }

    @Test func `a push beyond a quota is refused before anything is uploaded`() async throws {
        try await onThread {
            let (world, _) = try world()
            var rule = RetentionRule(pattern: "team/**")
            rule.quota = 6 << 20
            _ = try world.withAdministrator { [rule] in try $0.set(rule: rule) }
            for index in 0..<12 {
                try world.write(
                    "file-\(index)", content(seed: UInt64(index), count: 1 << 20), in: "large")
            }
            let writer = try world.token("read+write:team")
            let before = try world.withAdministrator { try $0.usage() }.storedBytes
            let error = failure(
                Result {
                    try world.withRemote(token: writer) { store in
                        _ = try world.push("team/large", store, workspace: "large")
                    }
                })
            #expect(error?.code == .resourceExhausted)
            let words =
                "the quota of 'team/**' is 6.0 MiB: its refs use 1000 B, and this push has "
                + "12 MiB more"
            #expect(error?.message == words)
            let after = try world.withAdministrator { try $0.usage() }.storedBytes
            #expect(after == before)
            // Who may not write a name is not told how full it is.
            let request = QuotaRequest(ref: try RefName("other/x"), bytes: 1 << 40)
            let ask: (RemoteStore) throws -> Void = { try $0.checkQuota(request, push: .random()) }
            #expect(code(world, writer, ask) == .permissionDenied)
            rule.quota = 20 << 20
            _ = try world.withAdministrator { [rule] in try $0.set(rule: rule) }
            let pushed = try world.withRemote(token: writer) { store in
                try world.push("team/large", store, workspace: "large")
            }
            #expect(pushed.response?.outcome == .done)
        }
    }

    @Test func `what keeps a blob is told by names that the caller may read, and no others`()
        async throws
    {
        try await onThread {
            let (world, digest) = try world()
            let admin = try world.token("admin")
            let reader = try world.token("read:team")
            // Fetched by digest: whoever knows that digest may fetch it too.
            _ = try world.withRemote(token: admin) { store in
                try store.plan(PlanRequest(want: digest.description))
            }
            let blob = Digest.of(content(seed: 1, count: 1000))
            func kinds(_ token: String) throws -> Set<String> {
                try world.withRemote(token: token) { store in
                    let request = MaintenanceRequest(kind: .why, digest: blob)
                    _ = try store.maintain(request)
                    let state = try store.maintenance(request.id, seconds: 20)
                    #expect(state.isDone && state.failure == nil)
                    return Set(state.findings.map { "\($0.kind) \($0.name)" })
                }
            }
            #expect(try kinds(reader) == ["ref team/a:latest"])
            #expect(
                try kinds(admin).isSuperset(
                    of: ["ref team/a:latest", "ref other/x:latest", "fetched "]))
            let hidden = MaintenanceRequest(kind: .why, ref: try RefName("other/x"))
            #expect(code(world, reader) { _ = try $0.maintain(hidden) } == .notFound)
        }
    }
}
