import CASTestSupport
import Testing

/// One short course of events, with pushes and collections that take something, in which each operation fails
/// once.
@Suite struct SingleFaultTests {
    /// Of each kind, in the short form every so many-th operation.
    private static let stride = TestForm.isFull ? 1 : 11

    /// A course and what it does without a fault.
    struct Course: Sendable {
        let seed: UInt64
        let calm: StoreSimulation.Summary
    }
    /// The first one for each place that packs may have.
    private static let courses = Result { try StoreSimulation.Place.allCases.map { try find($0) } }

    private static func settings(_ fault: PlannedFault?) -> StoreSimulation.Settings {
        var settings = StoreSimulation.Settings()
        settings.steps = 120
        settings.fault = fault
        return settings
    }

    private static func find(_ place: StoreSimulation.Place) throws -> Course {
        for seed in 1...1_000 as ClosedRange<UInt64> {
            let simulation = try StoreSimulation(seed: seed, settings(.error(.max)))
            guard simulation.place == place else { continue }
            let calm = try simulation.run()
            if calm.pushes > 3, calm.deleted > 0 { return Course(seed: seed, calm: calm) }
        }
        throw SimulationFailure("there is no course of events for \(place)")
    }

    private static func runAll(
        by stride: Int = stride, to count: (StoreSimulation.Summary) -> Int,
        _ fault: (Int) -> PlannedFault
    ) throws {
        for course in try courses.get() {
            var number = 1
            while number <= count(course.calm) {
                let summary = try StoreSimulationTests.run(
                    course.seed, settings(fault(number)))
                guard summary != nil else {
                    Issue.record("seed \(course.seed) with \(fault(number))")
                    return
                }
                number += stride
            }
        }
    }

    @Test func `goes on after any one operation failed`() throws {
        try SingleFaultTests.runAll(to: \.machineOperations) { .error($0) }
        try SingleFaultTests.runAll(by: 1, to: { _ in 20 }) { .lostAnswer($0) }
    }

    @Test func `survives a power cut at any operation`() throws {
        try SingleFaultTests.runAll(to: \.machineOperations) { .powerCut($0) }
    }

    @Test func `survives the death of the process at any operation`() throws {
        try SingleFaultTests.runAll(
            by: SingleFaultTests.stride * 2 - 1, to: \.operations
        ) { .death($0) }
    }

    @Test(arguments: CommitFault.allCases)
    func `survives whatever happens at any commit`(_ fault: CommitFault) throws {
        try SingleFaultTests.runAll(
            by: TestForm.isFull ? 1 : 7, to: \.commits
        ) { .commit($0, fault) }
    }
}
