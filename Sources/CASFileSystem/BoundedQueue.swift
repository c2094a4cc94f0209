package import CASCore
import Glibc

/// Hands elements from some threads to others, holding at most so many and of so much cost.
///
/// Blocking at both ends: full queues are the back-pressure of every pipeline here. `@unchecked
/// Sendable`: all state is touched under the mutex only.
package final class BoundedQueue<Element: Sendable>: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let capacity: Int
    private let costLimit: Int
    private var elements: [(element: Element, cost: Int)?] = []
    private var head = 0
    private var cost = 0
    private var isClosed = false
    private var failure: (any Error)?

    /// A queue of at most `capacity` elements whose costs add up to at most `costLimit`.
    ///
    /// An element dearer than the limit is let through when the queue is empty.
    package init(capacity: Int, costLimit: Int = .max) {
        self.capacity = max(capacity, 1)
        self.costLimit = costLimit
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

    private var count: Int { elements.count - head }

    /// Adds an element, waiting for room; throws what the queue failed with, `cancelled` once closed.
    package func put(_ element: Element, cost elementCost: Int = 0) throws {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while failure == nil, !isClosed,
            count >= capacity || (count > 0 && cost + elementCost > costLimit)
        {
            pthread_cond_wait(changed, mutex)
        }
        if let failure { throw failure }
        guard !isClosed else { throw CASError(.cancelled, "the queue was closed") }
        elements.append((element, elementCost))
        cost += elementCost
        pthread_cond_broadcast(changed)
    }

    /// Takes the oldest element, waiting for one; nil once closed and empty; throws what it failed with.
    package func take() throws -> Element? {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while failure == nil, !isClosed, count == 0 { pthread_cond_wait(changed, mutex) }
        if let failure { throw failure }
        return removeFirst()
    }

    private func removeFirst() -> Element? {
        guard count > 0, let first = elements[head] else { return nil }
        elements[head] = nil
        head += 1
        cost -= first.cost
        if head == elements.count || head > 4096 {
            elements.removeFirst(head)
            head = 0
        }
        pthread_cond_broadcast(changed)
        return first.element
    }

    /// Says that nothing more will be added; what is in the queue can still be taken.
    package func close() {
        pthread_mutex_lock(mutex)
        isClosed = true
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }

    /// Makes every call throw `error` from now on; the first error stays.
    package func fail(_ error: any Error) {
        pthread_mutex_lock(mutex)
        if failure == nil { failure = error }
        pthread_cond_broadcast(changed)
        pthread_mutex_unlock(mutex)
    }
}

/// A fixed number of buffers that threads borrow: the byte budget of a pipeline.
package final class BufferPool: Sendable {
    private let free: BoundedQueue<ReusableBuffer>

    /// `count` buffers of `capacity` bytes.
    package init(count: Int, capacity: Int) throws {
        free = BoundedQueue(capacity: count)
        for _ in 0..<count { try free.put(ReusableBuffer(capacity: capacity)) }
    }

    /// An empty buffer, once one is free; throws what the pool failed with.
    package func take() throws -> ReusableBuffer {
        guard let buffer = try free.take() else {
            throw CASError(.cancelled, "the buffers are closed")
        }
        buffer.removeAll()
        return buffer
    }

    /// Gives a buffer back.
    package func give(_ buffer: ReusableBuffer) throws {
        try free.put(buffer)
    }

    /// Makes every waiting and later `take` throw.
    package func fail(_ error: any Error) {
        free.fail(error)
    }
}
