import CASCore
import CASRepository
import CASTestSupport
import CASTree
import CASWire
import Testing

/// What rules say, without a store.
@Suite struct RetentionTests {
    private static let day: Int64 = 86_400
    private let now = Timestamp(seconds: 1_800_000_000)

    private func rule(
        _ pattern: String = "**", _ change: (inout RetentionRule) -> Void
    ) throws -> AppliedRule {
        var rule = RetentionRule(pattern: pattern)
        change(&rule)
        return try AppliedRule(rule)
    }

    private func entry(
        _ name: String, _ sequence: UInt64, daysOld: Int64 = 0, expires: Timestamp? = nil,
        digest: Digest? = nil, bytes: UInt64 = 1
    ) throws -> RefEntry {
        RefEntry(
            name: try RefName(name),
            target: RefTarget(
                kind: .snapshot, digest: digest ?? Digest.of(Array("\(sequence)".utf8))),
            tree: nil, totals: TreeTotals(files: 1, directories: 1, symlinks: 0, bytes: bytes),
            sequence: sequence, moved: Timestamp(seconds: now.seconds - daysOld * Self.day),
            provenance: Provenance(), expires: expires)
    }

    private func tags(_ removals: [RetentionRemoval]) -> Set<String> {
        Set(removals.map(\.entry.name.tag))
    }

    // MARK: - Which rule

    @Test func `the longest pattern applies, and of equally long ones the last`() throws {
        let rules = try RuleSet(
            ["**", "team/*", "team/**", "team/a*", "team/*a"].map { RetentionRule(pattern: $0) })
        #expect(rules.rule(for: "other")?.rule.pattern == "**")
        #expect(rules.rule(for: "team/x")?.rule.pattern == "team/**")
        #expect(rules.rule(for: "team/ax")?.rule.pattern == "team/a*")
        #expect(rules.rule(for: "team/aa")?.rule.pattern == "team/a*")
        #expect(try RuleSet([]).rule(for: "team/x") == nil)
    }

    @Test func `rules that contradict themselves are refused`() throws {
        let wrong: [(inout RetentionRule) -> Void] = [
            { $0.isCache = true }, { $0.windowSeconds = 5 }, { $0.keepTags = ["a/b"] },
            { $0.onceTags = [""] }, { $0.historySeconds = .max }, { $0.pattern = "Team" },
        ]
        for change in wrong {
            let error = #expect(throws: CASError.self) { _ = try rule("**", change) }
            #expect(error?.code == .invalidArgument)
        }
    }

    @Test func `what a cache lost is not kept by its history unless it says so`() throws {
        #expect(try rule { $0.keep = 1 }.historySeconds == 30 * 86_400)
        #expect(
            try rule {
                ($0.isCache, $0.quota) = (true, 5)
            }.historySeconds == 0)
        #expect(
            try rule {
                ($0.isCache, $0.quota, $0.historySeconds) = (true, 5, 7)
            }.historySeconds == 7)
    }

    // MARK: - Removals

    @Test func `without a rule only what expired goes`() throws {
        let entries = [
            try entry("a:old", 1, daysOld: 900), try entry("a:ended", 2, expires: now),
            try entry("a:later", 3, expires: Timestamp(seconds: now.seconds + 1)),
        ]
        let removals = Retention.removals(of: entries, nil, now)
        #expect(tags(removals) == ["ended"])
        #expect(removals[0].reason == "expired")
    }

    @Test func `the last moves stay, and so does what moved lately or matches`() throws {
        let entries = [
            try entry("a:1", 1, daysOld: 50), try entry("a:2", 2, daysOld: 40),
            try entry("a:v3", 3, daysOld: 30), try entry("a:4", 4, daysOld: 3),
            try entry("a:5", 5, daysOld: 2), try entry("a:6", 6, daysOld: 1),
        ]
        let keep = try rule { ($0.keep, $0.keepTags) = (2, ["v*"]) }
        let removals = Retention.removals(of: entries.reversed(), keep, now)
        #expect(tags(removals) == ["1", "2", "4"])
        #expect(removals.allSatisfy { $0.reason == "rule **: keep 2" })
        let either = try rule { ($0.keep, $0.keepSeconds) = (1, 3 * 86_400) }
        #expect(tags(Retention.removals(of: entries, either, now)) == ["1", "2", "v3"])
        let once = try rule { ($0.keep, $0.onceTags) = (1, ["*"]) }
        #expect(Retention.removals(of: entries, once, now).isEmpty)
        #expect(
            Retention.removals(of: entries, try rule { $0.quota = 1 }, now).isEmpty,
            "a rule that says nothing of tags removes none")
    }

    @Test func `an end counts before all, but not for what is created once`() throws {
        let entries = [
            try entry("a:v1", 1, expires: now), try entry("a:2", 2), try entry("a:3", 3),
        ]
        let kept = try rule { ($0.keep, $0.keepTags) = (2, ["v*"]) }
        #expect(tags(Retention.removals(of: entries, kept, now)) == ["v1"])
        let once = try rule { ($0.keep, $0.onceTags) = (2, ["v*"]) }
        #expect(Retention.removals(of: entries, once, now).isEmpty)
    }

    @Test(arguments: [UInt64(11), 12, 13, 14])
    func `removals are exactly what neither number, time nor tag keeps`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for round in 0..<200 {
            let count = Int.random(in: 0...12, using: &random)
            let entries = try (0..<count).map { index in
                try entry(
                    "a:\(["t", "v"].randomElement(using: &random) ?? "t")\(index)",
                    UInt64(index + 1), daysOld: Int64(count - index),
                    expires: Bool.random(using: &random)
                        ? Timestamp(seconds: now.seconds + Int64.random(in: -1...1, using: &random))
                        : nil)
            }
            let keep = UInt64.random(in: 0...4, using: &random)
            let days = UInt64.random(in: 0...8, using: &random)
            let applied = try rule {
                ($0.keep, $0.keepSeconds, $0.keepTags) = (keep, days * 86_400, ["v*"])
            }
            let removed = tags(
                Retention.removals(of: entries.shuffled(using: &random), applied, now))
            let living = entries.filter { $0.expires.map { $0 > now } ?? true }
            for entry in entries {
                let rank = living.count { $0.sequence > entry.sequence }
                let isExpired = !living.contains(entry)
                let staysByRule =
                    (keep == 0 && days == 0) || rank < Int(keep)
                    || (days > 0 && now.seconds - entry.moved.seconds <= Int64(days) * Self.day)
                    || entry.name.tag.hasPrefix("v")
                #expect(
                    removed.contains(entry.name.tag) == (isExpired || !staysByRule),
                    "seed \(seed), round \(round), \(entry.name)")
            }
            // A second look finds nothing more to do.
            let rest = entries.filter { !removed.contains($0.name.tag) }
            #expect(Retention.removals(of: rest, applied, now).isEmpty, "seed \(seed) \(round)")
        }
    }

    // MARK: - History

    private func moves(_ count: Int, daysApart: Int64) throws -> [HistoryEntry] {
        try (0..<count).map { index in
            HistoryEntry(
                sequence: UInt64(1000 - index), name: try RefName("a:b"),
                previous: index == count - 1
                    ? nil : RefTarget(kind: .snapshot, digest: Digest.of([UInt8(index % 256)])),
                target: RefTarget(kind: .snapshot, digest: .zero), provenance: Provenance(),
                pushID: nil,
                recorded: Timestamp(seconds: now.seconds - Int64(index) * daysApart * Self.day))
        }
    }

    @Test func `what a ref named before stays from its last moment on`() throws {
        let move = try moves(2, daysApart: 10)[0]
        #expect(Retention.protectedUntil(move, 60)?.seconds == now.seconds + 60)
        let first = try moves(1, daysApart: 1)[0]
        #expect(Retention.protectedUntil(first, 60) == nil)
    }

    @Test func `a hundred moves stay listed, and more while they protect something`() throws {
        let many = try moves(300, daysApart: 1)
        let seconds = AppliedRule.historySeconds
        #expect(Retention.forgettable(many, exists: true, seconds, now) == 900)
        #expect(Retention.forgettable(many, exists: true, 200 * 86_400, now) == 800)
        #expect(
            Retention.forgettable(try moves(100, daysApart: 9), exists: true, 0, now) == nil)
        #expect(Retention.forgettable([], exists: true, 0, now) == nil)
    }

    @Test func `of a ref that is gone everything goes once its time is over`() throws {
        let few = try moves(3, daysApart: 20)
        #expect(Retention.forgettable(few, exists: false, 0, now) == nil)
        let later = Timestamp(seconds: now.seconds + 31 * Self.day)
        #expect(Retention.forgettable(few, exists: false, 0, later) == 1000)
        #expect(Retention.forgettable(few, exists: true, 0, later) == nil)
        #expect(
            Retention.forgettable(few, exists: false, 40 * 86_400, later) == 999,
            "the newest still protects what it replaced")
    }

    // MARK: - Quota and caches

    @Test func `a snapshot counts once`() throws {
        var sum = QuotaSum()
        let digest = Digest.of([1])
        sum.add(try entry("a:1", 1, digest: digest, bytes: 10))
        sum.add(try entry("b:1", 2, digest: digest, bytes: 10))
        sum.add(try entry("b:2", 3, bytes: 5))
        #expect(sum.bytes == 15)
        sum.add(Digest.of([9]), .max)
        #expect(sum.bytes == .max)
    }

    private func cached(_ entry: RefEntry, _ isEvictable: Bool = true) -> CachedRef {
        CachedRef(entry: entry, used: entry.moved, isEvictable: isEvictable)
    }

    @Test func `a cache loses what was used least recently, and no more than it must`() throws {
        let cache = try rule { ($0.isCache, $0.quota) = (true, 25) }
        let refs = [
            cached(try entry("a:1", 1, daysOld: 9, bytes: 10)),
            cached(try entry("a:2", 2, daysOld: 7, bytes: 10)),
            cached(try entry("a:3", 3, daysOld: 8, bytes: 10)),
            cached(try entry("a:4", 4, daysOld: 2, bytes: 10)),
        ]
        let removals = Retention.evictions(refs, cache, now)
        #expect(removals.map(\.entry.name.tag) == ["1", "3"])
        #expect(removals[0].reason == "cache **: beyond 25 B")
        let roomy = try rule { ($0.isCache, $0.quota) = (true, 40) }
        #expect(Retention.evictions(refs, roomy, now).isEmpty)
        let patient = try rule {
            ($0.isCache, $0.quota, $0.windowSeconds) = (true, 0, 8 * 86_400)
        }
        #expect(tags(Retention.evictions(refs, patient, now)) == ["1"])
    }

    @Test func `refs of one snapshot go together or not at all`() throws {
        let cache = try rule { ($0.isCache, $0.quota, $0.keepTags) = (true, 10, ["keep"]) }
        let shared = Digest.of([7])
        let refs = [
            cached(try entry("a:1", 1, daysOld: 9, digest: shared, bytes: 10)),
            cached(try entry("a:2", 2, daysOld: 5, digest: shared, bytes: 10)),
            cached(try entry("a:3", 3, daysOld: 7, bytes: 10)),
        ]
        #expect(tags(Retention.evictions(refs, cache, now)) == ["3"])
        let kept = refs + [cached(try entry("a:keep", 4, daysOld: 90, bytes: 10))]
        #expect(tags(Retention.evictions(kept, cache, now)) == ["1", "2", "3"])
        let foreign = refs + [cached(try entry("b:x", 5, daysOld: 90, bytes: 10), false)]
        #expect(tags(Retention.evictions(foreign, cache, now)) == ["1", "2", "3"])
    }

    @Test(arguments: [UInt64(21), 22, 23])
    func `a cache is within its quota or has nothing left that may go`(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        for round in 0..<200 {
            let quota = UInt64.random(in: 0...60, using: &random)
            let cache = try rule {
                ($0.isCache, $0.quota, $0.keepTags) = (true, quota, ["k*"])
            }
            let refs = try (0..<Int.random(in: 0...10, using: &random)).map { index in
                let content = UInt8.random(in: 0...6, using: &random)
                return cached(
                    try entry(
                        "a:\(["k", "t", "t"].randomElement(using: &random) ?? "t")\(index)",
                        UInt64(index + 1), daysOld: Int64.random(in: 0...9, using: &random),
                        digest: Digest.of([content]), bytes: UInt64(content) + 1),
                    Int.random(in: 0..<5, using: &random) > 0)
            }
            let removed = Set(Retention.evictions(refs, cache, now).map(\.entry.name))
            var sum = QuotaSum()
            let rest = refs.filter { !removed.contains($0.entry.name) }
            for ref in rest { sum.add(ref.entry) }
            #expect(
                sum.bytes <= quota || Retention.evictions(rest, cache, now).isEmpty,
                "seed \(seed), round \(round)")
            let border = now.seconds - Self.day
            for ref in refs where removed.contains(ref.entry.name) {
                let isFree = ref.isEvictable && !ref.entry.name.tag.hasPrefix("k")
                #expect(isFree && ref.used.seconds < border, "seed \(seed), round \(round)")
                // Nobody who stayed and could have gone was used earlier.
                for other in rest where other.isEvictable {
                    let group = refs.filter {
                        $0.entry.target.digest == other.entry.target.digest
                    }
                    guard
                        group.allSatisfy({
                            $0.isEvictable && !$0.entry.name.tag.hasPrefix("k")
                                && $0.used.seconds < border
                        })
                    else { continue }
                    let mine = refs.filter {
                        $0.entry.target.digest == ref.entry.target.digest
                    }.map(\.used).max()
                    #expect(
                        try #require(mine) <= (try #require(group.map(\.used).max())),
                        "seed \(seed), round \(round)")
                }
            }
        }
    }
}
