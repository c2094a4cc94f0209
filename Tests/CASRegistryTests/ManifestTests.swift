import CASCore
import CASOCI
import CASServer
import CASTestSupport
import Testing

/// Manifests: what is taken, how it comes back, and how it goes.
@Suite struct ManifestTests {
    private static func index(_ members: [JSON.Member]) -> [UInt8] {
        JSON.object(
            [
                JSON.Member("schemaVersion", .integer(2)),
                JSON.Member("mediaType", .text(MediaType.imageIndex)),
            ] + members
        ).encode()
    }

    @Test func `a manifest comes back byte for byte with its type`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let manifest = try client.image("a/b")
            let digest = OCIDigest.of(manifest)
            let put = try client.put(
                "a/b", "v1", manifest, type: MediaType.imageManifest + "; charset=utf-8")
            #expect(put.status == 201)
            #expect(put.digest == digest.description)
            #expect(put.headers["location"] == "/v2/a/b/manifests/\(digest)")
            #expect(put.headers["oci-tag"] == nil)
            for reference in ["v1", digest.description] {
                let got = try client.request(
                    "GET", "/v2/a/b/manifests/\(reference)",
                    ["accept": "application/vnd.docker.distribution.manifest.v2+json"])
                #expect(got.status == 200)
                #expect(got.body == manifest)
                let headed = try client.request("HEAD", "/v2/a/b/manifests/\(reference)")
                for (name, value) in [
                    "content-type": MediaType.imageManifest, "content-length": "\(manifest.count)",
                    "docker-content-digest": digest.description, "etag": "\"\(digest)\"",
                ] {
                    #expect(got.headers[name] == value)
                    #expect(headed.headers[name] == value)
                }
            }
        }
    }

    @Test func `a manifest pushed by SHA-512 is called by it`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let manifest = try client.image("a")
            let digest = OCIDigest.of(manifest, .sha512)
            let put = try client.put("a", "\(digest)?tag=one&tag=two", manifest)
            #expect(put.status == 201)
            #expect(put.digest == digest.description)
            #expect(put.headers["oci-tag"] == "one, two")
            for reference in ["one", "two", digest.description] {
                let got = try client.request("HEAD", "/v2/a/manifests/\(reference)")
                #expect((got.status, got.digest) == (200, digest.description))
            }
            let other = OCIDigest.of(manifest)
            #expect(
                try client.request("GET", "/v2/a/manifests/\(other)").digest == other.description)
            #expect(try client.request("DELETE", "/v2/a/manifests/\(digest)").status == 202)
            for reference in ["one", digest.description, other.description] {
                #expect(try client.request("GET", "/v2/a/manifests/\(reference)").status == 404)
            }
        }
    }

    @Test func `what others push by SHA-512 changes no answer of a repository`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let manifest = try client.image("a")
            let digest = OCIDigest.of(manifest)
            let long = OCIDigest.of(manifest, .sha512)
            #expect(try client.put("a", "one", manifest).status == 201)
            _ = try client.image("b")
            #expect(try client.put("b", "\(long)?tag=one", manifest).status == 201)
            try client.push("c", manifest, .sha512)
            for (name, expected) in [("a", digest), ("b", long)] {
                let got = try client.request("GET", "/v2/\(name)/manifests/one")
                #expect((got.status, got.digest) == (200, expected.description), "\(name)")
                #expect(got.headers["etag"] == "\"\(expected)\"")
            }
            let about = try client.image("a", seed: 2, subject: OCIDigest.of([1]))
            #expect(try client.put("a", OCIDigest.of(about).description, about).status == 201)
            try client.push("c", about, .sha512)
            let list = try client.request("GET", "/v2/a/referrers/\(OCIDigest.of([1]))").json
            let shown = list["manifests"]?.elements?.first?["digest"]?.text
            #expect(shown == OCIDigest.of(about).description)
            // Whoever puts it by the other digest says what it is called from then on.
            #expect(try client.put("a", "\(long)?tag=two", manifest).status == 201)
            #expect(
                try client.request("HEAD", "/v2/a/manifests/one").digest == long.description)
            #expect(try client.put("a", "two", manifest).status == 201)
            #expect(
                try client.request("HEAD", "/v2/a/manifests/one").digest == digest.description)
        }
    }

    @Test func `a condition takes either digest of a manifest`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let manifests = try (1...3).map { try client.image("a", seed: $0) }
            let first = OCIDigest.of(manifests[0], .sha512)
            let never = OCIDigest.of([1], .sha512)
            #expect(try client.put("a", "\(first)?tag=v1", manifests[0]).status == 201)
            func put(_ number: Int, _ tag: OCIDigest) throws -> Int {
                try client.put("a", "v1", manifests[number], ["if-match": "\"\(tag)\""]).status
            }
            #expect(try put(1, never) == 412)
            #expect(try client.request("HEAD", "/v2/a/manifests/v1").digest == first.description)
            #expect(try put(1, first) == 201)
            #expect(try put(2, first) == 412)
            #expect(try put(2, OCIDigest.of(manifests[1])) == 201)
        }
    }

    @Test func `as many tags as allowed are put at once`() async throws {
        try await onThread {
            let world = try RegistryWorld { configuration, _ in
                configuration.limits.tagsPerManifest = 12
            }
            let client = try world.client()
            let manifest = try client.image("a")
            let digest = OCIDigest.of(manifest)
            func query(_ count: Int) -> String {
                "\(digest)?" + (0..<count).map { "tag=t\($0)" }.joined(separator: "&")
            }
            #expect(try client.put("a", query(13), manifest).status == 414)
            #expect(try client.put("a", "\(digest)?tag=ok&tag=.no", manifest).code == "TAG_INVALID")
            #expect(try client.request("GET", "/v2/a/tags/list").json["tags"]?.texts == [])
            let put = try client.put("a", query(12) + "&tag=t0", manifest)
            #expect(put.status == 201)
            #expect(put.headers["oci-tag"]?.split(separator: ", ").count == 12)
            #expect(try client.request("GET", "/v2/a/tags/list").json["tags"]?.texts?.count == 12)
        }
    }

    @Test func `what is no manifest is refused and leaves nothing`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let manifest = try client.image("a")
            let other = OCIDigest.of([1])
            let large = manifest + [UInt8](repeating: 0x20, count: (4 << 20) + 1 - manifest.count)
            let schema1 = Array(#"{"schemaVersion":1,"name":"a","tag":"b","fsLayers":[]}"#.utf8)
            for (reference, bytes, type, status, code) in [
                ("v1", Array("{".utf8), MediaType.imageManifest, 400, "MANIFEST_INVALID"),
                ("v1", [], MediaType.imageManifest, 400, "MANIFEST_INVALID"),
                ("v1", Array("[]".utf8), MediaType.imageManifest, 400, "MANIFEST_INVALID"),
                ("v1", manifest, "text", 400, "MANIFEST_INVALID"),
                ("v1", manifest, MediaType.imageIndex, 400, "MANIFEST_INVALID"),
                (
                    "v1", schema1, "application/vnd.docker.distribution.manifest.v1+prettyjws", 400,
                    "MANIFEST_INVALID"
                ),
                (other.description, manifest, MediaType.imageManifest, 400, "DIGEST_INVALID"),
                ("sha256:abc", manifest, MediaType.imageManifest, 400, "DIGEST_INVALID"),
                ("v1", large, MediaType.imageManifest, 413, "MANIFEST_INVALID"),
            ] {
                let answer = try client.put("a", reference, bytes, type: type)
                #expect((answer.status, answer.code) == (status, code), "\(answer.text)")
            }
            for reference in ["v1", other.description, OCIDigest.of(manifest).description] {
                #expect(try client.request("GET", "/v2/a/manifests/\(reference)").status == 404)
            }
            let full = manifest + [UInt8](repeating: 0x20, count: (4 << 20) - manifest.count)
            #expect(try client.put("a", "v1", full).status == 201)
            #expect(try client.request("GET", "/v2/a/manifests/v1").body == full)
        }
    }

    @Test func `blobs that the repository does not have are named`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let manifest = try client.image("a", seed: 2)
            let layer = OCIDigest.of(content(seed: 2, count: 3_000))
            // That another repository has them does not count.
            let answer = try client.put("b", "v1", manifest)
            #expect((answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN"))
            #expect(answer.text.contains(layer.description))
            #expect(try client.request("GET", "/v2/b/manifests/v1").status == 404)
            let absent = OCIDigest.of([1], .sha512)
            let index = Self.index([
                JSON.Member(
                    "manifests",
                    .list([
                        Descriptor(mediaType: MediaType.imageManifest, digest: absent, size: 1).json
                    ]))
            ])
            let put = try client.put("a", "v1", index, type: MediaType.imageIndex)
            #expect((put.status, put.code) == (400, "MANIFEST_BLOB_UNKNOWN"))
            #expect(put.text.contains(absent.description))
        }
    }

    @Test func `a tag moves only as a condition allows`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let first = try client.image("a", seed: 1)
            let second = try client.image("a", seed: 2)
            func put(_ manifest: [UInt8], _ more: [String: String]) throws -> Int {
                try client.put("a", "v1", manifest, more).status
            }
            #expect(try put(first, ["if-match": "\"\(OCIDigest.of(second))\""]) == 412)
            #expect(try put(first, ["if-match": "*"]) == 412)
            #expect(try client.request("HEAD", "/v2/a/manifests/v1").status == 404)
            #expect(try put(first, ["if-none-match": "*"]) == 201)
            #expect(try put(second, ["if-none-match": "*"]) == 412)
            #expect(try put(second, ["if-match": "\"x\""]) == 412)
            #expect(try put(second, ["if-match": "\"\(OCIDigest.of(first))\""]) == 201)
            #expect(try put(first, ["if-match": "*"]) == 201)
            #expect(try client.request("GET", "/v2/a/manifests/v1").body == first)
        }
    }

    @Test func `deletes are seen at once`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let digest = try client.pushImage("a", "one")
            let manifest = try client.request("GET", "/v2/a/manifests/one").body
            #expect(try client.put("a", "two", manifest).status == 201)
            #expect(try client.request("DELETE", "/v2/a/manifests/one").status == 202)
            var answer = try client.request("DELETE", "/v2/a/manifests/one")
            #expect((answer.status, answer.code) == (404, "MANIFEST_UNKNOWN"))
            #expect(try client.request("HEAD", "/v2/a/manifests/one").status == 404)
            #expect(try client.request("HEAD", "/v2/a/manifests/\(digest)").status == 200)
            #expect(try client.request("DELETE", "/v2/a/manifests/\(digest)").status == 202)
            for reference in ["two", digest.description] {
                answer = try client.request("GET", "/v2/a/manifests/\(reference)")
                #expect((answer.status, answer.code) == (404, "MANIFEST_UNKNOWN"))
            }
            #expect(try client.request("DELETE", "/v2/none/manifests/\(digest)").status == 404)
        }
    }
}
