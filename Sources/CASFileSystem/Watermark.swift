import Glibc

/// How far one thread has got with something for which others wait, each as far as it needs it.
///
/// `@unchecked Sendable`: all state is touched under the mutex only.
package final class Watermark: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var mark: UInt64 = 0
    private var isWorkedOn = false

    /// Nothing is done yet.
    package init() {
        mutex.initialize(to: pthread_mutex_t())
        changed.initialize(to: pthread_cond_t())
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(changed, nil)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(mutex)
        changed.deallocate()
        mutex.deallocate()
    }

    /// Says that so much is done.
    package func raise(to value: UInt64) {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        mark = max(mark, value)
        pthread_cond_broadcast(changed)
    }

    /// Returns once so much is done: another thread is at it, or this one calls `work`, which raises the mark.
    ///
    /// `work` runs on one thread at a time, and again on that of another where it ended before what that needs.
    package func reach(_ goal: UInt64, by work: () throws -> Void) throws {
        while begin(goal) {
            defer { end() }
            try work()
        }
    }

    /// Waits; whether there is something to do, and this thread's turn to do it.
    private func begin(_ goal: UInt64) -> Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while mark < goal, isWorkedOn { pthread_cond_wait(changed, mutex) }
        guard mark < goal else { return false }
        isWorkedOn = true
        return true
    }

    private func end() {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        isWorkedOn = false
        pthread_cond_broadcast(changed)
    }
}
