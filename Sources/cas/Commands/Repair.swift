import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASWire
import CASWorkspace

/// `cas repair --from DIR [REF...]`.
struct RepairCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "repair",
        abstract: "Give a store what it lacks of its refs and a directory has.",
        discussion: """
            Asks the store what it lacks of these refs, of all that may be written if none is named; hashes the \
            files of DIR, which may lie anywhere in it; and sends what is missing, nothing else. Directories \
            and attributes are made again where DIR has them unchanged. The exit status is 2 if something \
            is still missing. cas scrub --report shows which refs lack something.

            EXAMPLES:
              cas repair --from ~/project team/project
              cas repair --from /backup --store /srv/cas
            """)

    @Option(help: ArgumentHelp("Where to take content from.", valueName: "dir"))
    var from: String

    @Argument(help: ArgumentHelp("The refs to repair; all if left out.", valueName: "ref"))
    var references: [String] = []

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    private static let listed = 10

    func run() throws {
        let wanted = try references.map { try Arguments.reference($0) }
        let names = try wanted.map { try Arguments.refName($0) }
        let hosts = Set(wanted.map(\.host))
        guard hosts.count <= 1 else {
            throw ValidationError("the refs are of several servers; repair them one by one")
        }
        let root = try Workspace.root(from)
        let settings = try Settings.load(workspace: root)
        let isWhole = try storeFlags.withStore(
            host: hosts.first ?? nil, isPatient: true, settings: settings
        ) { store in
            Interruption.leaves(.push)
            let entries = try entries(names, store.connection)
            var options = RepairOptions(directory: root, workers: WorkerGroup.processorCount)
            options.scan = try SelectionFlags.parse([]).options(settings)
            options.cachePath = try Workspace.cachePath(of: root, settings: settings)
            options.provenance = settings.provenance(message: "", workspace: root)
            let counters = ProgressCounters()
            let title =
                "repairing \(counted(entries.count, "ref")) of \(store.choice.text) from \(root); "
                + "only what they lack is \(store.connection.isLocal ? "written" : "sent")"
            var results: [RepairedRef] = []
            try ProgressLine.show(.push, title, counters) {
                try Repair.run(
                    options, entries, connection: store.connection, counters: counters
                ) { results.append($0) }
            }
            show(results, counters)
            return results.allSatisfy { $0.outcome == .whole || $0.outcome == .healed }
        }
        if !isWhole { throw ExitCode.findings }
    }

    /// What the named refs, or all, name now.
    private func entries(
        _ names: [RefName], _ connection: any StoreConnection
    ) throws -> [RefEntry] {
        guard names.isEmpty else {
            return try names.map { name in
                guard let entry = try connection.ref(name) else {
                    throw CASError(.notFound, "there is no ref '\(name)'")
                }
                return entry
            }
        }
        var entries: [RefEntry] = []
        var after = ""
        repeat {
            let page = try connection.refs(
                prefix: "", after: after, limit: Limits.standard.listingEntries)
            entries += page.entries
            after = page.next
        } while !after.isEmpty
        return entries.filter { $0.target.kind == .snapshot }
    }

    private func show(_ results: [RepairedRef], _ counters: ProgressCounters) {
        if output.json {
            Console.data(
                .object([
                    ("from", .text(from)), ("sentBytes", .count(counters.transferred)),
                    ("refs", .list(results.map(\.json))),
                ]))
        } else {
            Console.data(
                lines: results.filter { $0.outcome != .whole }.map {
                    "\($0.outcome.rawValue) \($0.name)"
                })
        }
        for result in results { tell(result) }
        let whole = results.count { $0.outcome == .whole }
        let healed = results.count { $0.outcome == .healed }
        Console.note(
            "\(grouped(healed)) healed, \(grouped(whole)) were whole, "
                + "\(grouped(results.count - healed - whole)) not repaired")
    }

    private func tell(_ result: RepairedRef) {
        if result.sent > 0 {
            Console.note("\(result.name): \(counted(result.sent, "blob")) taken from \(from):")
            list(result.sources, of: result.sent)
        }
        switch result.outcome {
        case .whole, .healed: break
        case .lacks:
            Console.note(
                "\(result.name) still lacks \(counted(result.lackingCount, "blob")), "
                    + "which \(from) does not have:")
            list(result.lacking.map(\.description), of: Int(clamping: result.lackingCount))
        case .moved: Console.note("\(result.name) was moved meanwhile")
        case .refused:
            Console.note(
                "\(result.name): \(printable(result.failure?.description ?? "refused"))")
        }
    }

    private func list(_ lines: [String], of count: Int) {
        for line in lines.prefix(Self.listed) { Console.note("  " + printable(line)) }
        let rest = count - min(count, min(lines.count, Self.listed))
        if rest > 0 { Console.note("  and \(counted(rest, "more", "more"))") }
    }
}

extension RepairedRef {
    /// The result for `--json`.
    fileprivate var json: JSONText {
        .object([
            ("ref", .text(name.description)), ("snapshot", .digest(snapshot)),
            ("outcome", .text(outcome.rawValue)), ("sentBlobs", .count(sent)),
            ("sources", .list(sources.map { .text($0) })),
            ("lacking", .list(lacking.map { .digest($0) })),
            ("lackingCount", .count(lackingCount)),
            ("error", .optional(failure?.description)),
        ])
    }
}
