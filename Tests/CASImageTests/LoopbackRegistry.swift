import CASClient
import CASCore
import CASImage
import CASOCI
import CASTestSupport
import Synchronization

/// A registry in memory, as small as the specification allows, that does what a test tells it to.
final class LoopbackRegistry: Sendable {
    /// What it wants to see of who asks.
    enum Authentication: Sendable {
        case none
        case basic(String)
        /// Tokens from its own `/token`, which wants this user and password if any.
        case bearer(String?)
    }

    struct State: Sendable {
        var blobs: [String: [String: [UInt8]]] = [:]
        var manifests: [String: [String: (type: String, bytes: [UInt8])]] = [:]
        var tokens: [String] = []
        var pageSize = 1_000
        var mounts = true
        /// Whether it mounts what lies in any repository.
        var findsAnywhere = false
        var sessions = 0
        /// Answers instead of the registry; nil leaves it to it.
        var fault: (@Sendable (LoopbackRequest, Int) -> LoopbackAnswer?)?
        var count = 0
    }

    let state = Mutex(State())
    private let authentication: Authentication
    private let box = Mutex<LoopbackServer?>(nil)

    init(_ authentication: Authentication = .none) throws {
        self.authentication = authentication
        let server = try LoopbackServer { [weak self] request in
            self?.answer(request) ?? LoopbackAnswer(status: 500)
        }
        box.withLock { $0 = server }
    }

    var server: LoopbackServer {
        get throws {
            guard let server = box.withLock({ $0 }) else {
                throw CASError(.internalError, "it was stopped")
            }
            return server
        }
    }

    /// Connections of clients of it, ended with it.
    let connections = WebConnections(WebTrust())

    func stop() throws {
        try connections.close()
        try box.withLock { $0.take() }?.stop()
    }

    /// Lets a function answer first; it is told the number of the request.
    func set(fault: @escaping @Sendable (LoopbackRequest, Int) -> LoopbackAnswer?) {
        state.withLock { $0.fault = fault }
    }

    func put(_ name: String, blob: [UInt8]) -> Descriptor {
        let descriptor = Descriptor(mediaType: MediaType.octetStream, of: blob)
        state.withLock { $0.blobs[name, default: [:]][descriptor.digest.description] = blob }
        return descriptor
    }

    func put(_ name: String, tag: String, _ type: String, _ bytes: [UInt8]) {
        state.withLock {
            $0.manifests[name, default: [:]][tag] = (type, bytes)
            $0.manifests[name, default: [:]][OCIDigest.of(bytes).description] = (type, bytes)
        }
    }

    func manifest(_ name: String, _ selector: String) -> [UInt8]? {
        state.withLock { $0.manifests[name]?[selector]?.bytes }
    }

    // MARK: - Answers

    private func answer(_ request: LoopbackRequest) -> LoopbackAnswer {
        let number = state.withLock { state in
            state.count += 1
            return state.count
        }
        if let answer = state.withLock({ $0.fault })?(request, number) { return answer }
        if request.path == "/token" { return token(request) }
        if let refusal = refusal(request) { return refusal }
        let parts = request.path.split(separator: "/").dropFirst().map(String.init)
        guard parts.count >= 3 else { return LoopbackAnswer(body: Array("{}".utf8)) }
        let isSession = parts.suffix(3).first == "blobs"
        let name = parts.dropLast(isSession ? 3 : 2).joined(separator: "/")
        switch parts[parts.count - 2] {
        case "manifests": return manifest(request, name, parts[parts.count - 1])
        case "blobs": return blob(request, name, parts[parts.count - 1])
        case "uploads": return finish(request, name)
        case "tags": return tags(request, name)
        default: return LoopbackAnswer(status: 404)
        }
    }

    private func refusal(_ request: LoopbackRequest) -> LoopbackAnswer? {
        let authorization = request.headers["authorization"]
        switch authentication {
        case .none: return nil
        case .basic(let pair):
            if authorization == "Basic " + Base64.encode(Array(pair.utf8)) { return nil }
            return LoopbackAnswer(
                status: 401, headers: [("WWW-Authenticate", "Basic realm=\"here\"")])
        case .bearer:
            let tokens = state.withLock { $0.tokens }
            if let authorization, tokens.contains(where: { "Bearer \($0)" == authorization }) {
                return nil
            }
            return LoopbackAnswer(
                status: 401,
                headers: [
                    (
                        "WWW-Authenticate",
                        "Bearer realm=\"http://\(request.headers["host"] ?? "")/token\",service=\"here\""
                    )
                ])
        }
    }

    private func token(_ request: LoopbackRequest) -> LoopbackAnswer {
        guard case .bearer(let wanted) = authentication else { return LoopbackAnswer(status: 404) }
        let form = String(decoding: request.body, as: UTF8.self)
        if let wanted, !form.contains("refresh_token=\(wanted)"),
            request.headers["authorization"] != "Basic " + Base64.encode(Array(wanted.utf8))
        {
            return LoopbackAnswer(status: 401)
        }
        let token = state.withLock { state in
            state.tokens.append("token-\(state.tokens.count + 1)")
            return state.tokens.last ?? ""
        }
        return LoopbackAnswer(body: Array("{\"token\":\"\(token)\",\"expires_in\":300}".utf8))
    }

    private func manifest(
        _ request: LoopbackRequest, _ name: String, _ selector: String
    ) -> LoopbackAnswer {
        if request.method == "PUT" {
            put(name, tag: selector, request.headers["content-type"] ?? "", request.body)
            return LoopbackAnswer(
                status: 201,
                headers: [("Docker-Content-Digest", "\(OCIDigest.of(request.body))")])
        }
        guard let found = state.withLock({ $0.manifests[name]?[selector] }) else {
            return LoopbackAnswer(status: 404)
        }
        return LoopbackAnswer(
            headers: [
                ("Content-Type", found.type),
                ("Docker-Content-Digest", "\(OCIDigest.of(found.bytes))"),
            ], body: found.bytes)
    }

    private func blob(
        _ request: LoopbackRequest, _ name: String, _ digest: String
    ) -> LoopbackAnswer {
        if request.method == "POST" { return begin(request, name) }
        guard let bytes = state.withLock({ $0.blobs[name]?[digest] }) else {
            return LoopbackAnswer(status: 404)
        }
        guard let range = request.headers["range"]?.dropFirst(6) else {
            return LoopbackAnswer(body: bytes)
        }
        let ends = range.split(separator: "-").compactMap { Int($0) }
        let last = ends.count > 1 ? ends[1] : bytes.count - 1
        return LoopbackAnswer(status: 206, body: Array(bytes[ends[0]...last]))
    }

    private func begin(_ request: LoopbackRequest, _ name: String) -> LoopbackAnswer {
        if let digest = request.query("mount"), let from = request.query("from"),
            state.withLock({ state in
                guard state.mounts, let bytes = state.blobs[from]?[digest] else { return false }
                state.blobs[name, default: [:]][digest] = bytes
                return true
            })
        {
            return LoopbackAnswer(status: 201)
        }
        if let digest = request.query("mount"), request.query("from") == nil,
            state.withLock({ state in
                guard state.findsAnywhere,
                    let bytes = state.blobs.values.lazy.compactMap({ $0[digest] }).first
                else { return false }
                state.blobs[name, default: [:]][digest] = bytes
                return true
            })
        {
            return LoopbackAnswer(status: 201)
        }
        let session = state.withLock { state in
            state.sessions += 1
            return state.sessions
        }
        return LoopbackAnswer(
            status: 202, headers: [("Location", "/v2/\(name)/blobs/uploads/\(session)?state=x")])
    }

    private func finish(_ request: LoopbackRequest, _ name: String) -> LoopbackAnswer {
        if request.method == "POST" { return begin(request, name) }
        let digest = request.query("digest") ?? ""
        guard digest == OCIDigest.of(request.body).description else {
            return LoopbackAnswer(
                status: 400, body: RegistryError.body([RegistryError(.digestInvalid, "no")]))
        }
        state.withLock { $0.blobs[name, default: [:]][digest] = request.body }
        return LoopbackAnswer(status: 201, headers: [("Docker-Content-Digest", digest)])
    }

    private func tags(_ request: LoopbackRequest, _ name: String) -> LoopbackAnswer {
        let (all, size) = state.withLock {
            ($0.manifests[name].map { Array($0.keys) }, $0.pageSize)
        }
        guard let all else { return LoopbackAnswer(status: 404) }
        let sorted = JSON.sorted(all.filter { !$0.contains(":") })
        let rest = request.query("last").map { last in sorted.filter { $0 > last } } ?? sorted
        let page = Array(rest.prefix(size))
        var answer = LoopbackAnswer(
            body: JSON.object([.init("name", .text(name)), .init("tags", .texts(page))]).encode())
        if rest.count > page.count, let last = page.last {
            answer.headers.append(
                ("Link", "</v2/\(name)/tags/list?n=\(size)&last=\(last)>; rel=\"next\""))
        }
        return answer
    }
}
