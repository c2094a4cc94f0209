import CASCore
import CASHTTP
import CASOCI
import CASRepository
import Hummingbird
import NIOCore
import Synchronization

/// The body of one request on its way into an upload.
///
/// One piece is filled and hashed while the one before is cut, compressed and written by a thread of the pool,
/// which no sender keeps while it rests. More than two pieces are never in memory.
final class UploadBody: Sendable {
    private static let pieceBytes = 512 << 10

    private let shared: SharedResources
    private let writer: UploadWriter
    private let expected: UInt64?
    private let pace: BodyPace
    private let total = Mutex<UInt64>(0)
    private let rest = Mutex<ReusableBuffer?>(nil)

    /// A body of as many bytes as are expected, if that is known.
    init(_ shared: SharedResources, _ writer: UploadWriter, expected: UInt64?) {
        self.shared = shared
        self.writer = writer
        self.expected = expected
        pace = BodyPace(shared.limits)
    }

    /// Bytes that came.
    var count: UInt64 { total.withLock { $0 } }

    /// Reads all of it; whatever it throws, nothing is being written any more then.
    ///
    /// Throws SlowBody where the sender is too slow, `cancelled` where it goes away, and a `Refusal` where the
    /// length is not what was said.
    func receive(_ request: Request, _ context: DoorContext) async throws {
        do {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await self.read(request.body) }
                group.addTask { try await self.pace.watch(context) }
                defer { group.cancelAll() }
                try await group.next()
            }
        } catch let error as CASError {
            throw error
        } catch let error as Refusal {
            throw error
        } catch let error as SlowBody {
            throw error
        } catch {
            throw CASError(.cancelled, "the request ended before its body did", cause: error)
        }
        guard let expected, count < expected else { return }
        if request.headers[.contentLength] != nil {
            throw CASError(.cancelled, "the request ended before its body did")
        }
        throw Refusal(
            .sizeInvalid, "the body had \(count) bytes and its range says \(expected)")
    }

    private func read(_ body: RequestBody) async throws {
        let pump = Pump(shared, writer)
        var piece = ReusableBuffer(capacity: UploadBody.pieceBytes)
        do {
            var iterator = body.makeAsyncIterator()
            var since = ContinuousClock.now
            while true {
                pace.begin()
                let next = try await iterator.next()
                pace.end(next?.readableBytes ?? 0)
                guard let next else { break }
                try take(next.readableBytes)
                next.withUnsafeReadableBytes {
                    // Here, as cutting is the slower part.
                    writer.hash($0)
                    piece.append($0)
                }
                // Of a slow sender little is kept in memory.
                guard
                    piece.count >= UploadBody.pieceBytes || since.duration(to: .now) > .seconds(1)
                else { continue }
                piece = try await pump.write(piece)
                since = .now
            }
            if piece.count > 0 { piece = try await pump.write(piece) }
            try await pump.finish()
        } catch {
            // The first error is the one that is told.
            if await pump.settle() { rest.withLock { [piece] in $0 = piece } }
            throw error
        }
    }

    /// Writes what came and was not written yet, where the body ended too early; blocks.
    func writeRest() throws {
        guard let piece = rest.withLock({ $0.take() }) else { return }
        try writer.writeHashed(piece.bytes)
    }

    private func take(_ bytes: Int) throws {
        let count = total.withLock { total in
            total += UInt64(bytes)
            return total
        }
        if let expected, count > expected {
            throw Refusal(.sizeInvalid, "the body has more bytes than its range says")
        }
    }
}

/// Hands pieces to the thread that writes them, one at a time.
private final class Pump {
    private let shared: SharedResources
    private let writer: UploadWriter
    private var writing: Task<Void, any Error>?
    private var spare: ReusableBuffer?
    private var current: ReusableBuffer?
    private var hasFailed = false

    init(_ shared: SharedResources, _ writer: UploadWriter) {
        self.shared = shared
        self.writer = writer
    }

    /// Begins to write a piece once the one before is written; returns an empty buffer to go on with.
    func write(_ piece: ReusableBuffer) async throws -> ReusableBuffer {
        try await finish()
        let bytes = piece.count
        let loan = shared.bodies.loan()
        try await shared.bodies.acquire(bytes, for: loan)
        writing = Task { [shared, writer] in
            defer { shared.bodies.end(loan, bytes) }
            try await shared.blocking { try writer.writeHashed(piece.bytes) }
        }
        current = piece
        return spare.take() ?? ReusableBuffer(capacity: piece.capacity)
    }

    /// Waits for what is being written.
    func finish() async throws {
        guard let task = writing.take() else { return }
        hasFailed = true
        try await task.value
        hasFailed = false
        if let buffer = current.take() {
            buffer.removeAll()
            spare = buffer
        }
    }

    /// The same, whatever came of it; whether everything so far is written.
    func settle() async -> Bool {
        guard let task = writing.take() else { return !hasFailed }
        if case .failure = await task.result { return false }
        return !hasFailed
    }
}
