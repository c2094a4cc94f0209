import CASClient
import CASCore
import CASOCI
import CASTestSupport
import Synchronization
import Testing

@testable import CASImage

/// A client of a registry of a test.
private func client(
    _ registry: LoopbackRegistry, _ name: String = "team/app",
    credential: RegistryCredential? = nil
) throws -> RegistryClient {
    RegistryClient(
        try RegistryLocation(host: try registry.server.host), name: name,
        connections: registry.connections
    ) { credential }
}

private func sample(_ count: Int) -> [UInt8] {
    (0..<count).map { UInt8(truncatingIfNeeded: $0 * 7 / 3) }
}

@Suite struct RegistryClientTests {
    @Test func `only a host that is this machine by its name is asked without TLS`() throws {
        for host in ["localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"] {
            #expect(try !RegistryLocation(host: host).origin.isSecure, "\(host)")
        }
        for host in ["127.0.0.1.example.org", "127.corp.example:5000", "127.0.0.1.5:80"] {
            #expect(try RegistryLocation(host: host).origin.isSecure, "\(host)")
        }
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

    @Test func `what the receiver of an answer throws is no failure of who gave it`() throws {
        struct Elsewhere: Error {}
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try client(registry)
        let bytes = sample(100_000)
        let digest = OCIDigest.of(bytes)
        _ = try client.upload(digest, size: UInt64(bytes.count)) { write in
            try bytes.withUnsafeBytes { try write($0) }
        }
        let descriptor = Descriptor(mediaType: MediaType.imageLayer, of: bytes)
        var count = 0
        #expect(throws: Elsewhere.self) {
            try client.read(descriptor) { _ in
                count += 1
                throw Elsewhere()
            }
        }
        #expect(count == 1)
    }

    @Test func `what was put is got back, digest by digest`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try client(registry)
        try client.ping()
        let bytes = sample(3_000_000)
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
        let bytes = sample(100)
        let first = try client(registry, credential: .basic(user: "ann", password: "secret"))
        #expect(try first.upload(bytes).1 == .uploaded)
        let heads = try registry.server.requests.map { $0.headers["authorization"] != nil }
        #expect(heads == [false, true, true, true])
        let refused = #expect(throws: CASError.self) {
            try client(registry, credential: .basic(user: "ann", password: "wrong")).ping()
        }
        #expect(refused?.code == .unauthenticated)
        #expect(refused?.hint?.contains("do not allow") == true)
        let nobody = #expect(throws: CASError.self) { try client(registry).ping() }
        #expect(nobody?.hint?.contains("podman login") == true)
    }

    @Test func `a token is asked for per scope and kept`() throws {
        let registry = try LoopbackRegistry(.bearer("ann:secret"))
        defer { try? registry.stop() }
        let client = try client(registry, credential: .basic(user: "ann", password: "secret"))
        _ = try client.upload(sample(100))
        _ = try client.upload(sample(200))
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
        try client(registry, credential: .identityToken("refresh")).ping()
        let token = try registry.server.requests.first { $0.path == "/token" }
        #expect(token?.method == "POST")
        let wrong = #expect(throws: CASError.self) {
            try client(registry, credential: .identityToken("other")).ping()
        }
        #expect(wrong?.code == .unauthenticated)
    }

    @Test func `a redirect leads elsewhere without credentials`() throws {
        let elsewhere = try LoopbackRegistry()
        let registry = try LoopbackRegistry(.basic("ann:secret"))
        defer {
            try? registry.stop()
            try? elsewhere.stop()
        }
        let descriptor = elsewhere.put("team/app", blob: sample(5_000))
        let target = "http://\(try elsewhere.server.host)/v2/team/app/blobs/\(descriptor.digest)"
        registry.set { request, _ in
            guard request.method == "GET", request.headers["authorization"] != nil else {
                return nil
            }
            return LoopbackAnswer(status: 307, headers: [("Location", target)])
        }
        let client = try client(registry, credential: .basic(user: "ann", password: "secret"))
        #expect(try client.bytes(descriptor, maximumBytes: 10_000) == sample(5_000))
        #expect(try elsewhere.server.requests.map { $0.headers["authorization"] } == [nil])
        registry.set { _, _ in LoopbackAnswer(status: 302, headers: [("Location", "/v2/round")]) }
        #expect(throws: CASError.self) { try client.bytes(descriptor, maximumBytes: 10_000) }
    }

    @Test func `wrong bytes are not taken`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try client(registry)
        let descriptor = registry.put("team/app", blob: sample(500))
        let other = OCIDigest.of(Array("x".utf8))
        registry.set { request, _ in
            request.path.hasSuffix("\(other)")
                ? LoopbackAnswer(
                    headers: [("Content-Type", MediaType.imageManifest)], body: Array("{}".utf8))
                : request.method == "GET" ? LoopbackAnswer(body: sample(499) + [1]) : nil
        }
        for call in [
            { _ = try client.bytes(descriptor, maximumBytes: 1000) },
            { _ = try client.manifest("\(other)") },
            {
                _ = try client.bytes(
                    Descriptor(mediaType: "x", digest: descriptor.digest, size: 20),
                    maximumBytes: 1000)
            },
        ] {
            let error = #expect(throws: CASError.self) { try call() }
            #expect(error?.code == .dataLoss)
        }
        registry.set { request, _ in
            request.method == "PUT"
                ? LoopbackAnswer(status: 201, headers: [("Docker-Content-Digest", "\(other)")])
                : nil
        }
        #expect(throws: CASError.self) { try client.upload(sample(30)) }
        #expect(throws: CASError.self) {
            try client.put(manifest: [1], mediaType: MediaType.imageManifest, as: "t")
        }
    }

    @Test func `what breaks is tried again, from where it broke`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try client(registry)
        let bytes = sample(300_000)
        let descriptor = registry.put("team/app", blob: bytes)
        registry.set { request, number in
            switch number {
            case 1: LoopbackAnswer(status: 503)
            case 2: LoopbackAnswer(status: 429, headers: [("Retry-After", "0")])
            case 3: LoopbackAnswer(body: bytes, cut: 100_000)
            default: nil
            }
        }
        #expect(try client.bytes(descriptor, maximumBytes: 1 << 20) == bytes)
        let ranges = try registry.server.requests.map { $0.headers["range"] }
        #expect(ranges.count == 4)
        #expect(ranges.last == "bytes=100000-")
    }

    @Test func `what stays broken is tried so many times, by one level only`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = RegistryClient(
            try RegistryLocation(host: try registry.server.host), name: "team/app",
            connections: registry.connections, blobAttempts: 3, credentials: { nil })
        let descriptor = registry.put("team/app", blob: sample(5_000))
        registry.set { request, _ in
            request.method == "GET" ? LoopbackAnswer(status: 503) : nil
        }
        let error = #expect(throws: CASError.self) {
            _ = try client.bytes(descriptor, maximumBytes: 10_000)
        }
        #expect(error?.code == .unavailable && error?.isPassing == false)
        #expect(try registry.server.requests.count == 3)
        // Whoever copies a blob from there does not do that again and again.
        let other = OCIDigest.of([1])
        #expect(throws: CASError.self) {
            _ = try client.upload(other, size: 1) { write in
                try client.read(descriptor) { try write($0) }
            }
        }
        #expect(try registry.server.lines.count { $0.hasPrefix("GET") } == 6)
    }

    @Test func `a small answer that breaks in the middle is asked for again`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let manifest = ImageManifest(
            config: registry.put("team/app", blob: sample(10)), layers: []
        ).encode()
        registry.put("team/app", tag: "v1", MediaType.imageManifest, manifest)
        registry.set { _, number in
            number == 1
                ? LoopbackAnswer(
                    headers: [("Content-Type", MediaType.imageManifest)], body: manifest, cut: 20)
                : nil
        }
        #expect(try client(registry).manifest("v1")?.bytes == manifest)
    }

    @Test func `an upload that broke begins anew, and one that is refused says why`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try client(registry)
        registry.set { request, number in
            request.method == "PUT" && number <= 3 ? LoopbackAnswer(status: 502) : nil
        }
        let writes = Mutex(0)
        let bytes = sample(200_000)
        let placement = try client.upload(OCIDigest.of(bytes), size: 200_000) { write in
            writes.withLock { $0 += 1 }
            try bytes.withUnsafeBytes { try write($0) }
        }
        #expect(placement == .uploaded)
        #expect(writes.withLock { $0 } == 2)
        let wrong = #expect(throws: CASError.self) {
            _ = try client.upload(OCIDigest.of([1]), size: 1) { write in
                try [UInt8(2)].withUnsafeBytes { try write($0) }
            }
        }
        #expect(wrong?.code == .dataLoss)
        #expect(wrong?.message.contains("DIGEST_INVALID") == true)
        // What the writer fails with is what the caller hears.
        let own = #expect(throws: CASError.self) {
            _ = try client.upload(OCIDigest.of([1]), size: 100) { write in
                try [UInt8(2)].withUnsafeBytes { try write($0) }
                throw CASError(.notFound, "the store lost it")
            }
        }
        #expect(own?.message == "the store lost it")
    }

    @Test func `a mount spares the upload, and a refused one does not fail it`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try client(registry)
        let bytes = sample(1_000)
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
        let client = try client(registry)
        #expect(try client.tags() == nil)
        for number in 0..<7 { registry.put("team/app", tag: "t\(number)", "x", [UInt8(number)]) }
        registry.state.withLock { $0.pageSize = 3 }
        #expect(try client.tags() == (0..<7).map { "t\($0)" })
    }

    @Test func `referrers are read from the tag where there is no list`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try client(registry)
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

    @Test func `what is no registry is told as that`() throws {
        let server = try LoopbackServer { _ in
            LoopbackAnswer(headers: [("Content-Type", "text/html")], body: Array("<html>".utf8))
        }
        let connections = WebConnections(WebTrust())
        defer {
            try? connections.close()
            try? server.stop()
        }
        let client = RegistryClient(
            try RegistryLocation(host: server.host), name: "a", connections: connections
        ) { nil }
        let error = #expect(throws: CASError.self) { try client.manifest("latest") }
        #expect(error?.message.contains("does not answer as a registry") == true)
        #expect(throws: CASError.self) { try client.tags() }
    }

    @Test func `where a registry is`() throws {
        let hub = try RegistryLocation(host: "docker.io")
        #expect(hub.origin.description == "https://registry-1.docker.io")
        #expect(hub.repository("python") == "library/python")
        #expect(hub.repository("ann/app") == "ann/app")
        #expect(
            try RegistryLocation(host: "localhost:5000").origin.description
                == "http://localhost:5000")
        #expect(try RegistryLocation(host: "[::1]:5000").origin.description == "http://[::1]:5000")
        #expect(try RegistryLocation(host: "a.example").origin.description == "https://a.example")
        #expect(
            try RegistryLocation(host: "a.example:80", isPlain: true).origin.description
                == "http://a.example")
        #expect(throws: CASError.self) { try RegistryLocation(host: "a.example:x") }
    }

    @Test func `addresses of answers, whole and relative`() throws {
        let base = try WebAddress("https://a.example/v2/x/blobs/uploads/1?s=2")
        for (text, whole) in [
            ("/v2/y", "https://a.example/v2/y"),
            ("?s=3", "https://a.example/v2/x/blobs/uploads/1?s=3"),
            ("2", "https://a.example/v2/x/blobs/uploads/2"),
            ("//b.example/z", "https://b.example/z"),
            ("http://c.example:8080/q?u=http://d", "http://c.example:8080/q?u=http://d"),
            ("https://e.example", "https://e.example/"),
        ] {
            #expect(try WebAddress(text, relativeTo: base).description == whole)
        }
        for bad in ["ftp://a.example/", "http://", "http://u@a.example/", "http://a b/", "x"] {
            #expect(throws: CASError.self, "\(bad)") { try WebAddress(bad) }
        }
        #expect(
            RegistryClient.next(["<https://a.example/x?last=b>; rel=\"next\""])
                == "https://a.example/x?last=b")
        #expect(RegistryClient.next(["</x>; rel=\"prev\"", "<>;rel=next"]) == "")
    }
}
