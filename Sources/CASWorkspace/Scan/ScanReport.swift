import CASCore
import CASFileSystem

/// What one worker of a scan found beside the tree; merged when the workers are done.
struct ScanReport: Sendable {
    /// Entries kept by name; of all others only the number is known.
    private static let skippedLimit = 10_000

    private struct RuleKey: Hashable {
        let list: ObjectIdentifier?
        let line: Int
    }

    private(set) var skipped: [SkippedEntry] = []
    private var counts: [RuleKey: SkippedCount] = [:]
    var problems: [ScanProblem] = []
    var findings: [ScanFinding] = []
    var fileCount = 0
    var cachedCount = 0
    var pendingBytes: UInt64 = 0
    var totalBytes: UInt64 = 0

    mutating func skip(_ path: @autoclosure () -> [UInt8], isDirectory: Bool, by rule: IgnoreMatch?)
    {
        let key = RuleKey(
            list: rule.map { ObjectIdentifier($0.list) }, line: rule?.pattern.line ?? 0)
        counts[key]?.count += 1
        if counts[key] != nil, skipped.count >= ScanReport.skippedLimit { return }
        let entry = SkippedEntry(
            path: path(), isDirectory: isDirectory,
            reason: rule.map { .rule($0) } ?? .special)
        if counts[key] == nil {
            counts[key] = SkippedCount(rule: rule, count: 1, example: entry.text)
        }
        if skipped.count < ScanReport.skippedLimit { skipped.append(entry) }
    }

    mutating func merge(_ other: ScanReport) {
        skipped += other.skipped
        counts.merge(other.counts) { left, right in
            SkippedCount(
                rule: left.rule, count: left.count + right.count,
                example: min(left.example, right.example))
        }
        problems += other.problems
        findings += other.findings
        fileCount += other.fileCount
        cachedCount += other.cachedCount
        pendingBytes += other.pendingBytes
        totalBytes += other.totalBytes
    }

    /// Puts everything in an order that does not depend on which worker came first.
    mutating func sort() {
        skipped.sort { RawOrder.precedes($0.path, $1.path) }
        problems.sort { RawOrder.precedes($0.path, $1.path) }
        findings.sort { RawOrder.precedes($0.path, $1.path) }
    }

    /// How much each rule left out, most first.
    var skippedCounts: [SkippedCount] {
        counts.values.sorted { ($1.count, $0.example) < ($0.count, $1.example) }
    }
}

extension RawOrder {
    static func precedes(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        left.withUnsafeBytes { left in right.withUnsafeBytes { compare(left, $0) < 0 } }
    }
}
