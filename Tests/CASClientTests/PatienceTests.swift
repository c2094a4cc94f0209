import CASClient
import CASCore
import CASWire
import Synchronization
import Testing

@Suite struct PatienceTests {
    private func attempts(
        _ patience: Patience, _ code: CASError.Code, succeedingAfter: Int = .max
    ) throws -> (count: Int, words: Int, error: CASError?) {
        let world = try LocalWorld()
        let store = DecoratedStore(world.store)
        let count = Mutex(0)
        let words = Mutex(0)
        store.onRef.withLock {
            $0 = {
                let number = count.withLock { count in
                    count += 1
                    return count
                }
                if number <= succeedingAfter { throw CASError(code, "away") }
            }
        }
        let retrying = RetryingStore(store, patience: patience) { _ in words.withLock { $0 += 1 } }
        var failure: CASError?
        do { _ = try retrying.ref(world.ref) } catch let error as CASError { failure = error }
        return (count.withLock { $0 }, words.withLock { $0 }, failure)
    }

    @Test func `who is patient tries again, says so once, and gives up in the end`() throws {
        let outcome = try attempts(.seconds(1), .unavailable)
        #expect(outcome.count > 2)
        #expect(outcome.words == 1)
        #expect(outcome.error?.message == "away; gave up after 1 s")
    }

    @Test func `a server that comes back is no failure`() throws {
        let outcome = try attempts(.seconds(60), .unavailable, succeedingAfter: 3)
        #expect(outcome.count == 4)
        #expect(outcome.words == 1)
        #expect(outcome.error == nil)
    }

    @Test func `no patience is one attempt, and what does not pass is not repeated`() throws {
        let none = try attempts(.seconds(0), .unavailable)
        #expect(none.count == 1)
        #expect(none.error?.message == "away")
        let gone = try attempts(.seconds(60), .notFound)
        #expect(gone.count == 1)
        #expect(gone.words == 0)
        #expect(gone.error?.message == "away")
        let brief = try attempts(.brief, .unavailable)
        #expect(brief.count == 3)
        #expect(brief.error?.message == "away")
    }
}
