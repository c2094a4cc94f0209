import CASCatalog
package import CASCore
package import CASWire

/// Rules and pins: recorded changes of what a store keeps.
extension Repository {
    // MARK: - Rules

    /// All rules, by pattern.
    package func rules(domain: Domain) throws -> [RetentionRule] {
        try catalog.read { try $0.rules(domain: domain) }
    }

    /// All rules, understood.
    func ruleSet(domain: Domain) throws -> RuleSet {
        try RuleSet(try rules(domain: domain))
    }

    /// Sets a rule over that of the same pattern; throws `invalidArgument` for one that makes no sense.
    package func set(rule: RetentionRule, domain: Domain) throws -> RetentionRule {
        _ = try AppliedRule(rule)
        var rule = rule
        rule.created = clock.now()
        return try commit(session: nil, isEvent: true) { [rule, limits] context in
            let known = try context.transaction.rules(domain: domain)
            let isNew = !known.contains { $0.pattern == rule.pattern }
            guard !isNew || known.count < limits.listingEntries else {
                throw CASError(
                    .resourceExhausted, "a store has at most \(limits.listingEntries) rules",
                    hint: "remove some with cas rule rm")
            }
            try context.transaction.insert(rule: rule, domain: domain)
            context.record(
                .ruleSet(rule, sequence: try context.transaction.nextSequence()))
            return rule
        }
    }

    /// Removes the rule of a pattern; throws `notFound`.
    package func remove(
        rule pattern: String, _ provenance: Provenance, domain: Domain
    ) throws {
        try commit(session: nil, isEvent: true) { context in
            guard try context.transaction.removeRule(pattern: pattern, domain: domain) else {
                throw CASError(
                    .notFound, "there is no rule '\(pattern)'",
                    hint: "cas rule list shows what there is")
            }
            context.record(
                .ruleRemoved(
                    pattern, provenance, sequence: try context.transaction.nextSequence()))
        }
    }

    // MARK: - Pins

    /// Keeps a snapshot, or that of a complete tree, or the manifest of an image, under a name or, with an
    /// empty one, under none.
    ///
    /// Pinning again gives another end and reason. Throws `notFound` where there is no such thing and
    /// `dataLoss` where it is not here whole.
    package func pin(
        _ digest: Digest, name: String, _ request: PinRequest, domain: Domain
    ) throws -> PinRecord {
        guard name.isEmpty || RefName.isName(name) else {
            throw CASError(.invalidArgument, "'\(name)' is not a valid name")
        }
        let bounds = RefLifetime.shortest...RefLifetime.longest
        guard request.lifetime == 0 || bounds.contains(request.lifetime) else {
            throw CASError(
                .invalidArgument, "a pin holds from one minute to a hundred years",
                hint: "write for example 12h or 30d")
        }
        let isImage = try catalog.read { try $0.parts(of: digest, domain: domain) != nil }
        let found =
            isImage
            ? (snapshot: digest, tree: digest, ref: nil)
            : try resolve(.digest(digest, name: nil), domain: domain)
        let now = clock.now()
        let record = PinRecord(
            name: name, digest: found.snapshot,
            expires: request.lifetime == 0 ? nil : RefLifetime.end(request.lifetime, from: now),
            reason: request.reason, provenance: request.provenance, created: now)
        return try commit(session: nil, isEvent: true) { [self] context in
            if isImage {
                guard try revive(digest, context.transaction, domain) else {
                    throw PlanBuilder.incomplete(digest)
                }
            } else {
                _ = try totals(found, context, domain)
            }
            try context.transaction.insert(pin: record, domain: domain)
            try context.transaction.addBarrier(record.digest, domain: domain)
            context.record(
                .pinned(record, domain, sequence: try context.transaction.nextSequence()))
            return record
        }
    }

    /// Ends a pin of a snapshot, or of that of a tree; throws `notFound`.
    package func unpin(
        _ digest: Digest, name: String, _ provenance: Provenance, domain: Domain
    ) throws {
        // What is pinned may be damaged: then only its own digest finds it.
        let other = try catalog.read { try $0.snapshotOf(tree: digest, domain: domain) }
        try commit(session: nil, isEvent: true) { context in
            for candidate in [digest, other].compactMap({ $0 }) {
                guard
                    try context.transaction.removePin(
                        name: name, digest: candidate, domain: domain)
                else { continue }
                context.record(
                    .unpinned(
                        name: name, candidate, provenance, domain,
                        sequence: try context.transaction.nextSequence()))
                return
            }
            let pin = name.isEmpty ? "\(digest)" : "\(name)@\(digest)"
            throw CASError(
                .notFound, "there is no pin '\(pin)'", hint: "cas pin lists what there is")
        }
    }

    /// One page of pins by name and digest, of those that `isVisible` allows; `after` is empty or the
    /// `next` of the page before.
    package func pinPage(
        prefix: String, after: String, limit: Int, domain: Domain,
        isVisible: (PinRecord) throws -> Bool
    ) throws -> PinPage {
        let limit = max(1, min(limit, limits.listingEntries))
        var place: (name: String, digest: Digest)?
        if !after.isEmpty {
            // Not as a reference: a name may begin as a host does.
            let parts = after.split(separator: "@", maxSplits: 1).map(String.init)
            guard let text = parts.last, text.hasPrefix("sha256:"),
                let digest = Digest(hexadecimal: text.dropFirst(7))
            else { throw CASError(.invalidArgument, "'\(after)' is no pin") }
            place = (parts.count > 1 ? parts[0] : "", digest)
        }
        let rest = try catalog.read { try $0.pins(domain: domain) }.filter { pin in
            guard pin.name.hasPrefix(prefix), try isVisible(pin) else { return false }
            return place.map { ($0.name, $0.digest) < (pin.name, pin.digest) } ?? true
        }
        let entries = Array(rest.prefix(limit))
        return PinPage(
            entries: entries,
            next: rest.count > limit ? entries.last?.reference ?? "" : "")
    }
}
