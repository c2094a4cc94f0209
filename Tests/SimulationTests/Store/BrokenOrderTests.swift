import CASTestSupport
import Testing

/// Wrong orders, made on purpose: the simulation has to find each of them.
@Suite struct BrokenOrderTests {
    /// Seeds within which it has to.
    private static let seeds: ClosedRange<UInt64> = 1...60

    @Test(arguments: Neglect.allCases)
    func `the simulation finds what is done wrong on purpose`(_ neglect: Neglect) throws {
        for seed in BrokenOrderTests.seeds {
            var settings = StoreSimulation.Settings()
            settings.neglect = neglect
            let simulation = try StoreSimulation(seed: seed, settings)
            do {
                _ = try simulation.run()
            } catch {
                print("\(neglect): seed \(seed), step \(simulation.step): \(error)")
                return
            }
        }
        Issue.record("nothing was found in seeds \(BrokenOrderTests.seeds)")
    }
}
