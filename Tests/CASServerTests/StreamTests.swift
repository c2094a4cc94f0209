import CASClient
import CASCore
import CASPack
import CASServer
import CASTestSupport
import CASWire
import Testing

/// Clients that ask for much and take little.
@Suite struct StreamTests {
    /// A server whose `team/project` has so many files of 1 MiB, and the path of all their records.
    private static func world(
        files: Int, _ change: (inout ServerConfiguration) -> Void = { _ in }
    ) throws -> (world: ServerWorld, path: String) {
        let world = try ServerWorld { configuration, _ in change(&configuration) }
        for number in 0..<files {
            try world.write("part\(number).bin", content(seed: UInt64(number), count: 1 << 20))
        }
        let plan = try world.withRemote { store in
            try world.push("team/project", store)
            return try store.plan(PlanRequest(want: "team/project")).planID
        }
        return (world, "/v1/plan/\(plan)/data/0/1")
    }

    /// Connections that ask for `path` and read no more than the head of the answer.
    private static func stalled(
        _ port: UInt16, _ path: String, count: Int
    ) throws -> [RawConnection] {
        let connections = try (0..<count).map { _ in
            let connection = try RawConnection(port: port)
            try connection.send("GET \(path) HTTP/1.1\r\nhost: localhost\r\n\r\n")
            return connection
        }
        for connection in connections { #expect(try connection.head().status == 200) }
        return connections
    }

    @Test func `a hundred clients that do not read cost little memory`() async throws {
        try await onThread {
            let (world, path) = try Self.world(files: 24)
            try world.stop()
            let server = try ServerProcess(storeDirectory: world.configuration.storeDirectory)
            let connections = try Self.stalled(server.port, path, count: 100)
            #expect(try server.settledBytes() < 256 << 20)
            let another = try RawConnection(port: server.port)
            #expect(try another.request("GET", path).body.count > 24 << 20)
            withExtendedLifetime(connections) {}
        }
    }

    @Test func `a server takes more connections than the usual limit of files`() async throws {
        try await onThread {
            let temporary = try TemporaryDirectory()
            let server = try ServerProcess(storeDirectory: temporary.path + "/store", files: 64)
            let connections = try (0..<100).map { _ in try RawConnection(port: server.port) }
            for connection in connections {
                #expect(try connection.request("GET", "/v1").status == 200)
            }
        }
    }

    @Test func `clients that stand still give way to one that reads`() async throws {
        try await onThread {
            let (world, path) = try Self.world(files: 24) { configuration in
                configuration.limits.answerBytes = 4 << 20
                configuration.limits.answerStallNanoseconds = 500_000_000
            }
            let connections = try Self.stalled(world.port, path, count: 16)
            let answer = try world.raw().request("GET", path)
            var decoder = RecordStreamDecoder(limits: .standard)
            try answer.body.withUnsafeBytes { try decoder.push($0) { _ in } }
            try decoder.finish()
            let isEnded = decoder.isEnded
            #expect(isEnded)
            withExtendedLifetime(connections) {}
        }
    }

    @Test func `a stop does not wait for clients that stand still`() async throws {
        try await onThread {
            let (world, path) = try Self.world(files: 24)
            let connections = try Self.stalled(world.port, path, count: 4)
            try world.stop()
            withExtendedLifetime(connections) {}
        }
    }
}
