package import CASCore
package import CASRepository
package import CASWire
import HTTPTypes
package import Hummingbird
import Logging
import NIOCore
package import NIOPosix

/// Where a request comes from, as far as it says.
package struct RequestOrigin: Sendable {
    /// The token that it carries.
    package var token: String?
    /// The host that it names.
    package var host: String?
    /// Whether something between the client and this server passed it on.
    package var isForwarded: Bool

    /// Headers by which something between a client and a server says that it is there.
    private static let forwarding = [
        "Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP", "Via",
    ].compactMap { HTTPField.Name($0) }

    /// Where a request comes from, with the token that its door found in it.
    package init(_ request: Request, token: String?) {
        self.token = token
        host = request.head.authority
        isForwarded = RequestOrigin.forwarding.contains { request.headers.contains($0) }
    }
}

/// Who asks, and what that somebody may do.
package struct Caller: Sendable {
    /// What is allowed.
    package var scopes: [TokenScope]
    /// Who it is, for the log and the history; empty where nobody said so with a token.
    package var subject: String
    /// The token of cas that says so; nil for anything else.
    package var token: Identifier?
    /// When what says so ends; nil for never.
    package var expires: Timestamp?

    /// A caller with these rights.
    package init(
        scopes: [TokenScope], subject: String = "", token: Identifier? = nil,
        expires: Timestamp? = nil
    ) {
        self.scopes = scopes
        self.subject = subject
        self.token = token
        self.expires = expires
    }
}

/// Who may do what; decided by the composition.
package protocol AccessControl: Sendable {
    /// Who sends a request; throws `unauthenticated` for a wrong token, `permissionDenied` for what
    /// must not be asked without one.
    func caller(_ origin: RequestOrigin) async throws -> Caller
    /// What the holder of a token of cas may do now; throws `unauthenticated` once the token ended.
    func caller(of token: Identifier) async throws -> Caller
    /// Throws `permissionDenied` for what must not be asked without a valid token, though it needs no
    /// rights.
    func check(_ origin: RequestOrigin) async throws
}

/// The native protocol over HTTP: translates requests into calls of the repository and decides nothing.
package struct Door: HTTPResponder {
    package typealias Context = DoorContext

    /// What it shares with the other doors of the server.
    package let shared: SharedResources
    let announcement: ServerAnnouncement
    let clients: (any ClientExecutables)?
    let domain = Domain.standard

    var repository: Repository { shared.repository }
    var access: any AccessControl { shared.access }
    var metrics: ServerMetrics { shared.metrics }
    var openAnswers: OpenAnswers { shared.openAnswers }
    var waiters: RefWaiters { shared.waiters }
    var buffers: BufferPool { shared.buffers }

    /// A door of a repository; blocking calls run on `pool`.
    package init(
        repository: Repository, access: any AccessControl, metrics: ServerMetrics,
        pool: NIOThreadPool, announcement: ServerAnnouncement = ServerAnnouncement(),
        clients: (any ClientExecutables)? = nil, bodyBytes: Int = 192 << 20
    ) {
        shared = SharedResources(
            repository: repository, access: access, metrics: metrics, pool: pool,
            bodyBytes: bodyBytes)
        self.announcement = announcement
        self.clients = clients
    }

    /// Answers the requests that wait for a ref to move, and lets none wait any more.
    package func endWaiting() { waiters.close() }

    package func respond(to request: Request, context: Context) async throws -> Response {
        shared.begin()
        var notes = RequestNotes(door: "unknown")
        var response: Response
        do {
            let query = Query(request.uri.query)
            let route = try Route(request.method, path: request.uri.path, tag: query["tag"])
            notes.door = route.door
            response = try await answer(route, query, request, context, &notes)
        } catch {
            response = StatusTable.response(error, request)
            // What is no request of this door is nothing that failed: podman searches under /v1, for example.
            if response.status.code >= 500, response.status != .notImplemented {
                context.logger.error("request failed", metadata: ["cause": "\(error)"])
            }
        }
        if let name = HTTPField.Name(ProtocolVersions.header) {
            response.headers[name] = ProtocolVersions.own.description
        }
        shared.end(request, response, notes, context)
        return response
    }

    private func answer(
        _ route: Route, _ query: Query, _ request: Request, _ context: Context,
        _ notes: inout RequestNotes
    ) async throws -> Response {
        let origin = try Door.origin(request)
        switch route {
        case .health: return Door.text("ok\n")
        case .readiness, .metrics:
            // Open to probes and scrapers, but not to a web page under a name of its own.
            try await access.check(origin)
        default: break
        }
        switch route {
        case .readiness:
            _ = try await blocking {
                try repository.refs(prefix: "", after: nil, limit: 1, domain: domain)
            }
            return Door.text("ready\n")
        case .metrics:
            let waiting = shared.bodies.waitingCount
            return Door.text(
                try await blocking { metrics.text(repository, waitingBodies: waiting) })
        default: break
        }
        try Door.checkVersions(request)
        let rights = Rights(try await access.caller(origin))
        notes.subject = rights.subject
        // Refused before a body is read: rights, sizes, and what the query says of the ref.
        try rights.check(route, query)
        let limits = repository.configuration.limits
        guard let limit = route.bodyBytes(limits) else {
            return try await answer(route, query, rights, request, context)
        }
        let declared = request.headers[.contentLength].flatMap { Int($0) }
        if let declared, declared > limit { throw IncomingBody.tooLarge(limit) }
        context.askForBody(request)
        let body = shared.body(request, limit: limit)
        defer { body.end() }
        do {
            try await body.receive(request, context)
        } catch let error as SlowBody {
            // Nothing more is read; who goes on sending learns of it when the connection ends.
            context.closeSoon()
            throw error
        }
        notes.received = body.buffer.count
        return try await answer(route, query, rights, body: body.buffer, context)
    }

    /// Throws where a client speaks no version of the protocol that this server speaks.
    private static func checkVersions(_ request: Request) throws {
        guard let name = HTTPField.Name(ProtocolVersions.header),
            let client = request.headers[name].flatMap({ ProtocolVersions($0) })
        else { return }
        try ProtocolVersions.check(client: client, server: .own)
    }

    private static func origin(_ request: Request) throws -> RequestOrigin {
        RequestOrigin(request, token: try token(request))
    }

    private static func token(_ request: Request) throws -> String? {
        guard let header = request.headers[.authorization] else { return nil }
        let parts = header.split(separator: " ", maxSplits: 1)
        guard parts.count == 2, parts[0].lowercased() == "bearer" else {
            throw CASError(
                .unauthenticated, "the authorization header is none",
                hint: "send 'Authorization: Bearer' and a token")
        }
        return String(parts[1])
    }

    /// Runs a blocking call on the thread pool.
    func blocking<Output: Sendable>(
        _ body: @escaping @Sendable () throws -> Output
    ) async throws -> Output {
        try await shared.blocking(body)
    }

    static func text(_ text: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/plain; version=0.0.4; charset=utf-8"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    static func message(
        _ message: some WireMessage, status: HTTPResponse.Status = .ok
    ) -> Response {
        Response(
            status: status, headers: [.contentType: WireProtocol.messageMediaType],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: message.encode())))
    }
}

/// The query of a request.
struct Query: Sendable {
    private let values: [String: String]

    init(_ text: String?) {
        var values: [String: String] = [:]
        for pair in (text ?? "").split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
            if parts.count == 2 {
                values[parts[0]] = Query.decode(parts[1])
            }
        }
        self.values = values
    }

    subscript(_ name: String) -> String? { values[name] }

    /// Undoes percent encoding (RFC 3986, 2.1); text that is not well-formed stays as it is.
    private static func decode(_ text: String) -> String {
        guard text.contains("%") else { return text }
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                rest.prefix(2).allSatisfy({ $0 != UInt8(ascii: "+") && $0 != UInt8(ascii: "-") }),
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(validating: bytes, as: UTF8.self) ?? text
    }
}
