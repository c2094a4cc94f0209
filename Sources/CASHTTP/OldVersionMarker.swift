package import NIOCore
import NIOHTTP1

/// Marks requests in HTTP/1.0 as passed on by something: that is what nginx speaks to a server unless told
/// otherwise, without any other sign that it is there, and what no client of today speaks.
///
/// To be added behind the decoder of HTTP; it finds its place by itself.
package final class OldVersionMarker: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = Never

    /// A marker for one connection.
    package init() {}

    /// Puts the marker where requests still have a version.
    package func handlerAdded(context: ChannelHandlerContext) {
        do {
            let pipeline = context.pipeline.syncOperations
            let decoder = try pipeline.handler(type: ByteToMessageHandler<HTTPRequestDecoder>.self)
            try pipeline.addHandler(Marker(), position: .after(decoder))
        } catch {
            // Without it everything that nginx passes on would count as from this machine.
            context.close(promise: nil)
        }
    }

    private final class Marker: ChannelInboundHandler, RemovableChannelHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias InboundOut = HTTPServerRequestPart

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            guard case .head(var head) = unwrapInboundIn(data),
                head.version.major == 1, head.version.minor == 0
            else {
                return context.fireChannelRead(data)
            }
            // As a proxy should have done (RFC 9110, 7.6.3).
            head.headers.add(name: "Via", value: "1.0 unknown")
            context.fireChannelRead(wrapInboundOut(.head(head)))
        }
    }
}
