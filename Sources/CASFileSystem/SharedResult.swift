import CASCore
import Synchronization

/// A value that one thread sets once and any number of others wait for.
package final class SharedResult<Value: Sendable>: Sendable {
    private let queue = BoundedQueue<Bool>(capacity: 1)
    private let value = Mutex<Result<Value, any Error>?>(nil)

    /// No value yet.
    package init() {}

    /// Sets the value, or why there is none; called once.
    package func set(_ result: Result<Value, any Error>) {
        value.withLock { $0 = result }
        queue.close()
    }

    /// The value, once it is set; throws what was set instead of one.
    package func get() throws -> Value {
        _ = try queue.take()
        guard let result = value.withLock({ $0 }) else {
            throw CASError(.internalError, "a result was never set")
        }
        return try result.get()
    }
}
