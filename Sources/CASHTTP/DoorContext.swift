import HTTPTypes
package import Hummingbird
package import NIOCore
import NIOHTTPTypes

/// What the door knows of a request beside the request: its connection.
package struct DoorContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    let channel: any Channel

    package init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }

    /// Answers `Expect: 100-continue` (RFC 9110, 10.1.1), so that clients such as curl do not wait a second
    /// before they send a large body; called only once the body is wanted.
    package func askForBody(_ request: Request) {
        guard request.headers[.expect]?.lowercased() == "100-continue" else { return }
        channel.writeAndFlush(
            HTTPResponsePart.head(HTTPResponse(status: .continue)), promise: nil)
    }

    /// Sends slices of an answer and returns once the client's machine took them all.
    ///
    /// The connection ends where one takes too long, so that a client that stands still does not keep
    /// the memory from others.
    package func send(_ slices: [ByteBuffer], _ stallNanoseconds: UInt64) async throws {
        let channel = channel
        let sending = channel.eventLoop.flatSubmit {
            SliceSending(channel, stallNanoseconds).send(slices)
        }
        try await withTaskCancellationHandler {
            try await sending.get()
        } onCancel: {
            channel.close(promise: nil)
        }
    }

    /// Ends the connection once the answer had time to leave.
    package func closeSoon() {
        let channel = channel
        channel.eventLoop.scheduleTask(in: .seconds(2)) { channel.close(promise: nil) }
    }
}

/// Slices on their way to a client, of which each has to be taken in time; used on its connection's event loop.
private final class SliceSending {
    private let channel: any Channel
    private let stall: TimeAmount
    private var watch: Scheduled<Void>?

    init(_ channel: any Channel, _ stallNanoseconds: UInt64) {
        self.channel = channel
        stall = .nanoseconds(Int64(clamping: stallNanoseconds))
    }

    /// Sends all of them at once: a hop from thread to thread for each would cost more than the sending.
    func send(_ slices: [ByteBuffer]) -> EventLoopFuture<Void> {
        let loop = channel.eventLoop
        restart()
        var last = loop.makeSucceededVoidFuture()
        for slice in slices {
            last = channel.write(HTTPResponsePart.body(slice))
            last.assumeIsolated().whenSuccess { self.restart() }
        }
        channel.flush()
        last.assumeIsolated().whenComplete { _ in self.watch?.cancel() }
        return last
    }

    private func restart() {
        watch?.cancel()
        watch = channel.eventLoop.scheduleTask(in: stall) { [channel] in
            channel.close(promise: nil)
        }
    }
}
