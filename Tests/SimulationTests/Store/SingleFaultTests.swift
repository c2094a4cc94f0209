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
        let hasImages: Bool
        let calm: StoreSimulation.Summary
    }
    /// The first one for each place that packs may have, and one with images.
    private static let courses: Result<[Course], any Error> = Result {
        var courses: [Course] = []
        for place in StoreSimulation.Place.allCases {
            let course = try find(hasImages: false) { simulation, calm in
                simulation.place == place && calm.pushes > 3
            }
            courses.append(course)
        }
        let images = try find(hasImages: true) { _, calm in
            calm.uploads > 1 && calm.manifests > 0 && calm.derived > 0 && calm.pulls > 0
        }
        return courses + [images]
    }

    private static func settings(
        hasImages: Bool, _ fault: PlannedFault?
    ) -> StoreSimulation.Settings {
        var settings = StoreSimulation.Settings()
        settings.steps = 120
        settings.fault = fault
        settings.hasImages = hasImages
        guard hasImages else { return settings }
        settings.clients = 3
        settings.script = [
            .push, .image, .image, .derive, .pull, .derive, .pull, .unlink, .pull, .untag,
        ]
        return settings
    }

    private static func find(
        hasImages: Bool, _ isWanted: (StoreSimulation, StoreSimulation.Summary) -> Bool
    ) throws -> Course {
        for seed in 1...1_000 as ClosedRange<UInt64> {
            let simulation = try StoreSimulation(
                seed: seed, settings(hasImages: hasImages, .error(.max)))
            // Known before: what does not count need not run.
            guard hasImages || isWanted(simulation, .promising) else { continue }
            let calm: StoreSimulation.Summary
            do {
                calm = try simulation.run()
            } catch {
                throw SimulationFailure(
                    "seed \(seed), step \(simulation.step): \(error)\n\(simulation.trace.end)")
            }
            guard isWanted(simulation, calm), calm.deleted > 0 else { continue }
            print("single faults, \(hasImages ? "images, " : "")seed \(seed): \(calm)")
            return Course(seed: seed, hasImages: hasImages, calm: calm)
        }
        throw SimulationFailure("there is no such course of events")
    }

    private static func runAll(
        by stride: Int = stride, to count: (StoreSimulation.Summary) -> Int,
        _ fault: (Int) -> PlannedFault
    ) throws {
        for course in try courses.get() {
            var number = 1
            while number <= count(course.calm) {
                let summary = try StoreSimulationTests.run(
                    course.seed, settings(hasImages: course.hasImages, fault(number)))
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

extension StoreSimulation.Summary {
    /// One in which everything may still come.
    fileprivate static var promising: Self {
        var summary = Self()
        summary.pushes = .max
        return summary
    }
}
