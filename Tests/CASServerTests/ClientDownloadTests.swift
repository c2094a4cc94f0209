import CASClient
import CASCore
import CASFileSystem
import CASTestSupport
import CASWire
import Logging
import Testing

@testable import CASServer

/// The client that a server hands out.
@Suite struct ClientDownloadTests {
    private static let path = "/v1/client/linux-x86_64"

    private func world(_ content: [UInt8]) throws -> ServerWorld {
        try ServerWorld { configuration, temporary in
            configuration.clientExecutable = "\(temporary.path)/cas"
            try DiskFileSystem().replace("\(temporary.path)/cas", content)
        }
    }

    @Test func `it is what the server runs`() async throws {
        try await onThread {
            let bytes = content(seed: 9, count: 3_000_001)
            let digest = Digest.of(bytes)
            let world = try world(bytes)
            let description = try world.withRemote { try $0.describe() }
            #expect(description.clientDigest == digest)
            #expect(description.clientBytes == UInt64(bytes.count))
            let connection = try world.raw()
            for query in ["", "?digest=\(digest)"] {
                let answer = try connection.request("GET", Self.path + query)
                #expect(answer.status == 200)
                #expect(answer.body == bytes)
                #expect(answer.headers["etag"] == "\"\(digest.hexadecimal)\"")
                #expect(answer.headers["content-length"] == "\(bytes.count)")
            }
            let same = try connection.request(
                "GET", Self.path, headers: ["if-none-match": "\"\(digest.hexadecimal)\""])
            #expect(same.status == 304)
            try connection.send("HEAD \(Self.path) HTTP/1.1\r\nhost: localhost\r\n\r\n")
            // Were a body sent, the next answer would begin with it.
            let head = try connection.head()
            #expect(head.status == 200)
            #expect(head.headers["content-length"] == "\(bytes.count)")
            #expect(try connection.request("GET", "/healthz").text == "ok\n")
        }
    }

    @Test func `an older one is found after the server was replaced`() async throws {
        try await onThread {
            let old = content(seed: 1, count: 100_000)
            let world = try world(old)
            let port = world.port
            try world.stop()
            let new = content(seed: 2, count: 90_000)
            try DiskFileSystem().replace("\(world.temporary.path)/cas", new)
            try world.start(port: port)
            let connection = try world.raw()
            #expect(try connection.request("GET", Self.path).body == new)
            let query = "?digest=\(Digest.of(old))"
            #expect(try connection.request("GET", Self.path + query).body == old)
            let missing = try connection.request("GET", Self.path + "?digest=\(Digest.empty)")
            #expect(missing.status == 404)
            #expect(missing.text.contains("render the job again"))
            // One that is damaged is not handed out.
            let copy = "\(world.temporary.path)/store/clients/\(Digest.of(old).hexadecimal)"
            try DiskFileSystem().replace(copy, content(seed: 3, count: 100_000))
            #expect(try connection.request("GET", Self.path + query).status == 404)
            #expect(try DiskFileSystem().status(copy) == nil)
        }
    }

    @Test func `eight are kept, those that were used last`() throws {
        let temporary = try TemporaryDirectory()
        let executable = "\(temporary.path)/cas"
        let logger = Logger(label: "cas") { _ in JSONLog(level: .critical) }
        var digests: [Digest] = []
        for number in 0..<10 {
            let bytes = content(seed: UInt64(100 + number), count: 1000)
            try DiskFileSystem().replace(executable, bytes)
            let clients = try ClientStore(
                executable: executable, storeDirectory: temporary.path, logger: logger)
            digests.append(Digest.of(bytes))
            // As if time passed between two versions.
            let folder = try DirectoryHandle(path: "\(temporary.path)/clients")
            try folder.setModified(
                Array(digests[number].hexadecimal.utf8), Timestamp(seconds: Int64(1000 + number)))
            // The first one is used all the time, and so stays.
            if number > 0 { #expect(try clients.open(digests[0]) != nil) }
        }
        let kept = try DiskFileSystem().list("\(temporary.path)/clients").compactMap {
            Digest(hexadecimal: $0[...])
        }
        #expect(kept.count == ClientStore.kept)
        #expect(Set(kept) == Set([digests[0]] + digests[3...]))
    }

    @Test func `without one, or for another platform, there is none`() async throws {
        try await onThread {
            let plain = try ServerWorld()
            #expect(try plain.raw().request("GET", Self.path).status == 404)
            #expect(try plain.withRemote { try $0.describe().clientDigest } == nil)
            let world = try world([1, 2, 3])
            let connection = try world.raw()
            for path in ["/v1/client/linux-arm64", "/v1/client/darwin-x86_64"] {
                let answer = try connection.request("GET", path)
                #expect(answer.status == 404)
                #expect(answer.text.contains("the only platform is linux-x86_64"))
            }
            #expect(try connection.request("GET", Self.path + "?digest=x").status == 400)
        }
    }

    @Test func `who may read nothing gets none`() async throws {
        try await onThread {
            let world = try ServerWorld { configuration, temporary in
                try configuration.setListen("0.0.0.0:0")
                configuration.isPlaintext = true
                configuration.clientExecutable = "\(temporary.path)/cas"
                try DiskFileSystem().replace("\(temporary.path)/cas", [1])
            }
            let connection = try world.raw()
            #expect(try connection.request("GET", Self.path).status == 401)
            for (scope, status) in [("write:a", 403), ("read:a", 200)] {
                let token = try world.configuration.administrator(scope)
                let answer = try connection.request(
                    "GET", Self.path, headers: ["authorization": "Bearer \(token)"])
                #expect(answer.status == status, "\(scope)")
            }
        }
    }
}
