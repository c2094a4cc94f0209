import CASTestSupport
import Synchronization

/// A web server on this machine that answers with what a test gives it, and counts.
final class LoopbackIssuer: Sendable {
    private final class Documents: Sendable {
        let all = Mutex<[String: LoopbackAnswer]>([:])
    }
    private let documents = Documents()
    private let server: LoopbackServer

    init() throws {
        server = try LoopbackServer { [documents] request in
            documents.all.withLock { $0[request.target] } ?? LoopbackAnswer(status: 404)
        }
    }

    var address: String { "http://\(server.host)" }

    /// The requests so far.
    var requests: [LoopbackRequest] { server.requests }

    func set(_ path: String, _ body: [UInt8], status: Int = 200) {
        documents.all.withLock { $0[path] = LoopbackAnswer(status: status, body: body) }
    }

    /// Ends it, so that connections are refused from then on.
    func stop() throws { try server.stop() }
}
