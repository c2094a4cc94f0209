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

    /// Sends a piece of an answer and returns once the client's machine took it all.
    ///
    /// The connection ends where that takes too long, so that a client that stands still does not keep
    /// the memory from others.
    package func send(_ piece: ByteBuffer, _ stallNanoseconds: UInt64) async throws {
        let channel = channel
        let stall = channel.eventLoop.scheduleTask(
            in: .nanoseconds(Int64(clamping: stallNanoseconds))
        ) { channel.close(promise: nil) }
        defer { stall.cancel() }
        try await withTaskCancellationHandler {
            try await channel.writeAndFlush(HTTPResponsePart.body(piece)).get()
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
