import CASClient
package import CASCore
import CASFileSystem
import CASOCI
import Synchronization

/// One repository of a registry.
///
/// Blocking; any thread may call. Retries, redirects and authentication happen here and nowhere else.
package final class RegistryClient: Sendable {
    private static let attempts = 5
    /// For blobs: who moves gigabytes would rather wait for a registry that is started anew.
    package static let patientAttempts = 8
    private static let redirects = 5
    private static let longestPauseMilliseconds: UInt64 = 60_000
    /// Bytes of all pages of a list at most: more than a million tags.
    private static let listBytes = 64 << 20

    /// The registry.
    package let location: RegistryLocation
    /// The repository's name, as it is written in references.
    package let name: String
    let connections: WebConnections
    let authorizer: RegistryAuthorizer
    private let blobAttempts: Int
    private let onWait: @Sendable (CASError) -> Void

    /// The repository as the registry names it.
    var repository: String { location.repository(name) }

    /// A repository; `credentials` is asked once the registry wants to know who asks, `onWait` hears of
    /// what is tried again, blobs so many times.
    package init(
        _ location: RegistryLocation, name: String, connections: WebConnections,
        blobAttempts: Int = RegistryClient.patientAttempts,
        credentials: @escaping @Sendable () throws -> RegistryCredential?,
        onWait: @escaping @Sendable (CASError) -> Void = { _ in }
    ) {
        self.location = location
        self.name = name
        self.connections = connections
        self.blobAttempts = blobAttempts
        self.onWait = onWait
        authorizer = RegistryAuthorizer(location, credentials: credentials) { address, request in
            var body: [UInt8] = []
            let head = try connections.connection(to: address.origin).exchange(request) { bytes in
                guard body.count + bytes.count <= JSON.maximumBytes else {
                    throw RegistryFailure.garbled("\(address.origin)")
                }
                body.append(contentsOf: bytes)
            }
            return (head, body)
        }
    }

    // MARK: - Requests

    /// A request to the registry.
    struct Call {
        var method: String
        var address: WebAddress
        var headers: [(name: String, value: String)] = []
        var body = WebRequest.Body.none
        var scopes: Set<RegistryScope>
        /// What it is about, for messages.
        var what: String
        /// Statuses that are answers and no errors, beside those of success.
        var accepts: Set<UInt> = []

        /// Whether sending it again can do no harm, and its body is there to be sent again.
        var isRepeatable: Bool {
            if case .stream = body { return false }
            return method != "POST"
        }
    }

    /// An answer with a small body.
    struct Answer {
        let head: WebHead
        let body: [UInt8]
        /// Who gave it, after redirects.
        let address: WebAddress
    }

    /// A request whose answer has at most so many bytes; tried again where that does no harm.
    func call(_ call: Call, maximumBytes: Int = RegistryFailure.bodyBytes) throws -> Answer {
        guard call.isRepeatable else { return try answer(call, maximumBytes) }
        return try retrying(Self.attempts) { try answer(call, maximumBytes) }
    }

    private func answer(_ call: Call, _ maximumBytes: Int) throws -> Answer {
        var body: [UInt8] = []
        let (head, address) = try stream(call) { bytes in
            guard body.count + bytes.count <= maximumBytes else {
                throw CASError(
                    .resourceExhausted,
                    "\(location.host): \(call.what) has more than \(maximumBytes) bytes")
            }
            body.append(contentsOf: bytes)
        }
        return Answer(head: head, body: body, address: address)
    }

    /// Moves a blob, again where that failed for a passing reason.
    func retrying<Result>(_ body: () throws -> Result) throws -> Result {
        try retrying(blobAttempts, body)
    }

    /// Does something again that failed for a passing reason, unless somebody below did that already; those above are
    /// told not to.
    private func retrying<Result>(_ attempts: Int, _ body: () throws -> Result) throws -> Result {
        var attempt = 1
        while true {
            do { return try body() } catch let error as CASError where error.isPassing {
                guard attempt < attempts else { throw error.repeated }
                if attempt >= 2 { onWait(error) }
                let wanted = (error.cause as? RetryAfter)?.milliseconds ?? 0
                Sleep.milliseconds(
                    max(Backoff.milliseconds(attempt), min(wanted, Self.longestPauseMilliseconds)))
                attempt += 1
            }
        }
    }

    /// How long a registry wants to be left alone.
    private struct RetryAfter: Error, CustomStringConvertible {
        let milliseconds: UInt64
        var description: String { "it wants to be asked again in \(milliseconds / 1000) s" }
    }

    /// A request whose answer goes to `sink` as it comes, redirects followed; whoever asks knows what came, and tries
    /// again.
    func stream(
        _ call: Call, head onHead: (WebHead) throws -> Void = { _ in },
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> (WebHead, WebAddress) {
        var address = call.address
        for _ in 0...Self.redirects {
            let (head, errors) = try authorized(call, address, onHead, sink)
            switch head.status {
            case 200..<300: return (head, address)
            case let status where call.accepts.contains(status): return (head, address)
            case 301, 302, 303, 307, 308:
                guard let text = head["location"] else { throw garbled() }
                address = try redirected(text, from: address)
            default: throw failure(head, errors, call.what)
            }
        }
        throw CASError(.failedPrecondition, "\(location.host) redirects again and again")
    }

    func redirected(_ text: String, from address: WebAddress) throws -> WebAddress {
        var next: WebAddress
        do { next = try WebAddress(text, relativeTo: address) } catch { throw garbled() }
        if address.origin.isSecure, !next.origin.isSecure {
            // A proxy that ends TLS without telling the registry; the host is the same, so it can be mended.
            guard next.origin.host == address.origin.host else {
                throw CASError(
                    .permissionDenied,
                    "\(location.host) leads to \(next.origin), which has no TLS")
            }
            next.origin = address.origin
        }
        return next
    }

    /// One request with whatever the registry wants to see; the body of an error is the second.
    private func authorized(
        _ call: Call, _ address: WebAddress, _ onHead: (WebHead) throws -> Void,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> (WebHead, [UInt8]) {
        var isRepeated = false
        while true {
            var headers = call.headers
            headers.append(("user-agent", "cas"))
            // Whoever else an answer leads to is told nothing.
            let isOurs = address.origin == location.origin
            let authorization = isOurs ? try authorizer.authorization(for: call.scopes) : nil
            if let authorization { headers.append(("authorization", authorization)) }
            var errors: [UInt8] = []
            var isGood = false
            let head = try connections.connection(to: address.origin).exchange(
                WebRequest(call.method, address.path, headers: headers, body: call.body),
                head: { head in
                    isGood = (200..<300).contains(head.status)
                    if isGood { try onHead(head) }
                },
                { bytes in
                    if isGood { return try sink(bytes) }
                    let room = RegistryFailure.bodyBytes - errors.count
                    errors.append(contentsOf: bytes.prefix(max(0, room)))
                })
            guard head.status == 401, isOurs,
                try authorizer.take(
                    AuthenticationChallenge.parse(head.all("www-authenticate")),
                    scopes: call.scopes, isRepeated: isRepeated)
            else { return (head, errors) }
            isRepeated = true
            if case .stream = call.body {
                // What was sent of it is gone; whoever writes it begins anew, with what is known now.
                throw CASError(.unavailable, "\(location.host) wants to know who asks")
            }
        }
    }

    private func failure(_ head: WebHead, _ body: [UInt8], _ what: String) -> CASError {
        var error = RegistryFailure.error(
            head, body, what, location, hasCredential: authorizer.hasCredential)
        if let seconds = head["retry-after"].flatMap({ UInt64($0) }), error.code.isTransient {
            error.cause = RetryAfter(milliseconds: min(seconds, 3600) * 1000)
        }
        return error
    }

    func garbled() -> CASError { RegistryFailure.garbled(location.host) }

    // MARK: - Lists

    /// Asks whether there is a registry at all, and who may ask.
    package func ping() throws {
        _ = try call(
            Call(method: "GET", address: location.address(""), scopes: [], what: "its greeting"))
    }

    /// The addresses of pages, one after the other, as `Link` headers name them.
    func pages(
        _ first: Call, maximumPages: Int, _ body: (Answer) throws -> Void
    ) throws {
        var call = first
        var rest = Self.listBytes
        for _ in 0..<maximumPages {
            let answer = try self.call(call, maximumBytes: min(rest, JSON.maximumBytes))
            rest -= answer.body.count
            try body(answer)
            guard let next = RegistryClient.next(answer.head.all("link")) else { return }
            call.address = try redirected(next, from: answer.address)
        }
        throw CASError(.resourceExhausted, "\(location.host): \(first.what) has too many pages")
    }

    /// The target of `<…>; rel="next"` (RFC 8288).
    static func next(_ headers: [String]) -> String? {
        for header in headers {
            for link in header.split(separator: ",") {
                guard let open = link.firstIndex(of: "<"), let close = link.firstIndex(of: ">"),
                    open < close
                else { continue }
                let parameters = link[close...].filter { $0 != "\"" && $0 != " " }
                if parameters.contains(";rel=next") {
                    return String(link[link.index(after: open)..<close])
                }
            }
        }
        return nil
    }
}
