import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASTree
import CASWire
import CASWorkspace

/// `cas status [DIR]`.
struct StatusCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Show what a push would change and send.",
        discussion: """
            EXAMPLES:
              cas status
              cas status src --to team/project --json
            """)

    @Argument(help: ArgumentHelp("The workspace.", valueName: "dir"))
    var directory = "."

    @Option(help: ArgumentHelp("The ref to compare with.", valueName: "ref"))
    var to: String?

    @OptionGroup var selection: SelectionFlags
    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let root = try Workspace.root(directory)
        let settings = try Settings.load(workspace: root)
        let target = try to.map { try Arguments.reference($0) }
        if let target { _ = try Arguments.refName(target) }
        try storeFlags.withStore(host: target?.host, isDryRun: true, settings: settings) { store in
            let start = SystemClock().monotonicNanoseconds()
            let ref = try PushTarget.choose(target, root: root, store: store)
            var options = PushOptions(
                directory: root, ref: ref.value, workers: WorkerGroup.processorCount)
            options.scan = selection.options(settings)
            options.cachePath = try Workspace.cachePath(of: root, settings: settings)
            options.newBytesLimit = .max
            options.isDryRun = true
            let counters = ProgressCounters()
            let title = "comparing \(root) with \(ref.value) in \(store.choice.text)"
            let summary = try ProgressLine.show(.push, title, counters) {
                try Push.run(options, connection: store.connection, counters: counters)
            }
            let report = PushReport(
                summary: summary, ref: ref, store: store,
                nanoseconds: SystemClock().monotonicNanoseconds() - start)
            try show(summary, report, ref.value, store)
        }
    }

    private func show(
        _ summary: PushSummary, _ report: PushReport, _ ref: RefName, _ store: StoreAccess
    ) throws {
        let entry = try store.connection.ref(ref)
        var changes: [TreeDiff.Change] = []
        if let tree = entry?.tree, tree != summary.tree {
            let source = try LocalTreeSource(summary.scan, fallback: StoreReader(store.connection))
            try TreeDiff.run(
                from: tree, to: summary.tree, source: source, limits: .standard
            ) { changes.append($0) }
            changes.sort { ByteOrder.precedes($0.path, $1.path) }
        }
        if output.json {
            return Console.data(
                .object([
                    ("current", .digest(entry?.target.digest)),
                    ("changes", .list(changes.map(\.json))), ("push", report.json),
                ]))
        }
        Console.data(lines: changes.map(\.line))
        report.writeNotes(.comparison)
        if let entry {
            Console.note(
                entry.tree == summary.tree
                    ? "\(ref) has this content already: \(entry.target.digest)"
                    : "\(ref) names \(entry.target.digest); "
                        + "\(counted(changes.count, "path")) would change")
        } else {
            Console.note("there is no \(ref) yet; a push would create it")
        }
    }
}

/// Directories of a scanned workspace, and those of a store for all others.
private struct LocalTreeSource: DirectorySource {
    private let encoded: [Digest: EncodedDirectory]
    private let fallback: StoreReader

    init(_ scanned: ScannedTree, fallback: StoreReader) throws {
        self.fallback = fallback
        encoded = Dictionary(
            try scanned.assemble().directories.map { ($0.directory.digest, $0) },
            uniquingKeysWith: { first, _ in first })
    }

    func directory(_ digest: Digest) throws -> Directory? {
        guard let local = encoded[digest] else { return try fallback.directory(digest) }
        return try local.encode().directory.withUnsafeBytes {
            try Directory(decodingCanonical: $0, limits: .standard)
        }
    }

    func attributes(_ digest: Digest) throws -> AttributesDirectory? { nil }
}
