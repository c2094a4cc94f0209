import CASCore
import CASFileSystem
import CASTestSupport
import CASWire
import Testing

@testable import CASRepository

/// A disk that is full: pushes fail cleanly, fetches and collection go on, and space comes back.
@Suite struct FullStoreTests {
    @Test func `the reserve goes to collection, and is made again`() throws {
        let store = try TestStore(.memory) { $0.reserveBytes = 100_000 }
        let machine = store.simulated
        let kept = try SampleTree.random(1)
        try store.repository.push(kept, to: "team/kept")
        #expect(try store.repository.keepReserve())
        #expect(machine.fileSizes["/store/reserve"] == 100_000)
        for index in 0..<20 {
            let tree = try SampleTree.random(UInt64(10 + index), largestFile: 9_000)
            try store.repository.push(tree, to: "team/gone:t\(index)")
        }
        try store.reopen()
        // Nothing more fits.
        machine.setCapacity(machine.fileSizes.values.reduce(0, +) + 200)
        let more = try SampleTree.random(99, largestFile: 9_000)
        #expect(try code { try store.repository.push(more, to: "team/more") } == .resourceExhausted)
        #expect(store.repository.takeSpaceAlarm())
        try kept.expectWhole(in: store.repository, "team/kept")
        // Without an entry in the history they could only be removed: nothing was ever half pushed.
        #expect(try store.repository.ref(try RefName("team/more"), domain: .standard) == nil)
        let removal = try Collector(store.repository)
        for _ in 0..<20 where machine.fileSizes["/store/reserve"] != nil {
            _ = try removal.step()
        }
        #expect(machine.fileSizes["/store/reserve"] == nil)
        // What it left belongs to the collection.
        #expect(try code { try store.repository.push(more, to: "team/more") } == .resourceExhausted)
        for index in 0..<20 {
            try store.repository.removeRef(
                try RefName("team/gone:t\(index)"), .any, Provenance(time: store.clock.now()),
                domain: .standard)
        }
        while try removal.step() {}
        store.clock.advance(nanoseconds: 40 * 86_400_000_000_000)
        let collector = try Collector(store.repository)
        while try collector.step() {}
        #expect(collector.progress["deleted"] > 0)
        #expect(collector.progress["freedBytes"] > 0)
        machine.setCapacity(1 << 20)
        let last = try Collector(store.repository)
        while try last.step() {}
        #expect(machine.fileSizes["/store/reserve"] == 100_000)
        try store.repository.push(more, to: "team/more")
        try more.expectWhole(in: store.repository, "team/more")
        try kept.expectWhole(in: store.repository, "team/kept")
    }

    @Test func `without room for a reserve no push is taken, until there is plenty`() throws {
        let store = try TestStore(.memory) { $0.reserveBytes = 100_000 }
        let machine = store.simulated
        let tree = try SampleTree.random(1)
        try store.repository.push(tree, to: "team/kept")
        let used = machine.fileSizes.values.reduce(0, +)
        // A push would fit, a reserve beside it would not.
        machine.setCapacity(used + 300_000)
        #expect(try !store.repository.keepReserve())
        #expect(store.repository.takeSpaceAlarm())
        let more = try SampleTree.random(2, largestFile: 9_000)
        #expect(try code { try store.repository.push(more, to: "team/more") } == .resourceExhausted)
        // That the machine is full, and not that the request asks for too much, is told by the file.
        let full = #expect(throws: CASError.self) {
            try store.repository.beginUpload("team/image", domain: .standard)
        }
        #expect(full?.code == .resourceExhausted && full?.path == "/store/reserve")
        try tree.expectWhole(in: store.repository, "team/kept")
        // Somebody enlarged the disk, and nobody collects.
        machine.setCapacity(used + 2_000_000)
        try store.repository.push(more, to: "team/more")
        try more.expectWhole(in: store.repository, "team/more")
        #expect(machine.fileSizes["/store/reserve"] == 100_000)
    }
}
