import CASCore
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Testing

/// A store of small snapshots of known size, and the words of rules.
struct KeepingWorld {
    static let day: UInt64 = 86_400
    let store: TestStore
    var repository: Repository { store.repository }

    init(_ storage: Storage = .memory) throws { store = try TestStore(storage) }

    /// A tree of one file of so many bytes.
    static func tree(_ seed: UInt64, bytes: Int = 10) throws -> SampleTree {
        var random = SeededGenerator(seed: seed)
        return try SampleTree(
            SampleFolder(files: ["file": .init(content: random.bytes(bytes))]))
    }

    @discardableResult
    func push(_ ref: String, _ seed: UInt64, bytes: Int = 10, lifetime: UInt64 = 0) throws
        -> PushResponse
    {
        var push = try TestPush(ref)
        push.lifetime = lifetime
        return try repository.push(try KeepingWorld.tree(seed, bytes: bytes), push)
    }

    func rule(_ pattern: String, _ change: (inout RetentionRule) -> Void) throws {
        var rule = RetentionRule(pattern: pattern, provenance: Provenance(author: "ada"))
        change(&rule)
        _ = try repository.set(rule: rule, domain: .standard)
    }

    func pass(days: Double) {
        store.clock.advance(nanoseconds: UInt64(days * Double(KeepingWorld.day) * 1e9))
    }

    func tags(_ name: String) throws -> [String] {
        try repository.refs(prefix: name, after: nil, limit: 1000, domain: .standard)
            .filter { $0.name.name == name }.map(\.name.tag)
    }

    func ref(_ name: String) throws -> RefEntry? {
        try repository.ref(try RefName(name), domain: .standard)
    }

    func history(_ name: String) throws -> [HistoryEntry] {
        try repository.history(
            try RefName(name), before: nil, limit: 1000, domain: .standard)
    }

    func pins() throws -> [PinRecord] {
        try repository.pinPage(
            prefix: "", after: "", limit: 1000, domain: .standard, isVisible: { _ in true }
        ).entries
    }
}

/// The error that `body` throws; nil if it throws none.
private func failure(_ body: () throws -> Void) throws -> CASError? {
    do {
        try body()
        return nil
    } catch let error as CASError {
        return error
    }
}

/// Rules and pins as a store keeps them, and what they forbid.
@Suite struct KeepingTests {
    @Test(arguments: Storage.allCases)
    func `rules are set, replaced and removed, and a rebuild brings them back`(
        _ storage: Storage
    ) throws {
        let world = try KeepingWorld(storage)
        try world.rule("team/*") { $0.keep = 5 }
        try world.rule("ci/**") { ($0.quota, $0.isCache) = (1 << 30, true) }
        try world.rule("gone/*") { $0.keep = 1 }
        world.pass(days: 1)
        try world.rule("team/*") { $0.keepSeconds = 60 }
        try world.repository.remove(rule: "gone/*", Provenance(), domain: .standard)
        let rules = try world.repository.rules(domain: .standard)
        #expect(rules.map(\.pattern) == ["ci/**", "team/*"])
        #expect(rules[1].keep == 0, "a rule takes the place of the whole earlier one")
        #expect(rules[1].keepSeconds == 60)
        #expect(rules[1].created == world.store.clock.now())
        #expect(rules[1].provenance.author == "ada")
        _ = try world.store.rebuild()
        #expect(try world.repository.rules(domain: .standard) == rules)
        #expect(
            try code {
                try world.repository.remove(rule: "gone/*", Provenance(), domain: .standard)
            } == .notFound)
        #expect(try code { try world.rule("Team") { $0.keep = 1 } } == .invalidArgument)
        #expect(try code { try world.rule("a") { $0.isCache = true } } == .invalidArgument)
    }

    @Test func `a description says whether names have quotas`() throws {
        let world = try KeepingWorld()
        #expect(try !world.repository.describe(scopes: []).hasQuotas)
        try world.rule("ci/**") { ($0.quota, $0.isCache) = (1 << 30, true) }
        #expect(try !world.repository.describe(scopes: []).hasQuotas, "a cache refuses nothing")
        try world.rule("team/**") { $0.quota = 1 << 30 }
        #expect(try world.repository.describe(scopes: []).hasQuotas)
    }

    // MARK: - Pins

    @Test(arguments: Storage.allCases)
    func `pins are set, replaced and ended, and a rebuild brings them back`(
        _ storage: Storage
    ) throws {
        let world = try KeepingWorld(storage)
        try world.push("team/a", 1)
        try world.push("team/b", 2)
        let (first, second) = (try KeepingWorld.tree(1), try KeepingWorld.tree(2))
        let request = PinRequest(reason: "paper", provenance: Provenance(author: "ada"))
        let pin = try world.repository.pin(
            first.digest, name: "team/a", request, domain: .standard)
        #expect(pin.reason == "paper")
        #expect(pin.expires == nil)
        #expect(pin.created == world.store.clock.now())
        let byTree = try world.repository.pin(
            second.snapshot.tree.digest, name: "", PinRequest(), domain: .standard)
        #expect(byTree.digest == second.digest, "a pin is of the snapshot of a tree")
        _ = try world.repository.pin(
            second.digest, name: "team/b", PinRequest(), domain: .standard)
        let again = try world.repository.pin(
            first.digest, name: "team/a", PinRequest(lifetime: 3600, reason: "short"),
            domain: .standard)
        #expect(again.expires?.seconds == world.store.clock.now().seconds + 3600)
        try world.repository.unpin(
            second.snapshot.tree.digest, name: "team/b", Provenance(), domain: .standard)
        let pins = try world.pins()
        #expect(pins == [byTree, again])
        _ = try world.store.rebuild()
        #expect(try world.pins() == pins)
        #expect(
            try code {
                try world.repository.unpin(
                    second.digest, name: "team/b", Provenance(), domain: .standard)
            } == .notFound)
    }

    @Test(arguments: Storage.allCases)
    func `what is not here whole can not be pinned`(_ storage: Storage) throws {
        let world = try KeepingWorld(storage)
        let tree = try KeepingWorld.tree(1)
        func pin(_ lifetime: UInt64 = 0) throws {
            _ = try world.repository.pin(
                tree.digest, name: "team/a", PinRequest(lifetime: lifetime), domain: .standard)
        }
        #expect(try code { try pin() } == .notFound)
        // The messages without the file: a commit takes note of them and refuses the ref.
        let push = try TestPush("team/a")
        let records = try SampleRecords(world.repository.chunker)
        let answer = try world.repository.commit(
            push, tree.digest, try records.messages(tree, only: Set(tree.messages.map(\.digest))))
        #expect(answer.outcome == .missing)
        #expect(try code { try pin() } == .dataLoss)
        #expect(try world.pins().isEmpty)
        try world.push("team/a", 1)
        #expect(try code { try pin(5) } == .invalidArgument)
        try pin()
        #expect(try world.pins().count == 1)
    }

    @Test func `pages of pins hold what may be seen and end`() throws {
        let world = try KeepingWorld()
        for seed in 1...5 { try world.push("team/a:\(seed)", UInt64(seed)) }
        for seed in 1...5 {
            _ = try world.repository.pin(
                try KeepingWorld.tree(UInt64(seed)).digest,
                name: ["", "team/a", "other.org/x"][seed % 3], PinRequest(), domain: .standard)
        }
        let all = try world.pins()
        var found: [PinRecord] = []
        var after = ""
        repeat {
            let page = try world.repository.pinPage(
                prefix: "", after: after, limit: 2, domain: .standard, isVisible: { _ in true })
            #expect(page.entries.count <= 2)
            found += page.entries
            after = page.next
        } while !after.isEmpty
        #expect(found == all)
        let some = try world.repository.pinPage(
            prefix: "", after: "", limit: 9, domain: .standard, isVisible: { $0.name == "team/a" })
        #expect(some.entries.allSatisfy { $0.name == "team/a" })
        #expect(some.entries.count == 2)
    }

    // MARK: - Tags that are created once

    @Test(arguments: Storage.allCases)
    func `a tag that is created once is neither moved nor removed`(_ storage: Storage) throws {
        let world = try KeepingWorld(storage)
        try world.push("team/a:v1", 1)
        try world.rule("team/*") { $0.onceTags = ["v*"] }
        let v1 = try RefName("team/a:v1")
        let moved = try failure { try world.push("team/a:v1", 2) }
        #expect(moved?.code == .failedPrecondition)
        #expect(
            moved?.message
                == "'team/a:v1' is created once: the rule 'team/*' lets nobody move or remove it")
        #expect(try world.push("team/a:v1", 1).outcome == .unchanged)
        #expect(try world.push("team/a:v2", 2).outcome == .done, "it is created")
        let other = RefUpdate(target: try KeepingWorld.tree(2).digest)
        #expect(
            try code { _ = try world.repository.setRef(v1, other, domain: .standard) }
                == .failedPrecondition)
        #expect(
            try code {
                try world.repository.removeRef(v1, .any, Provenance(), domain: .standard)
            } == .failedPrecondition)
        #expect(
            try code { try world.push("team/a:v3", 2, lifetime: 3600) } == .failedPrecondition,
            "what is created once can not expire")
        #expect(
            try code { try world.push("team/a:v1", 1, lifetime: 3600) } == .failedPrecondition)
        #expect(try world.ref("team/a:v3") == nil)
        #expect(try world.push("team/a:latest", 2).outcome == .done)
        #expect(try world.push("team/a:latest", 1).outcome == .done)
        try world.repository.remove(rule: "team/*", Provenance(), domain: .standard)
        #expect(try world.push("team/a:v1", 2).outcome == .done)
    }

    // MARK: - Quotas

    @Test(arguments: Storage.allCases)
    func `a push beyond the quota is refused with the figures`(_ storage: Storage) throws {
        let world = try KeepingWorld(storage)
        try world.rule("team/**") { $0.quota = 100 }
        try world.push("team/a:1", 1, bytes: 60)
        try world.push("team/a:2", 1, bytes: 60)
        try world.push("team/b:1", 2, bytes: 40)
        let refused = try failure { try world.push("team/x/y", 3, bytes: 1) }
        #expect(refused?.code == .resourceExhausted)
        #expect(
            refused?.message
                == "the quota of 'team/**' is 100 B: its refs use 100 B, and this push has 1 B more"
        )
        #expect(try world.ref("team/x/y") == nil)
        #expect(try world.push("other/a", 3, bytes: 500).outcome == .done)
        #expect(try world.push("team/c", 2, bytes: 40).outcome == .done, "it is counted already")
        #expect(try world.push("team/b:1", 4, bytes: 0).outcome == .done)
        let tag = RefUpdate(target: try KeepingWorld.tree(3, bytes: 500).digest)
        #expect(
            try code {
                _ = try world.repository.setRef(
                    try RefName("team/t"), tag, domain: .standard)
            } == .resourceExhausted)
        // Set below what is there, it lets nothing grow, and everything shrink.
        try world.rule("team/**") { $0.quota = 10 }
        #expect(try code { try world.push("team/a:1", 5, bytes: 61) } == .resourceExhausted)
        #expect(try world.push("team/c", 6, bytes: 39).outcome == .done)
    }

    @Test func `a store says before a push whether it has room`() throws {
        let world = try KeepingWorld()
        try world.rule("team/**") { $0.quota = 100 }
        try world.push("team/a", 1, bytes: 60)
        func ask(_ ref: String, _ bytes: UInt64) throws -> CASError.Code? {
            try code {
                try world.repository.checkQuota(
                    QuotaRequest(ref: try RefName(ref), bytes: bytes), domain: .standard)
            }
        }
        #expect(try ask("team/b", 40) == nil)
        #expect(try ask("team/b", 41) == .resourceExhausted)
        #expect(try ask("team/a", 100) == nil, "what it named before goes")
        #expect(try ask("team/a", 101) == .resourceExhausted)
        #expect(try ask("other", 1 << 50) == nil)
        try world.rule("team/**") { ($0.quota, $0.isCache) = (100, true) }
        #expect(try ask("team/b", 1 << 50) == nil, "a cache refuses nothing")
    }

    @Test(arguments: [UInt64(31), 32, 33])
    func `whatever is pushed, a quota holds`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        let world = try KeepingWorld()
        try world.rule("q/**") { $0.quota = 200 }
        var refused = 0
        for round in 0..<60 {
            let ref = "q/\(Int.random(in: 0..<4, using: &random)):t"
            let content = UInt64.random(in: 0..<9, using: &random)
            do {
                try world.push(ref, content, bytes: Int(content) * 13)
            } catch let error as CASError where error.code == .resourceExhausted {
                refused += 1
            }
            var sum = QuotaSum()
            for entry in try world.repository.refs(
                prefix: "q/", after: nil, limit: 99, domain: .standard)
            { sum.add(entry) }
            #expect(sum.bytes <= 200, "seed \(seed), round \(round)")
        }
        #expect(refused > 0, "seed \(seed): the quota was never reached")
    }
}
