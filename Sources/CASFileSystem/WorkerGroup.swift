import CShims
import Glibc
import Synchronization

/// A thread of ours: blocking work never runs on threads that Swift's concurrency owns.
package final class WorkerThread: Sendable {
    private static let stackBytes = 1 << 20
    private let job: Job
    private let handle: Mutex<UInt64?>

    /// What the thread runs and what came of it; the thread keeps it alive.
    private final class Job: Sendable {
        let body: @Sendable () throws -> Void
        let failure = Mutex<(any Error)?>(nil)

        init(_ body: @escaping @Sendable () throws -> Void) { self.body = body }

        func run() {
            do { try body() } catch { failure.withLock { $0 = error } }
        }
    }

    /// Starts a thread; throws `resourceExhausted` if there can be no more.
    package init(name: String, _ body: @escaping @Sendable () throws -> Void) throws {
        job = Job(body)
        let context = Unmanaged.passRetained(job)
        var thread: UInt64 = 0
        let status = cas_thread_start(
            &thread, WorkerThread.stackBytes, name,
            { context in
                guard let context else { return }
                Unmanaged<Job>.fromOpaque(context).takeRetainedValue().run()
            }, context.toOpaque())
        guard status == 0 else {
            context.release()
            throw SystemFailure.error(status, "cannot start a thread")
        }
        handle = Mutex(thread)
    }

    /// Waits for the end of the thread and throws what it threw.
    ///
    /// Called once.
    package func join() throws {
        guard let thread = handle.withLock({ $0.take() }) else { return }
        cas_thread_join(thread)
        if let error = job.failure.withLock({ $0 }) { throw error }
    }
}

/// Several threads that do the same work.
package enum WorkerGroup {
    /// Runs `body` on `count` threads with the numbers 0 to count-1 and waits for all of them;
    /// throws the first error.
    ///
    /// `body` has to end by itself once another failed (a failed queue does that).
    package static func run(
        count: Int, name: String, _ body: @escaping @Sendable (Int) throws -> Void
    ) throws {
        guard count > 1 else { return try body(0) }
        var threads: [WorkerThread] = []
        var failure: (any Error)?
        for index in 0..<count {
            do {
                threads.append(try WorkerThread(name: "\(name)-\(index)") { try body(index) })
            } catch {
                failure = error
                break
            }
        }
        for thread in threads {
            do { try thread.join() } catch { if failure == nil { failure = error } }
        }
        if let failure { throw failure }
    }

    /// Processors this process may use.
    package static var processorCount: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
}
