package import CASCore
package import CASWire

/// A ref that is to be removed, and why.
package struct RetentionRemoval: Hashable, Sendable {
    /// What it names, and since which move.
    package var entry: RefEntry
    /// What its history will say.
    package var reason: String
}

/// What rules say of refs and their histories: values in, values out.
package enum Retention {
    /// Entries of a ref's history that stay listed, whether or not what they name stays.
    package static let listedEntries = 100
    /// Seconds for which every move is remembered: a push that is repeated gets the same answer.
    package static let answeredSeconds: UInt64 = 86_400

    /// Whether a ref's end has come.
    package static func isExpired(_ entry: RefEntry, _ now: Timestamp) -> Bool {
        entry.expires.map { $0 <= now } ?? false
    }

    /// Which refs of one name, given with all its tags in any order, are to be removed now.
    package static func removals(
        of entries: [RefEntry], _ rule: AppliedRule?, _ now: Timestamp
    ) -> [RetentionRemoval] {
        var removals: [RetentionRemoval] = []
        var rest: [RefEntry] = []
        for entry in entries {
            // What is created once and for all outlives even an end that was set before the rule.
            if isExpired(entry, now), rule?.isOnce(entry.name.tag) != true {
                removals.append(RetentionRemoval(entry: entry, reason: "expired"))
            } else {
                rest.append(entry)
            }
        }
        guard let rule, rule.rule.keep > 0 || rule.rule.keepSeconds > 0 else { return removals }
        rest.sort { $0.sequence > $1.sequence }
        for (index, entry) in rest.enumerated() {
            if UInt64(index) < rule.rule.keep || rule.isKept(entry.name.tag) { continue }
            let age = now.seconds - entry.moved.seconds
            if rule.rule.keepSeconds > 0, age <= Int64(clamping: rule.rule.keepSeconds) { continue }
            removals.append(RetentionRemoval(entry: entry, reason: reason(rule.rule)))
        }
        return removals
    }

    private static func reason(_ rule: RetentionRule) -> String {
        var words: [String] = []
        if rule.keep > 0 { words.append("keep \(rule.keep)") }
        if rule.keepSeconds > 0 { words.append("keep for \(DurationText.text(rule.keepSeconds))") }
        return "rule \(rule.pattern): \(words.joined(separator: ", "))"
    }

    // MARK: - History

    /// When the store took a move; older ones know only the clock of who made it.
    package static func time(of move: HistoryEntry) -> Timestamp {
        move.recorded ?? move.provenance.time
    }

    /// Until when what a ref named before a move stays; nil if it named nothing.
    package static func protectedUntil(_ move: HistoryEntry, _ seconds: UInt64) -> Timestamp? {
        guard move.previous != nil else { return nil }
        return RefLifetime.end(seconds, from: time(of: move))
    }

    /// The sequence up to which a ref's history can be forgotten; nil if all of it stays.
    ///
    /// `moves` is the whole history, the newest first. The last hundred moves of a ref that is there stay
    /// listed, and every move of the last day or whose former target is protected, with all that came
    /// later; of a ref that is gone nothing stays once nothing is protected and its removal is as old as the
    /// usual protection.
    package static func forgettable(
        _ moves: [HistoryEntry], exists: Bool, _ seconds: UInt64, _ now: Timestamp
    ) -> UInt64? {
        guard let newest = moves.first else { return nil }
        let protected = moves.lastIndex { move in
            (protectedUntil(move, seconds).map { $0 > now } ?? false)
                || RefLifetime.end(answeredSeconds, from: time(of: move)) > now
        }
        let isForgotten =
            !exists && RefLifetime.end(AppliedRule.historySeconds, from: time(of: newest)) <= now
        let kept = max(protected.map { $0 + 1 } ?? 0, isForgotten ? 0 : listedEntries)
        guard kept < moves.count else { return nil }
        return moves[kept].sequence
    }
}
