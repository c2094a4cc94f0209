import CASCore
import CASOCI
import CASTestSupport
import Testing

/// Ranges of blobs, and conditions.
@Suite struct RangeTests {
    @Test(arguments: [
        ("bytes=500-1499", 500..<1_500), ("bytes=500-", 500..<4_000), ("bytes=-500", 3_500..<4_000),
        ("bytes=2000-5000", 2_000..<4_000), ("bytes=-9999", 0..<4_000), ("BYTES=0-0", 0..<1),
    ])
    func `one range is one part`(header: String, range: Range<Int>) async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let bytes = content(seed: 1, count: 4_000)
            let path = "/v2/a/blobs/\(try client.push("a", bytes))"
            let answer = try client.request("GET", path, ["range": header])
            #expect(answer.status == 206)
            #expect(answer.body == Array(bytes[range]))
            #expect(answer.headers["content-length"] == "\(range.count)")
            #expect(
                answer.headers["content-range"]
                    == "bytes \(range.lowerBound)-\(range.upperBound - 1)/4000")
        }
    }

    @Test func `ranges that are none`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let bytes = content(seed: 1, count: 4_000)
            let digest = try client.push("a", bytes)
            let path = "/v2/a/blobs/\(digest)"
            for header in ["bytes=500-0", "bytes=5000-10000", "bytes=4000-", "bytes=-0"] {
                let answer = try client.request("GET", path, ["range": header])
                #expect(answer.status == 416, "\(header)")
                #expect(answer.headers["content-range"] == "bytes */4000", "\(header)")
            }
            for header in ["pages=1-2", "bytes=", "bytes=a-b", "bytes"] {
                let answer = try client.request("GET", path, ["range": header])
                #expect((answer.status, answer.body == bytes) == (200, true), "\(header)")
            }
            // A range of something else is a range of nothing.
            for (tag, status) in [
                ("\"\(digest)\"", 206), ("\"other\"", 200), ("W/\"\(digest)\"", 200),
            ] {
                let answer = try client.request(
                    "GET", path, ["range": "bytes=0-9", "if-range": tag])
                #expect(answer.status == status, "\(tag)")
            }
            let many = "bytes=" + (0..<1_025).map { "\($0)-\($0)" }.joined(separator: ",")
            #expect(try client.request("GET", path, ["range": many]).status == 400)
            let much = "bytes=0-,0-,0-,0-"
            #expect(try client.request("GET", path, ["range": much]).status == 400)
            #expect(try client.request("HEAD", path, ["range": "bytes=0-9"]).status == 200)
        }
    }

    @Test(arguments: [2, 3, 1_024])
    func `several ranges come in their order`(count: Int) async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let bytes = content(seed: 2, count: 300_000)
            let path = "/v2/a/blobs/\(try client.push("a", bytes))"
            var generator = SeededGenerator(seed: UInt64(count))
            let ranges = (0..<count).map { _ in
                let start = Int.random(in: 0..<299_000, using: &generator)
                return start..<start + Int.random(in: 1..<200, using: &generator)
            }
            let header =
                "bytes="
                + ranges.map { "\($0.lowerBound)-\($0.upperBound - 1)" }
                .joined(separator: ", ")
            let answer = try client.request("GET", path, ["range": header])
            #expect(answer.status == 206)
            #expect(answer.headers["content-length"] == "\(answer.body.count)")
            let type = answer.headers["content-type"] ?? ""
            let boundary = type.split(separator: "boundary=").last ?? ""
            #expect(type.hasPrefix("multipart/byteranges; boundary="))
            var expected: [UInt8] = []
            for (index, range) in ranges.enumerated() {
                expected += Array(
                    ("\(index > 0 ? "\r\n" : "")--\(boundary)\r\nContent-Type: application/octet-stream\r\n"
                        + "Content-Range: bytes \(range.lowerBound)-\(range.upperBound - 1)/300000\r\n\r\n")
                        .utf8)
                expected += bytes[range]
            }
            expected += Array("\r\n--\(boundary)--\r\n".utf8)
            #expect(answer.body == expected)
        }
    }

    @Test func `who has it already is not sent it again`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let digest = try client.push("a", [1, 2, 3])
            let manifest = try client.pushImage("a", "v1")
            for (path, tag) in [
                ("/v2/a/blobs/\(digest)", digest), ("/v2/a/manifests/v1", manifest),
                ("/v2/a/manifests/\(manifest)", manifest),
            ] {
                for header in ["\"\(tag)\"", "W/\"\(tag)\"", "\"x\", \"\(tag)\"", "*"] {
                    for method in ["GET", "HEAD"] {
                        let answer = try client.request(method, path, ["if-none-match": header])
                        #expect((answer.status, answer.body) == (304, []), "\(path) \(header)")
                        #expect(answer.headers["etag"] == "\"\(tag)\"")
                    }
                }
                #expect(try client.request("GET", path, ["if-none-match": "\"x\""]).status == 200)
            }
        }
    }

    @Test func `stored frames are for who names them, whole and with GET only`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let text = Array(String(repeating: "a line of a file\n", count: 20_000).utf8)
            let path = "/v2/a/blobs/\(try client.push("a", text))"
            let frames = try client.request(
                "GET", path, ["accept-encoding": "gzip;q=0.5, zstd;q=1.0"])
            #expect(frames.headers["content-encoding"] == "zstd")
            #expect(frames.body.count < text.count / 10)
            #expect(Array(frames.body.prefix(4)) == [0x28, 0xb5, 0x2f, 0xfd])
            #expect(frames.headers["etag"]?.hasPrefix("W/") == true)
            for (method, more) in [
                ("GET", ["accept-encoding": "gzip, deflate"]), ("GET", ["accept-encoding": "*"]),
                ("GET", ["accept-encoding": "zstd;q=0"]), ("GET", [:]),
                ("HEAD", ["accept-encoding": "zstd"]),
            ] {
                let answer = try client.request(method, path, more)
                #expect(answer.headers["content-encoding"] == nil)
                #expect(answer.headers["content-length"] == "\(text.count)")
                #expect(answer.headers["vary"] == "Accept-Encoding")
            }
            let part = try client.request(
                "GET", path, ["accept-encoding": "zstd", "range": "bytes=17-33"])
            #expect((part.status, part.text) == (206, "a line of a file\n"))
            #expect(part.headers["content-encoding"] == nil)
        }
    }
}
