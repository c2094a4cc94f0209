import CASCore
import CASFileSystem
import CASTestSupport
import CASTree
import Synchronization
import Testing

@testable import CASRepository

/// One plan for all who ask for the same.
@Suite struct PlanCacheTests {
    private static func plan() -> FetchPlan {
        let snapshot = Snapshot(
            tree: SizedDigest(digest: .empty, size: 0), attributes: nil, stableAttributes: nil,
            totals: TreeTotals())
        return FetchPlan(
            snapshotDigest: snapshot.digest, snapshot: snapshot, have: nil, metadata: [],
            units: [], chunks: [], rawBytes: 0)
    }

    @Test func `a thousand fetches that begin at once cost one plan`() throws {
        let cache = PlanCache(capacity: 1000)
        let made = Atomic<Int>(0)
        let plans = Mutex<Set<ObjectIdentifier>>([])
        let first = Self.plan()
        try WorkerGroup.run(count: 50, name: "plan") { _ in
            for _ in 0..<20 {
                let plan = try cache.plan("same") {
                    made.add(1, ordering: .relaxed)
                    Sleep.milliseconds(20)
                    return first
                }
                plans.withLock { _ = $0.insert(ObjectIdentifier(plan)) }
            }
        }
        #expect(made.load(ordering: .relaxed) == 1)
        #expect(plans.withLock { $0.count } == 1)
    }

    @Test func `a plan that could not be made is tried again by the next one`() throws {
        let cache = PlanCache(capacity: 1000)
        #expect(throws: CASError.self) {
            _ = try cache.plan("name") { throw CASError(.dataLoss, "gone") }
        }
        let plan = Self.plan()
        #expect(try cache.plan("name") { plan } === plan)
    }

    @Test func `a plan begun before something was lost is not kept`() throws {
        let cache = PlanCache(capacity: 1000)
        let old = Self.plan()
        let new = Self.plan()
        _ = try cache.plan("name") {
            cache.removeAll()
            return old
        }
        #expect(try cache.plan("name") { new } === new)
        #expect(try cache.plan("name") { old } === new)
    }
}
