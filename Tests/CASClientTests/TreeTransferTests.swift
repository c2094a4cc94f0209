import CASClient
import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASWire
import Synchronization
import Testing

/// What one store sends another.
@Suite struct TreeTransferTests {
    private func copy(
        _ world: LocalWorld, from source: (any StoreConnection)? = nil,
        to target: any StoreConnection, _ ref: RefName? = nil
    ) throws -> WarmSummary {
        let ref = ref ?? world.ref
        let options = TransferOptions(
            want: ref.description, ref: ref, provenance: Provenance(author: "ada"))
        return try Transfer.run(
            options, from: source ?? world.store, to: target, counters: ProgressCounters())
    }

    @Test func `of an edit only what is new goes over, and no unchanged directory is read`() throws
    {
        let world = try LocalWorld()
        for number in 0..<30 { try world.write("d\(number)/deep/er/file", "\(number)") }
        let large = SeededGenerator.text(seed: 2, count: 8_000_000)
        try world.write("data/large", large)
        _ = try world.push()
        let target = try world.makeOther()
        let first = try copy(world, to: target)
        #expect(first.isMoved && first.misses.files == 31 && first.hits.files == 0)
        #expect(first.sentBytes > 4_000_000)
        try world.write("d7/deep/er/file", "new")
        try world.write("data/large", Array(large[..<4_000_000]) + [0] + large[4_000_000...])
        _ = try world.push()
        let second = try copy(world, to: target)
        #expect(second.isMoved && second.misses.files == 2 && second.hits.files == 29)
        // The root, d7 and two below it, data; and attributes of each.
        #expect(second.sentMessages <= 10, "\(second.sentMessages)")
        #expect(second.sentBytes < 800_000, "\(second.sentBytes)")
        #expect(second.previous == first.plan.snapshot)
        _ = try world.fetch(from: target)
        #expect(try world.differences() == [])
        #expect(try target.ref(world.ref)?.provenance.author == "ada")
        #expect(try copy(world, to: target).sentBytes == 0)
    }

    @Test func `of a changed large file only the chunks that lack are read`() throws {
        let world = try LocalWorld()
        let large = SeededGenerator.text(seed: 3, count: 12_000_000)
        try world.write("data/large", large)
        try world.write("data/new", SeededGenerator.text(seed: 4, count: 2_000_000))
        _ = try world.push()
        for knowsLists in [true, false] {
            let target = try world.makeOther("other-\(knowsLists)")
            let source = DecoratedStore(world.store)
            source.onDescribe.withLock { $0 = { $0.givesChunkLists = knowsLists } }
            _ = try copy(world, from: source, to: target)
            #expect(source.readBytes > 7_000_000, "all of it: \(source.readBytes)")
        }
        try world.write("data/large", Array(large[..<6_000_000]) + [0] + large[6_000_000...])
        try world.write("data/also", Array(large[1_000_000...]))
        _ = try world.push()
        for knowsLists in [true, false] {
            let target = try LocalStore(
                directory: "\(world.temporary.path)/other-\(knowsLists)", create: false,
                isTrusted: false)
            let source = DecoratedStore(world.store)
            source.onDescribe.withLock { $0 = { $0.givesChunkLists = knowsLists } }
            let summary = try copy(world, from: source, to: target)
            #expect(summary.isMoved && summary.misses.files == 2)
            #expect(summary.sentBytes < 2_500_000, "\(summary.sentBytes)")
            if knowsLists {
                #expect(source.readBytes < 2_500_000, "\(source.readBytes)")
            } else {
                #expect(source.readBytes > 9_000_000, "\(source.readBytes)")
            }
            _ = try world.fetch(from: target)
            #expect(try world.differences() == [])
        }
    }

    @Test func `a target that lost a part behind a directory gets it`() throws {
        let world = try LocalWorld.withTwoRefs()
        let target = DecoratedStore(try world.makeOther())
        let isLying = Mutex(true)
        target.onMissing.withLock { $0 = { isLying.withLock { $0 } ? $0.map { _ in false } : $0 } }
        target.beforeCommit.withLock { $0 = { isLying.withLock { $0 = false } } }
        let summary = try copy(world, to: target)
        #expect(summary.isMoved)
        _ = try world.fetch(from: target)
        #expect(try world.differences() == [])
    }

    @Test func `a source that breaks off is asked for the rest`() throws {
        let world = try LocalWorld.withTwoRefs()
        for count in [0, 1, 4, 12] {
            let breaks = Mutex(4)
            let flaky = HostileStore(
                world.store,
                data: { records in
                    let isBroken = breaks.withLock { left in
                        left -= 1
                        return left >= 0 && left % 2 == 0
                    }
                    return isBroken ? Array(records.prefix(count)) : records
                })
            let target = try world.makeOther("other-\(count)")
            let name = try world.second
            _ = try copy(world, from: flaky, to: target, name)
            _ = try world.fetch(name.description, from: target)
            #expect(try world.differences(want: name.description) == [])
        }
    }

    @Test func `a source that lies brings nothing wrong`() throws {
        let world = try LocalWorld.withTwoRefs()
        let lies: [@Sendable ([HostileStore.Record]) -> [HostileStore.Record]] = [
            { $0.filter { $0.kind != .directory } },
            { $0.filter { $0.kind != .attributes } },
            { $0.map { $0.kind == .chunk ? .init(.chunk, $0.digest, [7]) : $0 } },
            { $0.filter { $0.kind != .chunkList } },
            { $0.filter { $0.kind == .end } },
            // A list of another file's chunks.
            { records in
                let list = ChunkList(terms: [.chunk(Digest.of([7]), length: 1)]).encode()
                return records.map {
                    $0.kind == .chunkList ? .init(.chunkList, $0.digest, list) : $0
                }
            },
        ]
        for (number, lie) in lies.enumerated() {
            let target = try world.makeOther("other-\(number)")
            let error = #expect(throws: CASError.self) {
                try copy(world, from: HostileStore(world.store, data: lie), to: target)
            }
            #expect(error?.code == .dataLoss, "\(number): \(String(describing: error))")
            #expect(try target.ref(world.ref) == nil)
        }
    }
}
