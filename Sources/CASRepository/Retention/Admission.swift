import CASCatalog
package import CASCore
import CASTree
package import CASWire

/// What rules forbid: moves of tags that are created once, and pushes beyond a quota.
extension Repository {
    /// Throws `resourceExhausted`, with figures, where a push of that size would be beyond the quota of
    /// its ref.
    ///
    /// The commit decides again: others may push meanwhile.
    package func checkQuota(_ request: QuotaRequest, domain: Domain) throws {
        try catalog.read { reader in
            let rules = try RuleSet(try reader.rules(domain: domain))
            try requireRoom(
                for: request.ref, nil, request.bytes, rules, reader, domain: domain)
        }
    }

    /// What the same commit makes another ref name.
    typealias PlannedMove = (digest: Digest, bytes: UInt64)

    /// Throws where the quota of a ref's rule has no room for a snapshot of that size; one that is not
    /// known yet is taken for a new one.
    ///
    /// What makes the sum no larger than it was is never refused: a quota may be set below what is there.
    func requireRoom(
        for name: RefName, _ snapshot: Digest?, _ bytes: UInt64, _ rules: RuleSet,
        _ reader: any CatalogReader, planned: [RefName: PlannedMove] = [:], domain: Domain
    ) throws {
        guard let rule = rules.rule(for: name.name), let limit = rule.refusedBeyond else { return }
        var sum = QuotaSum()
        var present: RefEntry?
        try forEachRef(rule.pattern, reader, domain) { entry in
            if entry.name == name {
                present = entry
            } else if planned[entry.name] == nil {
                sum.add(entry)
            }
        }
        for (other, move) in planned where rule.pattern.matches(other.name) {
            sum.add(move.digest, move.bytes)
        }
        let used = sum.bytes
        let before = sum.total(with: present?.target.digest, present?.totals?.bytes ?? 0)
        let after = sum.total(with: snapshot, bytes)
        guard after > limit, after > before else { return }
        throw QuotaExcess(
            pattern: rule.rule.pattern, used: used, asked: after - used, limit: limit
        ).error
    }

    /// Throws `failedPrecondition` where a ref that exists is one that is created once.
    static func requireMovable(_ present: RefEntry?, _ rules: RuleSet) throws {
        guard let present, let rule = rules.onceRule(present.name) else { return }
        throw CASError(
            .failedPrecondition,
            "'\(present.name)' is created once: the rule '\(rule.rule.pattern)' lets nobody move "
                + "or remove it",
            hint: "use another tag; it names \(present.target.digest)")
    }

    /// Throws `failedPrecondition` where a ref that is to expire is one that is created once.
    static func requireLasting(_ name: RefName, _ lifetime: UInt64, _ rules: RuleSet) throws {
        guard lifetime > 0, let rule = rules.onceRule(name) else { return }
        throw CASError(
            .failedPrecondition,
            "'\(name)' is created once: the rule '\(rule.rule.pattern)' lets nobody remove it",
            hint: "use another tag, or leave out --expires")
    }

    /// Calls `body` with every ref whose name a pattern matches, by name and tag.
    func forEachRef(
        _ pattern: GlobPattern, _ reader: any CatalogReader, _ domain: Domain,
        _ body: (RefEntry) throws -> Void
    ) throws {
        var after: RefName?
        while true {
            let page = try reader.refs(
                prefix: pattern.literalPrefix, after: after, limit: limits.listingEntries,
                domain: domain)
            for entry in page where pattern.matches(entry.name.name) { try body(entry) }
            guard page.count == limits.listingEntries, let last = page.last else { return }
            after = last.name
        }
    }
}
