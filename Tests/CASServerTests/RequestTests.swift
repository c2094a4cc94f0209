import CASClient
import CASCore
import CASHTTP
import CASServer
import CASTestSupport
import CASWire
import Testing

@Suite struct RequestTests {
    private static let push = String(repeating: "a", count: 32)

    @Test func `unknown paths and methods are told apart from absent things`() async throws {
        try await onThread {
            let connection = try ServerWorld().rawKept()
            for (method, path) in [
                ("GET", "/"), ("GET", "/v3"), ("POST", "/v1"), ("DELETE", "/v1/refs"),
                ("PATCH", "/v1/refs/a"), ("GET", "/v1/push/\(Self.push)"), ("PUT", "/healthz"),
                ("GET", "/v1/plan"), ("HEADER", "/v1"),
            ] where method != "HEADER" {
                let answer = try connection.raw.request(
                    method, path, body: method == "GET" ? nil : [])
                #expect(answer.status == 501, "\(method) \(path)")
            }
            for path in [
                "/v1/push/xyz", "/v1/blobs/12", "/v1/refs/UPPER", "/v1/refs/a?tag=.b",
                "/v1/history/a?before=x", "/v1/refs?after=%ff",
                "/v1/plan/x/data/a/1", "/v1/plan/x/data/-1/1",
            ] {
                let method = path.hasPrefix("/v1/push") ? "DELETE" : "GET"
                let answer = try connection.raw.request(method, path)
                #expect(answer.status == 400, "\(path): \(answer.status)")
            }
            for path in ["/v1/refs/a", "/v1/blobs/\(String(repeating: "b", count: 64))"] {
                #expect(try connection.raw.request("GET", path).status == 404, "\(path)")
            }
            for query in ["limit=-1", "limit=99999999999", "limit=x", "prefix=%", "&&=&a=b=c"] {
                #expect(
                    try connection.raw.request("GET", "/v1/refs?\(query)").status == 200, "\(query)"
                )
            }
        }
    }

    @Test func `a body above the limit is refused before it is read`() async throws {
        try await onThread {
            let kept = try ServerWorld { configuration, _ in
                configuration.limits.requestBytes = 100_000
            }.rawKept()
            try kept.raw.send(
                "PUT /v1/push/\(Self.push)/streams/0/0 HTTP/1.1\r\nhost: localhost\r\n"
                    + "content-length: 100001\r\n\r\n")
            let answer = try kept.raw.answer()
            #expect(answer.status == 413)
            #expect(answer.text.contains("at most 97 KiB"), "\(answer.text)")
            // The same without a declared size: as soon as too much came.
            let second = try kept.world.raw()
            try second.send(
                "PUT /v1/push/\(Self.push)/streams/0/0 HTTP/1.1\r\nhost: localhost\r\n"
                    + "transfer-encoding: chunked\r\n\r\n")
            let piece = "8000\r\n" + String(repeating: "x", count: 0x8000) + "\r\n"
            for _ in 0..<4 { try second.send(piece) }
            #expect(try second.answer().status == 413)
            // What is asked for with Expect is not asked for when it is too much.
            let third = try kept.world.raw()
            try third.send(
                "PUT /v1/push/\(Self.push)/streams/0/0 HTTP/1.1\r\nhost: localhost\r\n"
                    + "expect: 100-continue\r\ncontent-length: 100001\r\n\r\n")
            #expect(try third.answer().status == 413)
        }
    }

    @Test func `a body is asked for where the client waits for that`() async throws {
        try await onThread {
            let kept = try ServerWorld().rawKept()
            try kept.raw.send(
                "POST /v1/plan HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\n"
                    + "content-length: 8\r\n\r\n")
            #expect(try kept.raw.head().status == 100)
            try kept.raw.send(Array(PlanRequest(want: "abcdef").encode()))
            #expect(try kept.raw.answer().status == 404)
            // Refused rights come at once, and no body is asked for.
            let second = try kept.world.raw()
            try second.send(
                "POST /v1/plan HTTP/1.1\r\nhost: evil.example\r\nexpect: 100-continue\r\n"
                    + "content-length: 8\r\n\r\n")
            #expect(try second.head().status == 403)
        }
    }

    @Test func `random bytes never hurt the server`() async throws {
        try await onThread {
            let kept = try ServerWorld().rawKept()
            let zero = String(repeating: "0", count: 64)
            let paths = [
                ("POST", "/v1/push/\(Self.push)/missing"),
                ("PUT", "/v1/push/\(Self.push)/streams/0/"),
                ("POST", "/v1/push/\(Self.push)"), ("POST", "/v1/plan"), ("POST", "/v1/blobs"),
                ("PUT", "/v1/refs/team/project"), ("DELETE", "/v1/refs/team/project"),
                ("POST", "/v1/tokens"), ("DELETE", "/v1/push/\(zero)"),
            ]
            var generator = SeededGenerator(seed: 42)
            for round in 0..<60 {
                for (method, base) in paths where !(method == "DELETE" && base.hasSuffix(zero)) {
                    let path = base.hasSuffix("/") ? "\(base)\(round)" : base
                    var body = generator.bytes(1 + round * 37)
                    // Often a beginning that could be one of ours.
                    if round % 3 == 1 { body.replaceSubrange(0..<1, with: [0x0a, UInt8(round)]) }
                    if round % 3 == 2 {
                        body.insert(contentsOf: Array("CASR".utf8) + [1, 1], at: 0)
                    }
                    let answer = try kept.raw.request(method, path, body: body)
                    #expect(
                        (400..<500).contains(answer.status),
                        "seed 42 round \(round) \(method) \(path): \(answer.status) \(answer.text)")
                }
            }
            #expect(try kept.raw.request("GET", "/v1").status == 200)
        }
    }

    @Test func `an upload that breaks off is no failure of the server`() async throws {
        try await onThread {
            let kept = try ServerWorld().rawKept()
            for path in ["/v1/push/\(Self.push)/streams/0/0", "/v1/plan"] {
                let connection = try kept.world.raw()
                let method = path.hasSuffix("plan") ? "POST" : "PUT"
                try connection.send(
                    "\(method) \(path) HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5000\r\n\r\nshort"
                )
                connection.finishSending()
                while try connection.more() {}
            }
            #expect(try kept.raw.request("GET", "/healthz").status == 200)
            let page = try kept.raw.request("GET", "/metrics").text
            #expect(!page.contains("code=\"500\""), "\(page)")
            #expect(page.contains("cas_http_active_requests 1\n"))
        }
    }

    @Test func `what is not HTTP is answered with 400 and the connection ends`() async throws {
        try await onThread {
            let kept = try ServerWorld().rawKept()
            let connection = try kept.world.raw()
            try connection.send("\u{1}\u{2}nonsense\r\n\r\n")
            #expect(try connection.answer().status == 400)
            #expect(try kept.raw.request("GET", "/healthz").status == 200)
        }
    }

    @Test func `a connection serves one request after another`() async throws {
        try await onThread {
            let kept = try ServerWorld().rawKept()
            for _ in 0..<50 { #expect(try kept.raw.request("GET", "/v1").status == 200) }
            // Also after a refused body, which the server reads and drops.
            let refused = try kept.raw.request(
                "POST", "/v1/plan", headers: ["host": "evil.example"], body: [1, 2, 3])
            #expect(refused.status == 403)
            #expect(try kept.raw.request("GET", "/v1").status == 200)
        }
    }

    @Test func `a range of a blob is what was asked for`() async throws {
        try await onThread {
            let kept = try ServerWorld().rawKept()
            let bytes = content(seed: 3, count: 3_000_000)
            try kept.world.write("big.bin", bytes)
            try kept.world.withRemote { _ = try kept.world.push("team/project", $0) }
            let digest = bytes.withUnsafeBytes { Digest.of($0) }
            let path = "/v1/blobs/\(digest.hexadecimal)"
            let size = bytes.count
            for (header, range) in [
                ("bytes=0-0", 0..<1), ("bytes=5-", 5..<size), ("bytes=-7", size - 7..<size),
                ("bytes=100-2000000", 100..<2_000_001), ("bytes=2999999-9999999", size - 1..<size),
                ("bytes=-99999999", 0..<size),
            ] {
                let answer = try kept.raw.request("GET", path, headers: ["range": header])
                #expect(answer.status == 206, "\(header)")
                #expect(answer.body == Array(bytes[range]), "\(header)")
                #expect(
                    answer.headers["content-range"]
                        == "bytes \(range.lowerBound)-\(range.upperBound - 1)/\(size)")
            }
            for header in ["bytes=3000000-", "bytes=99999999999999999999-", "bytes=-0"] {
                let answer = try kept.raw.request("GET", path, headers: ["range": header])
                #expect(answer.status == (header.count > 25 ? 200 : 416), "\(header)")
            }
            for header in [
                "bytes=9-5", "lines=1-2", "bytes=1-2,4-5", "bytes", "bytes=-", "bytes=a-b",
                "bytes=+1-5", "bytes=1-+5",
            ] {
                let answer = try kept.raw.request("GET", path, headers: ["range": header])
                #expect(answer.status == 200, "\(header)")
                #expect(answer.body.count == size)
            }
        }
    }
}

extension ServerWorld {
    /// The world and one connection to it, which keep each other.
    func rawKept() throws -> (world: ServerWorld, raw: RawConnection) { (self, try raw()) }
}
