import CASClient
import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASWire
import CASWorkspace
import Synchronization
import Testing

@Suite struct ExportTests {
    @Test func `an export brings refs to another store as they were, and nothing twice`() throws {
        let world = try LocalWorld.withTwoRefs()
        let names = [world.ref, try world.second]
        let bytes = try world.export(names + names)
        let parts = try TakenApart(bytes)
        let stored = parts.records.filter { $0.kind != .chunkReference }.map(\.digest)
        #expect(Set(stored).count == stored.count, "a record stands twice")
        #expect(parts.records.contains { $0.kind == .chunkReference }, "nothing is shared")
        #expect(bytes.count < 6_000_000, "the large file stands once")
        let target = try world.makeOther()
        let first = try world.importing(bytes, into: target)
        #expect(first.refs.map(\.entry.name) == names)
        #expect(first.refs.allSatisfy { $0.isMoved && $0.previous == nil })
        #expect(first.fileBytes == UInt64(bytes.count) && first.knownRecords == 0)
        for name in names {
            let before = try #require(try world.store.ref(name))
            let after = try #require(try target.ref(name))
            #expect(after.target == before.target && after.tree == before.tree)
            #expect(after.totals == before.totals)
            // When it moved here is told by the clock of the store here; the rest is as it was.
            #expect(after.moved >= before.moved)
            #expect(after.provenance == before.provenance && after.lifetime == before.lifetime)
            #expect((after.expires == nil) == (before.expires == nil))
            _ = try world.fetch(name.description, from: target)
            #expect(try world.differences(want: name.description) == [])
        }
        let second = try world.importing(bytes, into: target)
        #expect(second.refs.allSatisfy { !$0.isMoved } && second.sentRecords == 0)
    }

    @Test func `an import into a store that has a part sends the rest only`() throws {
        let world = try LocalWorld.withTwoRefs()
        let target = try world.makeOther()
        _ = try world.importing(try world.export([world.ref]), into: target)
        let both = try world.export([world.ref, try world.second])
        let summary = try world.importing(both, into: target)
        #expect(summary.refs.map(\.isMoved) == [false, true])
        #expect(summary.sentBytes < 1_500_000, "\(summary.sentBytes)")
        _ = try world.fetch(try world.second.description, from: target)
        #expect(try world.differences(want: try world.second.description) == [])
    }

    @Test func `a ref with other content is moved only by force`() throws {
        let world = try LocalWorld.withTwoRefs()
        let bytes = try world.export([try world.second, world.ref])
        let target = try world.makeOther()
        try world.write("a", "mine")
        _ = try world.push(to: target) { $0.cachePath = nil }
        let mine = try #require(try target.ref(world.ref)).target.digest
        let counted = DecoratedStore(target)
        let error = #expect(throws: CASError.self) {
            try world.importing(bytes, into: counted)
        }
        #expect(error?.code == .failedPrecondition)
        #expect(error?.message.contains("team/project:latest") == true)
        #expect(counted.uploadCount == 0, "something was uploaded")
        #expect(try target.ref(try world.second) == nil)
        let summary = try world.importing(bytes, into: target, force: true)
        #expect(summary.refs.map(\.previous) == [nil, mine])
        let history = try target.history(world.ref, before: "", limit: 9).entries
        #expect(history.map(\.provenance.message) == ["first", ""])
    }

    @Test func `who moves a ref meanwhile is not overwritten`() throws {
        let world = try LocalWorld.withTwoRefs(largeBytes: 1_000)
        let bytes = try world.export([world.ref])
        let target = try world.makeOther()
        let racing = DecoratedStore(target)
        racing.beforeCommit.withLock {
            $0 = {
                try world.write("a", "mine")
                _ = try world.push(to: target) { $0.cachePath = nil }
            }
        }
        let error = #expect(throws: CASError.self) { try world.importing(bytes, into: racing) }
        #expect(error?.code == .aborted)
    }

    @Test func `an export goes on where a stream broke off`() throws {
        let world = try LocalWorld.withTwoRefs()
        let whole = try TakenApart(try world.export([try world.second]))
        for count in [0, 1, 3, 9, 20, 31] {
            let breaks = Mutex(2)
            let flaky = HostileStore(
                world.store,
                data: { records in
                    let isBroken = breaks.withLock { left in
                        left -= 1
                        return left >= 0
                    }
                    return isBroken ? Array(records.prefix(count)) : records
                })
            let parts = try TakenApart(try world.export([try world.second], from: flaky))
            #expect(Set(parts.records.map(\.bytes)) == Set(whole.records.map(\.bytes)))
            #expect(parts.records.count == whole.records.count)
            let target = try world.makeOther("other-\(count)")
            _ = try world.importing(parts.bytes, into: target)
        }
    }

    @Test func `a store that lies gets nothing into an export`() throws {
        let world = try LocalWorld.withTwoRefs()
        let other = HostileStore.Record(.chunk, Digest.of([1]), [1])
        for lie in [
            HostileStore(world.store, data: { $0.filter { $0.kind != .chunkList } }),
            HostileStore(world.store, data: { $0.filter { $0.kind == .end } }),
            HostileStore(world.store, tree: { $0.filter { $0.kind != .directory } }),
            HostileStore(
                world.store,
                data: { $0.map { $0.kind == .chunk ? .init(.chunk, $0.digest, [7]) : $0 } }),
            HostileStore(
                world.store, data: { $0.map { $0.kind == .chunk ? other : $0 } }),
        ] {
            #expect(throws: CASError.self) { try world.export([world.ref], from: lie) }
        }
        let error = #expect(throws: CASError.self) { try world.export([try RefName("no/such")]) }
        #expect(error?.code == .notFound)
    }
}
