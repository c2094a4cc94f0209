import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASPack
import CASTree
import CASWire
import CASWorkspace

/// `cas verify REF DIR`.
struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Compare a directory with a snapshot, byte by byte.",
        discussion: """
            Hashes every file; names what is missing, extra or different in content, mode, time, link \
            target or type. The exit status is 2 if there are differences.

            EXAMPLES:
              cas verify team/project /work
              cas verify team/project@sha256:… /work --json
            """)

    @Argument(help: ArgumentHelp("A ref or digest.", valueName: "ref"))
    var reference: String

    @Argument(help: ArgumentHelp("The directory.", valueName: "dir"))
    var directory: String

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let wanted = try Arguments.reference(reference)
        let root = try Workspace.root(directory)
        let settings = try Settings.load()
        let isEqual = try storeFlags.withStore(host: wanted.host, settings: settings) { store in
            let resolved = try StoreReader(store.connection).resolve(wanted)
            let contents = try TreeContents()
            let counters = ProgressCounters()
            let totals = resolved.snapshot.totals
            counters.expect(files: totals.files, bytes: totals.bytes)
            let title = "comparing \(root) with \(reference) from \(store.choice.text)"
            var decoder = RecordStreamDecoder()
            try store.connection.readTree(plan: resolved.plan.planID) { bytes in
                try decoder.push(bytes) { try contents.insert($0) }
            }
            try decoder.finish()
            let report = try ProgressLine.show(.verify, title, counters) {
                try TreeVerification.run(
                    directory: root, snapshot: resolved.snapshot, contents: contents,
                    workers: WorkerGroup.processorCount
                ) { counters.add(files: $0, bytes: $1) }
            }
            show(report, resolved)
            return report.differences.isEmpty
        }
        if !isEqual { throw ExitCode.findings }
    }

    private func show(_ report: TreeVerification.Report, _ resolved: ResolvedSnapshot) {
        if output.json {
            Console.data(
                .object([
                    ("snapshot", .digest(resolved.digest)),
                    ("tree", .digest(resolved.snapshot.tree.digest)),
                    ("equal", .boolean(report.differences.isEmpty)),
                    ("files", .count(report.files)), ("bytes", .count(report.bytes)),
                    (
                        "differences",
                        .list(
                            report.differences.map {
                                .object([
                                    ("path", .text(PathText.printable($0.path))),
                                    ("kind", .text($0.kind.rawValue)),
                                ])
                            })
                    ),
                ]))
        } else {
            Console.data(
                lines: report.differences.map {
                    "\($0.kind.rawValue) \(PathText.printable($0.path))"
                })
        }
        let figures = "\(counted(report.files, "file")), \(ByteCount.text(report.bytes)) hashed"
        Console.note(
            report.differences.isEmpty
                ? "\(directory) is \(resolved.digest): \(figures)"
                : "\(directory) differs from \(resolved.digest) in "
                    + "\(counted(report.differences.count, "place")): \(figures)")
    }
}
