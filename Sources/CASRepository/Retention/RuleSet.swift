package import CASCore
package import CASWire

/// A rule whose patterns were understood, with what it leaves to the usual.
package struct AppliedRule: Sendable {
    /// Seconds for which what a ref named before stays, where no rule says otherwise: 30 days.
    package static let historySeconds: UInt64 = 30 * 86_400
    /// Seconds since its last use during which a cache does not lose a ref, if the rule says nothing.
    package static let windowSeconds: UInt64 = 86_400

    /// What was set.
    package let rule: RetentionRule
    /// Which names it is about.
    package let pattern: GlobPattern
    private let kept: [GlobPattern]
    private let once: [GlobPattern]

    /// Checks a rule; throws `invalidArgument` for a pattern that is none or flags that contradict each
    /// other.
    package init(_ rule: RetentionRule) throws {
        self.rule = rule
        pattern = try GlobPattern(names: rule.pattern)
        kept = try rule.keepTags.map { try GlobPattern(tags: $0) }
        once = try rule.onceTags.map { try GlobPattern(tags: $0) }
        guard !rule.isCache || rule.quota != nil else {
            throw CASError(
                .invalidArgument, "a cache needs a quota", hint: "add --quota SIZE")
        }
        guard rule.isCache || rule.windowSeconds == nil else {
            throw CASError(
                .invalidArgument, "a window is about a cache", hint: "add --cache, or leave it out")
        }
        let times = [rule.keepSeconds, rule.historySeconds ?? 0, rule.windowSeconds ?? 0]
        guard times.allSatisfy({ $0 <= RefLifetime.longest }) else {
            throw CASError(
                .invalidArgument, "a rule is about a hundred years at most",
                hint: "write for example 12h or 30d")
        }
    }

    /// Whether tags of this name are created once, and neither moved nor removed.
    package func isOnce(_ tag: String) -> Bool { once.contains { $0.matches(tag) } }

    /// Whether the rule never removes this tag.
    package func isKept(_ tag: String) -> Bool {
        isOnce(tag) || kept.contains { $0.matches(tag) }
    }

    /// Seconds for which what a ref named before stays.
    ///
    /// None for a cache: what it loses is to make room.
    package var historySeconds: UInt64 {
        rule.historySeconds ?? (rule.isCache ? 0 : AppliedRule.historySeconds)
    }

    /// Seconds since its last use during which a cache does not lose a ref.
    package var windowSeconds: UInt64 { rule.windowSeconds ?? AppliedRule.windowSeconds }

    /// Bytes beyond which a push is refused; nil for no limit.
    package var refusedBeyond: UInt64? { rule.isCache ? nil : rule.quota }

    /// Bytes beyond which the cache loses refs; nil if it is none.
    package var evictedBeyond: UInt64? { rule.isCache ? rule.quota : nil }
}

/// All rules of a store, and which of them applies to a name.
package struct RuleSet: Sendable {
    /// The rules, the one first that wins over all others.
    package let rules: [AppliedRule]

    /// Understands rules; throws `invalidArgument`.
    package init(_ rules: [RetentionRule]) throws {
        self.rules = try rules.map { try AppliedRule($0) }.sorted { left, right in
            let (first, second) = (left.rule.pattern, right.rule.pattern)
            return (first.utf8.count, first) > (second.utf8.count, second)
        }
    }

    /// The rule that applies to a name: of those that match the longest pattern, the last of these; nil
    /// for none.
    package func rule(for name: String) -> AppliedRule? {
        rules.first { $0.pattern.matches(name) }
    }

    /// The rule that forbids to move or remove a ref that exists; nil for none.
    package func onceRule(_ name: RefName) -> AppliedRule? {
        guard let rule = rule(for: name.name), rule.isOnce(name.tag) else { return nil }
        return rule
    }

    /// Seconds for which what refs of this name named before stays.
    package func historySeconds(_ name: String) -> UInt64 {
        rule(for: name)?.historySeconds ?? AppliedRule.historySeconds
    }

    /// Whether a push to some names may be refused for its size.
    package var hasQuotas: Bool { rules.contains { $0.refusedBeyond != nil } }
}
