import CASCore
import CASOCI
import CASServer
import CASTestSupport
import Testing

/// Uploads over real connections: the forms of the specification, and what goes wrong on the way.
@Suite struct UploadTests {
    private static let name = "team/uploads"

    @Test(arguments: OCIDigest.Algorithm.allCases)
    func `all forms of an upload end in the same blob`(algorithm: OCIDigest.Algorithm) async throws
    {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            for (index, count) in [0, 1, 511, 700_000].enumerated() {
                for form in 0..<5 {
                    let bytes = content(seed: UInt64(index * 10 + form), count: count)
                    let digest = OCIDigest.of(bytes, algorithm)
                    let answer = try upload(client, bytes, digest, form)
                    #expect(answer.status == 201, "\(count) \(form): \(answer.text)")
                    #expect(answer.digest == digest.description)
                    let location = answer.headers["location"] ?? ""
                    #expect(location == "/v2/\(Self.name)/blobs/\(digest)")
                    let got = try client.request("GET", location)
                    #expect(got.status == 200)
                    #expect(got.body == bytes)
                    let headed = try client.request("HEAD", location)
                    for header in [
                        "content-length", "content-type", "docker-content-digest", "etag",
                        "accept-ranges",
                    ] { #expect(headed.headers[header] == got.headers[header], "\(header)") }
                    #expect(headed.headers["content-length"] == "\(count)")
                }
            }
        }
    }

    private func upload(
        _ client: RegistryClient, _ bytes: [UInt8], _ digest: OCIDigest, _ form: Int
    ) throws -> RegistryClient.Answer {
        let begin = "/v2/\(Self.name)/blobs/uploads/"
        switch form {
        case 0: return try client.request("POST", "\(begin)?digest=\(digest)", body: bytes)
        case 1:
            return try client.request(
                "PUT", "\(try client.begin(Self.name))?digest=\(digest)", body: bytes)
        case 2:
            let location = try client.stream("PATCH", try client.begin(Self.name), bytes)
                .headers["location"]
            return try client.request("PUT", "\(location ?? "")?digest=\(digest)")
        case 3:
            // In parts, the last one with the PUT.
            var location = try client.begin(Self.name)
            var start = 0
            while bytes.count - start > 100_000 {
                let answer = try client.request(
                    "PATCH", location, ["content-range": "\(start)-\(start + 99_999)"],
                    body: Array(bytes[start..<start + 100_000]))
                #expect(answer.status == 202)
                #expect(answer.headers["range"] == "0-\(start + 99_999)")
                location = answer.headers["location"] ?? ""
                start += 100_000
            }
            let range = ["content-range": "\(start)-\(bytes.count - 1)"]
            return try client.request(
                "PUT", "\(location)?digest=\(digest)", start < bytes.count ? range : [:],
                body: Array(bytes[start...]))
        default:
            let announced = try client.request(
                "POST", "\(begin)?digest-algorithm=\(digest.algorithm.rawValue)")
            return try client.stream(
                "PUT", "\(announced.headers["location"] ?? "")?digest=\(digest)", bytes)
        }
    }

    @Test func `a blob in one request is one commit`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            func commits() throws -> Int {
                let name = "cas_commits_total "
                let lines = try client.request("GET", "/metrics").text.split(separator: "\n")
                return lines.first { $0.hasPrefix(name) }.flatMap {
                    Int($0.dropFirst(name.count))
                } ?? -1
            }
            let bytes = content(seed: 8, count: 300_000)
            for form in 0..<2 {
                let before = try commits()
                let answer = try upload(
                    client, Array(bytes.dropFirst(form)),
                    OCIDigest.of(Array(bytes.dropFirst(form))), form)
                #expect(answer.status == 201)
                #expect(try commits() == before + 1)
            }
        }
    }

    @Test func `an upload says where it stands, in the form that clients read`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let begun = try client.request("POST", "/v2/\(Self.name)/blobs/uploads/")
            #expect(begun.status == 202)
            #expect(begun.headers["range"] == "0-0")
            #expect(begun.headers["content-length"] == "0")
            let location = begun.headers["location"] ?? ""
            #expect(location.hasPrefix("/v2/\(Self.name)/blobs/uploads/"))
            #expect(location.hasSuffix(begun.headers["docker-upload-uuid"] ?? "?"))
            var answer = try client.request("GET", location)
            #expect(answer.status == 204)
            #expect(answer.headers["range"] == "0-0")
            answer = try client.stream("PATCH", location, content(seed: 1, count: 1_000))
            #expect(answer.status == 202)
            #expect(answer.headers["range"] == "0-999")
            answer = try client.request("GET", location)
            #expect((answer.status, answer.headers["range"]) == (204, "0-999"))
            #expect(answer.headers["location"] == location)
            #expect(try client.request("DELETE", location).status == 204)
            for method in ["GET", "PATCH", "DELETE", "PUT"] {
                let query = method == "PUT" ? "?digest=\(Digest.empty)" : ""
                answer = try client.request(method, location + query)
                #expect((answer.status, answer.code) == (404, "BLOB_UPLOAD_UNKNOWN"), "\(method)")
            }
        }
    }

    @Test func `parts out of order are refused, and the upload goes on where it was`() async throws
    {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let bytes = content(seed: 3, count: 3_000)
            let location = try client.begin(Self.name)
            for (start, size) in [(1_000, "0-0"), (0, "0-999"), (0, "0-999"), (2_000, "0-999")] {
                let answer = try client.request(
                    "PATCH", location, ["content-range": "\(start)-\(start + 999)"],
                    body: Array(bytes[start..<start + 1_000]))
                let isNext = start == 0 && size == "0-999" && answer.status == 202
                #expect(isNext || answer.status == 416)
                #expect(answer.headers["range"] == size)
                #expect(answer.headers["location"] == location)
                #expect(try client.request("GET", location).headers["range"] == size)
            }
            let digest = OCIDigest.of(bytes)
            let late = try client.request(
                "PUT", "\(location)?digest=\(digest)", ["content-range": "2000-2999"],
                body: Array(bytes[2_000...]))
            #expect((late.status, late.code) == (416, "RANGE_INVALID"))
            let last = try client.request(
                "PUT", "\(location)?digest=\(digest)", ["content-range": "1000-2999"],
                body: Array(bytes[1_000...]))
            #expect(last.status == 201)
        }
    }

    @Test func `wrong digests, lengths and ranges leave nothing to be seen`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let bytes = content(seed: 4, count: 2_000)
            let wrong = OCIDigest.of([1])
            for form in 0..<5 {
                let answer = try upload(client, bytes, wrong, form)
                #expect((answer.status, answer.code) == (400, "DIGEST_INVALID"), "\(form)")
            }
            let begin = "/v2/\(Self.name)/blobs/uploads/"
            for query in [
                "digest=sha256:xyz", "digest=md5:00", "mount=nonsense", "digest-algorithm=md5",
            ] {
                let answer = try client.request("POST", "\(begin)?\(query)", body: bytes)
                #expect((answer.status, answer.code) == (400, "DIGEST_INVALID"), "\(query)")
            }
            let location = try client.begin(Self.name)
            var answer = try client.request("PUT", location, body: bytes)
            #expect((answer.status, answer.code) == (400, "DIGEST_INVALID"))
            answer = try client.request(
                "PATCH", location, ["content-range": "0-99"], body: bytes)
            #expect((answer.status, answer.code) == (400, "SIZE_INVALID"))
            for range in ["x", "5-2", "1-", "-1", "0-0-0"] {
                answer = try client.request("PATCH", location, ["content-range": range], body: [1])
                #expect((answer.status, answer.code) == (416, "RANGE_INVALID"), "\(range)")
            }
            #expect(try client.request("GET", location).headers["range"] == "0-0")
            for digest in [wrong, OCIDigest.of(bytes)] {
                answer = try client.request("HEAD", "/v2/\(Self.name)/blobs/\(digest)")
                #expect(answer.status == 404)
            }
            #expect(try client.request("GET", "/v2/\(Self.name)/tags/list").status == 404)
        }
    }

    @Test func `a body that ends too early or stands still loses nothing`() async throws {
        try await onThread {
            let world = try RegistryWorld { configuration, _ in
                configuration.limits.bodyStallNanoseconds = 400_000_000
            }
            let client = try world.client()
            let bytes = content(seed: 5, count: 600_000)
            for isStalled in [false, true] {
                let name = "\(Self.name)/\(isStalled ? "stalled" : "cut")"
                let location = try client.begin(name)
                let other = try world.client()
                try other.raw.send(
                    "PATCH \(location) HTTP/1.1\r\nhost: localhost\r\ncontent-length: 600000\r\n\r\n"
                )
                try other.raw.send(Array(bytes[..<300_000]))
                if isStalled {
                    #expect(try other.raw.answer().status == 408)
                } else {
                    other.raw.finishSending()
                    while try other.raw.more() {}
                }
                var size = 0
                while size == 0 {
                    let answer = try client.request("GET", location)
                    #expect(answer.status == 204)
                    size = Int(answer.headers["range"]?.dropFirst(2) ?? "") ?? 0
                }
                #expect(size == 299_999)
                let digest = OCIDigest.of(bytes)
                #expect(try client.request("HEAD", "/v2/\(name)/blobs/\(digest)").status == 404)
                let last = try client.request(
                    "PUT", "\(location)?digest=\(digest)",
                    ["content-range": "\(size + 1)-599999"], body: Array(bytes[(size + 1)...]))
                #expect(last.status == 201)
                #expect(try client.request("GET", "/v2/\(name)/blobs/\(digest)").body == bytes)
            }
        }
    }

    @Test func `an upload goes on after the server was started again`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let bytes = content(seed: 6, count: 500_000)
            let location: String
            do {
                let client = try world.client()
                location = try client.begin(Self.name)
                let answer = try client.stream("PATCH", location, Array(bytes[..<300_001]))
                #expect(answer.headers["range"] == "0-300000")
            }
            try world.restart()
            let client = try world.client()
            #expect(try client.request("GET", location).headers["range"] == "0-300000")
            let digest = OCIDigest.of(bytes, .sha512)
            let answer = try client.request(
                "PUT", "\(location)?digest=\(digest)", ["content-range": "300001-499999"],
                body: Array(bytes[300_001...]))
            #expect(answer.status == 201)
            #expect(try client.request("GET", "/v2/\(Self.name)/blobs/\(digest)").body == bytes)
        }
    }

    @Test func `blobs are mounted from where the caller may read`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            for algorithm in OCIDigest.Algorithm.allCases {
                let bytes = content(seed: 7, count: algorithm == .sha256 ? 100 : 200)
                let digest = try client.push("one/a", bytes, algorithm)
                for (index, query) in [
                    "&from=one/a", "", "&from=no/where", "&from=NO", "&origin=x",
                ]
                .enumerated() {
                    let name = "two/\(algorithm.rawValue)\(index)"
                    let answer = try client.request(
                        "POST", "/v2/\(name)/blobs/uploads/?mount=\(digest)\(query)")
                    #expect(answer.status == 201, "\(query)")
                    #expect(answer.headers["location"] == "/v2/\(name)/blobs/\(digest)")
                    #expect(answer.digest == digest.description)
                    #expect(try client.request("GET", "/v2/\(name)/blobs/\(digest)").body == bytes)
                    // One name's delete is no other's.
                    let delete = try client.request("DELETE", "/v2/\(name)/blobs/\(digest)")
                    #expect(delete.status == 202)
                    let again = try client.request("DELETE", "/v2/\(name)/blobs/\(digest)")
                    #expect((again.status, again.code) == (404, "BLOB_UNKNOWN"))
                }
                let absent = OCIDigest.of([9], algorithm)
                let begun = try client.request(
                    "POST", "/v2/two/b/blobs/uploads/?mount=\(absent)&from=one/a")
                #expect(begun.status == 202)
                let put = try client.request(
                    "PUT", "\(begun.headers["location"] ?? "")?digest=\(absent)", body: [9])
                #expect(put.status == 201)
                #expect(try client.request("HEAD", "/v2/one/a/blobs/\(digest)").status == 200)
            }
        }
    }
}
