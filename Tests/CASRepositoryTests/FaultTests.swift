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
    private typealias Operation = SimulatedFileSystem.Operation

    /// How many operations the whole sequence takes.
    static func operationCount() throws -> Int {
        let fileSystem = SimulatedFileSystem()
        fileSystem.inject(.powerCut, at: .max)
        var script = try FaultScript(seed: 1)
        #expect(try script.runWhole(fileSystem, InMemoryCatalog()))
        #expect(script.acknowledged.count == script.steps.count)
        return fileSystem.operationCount
    }

    private static func reopen(
        _ fileSystem: SimulatedFileSystem, _ catalog: InMemoryCatalog
    ) throws -> Repository {
        try Repository.open(
            try FaultScript.configuration(), fileSystem: fileSystem, catalog: catalog,
            clock: TestClock())
    }

    @Test func `goes on after any single operation failed`() throws {
        let count = try FaultTests.operationCount()
        #expect(count > 50)
        for number in 1...count {
            let fileSystem = SimulatedFileSystem()
            let catalog = InMemoryCatalog()
            fileSystem.inject(.error(CASError(.unavailable, "injected")), at: number)
            var script = try FaultScript(seed: 1)
            let comment: Comment = "operation \(number) of \(count) failed"
            _ = try script.runWhole(fileSystem, catalog)
            #expect(fileSystem.operationCount >= number, comment)
            let dead = fileSystem.afterProcessDeath()
            try script.finish(try FaultTests.reopen(dead, catalog), comment)
        }
    }

    @Test func `goes on in the same process after any single operation failed`() throws {
        let count = try FaultTests.operationCount()
        for number in 1...count {
            let fileSystem = SimulatedFileSystem()
            let catalog = InMemoryCatalog()
            let repository = try FaultTests.reopen(fileSystem, catalog)
            fileSystem.inject(.error(CASError(.unavailable, "injected")), at: number)
            var script = try FaultScript(seed: 1)
            _ = script.run(repository)
            try script.finish(repository, "operation \(number) of \(count) failed")
            // The end may be what fails.
            do { try repository.close() } catch is CASError {}
            catalog.reopen()
            try script.check(
                try FaultTests.reopen(fileSystem.afterProcessDeath(), catalog),
                "operation \(number) of \(count) failed, opened again")
        }
    }

    @Test func `survives a power cut at any operation`() throws {
        let count = try FaultTests.operationCount()
        for number in 1...count {
            for seed in 0..<(TestForm.isFull ? 40 : 2) as Range<UInt64> {
                try cut(number, seed: seed &* 1_000 &+ UInt64(number))
            }
        }
    }

    private func cut(_ number: Int, seed: UInt64) throws {
        let fileSystem = SimulatedFileSystem()
        let catalog = InMemoryCatalog()
        fileSystem.inject(.powerCut, at: number)
        var script = try FaultScript(seed: 1)
        _ = try script.runWhole(fileSystem, catalog)
        let comment: Comment = "power cut at operation \(number), seed \(seed)"
        let disk = fileSystem.afterPowerCut(seed: seed)
        let lost = disk.afterProcessDeath()
        var other = script
        try script.finish(try FaultTests.reopen(disk, catalog), comment)
        // The same with the catalog lost as well.
        guard !lost.fileSizes.isEmpty else { return }
        let result = try Repository.rebuildIndex(
            try FaultScript.configuration(), fileSystem: lost, catalog: InMemoryCatalog(),
            clock: TestClock())
        for ref in result.report.incompleteRefs {
            Issue.record("\(ref) is not whole after a rebuild, \(comment)")
        }
        try other.finish(result.repository, "\(comment.rawValue), catalog lost")
    }

    @Test func `survives a failed or cut catalog commit at any point`() throws {
        for number in 1...60 {
            for isCut in [false, true] {
                let fileSystem = SimulatedFileSystem()
                let catalog = InMemoryCatalog()
                let left = Mutex(number)
                catalog.commitHook = { [unowned fileSystem] in
                    let isNow = left.withLock { left in
                        left -= 1
                        return left == 0
                    }
                    guard isNow || fileSystem.isOff else { return }
                    if isCut { fileSystem.cutPower() }
                    throw CASError(.unavailable, "injected commit failure")
                }
                var script = try FaultScript(seed: 1)
                _ = try script.runWhole(fileSystem, catalog)
                catalog.commitHook = nil
                let comment: Comment = "commit \(number), cut: \(isCut)"
                let disk =
                    isCut
                    ? fileSystem.afterPowerCut(seed: UInt64(number))
                    : fileSystem.afterProcessDeath()
                try script.finish(try FaultTests.reopen(disk, catalog), comment)
                if left.withLock({ $0 }) > 0 { return }
            }
        }
    }

    @Test func `survives the death of the process at any operation`() throws {
        let count = try FaultTests.operationCount()
        for number in 1...count {
            let fileSystem = SimulatedFileSystem()
            let catalog = InMemoryCatalog()
            fileSystem.inject(.powerCut, at: number)
            var script = try FaultScript(seed: 1)
            _ = try script.runWhole(fileSystem, catalog)
            let repository = try FaultTests.reopen(fileSystem.afterProcessDeath(), catalog)
            try script.finish(repository, "death at operation \(number)")
        }
    }

    @Test func `loses nothing on a full disk and goes on once there is room`() throws {
        for capacity in stride(from: 100, through: 40_000, by: TestForm.isFull ? 97 : 1_000) {
            let fileSystem = SimulatedFileSystem()
            let catalog = InMemoryCatalog()
            let repository = try FaultTests.reopen(fileSystem, catalog)
            fileSystem.setCapacity(capacity)
            var script = try FaultScript(seed: 1)
            let comment: Comment = "\(capacity) bytes of room"
            for error in script.run(repository) {
                let code = (error as? CASError)?.code
                #expect(code == .resourceExhausted, "\(error), \(comment)")
            }
            try script.check(repository, comment)
            fileSystem.setCapacity(nil)
            try script.finish(repository, comment)
            try repository.close()
            catalog.reopen()
            try script.check(try FaultTests.reopen(fileSystem, catalog), comment)
        }
    }
}
