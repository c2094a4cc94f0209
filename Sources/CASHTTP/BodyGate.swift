import CASCore
import Hummingbird
import NIOCore
import Synchronization

/// Lets request bodies into memory as long as a budget of bytes lasts; the others wait unread, which
/// stops their senders.
actor BodyGate {
    private var available: Int
    private var waiting: [(bytes: Int, continuation: CheckedContinuation<Void, Never>)] = []

    init(bytes: Int) { available = bytes }

    func acquire(_ bytes: Int) async {
        if waiting.isEmpty, available >= bytes {
            available -= bytes
            return
        }
        await withCheckedContinuation { waiting.append((bytes, $0)) }
    }

    func release(_ bytes: Int) {
        available += bytes
        while let first = waiting.first, available >= first.bytes {
            waiting.removeFirst()
            available -= first.bytes
            first.continuation.resume()
        }
    }

    /// Bodies that wait, for metrics.
    var waitingCount: Int { waiting.count }
}

/// Buffers for bodies, kept from request to request.
final class BodyBuffers: Sendable {
    private static let kept = 8
    private static let keptBytes = 8 << 20
    private let free = Mutex<[ReusableBuffer]>([])

    func take() -> ReusableBuffer {
        free.withLock { $0.popLast() } ?? ReusableBuffer(capacity: 1 << 20)
    }

    func give(_ buffer: ReusableBuffer) {
        guard buffer.capacity <= BodyBuffers.keptBytes else { return }
        buffer.removeAll()
        free.withLock { if $0.count < BodyBuffers.kept { $0.append(buffer) } }
    }
}
