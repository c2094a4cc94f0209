import CASCatalog
import CASCore
import CASOCI
import CASServer
import CASTestSupport
import Testing

@testable import CASRepository

/// Tags, repositories, referrers: their order and their pages.
@Suite struct ListTests {
    /// Follows the links of a list; its pages.
    private func pages(
        _ client: RegistryClient, _ first: String, _ key: String
    ) throws -> [[JSON]] {
        var pages: [[JSON]] = []
        var next: String? = first
        while let path = next {
            let answer = try client.request("GET", path)
            guard answer.status == 200 else {
                throw CASError(.internalError, "\(answer.status): \(answer.text)")
            }
            pages.append(answer.json[key]?.elements ?? [])
            let link = answer.headers["link"]
            #expect(link.map { $0.hasPrefix("<") && $0.hasSuffix(">; rel=\"next\"") } ?? true)
            next = link.map { String($0.dropFirst().prefix { $0 != ">" }) }
        }
        return pages
    }

    @Test func `tags come in the order of their bytes, a page at a time`() async throws {
        try await onThread {
            let world = try RegistryWorld { configuration, _ in
                configuration.limits.listingEntries = 7
            }
            let client = try world.client()
            let manifest = try client.image("a/b")
            var tags = (0..<15).map { "t\($0)" } + ["_x", "A", "Z.1", "latest"]
            for tag in tags { #expect(try client.put("a/b", tag, manifest).status == 201) }
            // Names that begin with this one have nothing to do with it.
            try client.pushImage("a/b/c", "other")
            try client.pushImage("a/b-c", "other")
            tags.sort()
            for count in [1, 4, 7] {
                let found = try pages(client, "/v2/a/b/tags/list?n=\(count)", "tags")
                #expect(found.flatMap { $0.compactMap(\.text) } == tags)
                #expect(found.dropLast().allSatisfy { $0.count == count })
            }
            #expect(
                try pages(client, "/v2/a/b/tags/list", "tags").flatMap { $0 }.count == tags.count)
            for last in ["", "t1", "t10x", "A", "zzz", ".no tag", "~", "t12"] {
                let path = "/v2/a/b/tags/list?last=\(last.replacing(" ", with: "%20"))"
                let found = try pages(client, path, "tags").flatMap { $0.compactMap(\.text) }
                #expect(found == tags.filter { $0 > last }, "\(last)")
            }
            let none = try client.request("GET", "/v2/a/b/tags/list?n=0")
            #expect(none.text == #"{"name":"a/b","tags":[]}"#)
            #expect(none.headers["link"] == nil)
            for count in ["-1", "x", "+1", "99999999999999999999"] {
                let answer = try client.request("GET", "/v2/a/b/tags/list?n=\(count)")
                #expect((answer.status, answer.code) == (400, "PAGINATION_NUMBER_INVALID"))
            }
            let unknown = try client.request("GET", "/v2/a/tags/list")
            #expect((unknown.status, unknown.code) == (404, "NAME_UNKNOWN"))
        }
    }

    @Test func `the catalog has every repository once`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let names = ["a", "a-b", "a/b", "b/c/d", "z"]
            for name in names {
                try client.pushImage(name, "one")
                try client.push(name, [1])
            }
            for count in [1, 2, 5, 1_000] {
                let found = try pages(client, "/v2/_catalog?n=\(count)", "repositories")
                #expect(found.flatMap { $0.compactMap(\.text) } == names)
            }
            #expect(try client.request("GET", "/v2/_catalog?n=1001").status == 400)
            let rest = try client.request("GET", "/v2/_catalog?last=a/a").json
            #expect(rest["repositories"]?.texts == ["a/b", "b/c/d", "z"])
        }
    }

    @Test(arguments: OCIDigest.Algorithm.allCases)
    func `referrers are found whether or not their subject is there`(
        algorithm: OCIDigest.Algorithm
    ) async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let subject = try client.image("a", seed: 9)
            let digest = OCIDigest.of(subject, algorithm)
            var descriptors: [String: JSON] = [:]
            for number in 0..<5 {
                let type = number % 2 == 0 ? "application/vnd.example.even+json" : ""
                let manifest = try client.image(
                    "a", seed: UInt64(number), subject: digest, artifactType: type,
                    annotations: ["number": "\(number)"])
                let put = try client.put("a", OCIDigest.of(manifest).description, manifest)
                #expect(put.status == 201)
                #expect(put.headers["oci-subject"] == digest.description)
                descriptors[put.digest] =
                    Descriptor(
                        mediaType: MediaType.imageManifest, digest: OCIDigest.of(manifest),
                        size: UInt64(manifest.count), annotations: ["number": "\(number)"],
                        artifactType: type.isEmpty ? MediaType.imageConfig : type
                    ).json
                if number == 2 {
                    #expect(try client.put("a", digest.description, subject).status == 201)
                }
            }
            let path = "/v2/a/referrers/\(digest)"
            let answer = try client.request("GET", path)
            #expect(answer.headers["content-type"] == MediaType.imageIndex)
            #expect(answer.json["schemaVersion"]?.integer == 2)
            #expect(answer.json["mediaType"]?.text == MediaType.imageIndex)
            #expect(answer.headers["oci-filters-applied"] == nil)
            for count in [1, 2, 5] {
                let found = try pages(client, "\(path)?n=\(count)", "manifests").flatMap { $0 }
                #expect(found.count == 5)
                for item in found { #expect(item == descriptors[item["digest"]?.text ?? ""]) }
            }
            for (type, count) in [
                ("application/vnd.example.even%2Bjson", 3),
                ("application/vnd.example.even+json", 3),
                (MediaType.imageConfig, 2), ("a/b", 0),
            ] {
                let filtered = try client.request("GET", "\(path)?artifactType=\(type)")
                #expect(filtered.headers["oci-filters-applied"] == "artifactType")
                #expect(filtered.json["manifests"]?.elements?.count == count, "\(type)")
                let paged = try pages(client, "\(path)?n=1&artifactType=\(type)", "manifests")
                #expect(paged.flatMap { $0 }.count == count, "\(type)")
            }
        }
    }

    @Test func `a page of referrers ends where much was read, and passes over what is lost`()
        async throws
    {
        try await onThread {
            let world = try RegistryWorld { configuration, _ in
                configuration.limits.referrersReadBytes = 7_000
            }
            let subject = OCIDigest.of([1])
            let path = "/v2/a/referrers/\(subject)"
            var digests: [Digest] = []
            do {
                let client = try world.client()
                for number in 0..<6 {
                    let manifest = try client.image(
                        "a", seed: UInt64(number), subject: subject,
                        annotations: ["text": String(repeating: "x", count: 2_000)])
                    let digest = OCIDigest.of(manifest)
                    #expect(try client.put("a", digest.description, manifest).status == 201)
                    digests.append(Digest.of(manifest))
                }
                digests.sort()
                let found = try pages(client, path, "manifests")
                #expect(found.map(\.count) == [2, 2, 2])
            }
            let lost = [digests[1], digests[5]]
            try world.restart {
                try $0.catalog.write { try $0.remove(locations: lost, domain: .standard) }
            }
            for count in [1, 2, 1_000] {
                let found = try pages(world.client(), "\(path)?n=\(count)", "manifests")
                let shown = found.flatMap { $0.compactMap { $0["digest"]?.text } }
                let expected = digests.filter { !lost.contains($0) }
                #expect(shown == expected.map { OCIDigest.sha256($0).description }, "\(count)")
            }
        }
    }

    @Test func `referrers of anything are a list`() async throws {
        try await onThread {
            let world = try RegistryWorld()
            let client = try world.client()
            let answer = try client.request("GET", "/v2/never/used/referrers/\(OCIDigest.of([1]))")
            #expect(answer.status == 200)
            #expect(
                answer.text
                    == #"{"schemaVersion":2,"mediaType":"\#(MediaType.imageIndex)","manifests":[]}"#
            )
        }
    }
}
