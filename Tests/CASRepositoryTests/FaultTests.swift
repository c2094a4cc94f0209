import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASRepository
import CASTestSupport
import CASWire
import Synchronization
import Testing

struct FaultTests {
    /// How many operations the whole sequence takes.
    static func operationCount(_ place: FaultWorld.Place) throws -> Int {
        let world = FaultWorld(place)
        world.fileSystem.inject(.powerCut, at: .max)
        var script = try FaultScript.sample.get()
        #expect(try script.runWhole(world))
        #expect(script.acknowledged.count == script.steps.count)
        return world.fileSystem.operationCount
    }

    /// The operations to fail of that many: each, but in the short form only some of the copying ones, which
    /// differ from those in a directory by little.
    private static func numbers(_ count: Int, _ place: FaultWorld.Place) -> StrideThrough<Int> {
        stride(from: 1, through: count, by: place == .copies && !TestForm.isFull ? 5 : 1)
    }

    private static let failure = CASError(.unavailable, "injected")

    @Test(arguments: FaultWorld.Place.allCases)
    func `goes on after any single operation failed`(_ place: FaultWorld.Place) throws {
        let count = try FaultTests.operationCount(place)
        #expect(count > 50)
        for number in FaultTests.numbers(count, place) {
            let world = FaultWorld(place)
            world.fileSystem.inject(.error(FaultTests.failure), at: number)
            var script = try FaultScript.sample.get()
            let comment: Comment = "operation \(number) of \(count) failed, \(place)"
            _ = try script.runWhole(world)
            #expect(world.fileSystem.operationCount >= number, comment)
            let dead = world.afterProcessDeath()
            try script.finish(try dead.open(), comment)
        }
    }

    @Test(arguments: FaultWorld.Place.allCases)
    func `goes on in the same process after any single operation failed`(
        _ place: FaultWorld.Place
    ) throws {
        let count = try FaultTests.operationCount(place)
        for number in FaultTests.numbers(count, place) {
            try failInProcess(FaultWorld(place), .error(FaultTests.failure), number, kinds: nil)
        }
    }

    @Test func `takes an operation whose answer was lost for what it is`() throws {
        let kinds: Set<SimulatedFileSystem.Operation> = [.putObject, .listObjects]
        let model = FaultWorld(.objects)
        model.fileSystem.inject(.powerCut, at: .max, kinds: kinds)
        var script = try FaultScript.sample.get()
        #expect(try script.runWhole(model))
        let count = model.fileSystem.operationCount
        #expect(count > 4)
        for number in 1...count {
            try failInProcess(
                FaultWorld(.objects), .lostAnswer(FaultTests.failure), number, kinds: kinds)
        }
    }

    /// Lets an operation fail, goes on, closes and opens again; nothing acknowledged may be lost.
    private func failInProcess(
        _ world: FaultWorld, _ fault: SimulatedFileSystem.Fault, _ number: Int,
        kinds: Set<SimulatedFileSystem.Operation>?
    ) throws {
        let repository = try world.open()
        world.fileSystem.inject(fault, at: number, kinds: kinds)
        var script = try FaultScript.sample.get()
        let comment: Comment = "operation \(number) failed with \(fault), \(world.place)"
        _ = script.run(repository)
        try script.finish(repository, comment)
        // The end may be what fails.
        do { try repository.close() } catch is CASError {}
        world.catalog.reopen()
        let next = world.afterProcessDeath()
        let second = try next.open()
        try script.check(second, "\(comment), opened again")
        // Whatever was left to be handed over is now, and nothing lies in two places.
        try second.close()
        world.catalog.reopen()
        #expect(next.fileSystem.fileSizes.keys.allSatisfy { !$0.hasPrefix("/store/active/") })
        try script.check(try next.open(), "\(comment), opened a third time")
    }

    @Test(arguments: FaultWorld.Place.allCases)
    func `survives a power cut at any operation`(_ place: FaultWorld.Place) throws {
        let count = try FaultTests.operationCount(place)
        for number in FaultTests.numbers(count, place) {
            for seed in 0..<(TestForm.isFull ? 40 : 1) as Range<UInt64> {
                try cut(place, number, seed: seed &* 1_000 &+ UInt64(number))
            }
        }
    }

    private func cut(_ place: FaultWorld.Place, _ number: Int, seed: UInt64) throws {
        let world = FaultWorld(place)
        world.fileSystem.inject(.powerCut, at: number)
        var script = try FaultScript.sample.get()
        _ = try script.runWhole(world)
        let comment: Comment = "power cut at operation \(number), seed \(seed), \(place)"
        let next = world.afterPowerCut(seed: seed)
        let lost = FaultWorld(copying: next)
        var other = script
        try script.finish(try next.open(), comment)
        // The same with the catalog lost as well.
        guard !lost.isEmpty else { return }
        let result = try lost.rebuilt()
        for ref in result.report.incompleteRefs {
            Issue.record("\(ref) is not whole after a rebuild, \(comment)")
        }
        try other.finish(result.repository, "\(comment.rawValue), catalog lost")
    }

    @Test(arguments: FaultWorld.Place.allCases)
    func `survives a failed or cut catalog commit at any point`(_ place: FaultWorld.Place) throws {
        for number in 1...80 {
            for isCut in [false, true] {
                let world = FaultWorld(place)
                let left = Mutex(number)
                world.catalog.commitHook = { [unowned fileSystem = world.fileSystem] in
                    let isNow = left.withLock { left in
                        left -= 1
                        return left == 0
                    }
                    guard isNow || fileSystem.isOff else { return }
                    if isCut { fileSystem.cutPower() }
                    throw CASError(.unavailable, "injected commit failure")
                }
                var script = try FaultScript.sample.get()
                _ = try script.runWhole(world)
                world.catalog.commitHook = nil
                let comment: Comment = "commit \(number), cut: \(isCut), \(place)"
                let next =
                    isCut ? world.afterPowerCut(seed: UInt64(number)) : world.afterProcessDeath()
                try script.finish(try next.open(), comment)
                if left.withLock({ $0 }) > 0 { return }
            }
        }
        Issue.record("there are more commits than this test lets fail")
    }

    @Test(arguments: FaultWorld.Place.allCases)
    func `survives the death of the process at any operation`(_ place: FaultWorld.Place) throws {
        let count = try FaultTests.operationCount(place)
        for number in FaultTests.numbers(count, place) {
            let world = FaultWorld(place)
            world.fileSystem.inject(.powerCut, at: number)
            var script = try FaultScript.sample.get()
            _ = try script.runWhole(world)
            try script.finish(
                try world.afterProcessDeath().open(), "death at operation \(number), \(place)")
        }
    }

    @Test(arguments: FaultWorld.Place.allCases)
    func `loses nothing on a full disk and goes on once there is room`(
        _ place: FaultWorld.Place
    ) throws {
        for capacity in stride(from: 100, through: 40_000, by: TestForm.isFull ? 97 : 1_000) {
            let world = FaultWorld(place)
            let repository = try world.open()
            world.fileSystem.setCapacity(capacity)
            var script = try FaultScript.sample.get()
            let comment: Comment = "\(capacity) bytes of room, \(place)"
            for error in script.run(repository) {
                let code = (error as? CASError)?.code
                #expect(code == .resourceExhausted, "\(error), \(comment)")
            }
            try script.check(repository, comment)
            world.fileSystem.setCapacity(nil)
            try script.finish(repository, comment)
            try repository.close()
            world.catalog.reopen()
            try script.check(try world.open(), comment)
        }
    }
}
