import CASCore
import CASOCI
import CASServer
import CASTestSupport
import Testing

/// What is too large or too much, many at once, and what is counted.
@Suite struct LimitTests {
    @Test func `a blob that is too large is refused, said or not`() async throws {
        try await onThread {
            let world = try RegistryWorld { configuration, _ in
                configuration.limits.imageBlobBytes = 100_000
            }
            let client = try world.client()
            let bytes = content(seed: 1, count: 100_001)
            let digest = OCIDigest.of(bytes)
            let said = try client.request(
                "PUT", "\(try client.begin("a"))?digest=\(digest)", body: bytes)
            #expect((said.status, said.code) == (413, "SIZE_INVALID"))
            let unsaid = try client.stream("PATCH", try client.begin("a"), bytes)
            #expect((unsaid.status, unsaid.code) == (413, "SIZE_INVALID"))
            let location = try client.begin("a")
            let range = try client.request(
                "PATCH", location, ["content-range": "0-100000"], body: bytes)
            #expect((range.status, range.code) == (413, "SIZE_INVALID"))
            let last = try client.request(
                "PATCH", location, ["content-range": "99999-100000"], body: [1, 2])
            #expect((last.status, last.code) == (413, "SIZE_INVALID"))
            #expect(try client.request("HEAD", "/v2/a/blobs/\(digest)").status == 404)
            try client.push("a", Array(bytes.dropLast()))
        }
    }

    @Test func `a large manifest is sent piece by piece`() async throws {
        try await onThread {
            let world = try RegistryWorld { configuration, _ in
                configuration.limits.answerBytes = 200_000
            }
            let client = try world.client()
            let manifest = try client.image("a")
            for count in [65_536, 65_537, 4 << 20] {
                let bytes =
                    manifest + [UInt8](repeating: 0x20, count: count - manifest.count)
                for algorithm in OCIDigest.Algorithm.allCases {
                    let digest = OCIDigest.of(bytes, algorithm)
                    let put = try client.put("a", "\(digest)?tag=v1", bytes)
                    #expect(put.status == 201)
                    for reference in ["v1", digest.description] {
                        let path = "/v2/a/manifests/\(reference)"
                        let headed = try client.request("HEAD", path)
                        #expect(headed.headers["content-length"] == "\(count)")
                        let got = try client.request("GET", path)
                        #expect((got.status, got.digest) == (200, digest.description))
                        #expect(got.headers["content-length"] == "\(count)")
                        #expect(got.headers["content-type"] == MediaType.imageManifest)
                        #expect(got.body == bytes)
                    }
                }
            }
        }
    }

    @Test func `uploads beyond the limit are to come later`() async throws {
        try await onThread {
            let world = try RegistryWorld { configuration, _ in
                configuration.limits.concurrentUploads = 2
            }
            let client = try world.client()
            let first = try client.begin("a")
            _ = try client.begin("a")
            let third = try client.request("POST", "/v2/a/blobs/uploads/")
            #expect((third.status, third.code) == (429, "TOOMANYREQUESTS"))
            #expect(third.headers["retry-after"] != nil)
            #expect(try client.request("DELETE", first).status == 204)
            #expect(try client.request("POST", "/v2/a/blobs/uploads/").status == 202)
        }
    }

    @Test func `requests and bytes are counted by door`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let digest = try client.push("a", content(seed: 1, count: 5_000))
            #expect(try client.request("GET", "/v2/a/blobs/\(digest)").body.count == 5_000)
            try client.pushImage("a", "v1")
            _ = try client.request("GET", "/v2/UPPER/tags/list")
            let text = try client.request("GET", "/metrics").text
            for line in [
                "cas_http_requests_total{door=\"oci-blobs\",code=\"200\"} 1",
                "cas_http_sent_bytes_total{door=\"oci-blobs\"} 5000",
                "cas_http_requests_total{door=\"oci-manifests\",code=\"201\"} 1",
                "cas_http_requests_total{door=\"oci-unknown\",code=\"400\"} 1",
                "cas_http_received_bytes_total{door=\"oci-uploads\"} 8002",
            ] { #expect(text.contains(line + "\n"), "\(line)") }
        }
    }
}
