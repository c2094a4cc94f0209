import CASTestSupport
import CASWorkspace
import CASClient
import CASCore
import CASFileSystem
import CASTestSupport
import CASPack
import CASWire
import Synchronization
import Testing

@Suite struct TransferTests {
    @Test func `a directory travels through the server, and updates in place`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.withRemote { remote in
                let store = RetryingStore(remote)
                let description = try store.describe()
                #expect(description.protocolVersion == WireProtocol.version)
                #expect(description.scopes == [.all])
                try world.write("a.txt", Array("hello".utf8))
                try world.write("sub/big.bin", content(seed: 1, count: 5_000_000))
                try world.write("sub/empty", [])
                #expect(try world.push("team/project", store).response?.outcome == .done)
                let first = try world.fetch("team/project", store)
                #expect(first.restore.written == 3)
                #expect(try world.differences("team/project", store) == [])

                #expect(try world.push("team/project", store).response?.outcome == .unchanged)
                let none = try world.fetch("team/project", store)
                #expect(none.restore.written == 0)

                try world.write("a.txt", Array("hello again".utf8))
                let second = try world.push("team/project", store)
                #expect(second.sentBytes < 10_000)
                let update = try world.fetch("team/project", store)
                #expect(update.restore.written == 1)
                #expect(update.restore.kept == 2)
                #expect(try world.differences("team/project", store) == [])
            }
        }
    }

    @Test func `a push repeated after a lost answer moves nothing twice`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.withRemote { store in
                try world.write("a.txt", Array("hello".utf8))
                let pushed = try world.push("team/project", store)
                let snapshot = try #require(pushed.response?.snapshot)
                let request = PushRequest(
                    pushID: Identifier.random(), ref: try RefName("team/other"), snapshot: snapshot,
                    base: nil, precondition: .any, provenance: Provenance())
                let nothing = ReusableBuffer(capacity: 64)
                let first = try store.commit(request, records: nothing)
                let moved = try store.ref(try RefName("team/other"))
                // Somebody removes the ref before the repetition comes: that must stay.
                try store.removeRef(
                    try RefName("team/other"),
                    RefUpdate(target: .zero, precondition: .any, provenance: Provenance()))
                let second = try store.commit(request, records: nothing)
                #expect(first.outcome == .done)
                #expect(second == first)
                #expect(moved?.sequence == first.sequence)
                #expect(try store.ref(try RefName("team/other")) == nil)
                let history = try store.history(try RefName("team/other"), before: "", limit: 10)
                #expect(history.entries.count == 2)
            }
        }
    }

    @Test func `a conflict carries what the ref names`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.withRemote { store in
                try world.write("a.txt", Array("hello".utf8))
                let snapshot = try #require(
                    try world.push("team/project", store).response?.snapshot)
                try world.write("a.txt", Array("changed".utf8))
                let other = try #require(try world.push("team/other", store).response?.snapshot)
                let request = PushRequest(
                    pushID: Identifier.random(), ref: try RefName("team/project"), snapshot: other,
                    base: nil, precondition: .absent, provenance: Provenance())
                let answer = try store.commit(request, records: ReusableBuffer(capacity: 64))
                #expect(answer.outcome == .conflict)
                #expect(answer.previous == snapshot)
            }
        }
    }

    @Test func `progress counts each file once, whatever a push or fetch does with it`()
        async throws
    {
        try await onThread {
            let first = try ServerWorld()
            let second = try ServerWorld()
            var total: UInt64 = 0
            for number in 0..<40 {
                let count = number == 0 ? 5_000_000 : 1000 + number
                try first.write("d\(number % 7)/\(number)", content(seed: 77, count: count))
                total += UInt64(count)
            }
            // The same content twice: one of them is new, and the other known by then.
            try first.write("copy", content(seed: 77, count: 1001))
            total += 1001
            func push(_ world: ServerWorld) throws -> ProgressCounters {
                let counters = ProgressCounters()
                try world.withRemote { store in
                    var options = PushOptions(
                        directory: first.temporary.path + "/workspace",
                        ref: try RefName("team/project"), workers: 2)
                    options.cachePath = first.temporary.path + "/cache"
                    _ = try Push.run(options, connection: store, counters: counters)
                }
                return counters
            }
            // The stat cache believes only times that lie behind the scan by a second.
            Sleep.milliseconds(2100)
            // All is read; then only the stat cache knows it, and another store has none of it; then
            // nothing has changed.
            for (world, isNew) in [(first, true), (second, true), (second, false)] {
                let counters = try push(world)
                #expect(counters.files == 41)
                #expect(counters.bytes == total)
                #expect(counters.newBytes == (isNew ? total - 1001 : 0))
                #expect(counters.known == (isNew ? 1001 : total))
            }
            let counters = ProgressCounters()
            try second.withRemote { store in
                _ = try Fetch.run(
                    FetchOptions(
                        want: "team/project", destination: first.temporary.path + "/destination",
                        workers: 2), connection: store, counters: counters)
            }
            #expect(counters.files == 41)
            #expect(counters.bytes == total)
            #expect(counters.expectedFiles == 41)
            #expect(counters.expectedBytes == total)
        }
    }

    @Test func `an answer cut off in the middle is unavailable`()
        async throws
    {
        try await onThread {
            let world = try ServerWorld()
            // More than kernels keep for one connection (32 MiB and 4), so that something is left to cut off.
            try world.write("big.bin", content(seed: 5, count: 80_000_000))
            try world.withRemote { store in
                try world.push("team/project", store)
                let plan = try store.plan(PlanRequest(want: "team/project"))
                var received = 0
                let failure = code {
                    try store.readData(plan: plan.planID, share: 0, of: 1) { bytes in
                        if received == 0 { try world.stop() }
                        received += bytes.count
                    }
                }
                #expect(failure == .unavailable)
                #expect(received < 80_000_000)
            }
        }
    }

    @Test func `a graceful stop does not wait for connections that are idle`() async throws {
        try await onThread {
            let world = try ServerWorld()
            let idle = try world.raw()
            #expect(try idle.request("GET", "/v1").status == 200)
            try world.stop()
            #expect(try idle.more() == false)
        }
    }

    @Test(.timeLimit(.minutes(10)))
    func `a receiver that fails in the middle does not wait for the rest`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.write("big.bin", content(seed: 3, count: 40 << 20))
            try world.withRemote { _ = try world.push("team/project", $0) }
            try world.withRemote { store in
                let plan = try store.plan(PlanRequest(want: "team/project"))
                for _ in 0..<5 {
                    var isFirst = true
                    let error = code {
                        try store.readData(plan: plan.planID, share: 0, of: 1) { _ in
                            guard isFirst else { throw CASError(.resourceExhausted, "no room") }
                            isFirst = false
                            // Long enough for the answer to fill what may wait.
                            Sleep.milliseconds(300)
                        }
                    }
                    #expect(error == .resourceExhausted)
                }
            }
        }
    }

    @Test func `a store cut off answers again on the same port, and a push goes on`() async throws {
        try await onThread {
            let world = try ServerWorld()
            try world.withRemote { store in
                try world.write("a.txt", content(seed: 2, count: 300_000))
                try world.push("team/project", store)
                let port = world.port
                let plan = try store.plan(PlanRequest(want: "team/project"))
                try world.stop()
                #expect(
                    code { _ = try store.plan(PlanRequest(want: "team/project")) } == .unavailable)
                try world.start(port: port)
                // The plan is made again from its name; nothing of it was kept.
                try world.withRemote { again in
                    let retrying = RetryingStore(again)
                    var received = 0
                    try retrying.readData(plan: plan.planID, share: 0, of: 1) {
                        received += $0.count
                    }
                    #expect(received > 300_000)
                    #expect(
                        try world.push("team/project", retrying).response?.outcome == .unchanged)
                }
            }
        }
    }
}
