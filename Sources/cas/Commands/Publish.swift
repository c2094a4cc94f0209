import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASWire
import CASWorkspace

/// `cas publish REF DIR`.
struct PublishCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "publish",
        abstract: "Put a snapshot beside its older versions on a shared volume.",
        usage: "cas publish [OPTIONS] REF DIR",
        discussion: """
            A version is DIR/DIGEST (64 hexadecimal digits), read-only and never changed; DIR/current is a \
            link to the one that was published last. It appears whole or not at all. Files that an older \
            version has are not fetched: they share its blocks, or are further names of its files. A \
            version goes when it has not been current for as long as --grace says, no ref of any name \
            names it, and no file in DIR/.cas/keep begins with its DIGEST.

            EXAMPLES:
              cas publish team/project /mnt/share/project
              cas publish team/project:v2 /mnt/share/project --grace 30d
              cas publish team/project /mnt/share/project --dry-run
            """)

    @Argument(help: ArgumentHelp("A ref or digest.", valueName: "ref"))
    var reference: String

    @Argument(help: ArgumentHelp("The directory of the versions.", valueName: "dir"))
    var directory: String

    @Option(
        help: ArgumentHelp(
            "How long a version stays after it was current (14d).", valueName: "duration"))
    var grace: String?

    @Option(
        help: ArgumentHelp(
            "Keep whole files here for later fetches on this machine.", valueName: "dir"))
    var cache: String?

    @Option(help: ArgumentHelp("How large the cache may grow (10GiB).", valueName: "bytes"))
    var cacheSize: String?

    @Flag(help: "Say what would be done, and change nothing.")
    var dryRun = false

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func validate() throws {
        if let grace { _ = try Arguments.wait(grace) }
    }

    func run() throws {
        let wanted = try Arguments.reference(reference)
        let settings = try Settings.load()
        var options = PublishOptions(
            want: wanted.path, directory: try StoreChoice.absolute(directory),
            workers: WorkerGroup.processorCount)
        if let grace { options.graceSeconds = try Arguments.wait(grace) }
        options.cacheDirectory = try settings.cache(flag: cache).map {
            try StoreChoice.absolute($0.value)
        }
        options.cacheLimit =
            settings.cacheSize(flag: try cacheSize.map { try Arguments.bytes($0) }).value
        options.isDryRun = dryRun
        let plain = options
        try storeFlags.withStore(host: wanted.host, isPatient: true, settings: settings) { store in
            try publish(plain, store)
        }
    }

    private func publish(_ options: PublishOptions, _ store: StoreAccess) throws {
        let start = SystemClock().monotonicNanoseconds()
        let counters = ProgressCounters()
        let title = "publishing \(reference) from \(store.choice.text) in \(options.directory)"
        let summary: PublishSummary
        do {
            summary = try ProgressLine.show(.fetch, title, counters) {
                try Publish.run(
                    options, connection: store.connection, counters: counters,
                    onWait: {
                        Console.note("waiting for another cas publish into this directory")
                    })
            }
        } catch var error as CASError where error.code == .resourceExhausted {
            error.hint = error.hint ?? "nothing of it is visible; free some space and publish again"
            throw error
        }
        let report = PublishReport(
            summary: summary, options: options, store: store,
            nanoseconds: SystemClock().monotonicNanoseconds() - start)
        if output.json { Console.data(report.json) } else if !dryRun { Console.data(report.line) }
        report.writeNotes()
    }
}

/// What a publication tells: lines for a person, or one JSON document.
private struct PublishReport {
    let summary: PublishSummary
    let options: PublishOptions
    let store: StoreAccess
    let nanoseconds: UInt64

    private var digest: Digest { summary.plan.snapshot }
    private var version: String { "\(options.directory)/\(digest.hexadecimal)" }

    var line: String {
        summary.plan.ref.map { "\($0.name)@\(digest)" } ?? digest.description
    }

    func writeNotes() {
        Console.note(
            "\(version): \(counted(summary.files, "file")), \(ByteCount.text(summary.bytes)) in "
                + duration(nanoseconds: nanoseconds))
        if summary.wasPresent {
            Console.note("it is there already")
        } else {
            Console.note(files)
        }
        if let previous = summary.previous {
            Console.note(
                "current \(options.isDryRun ? "names" : "named") \(previous)"
                    + (options.isDryRun ? "" : " before"))
        }
        for old in summary.old { Console.note("\(old.digest.hexadecimal): \(text(old.fate))") }
        if options.isDryRun { Console.note("dry run: nothing was fetched and nothing changed") }
    }

    private var files: String {
        let shared = summary.shared
        var parts: [String] = []
        if options.isDryRun {
            parts.append("\(grouped(shared.linked)) from older versions")
            parts.append(
                "\(grouped(summary.fetched.files)) to fetch (\(ByteCount.text(summary.fetched.bytes)))"
            )
            return parts.joined(separator: ", ")
        }
        if shared.linked > 0 { parts.append("\(grouped(shared.linked)) linked to older versions") }
        if shared.cloned > 0 {
            parts.append("\(grouped(shared.cloned)) sharing blocks with older versions")
        }
        if shared.copied > 0 {
            parts.append("\(grouped(shared.copied)) copied from older versions")
        }
        parts.append(
            "\(grouped(summary.fetched.files)) fetched (\(ByteCount.text(summary.fetched.bytes)))")
        parts.append("\(ByteCount.text(summary.receivedBytes)) received")
        return parts.joined(separator: ", ")
    }

    private func text(_ fate: OldVersion.Fate) -> String {
        switch fate {
        case .retired: options.isDryRun ? "would be removed" : "removed"
        case .inGrace(let seconds): "stays for \(PublishReport.text(seconds: seconds))"
        case .named(let ref): "stays: \(ref) names it"
        case .kept: "stays: .cas/keep names it"
        }
    }

    private static func text(seconds: Int64) -> String {
        if seconds >= 2 * 86_400 { return "\(seconds / 86_400) more days" }
        if seconds >= 2 * 3600 { return "\(seconds / 3600) more hours" }
        return "\(max(1, seconds / 60)) more min"
    }

    var json: JSONText {
        let shared = summary.shared
        return .object([
            ("ref", .optional(summary.plan.ref?.description)), ("snapshot", .digest(digest)),
            ("tree", .digest(summary.tree)), ("directory", .text(options.directory)),
            ("version", .text(version)), ("store", .text(store.choice.text)),
            ("dryRun", .boolean(options.isDryRun)), ("present", .boolean(summary.wasPresent)),
            ("previous", .digest(summary.previous)), ("files", .count(summary.files)),
            ("bytes", .count(summary.bytes)), ("linked", .count(shared.linked)),
            ("cloned", .count(shared.cloned)), ("copied", .count(shared.copied)),
            ("fetched", .count(summary.fetched.files)),
            ("receivedBytes", .count(summary.receivedBytes)),
            (
                "old",
                .list(
                    summary.old.map { old in
                        .object([
                            ("snapshot", .digest(old.digest)),
                            ("removed", .boolean(old.fate == .retired && !options.isDryRun)),
                            ("why", .text(text(old.fate))),
                        ])
                    })
            ),
            ("milliseconds", .count(nanoseconds / 1_000_000)),
        ])
    }
}
