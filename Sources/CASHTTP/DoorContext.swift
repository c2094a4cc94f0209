import HTTPTypes
package import Hummingbird
import NIOCore
import NIOHTTPTypes

/// What the door knows of a request beside the request: its connection.
package struct DoorContext: RequestContext {
    package var coreContext: CoreRequestContextStorage
    private let channel: any Channel

    package init(source: ApplicationRequestContextSource) {
        coreContext = CoreRequestContextStorage(source: source)
        channel = source.channel
    }

    /// Answers `Expect: 100-continue` (RFC 9110, 10.1.1), so that clients such as curl do not wait a second
    /// before they send a large body; called only once the body is wanted.
    func askForBody(_ request: Request) {
        guard request.headers[.expect]?.lowercased() == "100-continue" else { return }
        channel.writeAndFlush(
            HTTPResponsePart.head(HTTPResponse(status: .continue)), promise: nil)
    }

    /// Waits until the connection has taken over what was written before.
    ///
    /// A write from another thread returns as soon as it is queued for the connection's event loop, and
    /// only the loop finds that the reader is slow: without this a stream runs ahead of a busy loop by as
    /// much as it can read meanwhile, on every connection.
    func settleWrites() async throws {
        try await channel.eventLoop.submit {}.get()
    }
}
