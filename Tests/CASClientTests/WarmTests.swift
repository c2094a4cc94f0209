import CASClient
import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASWire
import CASWorkspace
import Testing

@Suite struct WarmTests {
    private func fill(
        _ world: LocalWorld, from store: (any StoreConnection)? = nil
    ) throws -> WarmSummary {
        let cache = try CacheFill(world.temporary.path + "/cache", limit: 1 << 30)
        return try Warm.run(
            world.ref.description, into: cache, connection: store ?? world.store, workers: 2,
            counters: ProgressCounters())
    }

    private func makeWorld() throws -> LocalWorld {
        let world = try LocalWorld()
        try world.write("a", "1")
        try world.write("same", "1")
        try world.write("empty", "")
        try world.write("sub/big", SeededGenerator.text(seed: 1, count: 5_000_000))
        _ = try world.push()
        return world
    }

    @Test func `a cache is filled once, and a fetch takes all from it`() throws {
        let world = try makeWorld()
        let first = try fill(world)
        #expect(first.misses.files == 2)
        #expect(first.misses.bytes == 5_000_001)
        #expect(first.hits == WarmCounts())
        let store = DecoratedStore(world.store)
        let second = try fill(world, from: store)
        #expect(second.misses == WarmCounts())
        #expect(second.hits == first.misses)
        #expect(store.blobReadCount == 0)
        #expect(second.receivedBytes < 2_000)
        let fetched = try world.fetch {
            $0.restore.cacheDirectory = world.temporary.path + "/cache"
        }
        #expect(fetched.restore.cached == 3)
        #expect(try world.differences() == [])
    }

    @Test func `what a store sends wrong does not get into a cache`() throws {
        let world = try makeWorld()
        for number in 0..<3 {
            let hostile = HostileStore(
                world.store,
                data: { records in
                    var records = records
                    if number == 0, let index = records.firstIndex(where: { $0.kind == .chunk }) {
                        records[index] = HostileStore.Record(
                            .chunk, records[index].digest, Array("another".utf8))
                    } else if number == 1 {
                        records.removeAll { $0.kind == .chunk }
                    } else {
                        records.removeAll { $0.kind != .end }
                    }
                    return records
                })
            let error = #expect(throws: CASError.self) { try fill(world, from: hostile) }
            #expect(error?.code == .dataLoss)
        }
        let good = try fill(world)
        #expect(good.hits.files + good.misses.files == 2)
        let fetched = try world.fetch {
            $0.restore.cacheDirectory = world.temporary.path + "/cache"
        }
        #expect(fetched.restore.files == 4)
        #expect(try world.differences() == [])
    }

    @Test func `a store gets from another what it lacks, and nothing twice`() throws {
        let world = try makeWorld()
        let target = try LocalStore(directory: world.temporary.path + "/other", create: true)
        func transfer() throws -> WarmSummary {
            try Transfer.run(
                TransferOptions(
                    want: world.ref.description, ref: world.ref, provenance: Provenance()),
                from: world.store, to: target, counters: ProgressCounters())
        }
        let first = try transfer()
        #expect(first.isMoved)
        #expect(first.misses.files == 2)
        let second = try transfer()
        #expect(second.misses == WarmCounts())
        #expect(second.receivedBytes == 0)
        #expect(!second.isMoved)
        try world.write("a", "2")
        _ = try world.push()
        let third = try transfer()
        #expect(third.misses.files == 1)
        #expect(third.hits.bytes == 5_000_001)
        let fetched = try world.fetch(from: target)
        #expect(fetched.restore.written == 4)
        #expect(try world.differences() == [])
        #expect(
            try target.ref(world.ref)?.target.digest == world.store.ref(world.ref)?.target.digest)
    }

    @Test func `a store gets nothing wrong from another`() throws {
        let world = try makeWorld()
        let target = try LocalStore(directory: world.temporary.path + "/other", create: true)
        let hostile = HostileStore(
            world.store,
            data: { records in
                records.map {
                    $0.kind == .chunk
                        ? HostileStore.Record(.chunk, $0.digest, Array("another".utf8)) : $0
                }
            })
        let error = #expect(throws: CASError.self) {
            try Transfer.run(
                TransferOptions(
                    want: world.ref.description, ref: world.ref, provenance: Provenance()),
                from: hostile, to: target, counters: ProgressCounters())
        }
        #expect(error?.code == .dataLoss)
        #expect(try target.ref(world.ref) == nil)
    }
}
