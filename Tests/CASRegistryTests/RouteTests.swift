import CASCore
import CASOCI
import CASTestSupport
import HTTPTypes
import Testing

@testable import CASRegistry

@Suite struct RouteTests {
    private static let digest = OCIDigest.sha256(.empty)

    @Test func `paths are found from the right, so that any name can stand in front`() throws {
        for name in ["a", "team/project", "a/manifests/b", "blobs/uploads", "tags/list", "token"] {
            #expect(try RegistryRoute(.get, path: "/v2/\(name)/tags/list") == .tags(name))
            #expect(
                try RegistryRoute(.get, path: "/v2/\(name)/manifests/v1")
                    == .manifest(name, .tag("v1")))
            #expect(
                try RegistryRoute(.head, path: "/v2/\(name)/blobs/\(Self.digest)")
                    == .blob(name, Self.digest))
            for path in ["/v2/\(name)/blobs/uploads", "/v2/\(name)/blobs/uploads/"] {
                #expect(try RegistryRoute(.post, path: path) == .beginUpload(name))
            }
            let upload = Identifier(high: 1, low: 2)
            #expect(
                try RegistryRoute(.patch, path: "/v2/\(name)/blobs/uploads/\(upload)")
                    == .uploadPart(name, upload))
        }
        for path in ["/v2", "/v2/"] { #expect(try RegistryRoute(.get, path: path) == .base) }
        #expect(try RegistryRoute(.get, path: "/v2/_catalog") == .catalog)
        #expect(try RegistryRoute(.post, path: "/v2/token") == .token)
    }

    @Test func `escapes mean what they stand for`() throws {
        #expect(
            try RegistryRoute(.get, path: "/v2/a%2Fb/blobs/sha256%3a\(Self.digest.hexadecimal)")
                == .blob("a/b", Self.digest))
    }

    @Test(arguments: [
        ("GET", "/v2/UPPER/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a//b/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a/../b/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/%2e%2e/b/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a%00b/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a%ffb/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/a%2/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/sha256/tags/list", 400, "NAME_INVALID"),
        ("POST", "/v2/-a/blobs/uploads/", 400, "NAME_INVALID"),
        ("PUT", "/v2/a/manifests/sha256:baddigeststring", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/manifests/sha256:baddigeststring", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/blobs/md5:00", 400, "DIGEST_INVALID"),
        ("GET", "/v2/a/referrers/sha256:abc", 400, "DIGEST_INVALID"),
        ("PUT", "/v2/a/manifests/.a", 400, "TAG_INVALID"),
        ("GET", "/v2/a/manifests/.a", 404, "MANIFEST_UNKNOWN"),
        ("PATCH", "/v2/a/blobs/uploads/zz", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("GET", "/v2/a", 404, "UNSUPPORTED"), ("GET", "/v2/a/b/c", 404, "UNSUPPORTED"),
        ("GET", "/v3/", 404, "UNSUPPORTED"), ("DELETE", "/v2/", 405, "UNSUPPORTED"),
        ("PATCH", "/v2/a/manifests/b", 405, "UNSUPPORTED"),
        ("PUT", "/v2/a/tags/list", 405, "UNSUPPORTED"),
        ("POST", "/v2/_catalog", 405, "UNSUPPORTED"),
    ])
    func `what is none is refused with its code`(
        method: String, path: String, status: Int, code: String
    ) throws {
        do {
            let route = try RegistryRoute(try #require(.init(rawValue: method)), path: path)
            Issue.record("\(method) \(path): \(route)")
        } catch let refusal as Refusal {
            #expect(refusal.status == status, "\(path)")
            #expect(refusal.errors.first?.code.rawValue == code, "\(path)")
            #expect(status != 405 || refusal.headers[.allow] != nil)
        }
    }

    @Test func `names are as long as the grammar allows`() throws {
        let name = String(repeating: "x", count: 255)
        #expect(try RegistryRoute(.get, path: "/v2/\(name)/tags/list") == .tags(name))
        #expect(throws: Refusal.self) { try RegistryRoute(.get, path: "/v2/\(name)x/tags/list") }
        let tag = "_" + String(repeating: "a", count: 127)
        #expect(
            try RegistryRoute(.put, path: "/v2/a/manifests/\(tag)") == .putManifest("a", .tag(tag)))
        #expect(throws: Refusal.self) { try RegistryRoute(.put, path: "/v2/a/manifests/\(tag)a") }
    }

    @Test func `a query has several values of a name, in order`() {
        let query = RegistryQuery("tag=a&tag=b%2Bc&n=&x&scope=a+b&tag=%zz&artifactType=a/b+json")
        #expect(query.all("tag") == ["a", "b+c"])
        #expect(query["n"] == "")
        #expect(query["x"] == "")
        #expect(query["scope"] == "a b")
        #expect(query["none"] == nil)
        #expect(query.mediaType("artifactType") == "a/b+json")
        #expect(RegistryQuery(nil)["a"] == nil)
    }

    @Test func `percent encoding goes there and back`() {
        for text in ["", "a/b", "1.0_x-y~", "a b+c&d=é%", "\u{0}"] {
            #expect(PercentCoding.decode(PercentCoding.encode(text)) == text)
        }
        for text in ["%", "%2", "%zz", "%ff"] { #expect(PercentCoding.decode(text) == nil) }
    }
}
