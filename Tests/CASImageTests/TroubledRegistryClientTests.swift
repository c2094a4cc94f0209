import CASClient
import CASCore
import CASOCI
import CASTestSupport
import Synchronization
import Testing

@testable import CASImage

/// Registries that break, lie, or are none.
@Suite struct TroubledRegistryClientTests {
    @Test func `what the receiver of an answer throws is no failure of who gave it`() throws {
        struct Elsewhere: Error {}
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try registry.client()
        let bytes = LoopbackRegistry.sample(100_000)
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

    @Test func `a redirect leads elsewhere without credentials`() throws {
        let elsewhere = try LoopbackRegistry()
        let registry = try LoopbackRegistry(.basic("ann:secret"))
        defer {
            try? registry.stop()
            try? elsewhere.stop()
        }
        let descriptor = elsewhere.put("team/app", blob: LoopbackRegistry.sample(5_000))
        let target = "http://\(try elsewhere.server.host)/v2/team/app/blobs/\(descriptor.digest)"
        registry.set { request, _ in
            guard request.method == "GET", request.headers["authorization"] != nil else {
                return nil
            }
            return LoopbackAnswer(status: 307, headers: [("Location", target)])
        }
        let client = try registry.client(credential: .basic(user: "ann", password: "secret"))
        #expect(
            try client.bytes(descriptor, maximumBytes: 10_000) == LoopbackRegistry.sample(5_000))
        #expect(try elsewhere.server.requests.map { $0.headers["authorization"] } == [nil])
        registry.set { _, _ in LoopbackAnswer(status: 302, headers: [("Location", "/v2/round")]) }
        #expect(throws: CASError.self) { try client.bytes(descriptor, maximumBytes: 10_000) }
    }

    @Test func `wrong bytes are not taken`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try registry.client()
        let descriptor = registry.put("team/app", blob: LoopbackRegistry.sample(500))
        let other = OCIDigest.of(Array("x".utf8))
        registry.set { request, _ in
            request.path.hasSuffix("\(other)")
                ? LoopbackAnswer(
                    headers: [("Content-Type", MediaType.imageManifest)], body: Array("{}".utf8))
                : request.method == "GET"
                    ? LoopbackAnswer(body: LoopbackRegistry.sample(499) + [1]) : nil
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
        #expect(throws: CASError.self) { try client.upload(LoopbackRegistry.sample(30)) }
        #expect(throws: CASError.self) {
            try client.put(manifest: [1], mediaType: MediaType.imageManifest, as: "t")
        }
    }

    @Test func `what breaks is tried again, from where it broke`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try registry.client()
        let bytes = LoopbackRegistry.sample(300_000)
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
        let descriptor = registry.put("team/app", blob: LoopbackRegistry.sample(5_000))
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
            config: registry.put("team/app", blob: LoopbackRegistry.sample(10)), layers: []
        ).encode()
        registry.put("team/app", tag: "v1", MediaType.imageManifest, manifest)
        registry.set { _, number in
            number == 1
                ? LoopbackAnswer(
                    headers: [("Content-Type", MediaType.imageManifest)], body: manifest, cut: 20)
                : nil
        }
        #expect(try registry.client().manifest("v1")?.bytes == manifest)
    }

    @Test func `an upload that broke begins anew, and one that is refused says why`() throws {
        let registry = try LoopbackRegistry()
        defer { try? registry.stop() }
        let client = try registry.client()
        let refused = Mutex(false)
        registry.set { request, _ in
            guard request.method == "PUT" else { return nil }
            let isFirst = refused.withLock { isDone in
                defer { isDone = true }
                return !isDone
            }
            return isFirst ? LoopbackAnswer(status: 502) : nil
        }
        let writes = Mutex(0)
        let bytes = LoopbackRegistry.sample(200_000)
        let placement = try client.upload(OCIDigest.of(bytes), size: 200_000) { write in
            writes.withLock { $0 += 1 }
            try bytes.withUnsafeBytes { try write($0) }
        }
        #expect(placement == .uploaded)
        // On a machine that is busy another connection may break too.
        #expect(writes.withLock { $0 } >= 2)
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
}
