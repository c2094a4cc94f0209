import AsyncHTTPClient
import CASCore
import CASFileSystem
import NIOCore
import NIOHTTP1
import Synchronization

/// Hands the body of an answer from NIO's thread to the one that waits for it, with back-pressure: when
/// too much waits, the connection is not read.
final class ResponseReceiver: HTTPClientResponseDelegate, Sendable {
    typealias Response = Void
    private static let highBytes = 4 << 20
    private static let lowBytes = 1 << 20

    private struct State {
        var waitingBytes = 0
        var resume: EventLoopPromise<Void>?
        var isAbandoned = false
        var head: HTTPResponseHead?
        var failure: (any Error)?
    }
    private let state = Mutex(State())
    private let pieces = BoundedQueue<ByteBuffer>(capacity: .max)

    private let onEnd: @Sendable ((any Error)?) -> Void

    /// A receiver; `onEnd` hears, on NIO's thread, that the request ended and with which error.
    init(onEnd: @escaping @Sendable ((any Error)?) -> Void = { _ in }) { self.onEnd = onEnd }

    /// Status and headers of the answer; those of nothing before it came.
    var head: WebHead { WebHead(state.withLock { $0.head }) }

    /// The next piece of the body, nil at its end; throws what the request failed with, once all that came
    /// before was taken.
    func take() throws -> ByteBuffer? {
        guard let piece = try pieces.take() else {
            if let failure = state.withLock({ $0.failure }) { throw failure }
            return nil
        }
        let resume = state.withLock { state -> EventLoopPromise<Void>? in
            state.waitingBytes -= piece.readableBytes
            guard state.waitingBytes <= ResponseReceiver.lowBytes else { return nil }
            return state.resume.take()
        }
        resume?.succeed()
        return piece
    }

    /// Says that nobody takes pieces any more, so that nothing waits for that.
    func abandon() {
        pieces.fail(CASError(.cancelled, "the answer is not wanted any more"))
        let resume = state.withLock { state in
            state.isAbandoned = true
            return state.resume.take()
        }
        resume?.succeed()
    }

    func didReceiveHead(
        task: HTTPClient.Task<Void>, _ head: HTTPResponseHead
    ) -> EventLoopFuture<Void> {
        state.withLock { $0.head = head }
        return task.eventLoop.makeSucceededVoidFuture()
    }

    func didReceiveBodyPart(
        task: HTTPClient.Task<Void>, _ buffer: ByteBuffer
    ) -> EventLoopFuture<Void> {
        let promise = state.withLock { state -> EventLoopPromise<Void>? in
            state.waitingBytes += buffer.readableBytes
            guard state.waitingBytes > ResponseReceiver.highBytes, !state.isAbandoned else {
                return nil
            }
            let promise = task.eventLoop.makePromise(of: Void.self)
            state.resume = promise
            return promise
        }
        do {
            try pieces.put(buffer)
        } catch {
            promise?.succeed()
            return task.eventLoop.makeFailedFuture(error)
        }
        return promise?.futureResult ?? task.eventLoop.makeSucceededVoidFuture()
    }

    func didReceiveError(task: HTTPClient.Task<Void>, _ error: any Error) {
        state.withLock { $0.failure = error }
        pieces.close()
        onEnd(error)
        state.withLock { $0.resume.take() }?.succeed()
    }

    func didFinishRequest(task: HTTPClient.Task<Void>) throws {
        pieces.close()
        onEnd(nil)
    }
}
