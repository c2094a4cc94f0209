import CASTestSupport
import Glibc
import Testing

/// Courses of events drawn from seeds; the same seed is the same course.
@Suite struct StoreSimulationTests {
    /// CAS_SIMULATION_SEED replays one seed and prints everything that happens.
    private static let replayed = getenv("CAS_SIMULATION_SEED").flatMap {
        UInt64(String(cString: $0))
    }

    /// Runs one seed; a failure says how to see it again.
    static func run(
        _ seed: UInt64, _ settings: StoreSimulation.Settings = .init()
    ) throws -> StoreSimulation.Summary? {
        let simulation = try StoreSimulation(seed: seed, settings)
        do {
            return try simulation.run()
        } catch {
            Issue.record(
                """
                seed \(seed), step \(simulation.step), \(simulation.place): \(error)
                \(simulation.trace.end)
                again: CAS_SIMULATION_SEED=\(seed) swift test --filter StoreSimulationTests
                """)
            return nil
        }
    }

    @Test func `a store is right after whatever happens to it`() throws {
        if let seed = StoreSimulationTests.replayed {
            _ = try StoreSimulationTests.run(seed, .init(isTraced: true))
            return
        }
        let wanted = TestForm.isFull ? 3_000_000 : 100_000
        // The same ones each time, but for the long form.
        let first = TestForm.isFull ? UInt64.random(in: 0..<1_000_000) * 1_000 : 1
        var total = StoreSimulation.Summary()
        var seed = first
        while total.operations < wanted {
            guard let summary = try StoreSimulationTests.run(seed) else { return }
            total.add(summary)
            seed += 1
        }
        print("seeds \(first)..<\(seed): \(total)")
    }

    @Test func `a seed is one course of events`() throws {
        for seed in 1...4 as ClosedRange<UInt64> {
            let first = try #require(try StoreSimulationTests.run(seed))
            let second = try #require(try StoreSimulationTests.run(seed))
            #expect(first.trace == second.trace, "seed \(seed)")
            #expect(first.operations == second.operations, "seed \(seed)")
        }
    }
}

extension StoreSimulation.Summary: CustomStringConvertible {
    mutating func add(_ other: Self) {
        operations += other.operations
        commits += other.commits
        pushes += other.pushes
        fetches += other.fetches
        reboots += other.reboots
        deaths += other.deaths
        rebuilds += other.rebuilds
        collections += other.collections
        deleted += other.deleted
        purges += other.purges
        uploads += other.uploads
        manifests += other.manifests
        pulls += other.pulls
        derived += other.derived
        based += other.based
        framed += other.framed
    }

    var description: String {
        "\(operations) operations, \(commits) of them commits; \(pushes) pushes and \(fetches) fetches "
            + "done; \(uploads) uploads, \(manifests) manifests, \(pulls) pulls, \(derived) derived images, "
            + "\(based) on a base, \(framed) blobs as frames; "
            + "\(collections) collections took \(deleted) blobs, \(purges) purges; "
            + "\(reboots) power cuts, \(deaths) processes gone, \(rebuilds) rebuilds"
    }
}
