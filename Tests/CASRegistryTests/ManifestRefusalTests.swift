import CASCore
import CASOCI
import CASRepository
import CASServer
import CASTestSupport
import CASWire
import Testing

/// Manifests that are not taken, or not deleted, and what is told of that.
@Suite struct ManifestRefusalTests {
    @Test func `what lacks does not tell what another repository has`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            try client.push("other", [1], .sha512)
            try client.push("other", [2])
            let lacking: [OCIDigest] = [
                .of([1], .sha512), .of([9], .sha512), .of([2]), .of([9]),
            ]
            try client.push("a", Array("{}".utf8))
            let manifest = JSON.object([
                JSON.Member("schemaVersion", .integer(2)),
                JSON.Member("mediaType", .text(MediaType.imageManifest)),
                JSON.Member(
                    "config",
                    Descriptor(mediaType: MediaType.imageConfig, of: Array("{}".utf8)).json),
                JSON.Member(
                    "layers",
                    .list(
                        lacking.map {
                            Descriptor(mediaType: MediaType.imageLayer, digest: $0, size: 1).json
                        })),
            ]).encode()
            let answer = try client.put("a", "v1", manifest)
            #expect(answer.status == 400)
            let errors = RegistryError.parse(answer.body)
            #expect(errors.map(\.code) == lacking.map { _ in .manifestBlobUnknown })
            for (error, digest) in zip(errors, lacking) {
                #expect(error.message.contains(digest.description))
            }
        }
    }

    @Test func `of much that lacks the first are told`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            try client.push("a", Array("{}".utf8))
            let index = JSON.object([
                JSON.Member("schemaVersion", .integer(2)),
                JSON.Member(
                    "manifests",
                    .list(
                        (0..<150).map {
                            Descriptor(
                                mediaType: MediaType.imageManifest, of: [UInt8($0)]
                            ).json
                        })),
            ]).encode()
            let answer = try client.put("a", "v1", index, type: MediaType.imageIndex)
            #expect((answer.status, answer.code) == (400, "MANIFEST_BLOB_UNKNOWN"))
            #expect(RegistryError.parse(answer.body).count == 100)
        }
    }

    @Test func `no answer is a page for a browser`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let manifest = Array(#"{"schemaVersion":2,"x":"<script>alert(1)</script>"}"#.utf8)
            #expect(try client.put("a", "v1", manifest, type: "text/html").status == 201)
            let blob = try client.push("a", manifest)
            for path in ["manifests/v1", "blobs/\(blob)", "tags/list", "manifests/none"] {
                let answer = try client.request("GET", "/v2/a/\(path)")
                #expect(answer.headers["x-content-type-options"] == "nosniff", "\(path)")
                #expect(
                    answer.headers["content-security-policy"] == "default-src 'none'; sandbox")
            }
        }
    }

    @Test func `what a rule keeps is not deleted`() async throws {
        try await onThread {
            let world = try RegistryWorld(prepare: { repository in
                var rule = RetentionRule(pattern: "a")
                rule.onceTags = ["v*"]
                _ = try repository.set(rule: rule, domain: .standard)
            })
            let client = try world.client()
            let digest = try client.pushImage("a", "v1")
            for reference in ["v1", digest.description] {
                let answer = try client.request("DELETE", "/v2/a/manifests/\(reference)")
                #expect((answer.status, answer.code) == (403, "DENIED"), "\(answer.text)")
            }
            let other = try client.image("a", seed: 2)
            let moved = try client.put("a", "v1", other)
            #expect((moved.status, moved.code) == (403, "DENIED"))
            #expect(try client.request("HEAD", "/v2/a/manifests/v1").digest == digest.description)
        }
    }
}
