import CASCatalog
package import CASCore
import CASWire
import Synchronization

/// Applies the rules of a store once: ends what expired, removes what rules say, makes room in caches, and
/// forgets moves that are neither listed nor keep anything.
///
/// Each removal is a recorded move of its own, with the reason in the ref's history. One thread at a time.
package final class RetentionPass: MaintenanceTask {
    /// Refs or moves that a step looks at.
    private static let pageEntries = 500
    /// Refs that a step removes, histories that it shortens.
    private static let batch = 100
    /// Findings that are remembered; the figures count all.
    private static let findings = 1_000

    private enum Phase {
        case refs(after: RefName?, name: [RefEntry])
        case caches(rest: [AppliedRule])
        case cache(AppliedRule, rest: [AppliedRule], after: RefName?, found: [CachedRef])
        case histories(after: HistoryEntry?, moves: [HistoryEntry])
        case done
    }
    private struct Due {
        let removal: RetentionRemoval
        /// When it was used last, as far as was known when it was chosen; nil where that does not matter.
        let used: Timestamp?
    }
    private struct State {
        var phase = Phase.refs(after: nil, name: [])
        var due: [Due] = []
        var cuts: [(name: RefName, sequence: UInt64)] = []
        var progress = MaintenanceProgress()
    }
    private let repository: Repository
    private let domain: Domain
    private let isDryRun: Bool
    private let now: Timestamp
    private let stored: [RetentionRule]
    private let rules: RuleSet
    private let state = Mutex(State())

    init(_ repository: Repository, isDryRun: Bool, domain: Domain) throws {
        self.repository = repository
        self.domain = domain
        self.isDryRun = isDryRun
        now = repository.clock.now()
        stored = try repository.rules(domain: domain)
        rules = try RuleSet(stored)
    }

    package var progress: MaintenanceProgress { state.withLock { $0.progress } }

    package func step() throws -> Bool {
        try state.withLock { state in
            if !state.due.isEmpty { return try removeSome(&state) }
            if !state.cuts.isEmpty { return try forgetSome(&state) }
            switch state.phase {
            case .refs(let after, let name): try lookAtRefs(after, name, &state)
            case .caches(let rest): nextCache(rest, &state)
            case .cache(let rule, let rest, let after, let found):
                try lookAtCache(rule, rest, after, found, &state)
            case .histories(let after, let moves): try lookAtHistories(after, moves, &state)
            case .done: return false
            }
            return true
        }
    }

    // MARK: - Refs that expire or are too many

    private func lookAtRefs(
        _ after: RefName?, _ name: [RefEntry], _ state: inout State
    ) throws {
        state.progress.phase = "looking at refs"
        let page = try repository.catalog.read {
            try $0.refs(
                prefix: "", after: after, limit: RetentionPass.pageEntries, domain: domain)
        }
        // All tags of a name are judged together.
        var group = name
        for entry in page {
            if let first = group.first, first.name.name != entry.name.name {
                judge(group, &state)
                group = []
            }
            group.append(entry)
        }
        if page.count < RetentionPass.pageEntries {
            judge(group, &state)
            state.phase = .caches(rest: rules.rules.filter { $0.evictedBeyond != nil })
        } else {
            state.phase = .refs(after: page.last?.name, name: group)
        }
    }

    private func judge(_ entries: [RefEntry], _ state: inout State) {
        guard let first = entries.first else { return }
        let removals = Retention.removals(of: entries, rules.rule(for: first.name.name), now)
        state.due += removals.map { Due(removal: $0, used: nil) }
    }

    // MARK: - Caches

    private func nextCache(_ rest: [AppliedRule], _ state: inout State) {
        guard let rule = rest.first else {
            state.phase = .histories(after: nil, moves: [])
            return
        }
        state.phase = .cache(rule, rest: Array(rest.dropFirst()), after: nil, found: [])
    }

    private func lookAtCache(
        _ rule: AppliedRule, _ rest: [AppliedRule], _ after: RefName?, _ found: [CachedRef],
        _ state: inout State
    ) throws {
        state.progress.phase = "looking at caches"
        var found = found
        let page = try repository.catalog.read { reader in
            let page = try reader.refs(
                prefix: rule.pattern.literalPrefix, after: after,
                limit: RetentionPass.pageEntries, domain: domain)
            let matching = page.filter { rule.pattern.matches($0.name.name) }
            let uses = try repository.lastUses(
                of: matching.map(\.target.digest), reader, domain: domain)
            for (entry, use) in zip(matching, uses) {
                found.append(
                    CachedRef(
                        entry: entry, used: max(entry.moved, use ?? entry.moved),
                        isEvictable: rules.rule(for: entry.name.name)?.rule.pattern
                            == rule.rule.pattern))
            }
            return page
        }
        guard page.count < RetentionPass.pageEntries else {
            state.phase = .cache(rule, rest: rest, after: page.last?.name, found: found)
            return
        }
        let used = Dictionary(found.map { ($0.entry.name, $0.used) }) { first, _ in first }
        state.due += Retention.evictions(found, rule, now).map {
            Due(removal: $0, used: used[$0.entry.name])
        }
        state.phase = .caches(rest: rest)
    }

    // MARK: - Removals

    private func removeSome(_ state: inout State) throws -> Bool {
        let batch = Array(state.due.prefix(RetentionPass.batch))
        state.due.removeFirst(batch.count)
        let removed = isDryRun ? batch.map(\.removal) : try remove(batch)
        state.progress.add("removedRefs", UInt64(removed.count))
        for removal in removed where state.progress.findings.count < RetentionPass.findings {
            state.progress.findings.append(
                MaintenanceState.Finding(
                    "removed", name: removal.entry.name.description,
                    digest: removal.entry.target.digest, text: removal.reason))
        }
        return true
    }

    /// Removes refs that are what they were when they were chosen.
    private func remove(_ batch: [Due]) throws -> [RetentionRemoval] {
        try repository.commit(session: nil, isEvent: true) {
            [repository, domain, now, stored] context in
            let transaction = context.transaction
            // With other rules others may stay; the next pass sees to it.
            guard try transaction.rules(domain: domain) == stored else { return [] }
            let uses = try repository.lastUses(
                of: batch.map(\.removal.entry.target.digest), transaction, domain: domain)
            var removed: [RetentionRemoval] = []
            for (due, use) in zip(batch, uses) {
                let entry = due.removal.entry
                guard let present = try transaction.ref(entry.name, domain: domain),
                    present.sequence == entry.sequence, present.expires == entry.expires,
                    due.used.map({ $0 >= use ?? $0 }) ?? true
                else { continue }
                let move = HistoryEntry(
                    sequence: try transaction.nextSequence(), name: entry.name,
                    previous: present.target, target: nil,
                    provenance: Provenance(
                        author: "cas", host: "store", message: due.removal.reason, time: now),
                    pushID: nil, recorded: now, imageOptions: present.imageOptions)
                try transaction.move(move, nil, domain: domain)
                context.record(.refMoved(move, nil, domain))
                removed.append(due.removal)
            }
            return removed
        }
    }

    // MARK: - Histories

    private func lookAtHistories(
        _ after: HistoryEntry?, _ moves: [HistoryEntry], _ state: inout State
    ) throws {
        state.progress.phase = "looking at histories"
        try repository.catalog.read { reader in
            let page = try reader.moves(
                after: after, limit: RetentionPass.pageEntries, domain: domain)
            var group = moves
            for move in page {
                if let first = group.first, first.name != move.name {
                    try judge(group, reader, &state)
                    group = []
                }
                group.append(move)
            }
            if page.count < RetentionPass.pageEntries {
                try judge(group, reader, &state)
                state.phase = .done
            } else {
                state.phase = .histories(after: page.last, moves: group)
            }
        }
    }

    private func judge(
        _ moves: [HistoryEntry], _ reader: any CatalogReader, _ state: inout State
    ) throws {
        guard let first = moves.first else { return }
        let exists = try reader.ref(first.name, domain: domain) != nil
        let cut = Retention.forgettable(
            moves.reversed(), exists: exists, rules.historySeconds(first.name.name), now)
        guard let cut else { return }
        state.cuts.append((first.name, cut))
        state.progress.add(
            "forgottenMoves", UInt64(moves.count { $0.sequence <= cut }))
    }

    private func forgetSome(_ state: inout State) throws -> Bool {
        let batch = Array(state.cuts.prefix(RetentionPass.batch))
        state.cuts.removeFirst(batch.count)
        guard !isDryRun else { return true }
        try repository.catalog.write { transaction in
            for cut in batch {
                try transaction.removeHistory(cut.name, upTo: cut.sequence, domain: domain)
            }
        }
        return true
    }
}

extension Repository {
    /// When these snapshots were fetched last, by name or digest; nil where nobody knows.
    func lastUses(
        of digests: [Digest], _ reader: any CatalogReader, domain: Domain
    ) throws -> [Timestamp?] {
        try digests.map { digest in
            try reader.touch(of: digest, domain: domain).map {
                Timestamp(seconds: max($0.byName, $0.byDigest))
            }
        }
    }

    /// A look at all refs, caches and histories by the rules of now; with `isDryRun` nothing is changed.
    package func retentionPass(isDryRun: Bool = false, domain: Domain) throws -> RetentionPass {
        try RetentionPass(self, isDryRun: isDryRun, domain: domain)
    }

    /// Applies all rules, on this thread.
    package func applyRetention(domain: Domain) throws -> MaintenanceProgress {
        let pass = try retentionPass(domain: domain)
        while try pass.step() {}
        return pass.progress
    }
}
