import CASCore
import CASFileSystem
import CASOCI
import CASRepository
import CASServer
import CASTestSupport
import CASWire
import Glibc
import Logging
import Synchronization

/// A server in this process with a store in a temporary directory, and what a client of registries does.
final class RegistryWorld: Sendable {
    let temporary: TemporaryDirectory
    let configuration: ServerConfiguration
    private let running: Mutex<RunningServer?>

    /// `prepare` gets the store before the server has it.
    init(
        _ change: (inout ServerConfiguration, TemporaryDirectory) throws -> Void = { _, _ in },
        prepare: ((Repository) throws -> Void)? = nil
    ) throws {
        signal(SIGPIPE, SIG_IGN)
        temporary = try TemporaryDirectory()
        var configuration = ServerConfiguration(
            storeDirectory: temporary.path + "/store", threads: 8)
        configuration.logLevel = .critical
        configuration.shutdownSeconds = 1
        try configuration.setListen("127.0.0.1:0")
        try change(&configuration, temporary)
        self.configuration = configuration
        if let prepare {
            let repository = try StoreLocation.open(
                directory: configuration.storeDirectory, create: true)
            let result = Result { try prepare(repository) }
            try repository.close()
            try result.get()
        }
        running = Mutex(try Server.start(configuration))
    }

    deinit { try? stop() }

    var port: UInt16 {
        running.withLock { UInt16($0?.address.split(separator: ":").last ?? "") ?? 0 }
    }

    func stop() throws { try running.withLock { try $0.take()?.stop() } }

    /// Ends the server and starts it again, on another port; `change` gets the store in between.
    func restart(_ change: ((Repository) throws -> Void)? = nil) throws {
        try stop()
        if let change {
            let repository = try StoreLocation.open(
                directory: configuration.storeDirectory, create: false)
            let result = Result { try change(repository) }
            try repository.close()
            try result.get()
        }
        let server = try Server.start(configuration)
        running.withLock { $0 = server }
    }

    func client(_ headers: [String: String] = [:]) throws -> RegistryClient {
        RegistryClient(try RawConnection(port: port), headers)
    }
}

/// Requests over one connection.
struct RegistryClient {
    typealias Answer = RawConnection.Answer
    let raw: RawConnection
    let headers: [String: String]

    init(_ raw: RawConnection, _ headers: [String: String]) {
        self.raw = raw
        self.headers = headers
    }

    func request(
        _ method: String, _ path: String, _ more: [String: String] = [:], body: [UInt8]? = nil
    ) throws -> Answer {
        try raw.request(
            method, path, headers: headers.merging(more) { $1 },
            body: body ?? (["POST", "PUT", "PATCH"].contains(method) ? [] : nil))
    }

    /// Sends a body in pieces of a few bytes, its length unsaid.
    func stream(_ method: String, _ path: String, _ body: [UInt8], piece: Int = 7_000) throws
        -> Answer
    {
        var text = "\(method) \(path) HTTP/1.1\r\nhost: 127.0.0.1:\(raw.port)\r\n"
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        try raw.send(text + "transfer-encoding: chunked\r\n\r\n")
        for start in stride(from: 0, to: body.count, by: piece) {
            let part = body[start..<min(start + piece, body.count)]
            try raw.send("\(String(part.count, radix: 16))\r\n")
            try raw.send(Array(part) + [13, 10])
        }
        try raw.send("0\r\n\r\n")
        return try raw.answer()
    }

    /// Where a new upload goes.
    func begin(_ name: String) throws -> String {
        try request("POST", "/v2/\(name)/blobs/uploads/").headers["location"] ?? ""
    }

    /// Pushes a blob in one request of a session, and returns its digest.
    @discardableResult
    func push(
        _ name: String, _ bytes: [UInt8], _ algorithm: OCIDigest.Algorithm = .sha256
    ) throws -> OCIDigest {
        let digest = OCIDigest.of(bytes, algorithm)
        let answer = try request("PUT", "\(try begin(name))?digest=\(digest)", body: bytes)
        guard answer.status == 201 else {
            throw CASError(.internalError, "\(answer.status): \(answer.text)")
        }
        return digest
    }

    /// An image manifest of blobs that it pushes first.
    func image(
        _ name: String, seed: UInt64 = 1, subject: OCIDigest? = nil, artifactType: String = "",
        annotations: [String: String] = [:]
    ) throws -> [UInt8] {
        let layer = content(seed: seed, count: 3_000)
        try push(name, layer)
        try push(name, Array("{}".utf8))
        var members = [
            JSON.Member("schemaVersion", .integer(2)),
            JSON.Member("mediaType", .text(MediaType.imageManifest)),
            JSON.Member(
                "config",
                Descriptor(mediaType: MediaType.imageConfig, of: Array("{}".utf8)).json),
            JSON.Member(
                "layers", .list([Descriptor(mediaType: MediaType.imageLayer, of: layer).json])),
        ]
        if !artifactType.isEmpty {
            members.append(JSON.Member("artifactType", .text(artifactType)))
        }
        if let subject {
            members.append(
                JSON.Member(
                    "subject",
                    Descriptor(mediaType: MediaType.imageManifest, digest: subject, size: 7).json))
        }
        if !annotations.isEmpty { members.append(JSON.Member("annotations", .map(annotations))) }
        return JSON.object(members).encode()
    }

    func put(
        _ name: String, _ reference: String, _ manifest: [UInt8],
        type: String = MediaType.imageManifest, _ more: [String: String] = [:]
    ) throws -> Answer {
        try request(
            "PUT", "/v2/\(name)/manifests/\(reference)",
            more.merging(["content-type": type]) { $1 }, body: manifest)
    }

    /// Pushes an image under a tag; its digest.
    @discardableResult
    func pushImage(_ name: String, _ tag: String, seed: UInt64 = 1) throws -> OCIDigest {
        let manifest = try image(name, seed: seed)
        let answer = try put(name, tag, manifest)
        guard answer.status == 201 else {
            throw CASError(.internalError, "\(answer.status): \(answer.text)")
        }
        return OCIDigest.of(manifest)
    }
}

extension RawConnection.Answer {
    /// The code of the first error that the body tells.
    var code: String { RegistryError.parse(body).first?.code.rawValue ?? "" }

    /// The body as JSON.
    var json: JSON { (try? JSON(decoding: body)) ?? .null }

    var digest: String { headers["docker-content-digest"] ?? "" }
}

/// Content that a test can make again.
func content(seed: UInt64, count: Int) -> [UInt8] {
    var generator = SeededGenerator(seed: seed)
    return generator.bytes(count)
}
