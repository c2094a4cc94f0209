import CASFileSystem
import Synchronization

/// Runs a test that blocks on a thread of its own: the test runner's threads are few, and the tasks of
/// servers in this process need them.
package func onThread(_ body: @escaping @Sendable () throws -> Void) async throws {
    let queue = Mutex<WorkerThread?>(nil)
    let result = await withCheckedContinuation { continuation in
        do {
            let thread = try WorkerThread(name: "test") {
                continuation.resume(returning: Result { try body() })
            }
            queue.withLock { $0 = thread }
        } catch {
            continuation.resume(returning: Result<Void, any Error>.failure(error))
        }
    }
    try queue.withLock { $0.take() }?.join()
    try result.get()
}
