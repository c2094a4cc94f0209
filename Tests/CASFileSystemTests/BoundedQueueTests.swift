import CASCore
import CASFileSystem
import Synchronization
import Testing

struct BoundedQueueTests {
    @Test func `gives elements in order and nil behind the last`() throws {
        let queue = BoundedQueue<Int>(capacity: 4)
        for number in 0..<4 { try queue.put(number) }
        queue.close()
        #expect(try (0..<5).map { _ in try queue.take() } == [0, 1, 2, 3, nil])
        #expect(try queue.take() == nil)
    }

    @Test func `wakes both ends with the error it was failed with`() throws {
        let empty = BoundedQueue<Int>(capacity: 1)
        let full = BoundedQueue<Int>(capacity: 1)
        try full.put(1)
        let outcomes = Mutex<[CASError.Code]>([])
        try WorkerGroup.run(count: 3, name: "test") { index in
            do {
                switch index {
                case 0: _ = try empty.take()
                case 1: try full.put(2)
                default:
                    empty.fail(CASError(.aborted, "over"))
                    full.fail(CASError(.aborted, "over"))
                }
            } catch let error as CASError {
                outcomes.withLock { $0.append(error.code) }
            }
        }
        #expect(outcomes.withLock { $0 } == [.aborted, .aborted])
    }

    @Test func `hands every element to exactly one taker`() throws {
        let queue = BoundedQueue<Int>(capacity: 3, costLimit: 10)
        let taken = Mutex<[Int]>([])
        let producers = Mutex(2)
        try WorkerGroup.run(count: 5, name: "test") { index in
            if index < 2 {
                for number in 0..<500 { try queue.put(index * 500 + number, cost: number % 7) }
                let left = producers.withLock { count in
                    count -= 1
                    return count
                }
                if left == 0 { queue.close() }
            } else {
                while let number = try queue.take() { taken.withLock { $0.append(number) } }
            }
        }
        #expect(taken.withLock { $0.sorted() } == Array(0..<1000))
    }

    @Test func `takes an element that costs more than the limit when it is alone`() throws {
        let queue = BoundedQueue<Int>(capacity: 3, costLimit: 10)
        try queue.put(1, cost: 1_000)
        #expect(try queue.take() == 1)
    }

    @Test func `rethrows the first error of a worker after all have ended`() throws {
        let ended = Atomic<Int>(0)
        #expect(throws: CASError.self) {
            try WorkerGroup.run(count: 4, name: "test") { index in
                defer { ended.add(1, ordering: .relaxed) }
                if index == 2 { throw CASError(.aborted, "a worker failed") }
            }
        }
        #expect(ended.load(ordering: .relaxed) == 4)
    }
}
