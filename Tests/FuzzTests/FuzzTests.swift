import CASCore
import CASTestSupport
import FuzzTargets
import Testing

/// Every decoder gets bytes that nobody meant it to get.
///
/// A trap ends the run; the last line of its output that begins with "fuzz" names target and seed, and
/// `CAS_FUZZ_SEED=SEED` repeats it. `ops/fuzz` runs the foundations' targets under libFuzzer.
@Suite(.serialized) struct FuzzTests {
    static let targets =
        FuzzTargets.foundations + EngineTargets.all + SettingsTargets.all + ManifestTargets.all

    /// Inputs for one target: some seconds for all of them together, or some minutes.
    private static let rounds = TestForm.isFull ? 100_000 : 1_500

    @Test(arguments: targets)
    func `survives`(target: FuzzTarget) throws {
        let seed = FuzzSeed.value
        FuzzSeed.announce("fuzz \(target) with CAS_FUZZ_SEED=\(seed)")
        for sample in target.samples {
            #expect(try target.accepts(sample), "\(target): a sample is refused")
        }
        var mutator = Mutator(target.samples, SeededGenerator(seed: seed))
        var accepted = 0
        for round in 0..<Self.rounds / target.costFactor {
            let plain = mutator.next()
            // Every second input gets good checksums.
            let bytes = round % 2 == 0 ? plain : target.repair(plain)
            do {
                if try target.accepts(bytes) { accepted += 1 }
            } catch {
                Issue.record(
                    "\(target), seed \(seed), round \(round), \(Hexadecimal.encode(bytes)): \(error)"
                )
                return
            }
        }
        #expect(accepted > 0, "\(target), seed \(seed): nothing got behind the first check")
    }

    @Test func `every target has a name of its own and a sample`() {
        #expect(Set(Self.targets.map(\.name)).count == Self.targets.count)
        for target in Self.targets { #expect(!target.samples.isEmpty, "\(target)") }
    }

    @Test func `a decoder that is wrong is found`() throws {
        // Takes a length from the input without a look at what is there, as no decoder of ours may.
        let wrong = FuzzTarget.canonical(
            "wrong", [[3, 1, 2, 3]],
            decode: { bytes in
                guard let count = bytes.first, count < 8 else {
                    throw CASError(.dataLoss, "refused")
                }
                return Array(bytes.dropFirst().prefix(Int(count)))
            }, encode: { [UInt8($0.count)] + $0 })
        var mutator = Mutator(wrong.samples, SeededGenerator(seed: 1))
        let found = (0..<200).contains { _ in
            do {
                _ = try wrong.accepts(mutator.next())
                return false
            } catch { return error is FuzzFailure }
        }
        #expect(found)
    }
}
