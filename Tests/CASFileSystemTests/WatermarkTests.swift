import CASCore
import CASFileSystem
import Synchronization
import Testing

struct WatermarkTests {
    @Test func `who waits goes on as soon as there is enough, while another works on`() throws {
        let mark = Watermark()
        let passed = BoundedQueue<UInt64>(capacity: 8)
        let begun = BoundedQueue<Bool>(capacity: 1)
        let calls = Mutex(0)
        try WorkerGroup.run(count: 3, name: "test") { index in
            guard index > 0 else {
                return try mark.reach(10) {
                    calls.withLock { $0 += 1 }
                    try begun.put(true)
                    mark.raise(to: 5)
                    // The other goes on before this one has ended.
                    #expect(try passed.take() == 5)
                    mark.raise(to: 9)
                    mark.raise(to: 10)
                }
            }
            guard index == 1 else { return }
            _ = try begun.take()
            try mark.reach(5) { Issue.record("nobody else is needed") }
            try passed.put(5)
        }
        #expect(calls.withLock { $0 } == 1)
        try mark.reach(10) { Issue.record("it is done") }
    }

    @Test func `where one ends too early or fails the next goes on`() throws {
        let mark = Watermark()
        let calls = Mutex<UInt64>(0)
        try WorkerGroup.run(count: 4, name: "test") { _ in
            do {
                try mark.reach(100) {
                    let count = calls.withLock { count in
                        count += 1
                        return count
                    }
                    if count == 3 { throw CASError(.unavailable, "away") }
                    mark.raise(to: count * 20)
                }
            } catch let error as CASError { #expect(error.message == "away") }
        }
        // The third failed; the fifth is the one that gets there.
        #expect(calls.withLock { $0 } == 5)
    }
}
