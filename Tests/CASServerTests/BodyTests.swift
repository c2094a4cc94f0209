import CASCore
import CASFileSystem
import CASHTTP
import CASServer
import CASTestSupport
import CASWire
import Testing

/// Bodies that come slowly, or never.
@Suite struct BodyTests {
    private static let push = String(repeating: "a", count: 32)

    /// A request whose body has begun and goes on with chunks.
    private static func begin(
        _ world: ServerWorld, _ request: String, first: String
    ) throws -> RawConnection {
        let connection = try world.raw()
        try connection.send(
            "\(request) HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        try connection.send("\(String(first.utf8.count, radix: 16))\r\n\(first)\r\n")
        return connection
    }

    @Test func `slow bodies keep nobody else waiting`() async throws {
        try await onThread {
            let world = try ServerWorld()
            var slow: [RawConnection] = []
            let upload = "PUT /v1/push/\(Self.push)/streams"
            for number in 0..<12 {
                slow.append(try Self.begin(world, "POST /v1/plan", first: "x"))
                slow.append(
                    try Self.begin(
                        world, "\(upload)/\(number)/0",
                        first: String(repeating: "x", count: 300_000)))
                let declared = try world.raw()
                try declared.send(
                    "\(upload)/\(number)/1 HTTP/1.1\r\nhost: localhost\r\ncontent-length: 33554432"
                        + "\r\n\r\nslowly")
                slow.append(declared)
            }
            let plan = Array(PlanRequest(want: "no/such").encode())
            #expect(try world.raw().request("POST", "/v1/plan", body: plan).status == 404)
            let large = [UInt8](repeating: 120, count: 8 << 20)
            let answer = try world.raw().request(
                "PUT", "/v1/push/\(Self.push)/streams/0/0", body: large)
            #expect(answer.status == 400)
            withExtendedLifetime(slow) {}
        }
    }

    @Test func `each kind of request has its own limit`() async throws {
        try await onThread {
            let world = try ServerWorld()
            let digests = 100_000 * 32 + 1024
            for (method, path, limit) in [
                ("POST", "/v1/plan", 128 << 10), ("PUT", "/v1/refs/team/project", 128 << 10),
                ("DELETE", "/v1/refs/team/project", 128 << 10), ("POST", "/v1/tokens", 128 << 10),
                ("POST", "/v1/blobs", digests), ("POST", "/v1/push/\(Self.push)/missing", digests),
                ("PUT", "/v1/push/\(Self.push)/streams/0/0", 32 << 20),
                ("POST", "/v1/push/\(Self.push)", 32 << 20),
            ] {
                let connection = try world.raw()
                try connection.send(
                    "\(method) \(path) HTTP/1.1\r\nhost: localhost\r\n"
                        + "content-length: \(limit + 1)\r\n\r\n")
                #expect(try connection.answer().status == 413, "\(method) \(path)")
            }
            // Without a declared size as soon as too much came.
            let chunked = try Self.begin(
                world, "POST /v1/plan", first: String(repeating: "x", count: (128 << 10) + 1))
            #expect(try chunked.answer().status == 413)
        }
    }

    @Test func `a body that stands still or trickles is given up`() async throws {
        try await onThread {
            let world = try ServerWorld { configuration, _ in
                configuration.limits.bodyStallNanoseconds = 400_000_000
                configuration.limits.bodyBytesPerSecond = 1 << 20
            }
            let still = try Self.begin(world, "POST /v1/plan", first: "x")
            let answer = try still.answer()
            #expect(answer.status == 408)
            #expect(answer.text.contains("too slowly"), "\(answer.text)")
            // The server ends the connection, so that it waits for nothing more.
            while try still.more() {}
            let trickling = try Self.begin(
                world, "PUT /v1/push/\(Self.push)/streams/0/0", first: "x")
            while !trickling.isReadable {
                try trickling.send("1\r\ny\r\n")
                Sleep.milliseconds(50)
            }
            #expect(try trickling.head().status == 408)
        }
    }
}

@Suite struct MemoryGateTests {
    @Test func `who is cancelled while it waits gives its place to the next`() async throws {
        let gate = MemoryGate(bytes: 100)
        let first = gate.loan()
        try await gate.acquire(80, for: first)
        let large = Task { try await gate.acquire(90, for: gate.loan()) }
        while gate.waitingCount < 1 { await Task.yield() }
        let small = gate.loan()
        let behind = Task { try await gate.acquire(20, for: small) }
        while gate.waitingCount < 2 { await Task.yield() }
        large.cancel()
        await #expect(throws: CancellationError.self) { try await large.value }
        try await behind.value
        #expect(gate.availableBytes == 0)
        gate.end(small, 20)
        gate.end(first, 80)
        #expect(gate.availableBytes == 100)
        let late = Task {
            while !Task.isCancelled { await Task.yield() }
            try await gate.acquire(10, for: gate.loan())
        }
        late.cancel()
        await #expect(throws: CancellationError.self) { try await late.value }
        #expect(gate.availableBytes == 100)
        #expect(gate.waitingCount == 0)
    }

    @Test func `borrowers that come back for more all finish`() async throws {
        let gate = MemoryGate(bytes: 192, reserve: 32)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for seed in 0..<64 {
                group.addTask {
                    var generator = SeededGenerator(seed: UInt64(seed))
                    let loan = gate.loan()
                    var borrowed = 0
                    while borrowed < 32 {
                        let step = 1 + Int(generator.next() % UInt64(32 - borrowed))
                        try await gate.acquire(step, for: loan)
                        borrowed += step
                        await Task.yield()
                    }
                    gate.end(loan, borrowed)
                }
            }
            try await group.waitForAll()
        }
        #expect(gate.availableBytes == 192)
    }
}
