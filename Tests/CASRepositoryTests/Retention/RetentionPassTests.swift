import CASCore
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Testing

/// What rules do to a store when they are applied.
@Suite struct RetentionPassTests {
    private func run(_ world: KeepingWorld) throws -> MaintenanceProgress {
        try world.repository.applyRetention(domain: .standard)
    }

    @Test(arguments: Storage.allCases)
    func `what expired is removed, says why, and does not return`(_ storage: Storage) throws {
        let world = try KeepingWorld(storage)
        try world.push("team/a:short", 1, lifetime: KeepingWorld.day)
        try world.push("team/a:long", 2, lifetime: 9 * KeepingWorld.day)
        try world.push("team/a:kept", 3)
        #expect(try run(world)["removedRefs"] == 0)
        world.pass(days: 2)
        let progress = try run(world)
        #expect(progress["removedRefs"] == 1)
        #expect(progress.findings.map(\.name) == ["team/a:short"])
        #expect(progress.findings.map(\.text) == ["expired"])
        #expect(try world.tags("team/a") == ["kept", "long"])
        let last = try #require(try world.history("team/a:short").first)
        #expect(last.target == nil)
        #expect(last.provenance.message == "expired")
        #expect(last.provenance.author == "cas")
        #expect(last.recorded == world.store.clock.now())
        _ = try world.store.rebuild()
        #expect(try world.tags("team/a") == ["kept", "long"])
        #expect(try run(world)["removedRefs"] == 0)
    }

    @Test(arguments: Storage.allCases)
    func `rules remove what is too much or too old`(_ storage: Storage) throws {
        let world = try KeepingWorld(storage)
        for number in 1...6 {
            try world.push("team/a:\(number)", UInt64(number))
            try world.push("team/b:\(number)", UInt64(number))
            try world.push("x:\(number)", UInt64(number))
            world.pass(days: 1)
        }
        try world.push("team/a:v0", 1)
        for number in 7...8 { try world.push("team/a:\(number)", UInt64(number)) }
        try world.rule("team/*") { ($0.keep, $0.keepTags) = (2, ["v*"]) }
        try world.rule("team/b") { $0.keepSeconds = 2 * KeepingWorld.day }
        let dryRun = try world.repository.retentionPass(isDryRun: true, domain: .standard)
        #expect(try dryRun.isUnchanged(world))
        let progress = try run(world)
        #expect(progress["removedRefs"] == 10)
        #expect(try world.tags("team/a") == ["7", "8", "v0"])
        #expect(try world.tags("team/b") == ["5", "6"])
        #expect(try world.tags("x").count == 6, "no rule is about it")
        #expect(
            try world.history("team/a:1").first?.provenance.message == "rule team/*: keep 2")
        #expect(
            try world.history("team/b:1").first?.provenance.message
                == "rule team/b: keep for 2d")
    }

    @Test func `what was pushed or renewed meanwhile is not removed`() throws {
        let world = try KeepingWorld()
        for number in 1...3 {
            try world.push("a:\(number)", UInt64(number), lifetime: KeepingWorld.day)
        }
        world.pass(days: 2)
        let pass = try world.repository.retentionPass(domain: .standard)
        #expect(try pass.step(), "it looks, and finds three")
        try world.push("a:1", 9)
        try world.push("a:2", 2, lifetime: KeepingWorld.day)
        while try pass.step() {}
        #expect(try world.tags("a") == ["1", "2"])
        #expect(pass.progress["removedRefs"] == 1)
    }

    @Test func `a rule that was changed meanwhile removes nothing by its old words`() throws {
        let world = try KeepingWorld()
        for number in 1...3 { try world.push("a:\(number)", UInt64(number)) }
        try world.rule("a") { $0.keep = 1 }
        let pass = try world.repository.retentionPass(domain: .standard)
        #expect(try pass.step())
        try world.rule("a") { $0.onceTags = ["*"] }
        while try pass.step() {}
        #expect(try world.tags("a").count == 3)
    }

    @Test(arguments: Storage.allCases)
    func `a cache loses what was used least recently`(_ storage: Storage) throws {
        let world = try KeepingWorld(storage)
        try world.rule("ci/**") { ($0.quota, $0.isCache) = (250, true) }
        for number in 1...4 {
            try world.push("ci/a:\(number)", UInt64(number), bytes: 100)
            world.pass(days: 1)
        }
        #expect(try world.tags("ci/a").count == 4, "no push is refused")
        // The first one is fetched: it is not the one used least recently any more.
        let first = try KeepingWorld.tree(1, bytes: 100).digest
        try world.store.touch(
            first, Int64(world.store.clock.now().seconds - Int64(KeepingWorld.day) * 3 / 2))
        #expect(try run(world)["removedRefs"] == 2)
        #expect(try world.tags("ci/a") == ["1", "4"])
        #expect(
            try world.history("ci/a:2").first?.provenance.message
                == "cache ci/**: beyond 250 B")
        try world.push("ci/a:5", 5, bytes: 100)
        try world.push("ci/a:6", 6, bytes: 100)
        #expect(try run(world)["removedRefs"] == 1, "the window protects the rest")
        #expect(try world.tags("ci/a") == ["4", "5", "6"])
    }

    @Test(arguments: Storage.allCases)
    func `a cache keeps the images that are pulled`(_ storage: Storage) throws {
        let world = try KeepingWorld(storage)
        try world.rule("ci/**") { ($0.quota, $0.isCache) = (250, true) }
        for number in 1...4 {
            let blob = try world.repository.uploadBlob(
                [UInt8](repeating: UInt8(number), count: 99), to: "ci/a")
            _ = try world.repository.put("ci/a", "\(number)", tags: ["\(number)"], blobs: [blob])
            world.pass(days: 2)
        }
        let first = Digest.of(Array("1".utf8))
        for isByDigest in [false, true] {
            world.repository.use(
                manifest: first, of: "ci/a", isByDigest: isByDigest, domain: .standard)
        }
        world.pass(days: 2)
        #expect(try run(world)["removedRefs"] == 2)
        #expect(try world.tags("ci/a") == ["1", "4"])
    }

    @Test(arguments: Storage.allCases)
    func `moves that are neither listed nor keep anything are forgotten`(
        _ storage: Storage
    ) throws {
        let world = try KeepingWorld(storage)
        let (one, two) = (try KeepingWorld.tree(1), try KeepingWorld.tree(2))
        try world.push("a", 1)
        try world.push("b", 2)
        let name = try RefName("a")
        for _ in 0..<60 {
            for tree in [two, one] {
                _ = try world.repository.setRef(
                    name, RefUpdate(target: tree.digest), domain: .standard)
            }
        }
        #expect(try run(world)["forgottenMoves"] == 0, "all of it is of today")
        world.pass(days: 31)
        #expect(try run(world)["forgottenMoves"] == 21)
        #expect(try world.history("a").count == Retention.listedEntries)
        #expect(try world.history("b").count == 1)
        #expect(try world.ref("a")?.target.digest == one.digest)
        try world.repository.removeRef(name, .any, Provenance(), domain: .standard)
        world.pass(days: 29)
        #expect(try run(world)["forgottenMoves"] == 1)
        world.pass(days: 2)
        #expect(try run(world)["forgottenMoves"] == 100)
        #expect(try world.history("a").isEmpty)
        #expect(try world.ref("b") != nil)
    }

    @Test func `the answer of a push goes with the move that it made`() throws {
        let world = try KeepingWorld()
        let push = try TestPush("a")
        try world.repository.push(try KeepingWorld.tree(1), push)
        try world.rule("a") { $0.historySeconds = 0 }
        for number in 0..<200 { try world.push("a", UInt64(number % 2 + 2)) }
        #expect(try run(world)["forgottenMoves"] == 0, "a day has not passed")
        world.pass(days: 2)
        #expect(try run(world)["forgottenMoves"] == 101)
        // Nobody remembers it: it is a push of its own again.
        let answer = try world.repository.commit(push, try KeepingWorld.tree(1).digest)
        #expect(answer.outcome == .done)
        #expect(answer.sequence > 200)
    }

    @Test(arguments: [UInt64(41), 42])
    func `steps are bounded, and a second pass finds nothing`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let world = try KeepingWorld()
        for number in 0..<1_200 {
            _ = try world.repository.setRefOrPush(
                "n\(Int.random(in: 0..<9, using: &random)):\(number)", world)
        }
        try world.rule("n*") { $0.keep = 3 }
        let pass = try world.repository.retentionPass(domain: .standard)
        var last: UInt64 = 0
        while try pass.step() {
            let removed = pass.progress["removedRefs"]
            #expect(removed - last <= 100, "seed \(seed)")
            last = removed
        }
        #expect(last == 1_200 - 27, "seed \(seed)")
        #expect(try run(world)["removedRefs"] == 0, "seed \(seed)")
    }
}

extension RetentionPass {
    /// Whether a whole pass changes nothing, though it finds something.
    fileprivate func isUnchanged(_ world: KeepingWorld) throws -> Bool {
        func refs() throws -> [RefEntry] {
            try world.repository.refs(prefix: "", after: nil, limit: 1000, domain: .standard)
        }
        let before = try refs()
        while try step() {}
        let after = try refs()
        return progress["removedRefs"] > 0 && after == before
    }
}

extension Repository {
    /// Lets a ref name a small tree, which the first call pushes.
    fileprivate func setRefOrPush(_ ref: String, _ world: KeepingWorld) throws -> RefEntry? {
        let tree = try KeepingWorld.tree(1)
        guard try world.ref("first") != nil else {
            try push(tree, to: "first")
            return try setRefOrPush(ref, world)
        }
        return try setRef(
            try RefName(ref), RefUpdate(target: tree.digest), domain: .standard)
    }
}
