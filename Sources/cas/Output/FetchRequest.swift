import CASClient
import CASCore
import CASFileSystem
import CASWire
import CASWorkspace

/// One fetch as `cas fetch` and `cas run` do it.
struct FetchRequest {
    let want: String
    /// What the user typed, for messages.
    let shown: String
    let destination: String
    let force: Bool
    let keep: Bool
    let reproducible: Bool
    let cache: CacheFlags.Resolved
    /// Whether the directory is one of `cas run`, in which nobody's own files belong.
    var isManaged = false
    /// The name that stood before a digest.
    var name: String?

    /// The same as the engine wants it.
    var options: FetchOptions {
        var options = FetchOptions(
            want: want, destination: destination, workers: WorkerGroup.processorCount)
        options.restore.force = force
        options.restore.keep = keep
        options.restore.reproducible = reproducible
        options.restore.cacheDirectory = cache.directory
        options.restore.cacheLimit = cache.limit
        options.restore.link = cache.link
        return options
    }

    /// Fetches, shows the progress, and says what happened on standard error.
    func run(_ store: StoreAccess) throws -> FetchReport {
        Interruption.leaves(.fetch)
        let counters = ProgressCounters()
        let start = SystemClock().monotonicNanoseconds()
        let title = "fetching \(shown) from \(store.choice.text) into \(destination)"
        let summary = try ProgressLine.show(.fetch, title, counters) {
            try Fetch.run(options, connection: store.connection, counters: counters)
        }
        let report = FetchReport(
            summary: summary, store: store, destination: destination,
            nanoseconds: SystemClock().monotonicNanoseconds() - start, isManaged: isManaged,
            name: name)
        report.writeNotes()
        return report
    }
}

/// What a fetch tells: lines for a person, or one JSON document.
struct FetchReport {
    let summary: FetchSummary
    let store: StoreAccess
    let destination: String
    let nanoseconds: UInt64
    var isManaged = false
    var name: String?

    /// What lies at the destination now.
    var line: String {
        let digest = summary.plan.snapshot
        return (summary.plan.ref?.name ?? name).map { "\($0)@\(digest)" } ?? digest.description
    }

    /// What changed, in one line.
    var shortLine: String {
        let restore = summary.restore
        return "\(SystemClock().now().iso8601) \(destination): "
            + "\(counted(restore.written, "file")) written, \(grouped(restore.removed)) removed in "
            + duration(nanoseconds: nanoseconds)
    }

    /// Writes the summary on standard error; files of the user's are named with `isListing`.
    func writeNotes(isListing: Bool = true) {
        let restore = summary.restore
        Console.note(
            "\(destination): \(counted(restore.files, "file")), \(ByteCount.text(summary.bytes)) in "
                + duration(nanoseconds: nanoseconds))
        var parts = [
            "\(grouped(restore.written)) written (\(ByteCount.text(restore.writtenBytes)))",
            "\(grouped(restore.kept)) already there",
        ]
        if restore.cached > 0 { parts.append("\(grouped(restore.cached)) from the cache") }
        if restore.removed > 0 { parts.append("\(grouped(restore.removed)) removed") }
        parts.append("\(ByteCount.text(summary.receivedBytes)) received")
        Console.note(parts.joined(separator: ", "))
        guard isListing else { return }
        list(
            isManaged
                ? "restored, since they were changed or added in the directory of cas run:"
                : "overwritten or removed, since --force is given:", restore.overwritten)
        list("left as you changed them, since --keep is given:", restore.left)
    }

    private func list(_ title: String, _ paths: [String]) {
        guard !paths.isEmpty else { return }
        Console.note(title)
        // Every file of the user's that is gone is named.
        for path in paths { Console.note("  " + printable(path)) }
    }

    /// The result for `--json`.
    var json: JSONText {
        let restore = summary.restore
        return .object([
            ("ref", .optional(summary.plan.ref?.description)),
            ("snapshot", .digest(summary.plan.snapshot)), ("tree", .digest(summary.tree)),
            ("destination", .text(destination)), ("store", .text(store.choice.text)),
            ("files", .count(restore.files)), ("bytes", .count(summary.bytes)),
            ("written", .count(restore.written)), ("writtenBytes", .count(restore.writtenBytes)),
            ("kept", .count(restore.kept)), ("cached", .count(restore.cached)),
            ("removed", .count(restore.removed)),
            ("overwritten", .list(restore.overwritten.map { .text($0) })),
            ("left", .list(restore.left.map { .text($0) })),
            ("receivedBytes", .count(summary.receivedBytes)),
            ("milliseconds", .count(nanoseconds / 1_000_000)),
        ])
    }
}
