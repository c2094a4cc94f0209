import AsyncHTTPClient
import CASCore
import CASFileSystem
package import NIOCore
import NIOHTTP1
import NIOPosix
import NIOSSL

/// Status and headers of an answer.
package struct WebHead: Sendable {
    /// The status; zero before anything came.
    package let status: UInt
    private let headers: HTTPHeaders

    init(_ head: HTTPResponseHead?) {
        status = head?.status.code ?? 0
        headers = head?.headers ?? HTTPHeaders()
    }

    /// The first header of that name, in any case.
    package subscript(name: String) -> String? { headers.first(name: name) }

    /// All headers of that name; one that holds several values by commas is one.
    package func all(_ name: String) -> [String] { headers[name] }
}

/// A request.
package struct WebRequest {
    /// What the body is made of.
    package enum Body {
        case none
        case bytes([UInt8])
        case buffer(ByteBuffer)
        /// Written while it is sent; without a length, in chunks.
        case stream(length: UInt64?, write: (WebBodyWriter) throws -> Void)
    }

    /// GET, HEAD, POST, PUT, PATCH or DELETE.
    package var method: String
    /// Path and query.
    package var path: String
    /// Headers; none twice.
    package var headers: [(name: String, value: String)]
    /// The body.
    package var body: Body

    /// A request.
    package init(
        _ method: String, _ path: String, headers: [(name: String, value: String)] = [],
        body: Body = .none
    ) {
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
    }
}

/// Takes the body of a request piece by piece, no faster than it goes out.
package final class WebBodyWriter {
    private let writer: HTTPClient.Body.StreamWriter
    private let sent: BoundedQueue<Bool>
    /// Completed with the last byte, on the loop that sent it: an answer may come at once, and the end of the
    /// connection with it, and only a request that has ended by then has an answer.
    private let end: EventLoopPromise<Void>
    private var remaining: UInt64?

    init(
        _ writer: HTTPClient.Body.StreamWriter, _ sent: BoundedQueue<Bool>, length: UInt64?,
        end: EventLoopPromise<Void>
    ) {
        self.writer = writer
        self.sent = sent
        self.end = end
        remaining = length
    }

    /// Sends bytes; throws once the request has failed or was answered before its end.
    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard bytes.count > 0 else { return }
        let sent = sent
        let end = end
        remaining = remaining.map { $0 - min($0, UInt64(bytes.count)) }
        let isLast = remaining == 0
        writer.write(.byteBuffer(ByteBuffer(bytes: bytes))).whenComplete { result in
            switch result {
            case .success:
                if isLast { end.succeed() }
                // The queue has failed already where it does not take it.
                do { try sent.put(true) } catch {}
            case .failure(let error): sent.fail(error)
            }
        }
        _ = try sent.take()
    }
}

/// How connections are made, whoever they lead to.
package struct WebTrust: Sendable {
    /// A file of certificates to trust instead of the system's; nil for those.
    package var certificatesPath: String?
    /// Whether they are trusted beside the system's.
    package var isAdditional = false
    /// The proxy on the way to an origin; nil for none.
    package var proxy: @Sendable (WebOrigin) throws -> ServerProxy?

    /// The system's certificates and no proxy, unless said otherwise.
    package init(
        certificatesPath: String? = nil,
        proxy: @escaping @Sendable (WebOrigin) throws -> ServerProxy? = { _ in nil }
    ) {
        self.certificatesPath = certificatesPath
        self.proxy = proxy
    }
}

/// Connections to one origin.
///
/// Blocking: a request runs on the thread that makes it, with NIO's threads behind it.
package final class WebConnection: Sendable {
    private static let connectSeconds: Int64 = 10
    /// Longer than any answer may take; proxies allow 60 s as a rule.
    private static let silenceSeconds: Int64 = 55
    private static let connections = 32

    /// Whom it leads to.
    package let origin: WebOrigin
    private let client: HTTPClient
    private let group: MultiThreadedEventLoopGroup
    private let proxy: ServerProxy?

    /// Prepares connections; nothing is sent before the first request.
    package init(_ origin: WebOrigin, _ trust: WebTrust) throws {
        self.origin = origin
        proxy = try trust.proxy(origin)
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: .init(
                connect: .seconds(WebConnection.connectSeconds),
                read: .seconds(WebConnection.silenceSeconds)),
            proxy: proxy?.setting, decompression: .disabled)
        configuration.httpVersion = .http1Only
        configuration.connectionPool.concurrentHTTP1ConnectionsPerHostSoftLimit =
            WebConnection.connections
        // Otherwise a refused connection is tried again in there for ten seconds; whoever asks does that.
        configuration.connectionPool.retryConnectionEstablishment = false
        if let path = trust.certificatesPath {
            guard try DiskFileSystem().size(path) != nil else {
                throw CASError(.notFound, "the file of certificates is not there", path: path)
            }
            var settings = TLSConfiguration.makeClientConfiguration()
            if trust.isAdditional {
                settings.additionalTrustRoots = [.file(path)]
            } else {
                settings.trustRoots = .file(path)
            }
            configuration.tlsConfiguration = settings
        }
        if origin.isSecure { ServerIdentity.require(origin.host, &configuration) }
        group = MultiThreadedEventLoopGroup(numberOfThreads: min(4, WorkerGroup.processorCount))
        client = HTTPClient(eventLoopGroupProvider: .shared(group), configuration: configuration)
    }

    /// Ends all connections.
    package func close() throws {
        try client.syncShutdown()
        try group.syncShutdownGracefully()
    }

    /// Sends a request and hands its answer to `head` once and the body to `sink`, on this thread, as it
    /// comes; the status and headers.
    ///
    /// An error that `head`, `sink` or the body's writer throws ends the request. What failed on the way
    /// is told in words for a person (`unavailable` where it may pass).
    @discardableResult
    package func exchange(
        _ request: WebRequest, head onHead: (WebHead) throws -> Void = { _ in },
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> WebHead {
        var upload: Upload?
        let loop = group.next()
        if case .stream(let length, _) = request.body { upload = Upload(loop, length) }
        defer { upload?.close() }
        let receiver = ResponseReceiver { [upload] in upload?.end($0) }
        let task = client.execute(
            request: try prepare(request, upload), delegate: receiver,
            eventLoop: upload == nil ? .indifferent : .delegateAndChannel(on: loop))
        // What whoever asked threw is theirs, perhaps of another connection, and says nothing of this one.
        var isTheirs = false
        func hand(_ work: () throws -> Void) throws {
            do { try work() } catch {
                isTheirs = true
                throw error
            }
        }
        do {
            if case .stream(_, let write) = request.body { try upload?.run(write) }
            var isTold = false
            while let piece = try receiver.take() {
                if !isTold { try hand { try onHead(receiver.head) } }
                isTold = true
                try hand { try piece.withUnsafeReadableBytes { try sink($0) } }
            }
            if !isTold { try hand { try onHead(receiver.head) } }
        } catch let error where isTheirs || error is CASError {
            task.cancel()
            receiver.abandon()
            // How the request ends does not matter any more.
            _ = try? task.wait()
            throw error
        } catch {
            throw ConnectionFailure(
                location: origin.description, host: origin.host,
                proxy: proxy.map { "\($0.host):\($0.port)" }
            ).explain(error)
        }
        return receiver.head
    }

    private func prepare(_ request: WebRequest, _ upload: Upload?) throws -> HTTPClient.Request {
        var headers = HTTPHeaders()
        for (name, value) in request.headers { headers.add(name: name, value: value) }
        let body: HTTPClient.Body? =
            switch request.body {
            case .none: nil
            case .bytes(let bytes): .byteBuffer(ByteBuffer(bytes: bytes))
            case .buffer(let buffer): .byteBuffer(buffer)
            case .stream: upload?.body
            }
        return try HTTPClient.Request(
            url: origin.description + request.path, method: HTTPMethod(rawValue: request.method),
            headers: headers, body: body)
    }
}

/// The body of a request that the calling thread writes while NIO's sends.
private final class Upload: Sendable {
    /// The request was answered before all of it was sent; the answer says why.
    private struct Answered: Error {}

    private let started = BoundedQueue<HTTPClient.Body.StreamWriter>(capacity: 1)
    private let sent = BoundedQueue<Bool>(capacity: .max)
    private let promise: EventLoopPromise<Void>

    private let length: UInt64?

    init(_ loop: any EventLoop, _ length: UInt64?) {
        promise = loop.makePromise()
        self.length = length
    }

    /// The body as the client takes it.
    var body: HTTPClient.Body {
        .stream(contentLength: length.map { Int64(clamping: $0) }) { [started, promise] writer in
            do { try started.put(writer) } catch { promise.fail(error) }
            return promise.futureResult
        }
    }

    /// Writes the body; returns early where the answer came before its end.
    func run(_ write: (WebBodyWriter) throws -> Void) throws {
        do {
            guard let writer = try started.take() else { return }
            try write(WebBodyWriter(writer, sent, length: length, end: promise))
            promise.succeed()
        } catch is Answered {
            promise.succeed()
        } catch let error as CASError {
            promise.fail(error)
            throw error
        } catch {
            // The answer, or why there is none, says more than that a piece could not be sent.
            promise.fail(error)
        }
    }

    /// The request has ended, so nobody takes pieces any more.
    func end(_ error: (any Error)?) {
        started.fail(error ?? Answered())
        sent.fail(error ?? Answered())
    }

    /// Completes what may still wait for the body.
    func close() { promise.succeed() }
}
