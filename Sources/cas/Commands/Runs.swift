import ArgumentParser
import CASClient
import CASCore
import CASWire

/// `cas runs [PREFIX]`.
struct RunsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "runs",
        abstract: "List submitted jobs and the code that each of them runs.",
        discussion: """
            A run is a ref, team/project:run-NAME, made by cas submit. It keeps the code of the job for at \
            least 15 days from its last fetch on. Where a ref is wanted, NAME alone will do.

            EXAMPLES:
              cas runs
              cas runs team/
              cas diff resnet-x7k2p resnet-9q4mz    what changed between two runs
              cas fetch resnet-x7k2p old            the code of a run
            """)

    @Argument(
        help: ArgumentHelp("Only runs whose name, or whose ref, begins so.", valueName: "prefix"))
    var prefix: String?

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let wanted = try PrefixArgument(prefix ?? "")
        try storeFlags.withStore(host: wanted.host, settings: try Settings.load()) { store in
            // Without a slash it may be the beginning of a run's own name, and those lie anywhere.
            let below = wanted.name.contains("/") ? wanted.name : ""
            let runs = try Runs.all(store.connection, prefix: below).filter { entry in
                entry.name.name.hasPrefix(wanted.name)
                    || Runs.name(of: entry.name)?.hasPrefix(wanted.name) == true
            }
            if output.json { return Console.data(.list(runs.map(\.runJSON))) }
            var table = TextTable(.left, .left, .left, .left, .left)
            for entry in runs {
                table.add(
                    Runs.name(of: entry.name) ?? "", entry.moved.iso8601,
                    printable(entry.provenance.author),
                    "\(entry.name.name)@\(entry.target.digest.short)",
                    printable(entry.provenance.message))
            }
            Console.data(lines: table.lines())
            if runs.isEmpty {
                let which = wanted.name.isEmpty ? "" : " that begin with '\(wanted.name)'"
                Console.note("no runs\(which) in \(store.choice.text); cas submit makes them")
            }
        }
    }
}

extension RefEntry {
    /// A run for `--json`.
    var runJSON: JSONText {
        .object([
            ("run", .optional(Runs.name(of: name))), ("ref", .text(name.description)),
            ("snapshot", .digest(target.digest)), ("tree", .digest(tree)),
            ("submitted", .text(moved.iso8601)), ("author", .text(provenance.author)),
            ("job", .text(provenance.message)), ("expires", .optional(expires?.iso8601)),
        ])
    }
}
