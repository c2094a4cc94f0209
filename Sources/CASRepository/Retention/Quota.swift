package import CASCore
import CASTree
package import CASWire

/// Sums of the bytes of refs, each snapshot counted once.
package struct QuotaSum: Sendable {
    private var snapshots: [Digest: UInt64] = [:]
    /// Bytes of all snapshots counted so far.
    package private(set) var bytes: UInt64 = 0

    /// Nothing yet.
    package init() {}

    /// Counts what a ref names.
    package mutating func add(_ entry: RefEntry) {
        add(entry.target.digest, entry.totals?.bytes ?? 0)
    }

    /// Counts a snapshot.
    package mutating func add(_ digest: Digest, _ count: UInt64) {
        guard snapshots.updateValue(count, forKey: digest) == nil else { return }
        bytes = bytes.addingReportingOverflow(count).overflow ? .max : bytes + count
    }

    /// Bytes once another snapshot is counted too; nil for one that is not known and so a new one.
    package func total(with digest: Digest?, _ count: UInt64) -> UInt64 {
        if let digest, snapshots[digest] != nil { return bytes }
        return bytes.addingReportingOverflow(count).overflow ? .max : bytes + count
    }
}

/// A push that would go beyond the quota of its name.
package struct QuotaExcess: Sendable {
    /// The pattern of the rule.
    package var pattern: String
    /// Bytes that the other refs of the pattern have.
    package var used: UInt64
    /// Bytes that the push would add.
    package var asked: UInt64
    /// Bytes that there may be.
    package var limit: UInt64

    /// What is said of it.
    package var error: CASError {
        CASError(
            .resourceExhausted,
            "the quota of '\(pattern)' is \(ByteCount.text(limit)): its refs use "
                + "\(ByteCount.text(used)), and this push has \(ByteCount.text(asked)) more",
            hint: "remove refs with cas rm, leave out what does not belong in (.casignore), or ask "
                + "for a larger quota (cas rule set)")
    }
}

/// A ref of a cache, as far as eviction is concerned.
package struct CachedRef: Sendable {
    /// What it names, and since which move.
    package var entry: RefEntry
    /// When it was moved or fetched last.
    package var used: Timestamp
    /// Whether the cache's own rule applies to its name, so that it may be evicted.
    package var isEvictable: Bool

    /// A ref from its parts.
    package init(entry: RefEntry, used: Timestamp, isEvictable: Bool) {
        self.entry = entry
        self.used = used
        self.isEvictable = isEvictable
    }
}

extension Retention {
    /// Which refs a cache loses to get down to its quota, the least recently used first.
    ///
    /// Refs of one snapshot go together or not at all, since only then anything is gained. Where what is
    /// protected is more than the quota, the cache stays beyond it.
    package static func evictions(
        _ refs: [CachedRef], _ rule: AppliedRule, _ now: Timestamp
    ) -> [RetentionRemoval] {
        guard let quota = rule.evictedBeyond else { return [] }
        var sum = QuotaSum()
        var groups: [Digest: [CachedRef]] = [:]
        for ref in refs {
            sum.add(ref.entry)
            groups[ref.entry.target.digest, default: []].append(ref)
        }
        guard sum.bytes > quota else { return [] }
        let border = now.seconds - Int64(clamping: rule.windowSeconds)
        let candidates = groups.values.map { group in
            (group: group, used: group.map(\.used).max() ?? now)
        }.filter { group, used in
            used.seconds < border
                && group.allSatisfy { $0.isEvictable && !rule.isKept($0.entry.name.tag) }
        }.sorted { left, right in
            // Of equally old ones the order of moves decides: the outcome is the same every time.
            (left.used, left.group.map(\.entry.sequence).max() ?? 0)
                < (right.used, right.group.map(\.entry.sequence).max() ?? 0)
        }
        var bytes = sum.bytes
        var removals: [RetentionRemoval] = []
        let reason = "cache \(rule.rule.pattern): beyond \(ByteCount.text(quota))"
        for (group, _) in candidates {
            guard bytes > quota else { break }
            let size = group[0].entry.totals?.bytes ?? 0
            // What has no bytes makes no room.
            guard size > 0 else { continue }
            bytes -= min(bytes, size)
            removals += group.map { RetentionRemoval(entry: $0.entry, reason: reason) }
        }
        return removals
    }
}
