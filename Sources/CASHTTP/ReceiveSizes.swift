package import NIOCore

/// Has a connection read more at once while much comes: each read costs several hops between threads.
///
/// A connection on which little comes has a buffer of little.
package final class ReceiveSizes: ChannelInboundHandler, RemovableChannelHandler {
    package typealias InboundIn = NIOAny
    private static let least = 2 << 10
    private static let most = 256 << 10

    /// Begins small.
    package init() {}

    package func handlerAdded(context: ChannelHandlerContext) {
        let sizes = AdaptiveRecvByteBufferAllocator(
            minimum: ReceiveSizes.least, initial: ReceiveSizes.least, maximum: ReceiveSizes.most)
        // A channel that has no such option reads as it did.
        context.channel.setOption(.recvAllocator, value: sizes).whenFailure { _ in }
    }
}
