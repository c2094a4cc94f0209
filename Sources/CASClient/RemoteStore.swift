package import CASCore
import CASPack
package import CASWire
import NIOCore
import NIOHTTP1

/// How to reach a server.
package struct ServerAccess: Sendable {
    /// `http://HOST:PORT` or `https://HOST:PORT`.
    package var address: String
    /// The token to send; asked for at each request, as its file may change.
    package var token: @Sendable () throws -> String?
    /// A file of certificates to trust instead of the system's; nil for those.
    package var certificatesPath: String?
    /// The proxy to go through; nil for none.
    package var proxy: ServerProxy?

    /// Access to a server without a token.
    package init(address: String, token: @escaping @Sendable () throws -> String? = { nil }) {
        self.address = address
        self.token = token
    }
}

/// A store behind a server.
///
/// Blocking: each call runs on the thread that makes it, with NIO's threads behind it.
package final class RemoteStore: StoreConnection {
    private static let errorBytes = 64 << 10
    private static let unauthorized: UInt = 401

    package let location: String
    private let connection: WebConnection
    let access: ServerAccess
    private let limits: Limits
    private let versions: ProtocolVersions

    /// Prepares a connection; nothing is sent before the first call.
    package init(
        _ access: ServerAccess, limits: Limits = .standard, versions: ProtocolVersions = .own
    ) throws {
        self.versions = versions
        self.access = access
        self.limits = limits
        location = try RemoteStore.normalize(access.address)
        let address = try WebAddress(location)
        let proxy = access.proxy
        connection = try WebConnection(
            address.origin, WebTrust(certificatesPath: access.certificatesPath) { _ in proxy })
    }

    package var isLocal: Bool { false }

    package func close() throws { try connection.close() }

    private static func normalize(_ address: String) throws -> String {
        var text = address
        while text.hasSuffix("/") { text.removeLast() }
        guard text.hasPrefix("http://") || text.hasPrefix("https://"),
            text.split(separator: "/", omittingEmptySubsequences: true).count == 2
        else {
            throw CASError(
                .invalidArgument, "'\(address)' is not the address of a server",
                hint: "write http://HOST:PORT or https://HOST")
        }
        return text
    }

    // MARK: - Requests

    /// The body of an answer; nil for 404 where the caller takes absence for an answer.
    func send(
        _ method: HTTPMethod, _ path: String, body: [UInt8]? = nil, isAbsenceAllowed: Bool = false,
        accepts: Set<UInt> = []
    ) throws -> [UInt8]? {
        try send(
            method, path, body: body.map { ByteBuffer(bytes: $0) },
            type: WireProtocol.messageMediaType, isAbsenceAllowed: isAbsenceAllowed,
            accepts: accepts)
    }

    func send(
        _ method: HTTPMethod, _ path: String, body: ByteBuffer?, type: String,
        isAbsenceAllowed: Bool = false, accepts: Set<UInt> = []
    ) throws -> [UInt8]? {
        var answer: [UInt8] = []
        let status = try stream(method, path, body: body, type: type, accepts: accepts) { bytes in
            guard answer.count + bytes.count <= limits.directoryBytes else {
                throw CASError(.resourceExhausted, "the server's answer is too long")
            }
            answer.append(contentsOf: bytes)
        }
        // Only our server knows what is absent; whoever else answers 404 knows nothing of it.
        if status == 404, isAbsenceAllowed, (try? WireError(decoding: answer)) != nil { return nil }
        if status >= 400, !accepts.contains(status) { throw failure(status, answer) }
        return answer
    }

    /// Sends a request and hands the body of its answer to `sink` on this thread, as it comes.
    ///
    /// For a status that is an error the body is handed over too unless `failsEarly`. A token that is
    /// refused is sent once more if its file holds another one by now.
    @discardableResult
    func stream(
        _ method: HTTPMethod, _ path: String, body: ByteBuffer?, type: String,
        accepts: Set<UInt> = [], failsEarly: Bool = false,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> UInt {
        var headers = [
            (
                name: "accept",
                value: "\(WireProtocol.messageMediaType), \(WireProtocol.recordsMediaType)"
            ),
            (name: ProtocolVersions.header, value: versions.description),
        ]
        if body != nil { headers.append((name: "content-type", value: type)) }
        var token = try access.token()
        while true {
            let authorization = token.map { [(name: "authorization", value: "Bearer \($0)")] }
            let request = WebRequest(
                method.rawValue, path, headers: headers + (authorization ?? []),
                body: body.map { .buffer($0) } ?? .none)
            let (status, errorBody) = try exchange(request, failsEarly: failsEarly, sink)
            if status == RemoteStore.unauthorized, let next = try access.token(), next != token {
                // kubelet renewed it between our look at the file and the server's at its clock.
                token = next
                continue
            }
            if failsEarly, status >= 400 { throw failure(status, errorBody) }
            if status == RemoteStore.unauthorized { try errorBody.withUnsafeBytes { try sink($0) } }
            return status
        }
    }

    /// One request and its answer: the status, and the body of an error that `sink` did not get.
    private func exchange(
        _ request: WebRequest, failsEarly: Bool,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> (status: UInt, errorBody: [UInt8]) {
        var errorBody: [UInt8] = []
        var isKept = false
        let head = try connection.exchange(
            request,
            head: { head in
                try checkVersions(head)
                isKept =
                    failsEarly && head.status >= 400 || head.status == RemoteStore.unauthorized
            },
            { piece in
                guard isKept else { return try sink(piece) }
                let room = RemoteStore.errorBytes - errorBody.count
                errorBody.append(contentsOf: piece.prefix(max(0, room)))
            })
        return (head.status, errorBody)
    }

    /// Throws where the server speaks another protocol; what refuses says nothing about a server.
    private func checkVersions(_ head: WebHead) throws {
        let said = head[ProtocolVersions.header].flatMap { ProtocolVersions($0) }
        let isAnswered = (200..<300).contains(head.status)
        guard let server = said ?? (isAnswered ? .unsaid : nil) else { return }
        try ProtocolVersions.check(client: versions, server: server)
    }

    /// The error that an answer carries; one without a message of ours comes from something between.
    private func failure(_ status: UInt, _ body: [UInt8]) -> CASError {
        if let message = try? WireError(decoding: body), !message.message.isEmpty {
            return message.error
        }
        let code: CASError.Code =
            switch status {
            case 401: .unauthenticated
            case 403: .permissionDenied
            case 404: .failedPrecondition
            case 413, 507: .resourceExhausted
            case 429, 502, 503, 504: .unavailable
            default: .unknown
            }
        return CASError(
            code, "\(location) answered with status \(status)",
            hint: "something between here and the server may have answered in its place")
    }
}
