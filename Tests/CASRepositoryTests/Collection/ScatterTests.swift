import CASCatalog
import CASCore
import CASPack
import CASTestSupport
import Testing

@testable import CASRepository

/// How scattered records lie, and what of them is worth bringing together.
@Suite struct ScatterTests {
    private func item(_ number: UInt64, pack: Int64, at offset: UInt64, stored: UInt32)
        -> RecordSequence.Item
    {
        (
            Digest.of([UInt8(truncatingIfNeeded: number)]),
            BlobLocation(
                pack: pack, offset: offset, storedLength: stored, rawLength: stored, kind: .chunk,
                codec: .raw)
        )
    }

    /// A record of 32 stored bytes takes 100.
    private func item(_ number: UInt64, _ pack: Int64, _ place: UInt64) -> RecordSequence.Item {
        item(number, pack: pack, at: 64 + place * 100, stored: 32)
    }

    @Test func `neighbours are one run whatever order names them`() {
        let runs = Scatter.runs([item(2, 1, 2), item(0, 1, 0), item(1, 1, 1)])
        #expect(runs.map(\.bytes) == [300])
        #expect(runs.first?.items == [1, 2, 0])
    }

    @Test func `a gap and another pack each begin a run`() {
        let runs = Scatter.runs([item(0, 1, 0), item(1, 1, 2), item(2, 2, 3), item(3, 2, 4)])
        #expect(runs.map(\.bytes) == [100, 100, 200])
    }

    @Test func `what is named twice counts once`() {
        let runs = Scatter.runs([item(0, 1, 0), item(0, 1, 0), item(1, 1, 1), item(0, 1, 0)])
        #expect(runs.map(\.bytes) == [200])
        #expect(runs.first?.items == [0, 2])
    }

    @Test func `only short runs are scattered, in the order named`() {
        let items = [item(9, 3, 7), item(0, 1, 0), item(5, 2, 0), item(1, 1, 1), item(2, 1, 2)]
        let scattered = Scatter.scattered(items, runsBelow: 300)
        #expect(scattered.map(\.digest) == [items[0].digest, items[2].digest])
    }

    @Test func `nothing has no runs`() {
        #expect(Scatter.runs([]).isEmpty)
        #expect(Scatter.scattered([], runsBelow: 1).isEmpty)
    }

    @Test(arguments: 0..<20 as Range<UInt64>)
    func `runs cover every distinct record once, and neighbouring runs do not touch`(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        let items = (0..<200).map { _ in
            item(
                0, Int64.random(in: 1...3, using: &random),
                UInt64.random(in: 0..<120, using: &random))
        }
        let runs = Scatter.runs(items)
        let places = Set(items.map(\.location))
        #expect(Set(runs.flatMap(\.items).map { items[$0].location }) == places)
        #expect(runs.flatMap(\.items).count == places.count)
        #expect(runs.reduce(0) { $0 + $1.bytes } == UInt64(places.count) * 100)
        let ends = Set(
            runs.map { run in
                let last = items[run.items[run.items.count - 1]].location
                return "\(last.pack) \(last.offset + last.recordBytes)"
            })
        for run in runs {
            let first = items[run.items[0]].location
            #expect(!ends.contains("\(first.pack) \(first.offset)"))
        }
    }
}
