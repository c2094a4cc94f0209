import CASClient
import CASCore
import CASOCI
import CASTestSupport
import Synchronization
import Testing

@testable import CASImage

/// What a client asks of registries, and with which credentials.
@Suite struct RegistryClientTests {
    @Test func `what was put is got back, digest by digest`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try registry.client()
        try client.ping()
        let bytes = LoopbackRegistry.sample(3_000_000)
        let digest = OCIDigest.of(bytes)
        #expect(try client.hasBlob(digest) == false)
        let placement = try client.upload(digest, size: UInt64(bytes.count)) { write in
            for start in stride(from: 0, to: bytes.count, by: 70_000) {
                let end = min(start + 70_000, bytes.count)
                try bytes[start..<end].withUnsafeBytes { try write($0) }
            }
        }
        #expect(placement == .uploaded)
        #expect(try client.hasBlob(digest))
        let descriptor = Descriptor(mediaType: "x", digest: digest, size: UInt64(bytes.count))
        #expect(try client.bytes(descriptor, maximumBytes: 4 << 20) == bytes)
        var part: [UInt8] = []
        try client.read(digest, range: 10..<500) { part += Array($0) }
        #expect(part == Array(bytes[10..<500]))
        let manifest = ImageManifest(config: descriptor, layers: []).encode()
        try client.put(manifest: manifest, mediaType: MediaType.imageManifest, as: "v1")
        let found = try client.manifest("v1")
        #expect(found?.bytes == manifest)
        #expect(found?.mediaType == MediaType.imageManifest)
        #expect(try client.digest(of: "v1") == OCIDigest.of(manifest))
        #expect(try client.manifest(OCIDigest.of(manifest).description)?.bytes == manifest)
        #expect(try client.manifest("v2") == nil)
        #expect(try client.tags() == ["v1"])
        #expect(throws: CASError.self) { try client.bytes(descriptor, maximumBytes: 1000) }
    }

    @Test func `basic credentials are sent once they are asked for`() throws {
        let registry = try LoopbackRegistry(.basic("ann:secret"))
        defer { try? registry.stop() }
        let bytes = LoopbackRegistry.sample(100)
        let first = try registry.client(credential: .basic(user: "ann", password: "secret"))
        #expect(try first.upload(bytes).1 == .uploaded)
        let heads = try registry.server.requests.map { $0.headers["authorization"] != nil }
        #expect(heads == [false, true, true, true])
        let refused = #expect(throws: CASError.self) {
            try registry.client(credential: .basic(user: "ann", password: "wrong")).ping()
        }
        #expect(refused?.code == .unauthenticated)
        #expect(refused?.hint?.contains("do not allow") == true)
        let nobody = #expect(throws: CASError.self) { try registry.client().ping() }
        #expect(nobody?.hint?.contains("podman login") == true)
    }

    @Test func `a token is asked for per scope and kept`() throws {
        let registry = try LoopbackRegistry(.bearer("ann:secret"))
        defer { try? registry.stop() }
        let client = try registry.client(credential: .basic(user: "ann", password: "secret"))
        _ = try client.upload(LoopbackRegistry.sample(100))
        _ = try client.upload(LoopbackRegistry.sample(200))
        try client.put(manifest: Array("{}".utf8), mediaType: MediaType.imageManifest, as: "t")
        #expect(try client.manifest("t") != nil)
        let tokens = try registry.server.requests.filter { $0.path == "/token" }
        #expect(
            tokens.map { $0.all("scope") } == [
                ["repository:team/app:pull,push"], ["repository:team/app:pull"],
            ])
        #expect(tokens.allSatisfy { $0.query("service") == "here" })
    }

    @Test func `an identity token goes to the service of tokens, by POST`() throws {
        let registry = try LoopbackRegistry(.bearer("refresh"))
        defer { try? registry.stop() }
        try registry.client(credential: .identityToken("refresh")).ping()
        let token = try registry.server.requests.first { $0.path == "/token" }
        #expect(token?.method == "POST")
        let wrong = #expect(throws: CASError.self) {
            try registry.client(credential: .identityToken("other")).ping()
        }
        #expect(wrong?.code == .unauthenticated)
    }

    @Test func `a mount spares the upload, and a refused one does not fail it`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try registry.client()
        let bytes = LoopbackRegistry.sample(1_000)
        let descriptor = registry.put("base/python", blob: bytes)
        func upload() throws -> RegistryClient.Placement {
            try client.upload(
                descriptor.digest, size: 1_000, mountedFrom: ["team/app", "base/python"]
            ) { write in try bytes.withUnsafeBytes { try write($0) } }
        }
        #expect(try upload() == .mounted)
        #expect(try client.hasBlob(descriptor.digest))
        registry.state.withLock { $0.mounts = false }
        #expect(try upload() == .uploaded)
        registry.set { request, _ in
            request.query("mount") != nil ? LoopbackAnswer(status: 403) : nil
        }
        #expect(try upload() == .uploaded)
    }

    @Test func `lists come page by page`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try registry.client()
        #expect(try client.tags() == nil)
        for number in 0..<7 { registry.put("team/app", tag: "t\(number)", "x", [UInt8(number)]) }
        registry.state.withLock { $0.pageSize = 3 }
        #expect(try client.tags() == (0..<7).map { "t\($0)" })
    }

    @Test func `a list that has no end is not followed for ever`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let page = Array(#"{"tags":["a"]}"#.utf8) + [UInt8](repeating: 0x20, count: 4_000_000)
        registry.set { _, number in
            LoopbackAnswer(
                headers: [("Link", "</v2/team/app/tags/list?last=\(number)>; rel=\"next\"")],
                body: page)
        }
        let client = try registry.client()
        let error = #expect(throws: CASError.self) { _ = try client.tags() }
        #expect(error?.code == .resourceExhausted)
        #expect(try registry.server.requests.count <= 18)
    }

    @Test func `referrers are read from the tag where there is no list`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try registry.client()
        let subject = OCIDigest.of([1])
        #expect(try client.referrers(to: subject).isEmpty)
        let digest = OCIDigest.of([2])
        let one = Descriptor(
            mediaType: MediaType.imageManifest, digest: digest, size: 1,
            artifactType: "application/a")
        let two = Descriptor(
            mediaType: MediaType.imageManifest, digest: digest, size: 1,
            artifactType: "application/b")
        let index = ImageIndex(manifests: [one, two]).encode()
        registry.put("team/app", tag: subject.referrersTag, MediaType.imageIndex, index)
        #expect(try client.referrers(to: subject, artifactType: "application/b") == [two])
        let list = ImageIndex(manifests: [one]).encode()
        registry.set { request, _ in
            request.path.contains("/referrers/") ? LoopbackAnswer(body: list) : nil
        }
        #expect(try client.referrers(to: subject) == [one])
    }

    @Test func `a base is of the platform that was asked for`() throws {
        let config = try JSON(decoding: Array(#"{"os":"linux","architecture":"arm64"}"#.utf8))
        try ImagePlatform("linux/arm64").require(config, of: "base")
        for other in ["linux/amd64", "linux/arm64/v8"] {
            let error = #expect(throws: CASError.self) {
                try ImagePlatform(other).require(config, of: "base")
            }
            #expect(error?.code == .failedPrecondition)
        }
    }
}
