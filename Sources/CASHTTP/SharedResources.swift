package import CASCore
package import CASRepository
import CASWire
import HTTPTypes
package import Hummingbird
import Logging
import NIOCore
package import NIOPosix

/// What becomes known of a request while it is answered, for metrics and the log.
package struct RequestNotes: Sendable {
    /// The kind of request, the same for all requests of a kind.
    package var door: String
    /// Bytes of the body that came.
    package var received = 0
    /// Who asked; empty where nobody said so.
    package var subject = ""
    /// Whether the body of the answer counts its bytes as it goes.
    package var isStreamed = false
    /// When the request came.
    let start = ContinuousClock.now

    /// Nothing known yet but the door.
    package init(door: String) { self.door = door }
}

/// What the doors of one server share: the store, who may do what, threads, budgets of memory, counters.
package struct SharedResources: Sendable {
    /// The store.
    package let repository: Repository
    /// Who may do what.
    package let access: any AccessControl
    /// What is counted.
    package let metrics: ServerMetrics
    /// Threads for calls that block.
    package let pool: NIOThreadPool
    /// Memory for bodies of requests.
    package let bodies: MemoryGate
    /// Memory for pieces of answers.
    package let answers: MemoryGate
    let openAnswers = OpenAnswers()
    let waiters = RefWaiters()
    let layers = QueuedWork<LayersRequest, LayersResponse?>()
    let images = QueuedWork<ImageKey, Void>()
    let buffers = BufferPool()

    init(
        repository: Repository, access: any AccessControl, metrics: ServerMetrics,
        pool: NIOThreadPool, bodyBytes: Int
    ) {
        self.repository = repository
        self.access = access
        self.metrics = metrics
        self.pool = pool
        let limits = repository.configuration.limits
        bodies = MemoryGate(bytes: bodyBytes, reserve: limits.requestBytes)
        answers = MemoryGate(bytes: limits.answerBytes)
    }

    /// Limits in force.
    package var limits: Limits { repository.configuration.limits }

    /// Runs a blocking call on the thread pool.
    package func blocking<Output: Sendable>(
        _ body: @escaping @Sendable () throws -> Output
    ) async throws -> Output {
        try await pool.runIfActive(body)
    }

    /// Lets those look again that wait for a ref to move.
    package func moved(_ name: RefName) { waiters.moved(name) }

    /// The body of a request that is to come into memory whole.
    package func body(_ request: Request, limit: Int) -> IncomingBody {
        IncomingBody(
            declared: request.headers[.contentLength].flatMap { Int($0) }, limit: limit,
            limits: limits, gate: bodies, pool: buffers)
    }

    /// Says that a request begins to be answered.
    package func begin() { metrics.begin() }

    /// Counts an answer and writes it to the log.
    package func end(
        _ request: Request, _ response: Response, _ notes: RequestNotes, _ context: DoorContext
    ) {
        metrics.end()
        let elapsed = notes.start.duration(to: .now)
        let milliseconds =
            Double(elapsed.components.seconds) * 1000
            + Double(elapsed.components.attoseconds) / 1e15
        metrics.count(
            door: notes.door, code: response.status.code, received: notes.received,
            milliseconds: milliseconds)
        // Streams and blobs count their bytes as they go.
        if !notes.isStreamed, response.headers[.contentType] != "application/octet-stream",
            let length = response.body.contentLength
        {
            metrics.count(door: notes.door, sent: length)
        }
        var metadata: Logger.Metadata = [
            "method": "\(request.method)", "path": "\(request.uri.path)",
            "status": "\(response.status.code)", "milliseconds": "\(Int(milliseconds))",
            "received": "\(notes.received)",
        ]
        if !notes.subject.isEmpty { metadata["subject"] = "\(notes.subject)" }
        context.logger.info("request", metadata: metadata)
    }

    /// Reads a piece once there is memory for it, and sends it; returns whether it is the last.
    func send(
        _ door: String, _ context: DoorContext, _ size: Int,
        _ read: @escaping @Sendable () throws -> AnswerPiece
    ) async throws -> Bool {
        let size = min(size, limits.answerBytes)
        let loan = answers.loan()
        try await answers.acquire(size, for: loan)
        defer { answers.end(loan, size) }
        guard context.channel.isActive else { throw ChannelError.ioOnClosedChannel }
        let piece = try await blocking(read)
        return try await send(piece, door, context)
    }

    private func send(
        _ piece: AnswerPiece, _ door: String, _ context: DoorContext
    ) async throws -> Bool {
        metrics.count(door: door, sent: piece.count)
        if !piece.slices.isEmpty {
            try await context.send(piece.slices, limits.answerStallNanoseconds)
        }
        return piece.isLast
    }

    /// Sends pieces until one is the last; each is read while the one before is on its way.
    ///
    /// `read` gets how many bytes the piece should have, and is called by one thread at a time.
    package func sendAll(
        _ door: String, _ context: DoorContext,
        _ read: @escaping @Sendable (Int) throws -> AnswerPiece
    ) async throws {
        openAnswers.begin()
        defer { openAnswers.end() }
        var piece = try await borrow(context, read)
        while !piece.piece.isLast {
            async let next = borrow(context, read)
            let failure = await failure { try await deliver(piece, door, context) }
            let following = try await next
            if let failure {
                answers.end(following.loan, following.size)
                throw failure
            }
            piece = following
        }
        try await deliver(piece, door, context)
    }

    private func failure(_ body: () async throws -> Void) async -> (any Error)? {
        do {
            try await body()
            return nil
        } catch {
            return error
        }
    }

    private struct BorrowedPiece: Sendable {
        let piece: AnswerPiece
        let loan: MemoryGate.Loan
        let size: Int
    }

    private func borrow(
        _ context: DoorContext, _ read: @escaping @Sendable (Int) throws -> AnswerPiece
    ) async throws -> BorrowedPiece {
        let size = min(openAnswers.pieceBytes, limits.answerBytes)
        let loan = answers.loan()
        try await answers.acquire(size, for: loan)
        do {
            guard context.channel.isActive else { throw ChannelError.ioOnClosedChannel }
            return BorrowedPiece(
                piece: try await blocking { try read(size) }, loan: loan, size: size)
        } catch {
            answers.end(loan, size)
            throw error
        }
    }

    private func deliver(
        _ borrowed: BorrowedPiece, _ door: String, _ context: DoorContext
    ) async throws {
        defer { answers.end(borrowed.loan, borrowed.size) }
        _ = try await send(borrowed.piece, door, context)
    }
}
