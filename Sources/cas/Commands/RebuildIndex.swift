import ArgumentParser
import CASCore
import CASRepository

/// `cas rebuild-index [--store DIR]`.
struct RebuildIndexCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rebuild-index",
        abstract: "Make a store's index anew from its packs.",
        discussion: """
            For a store whose index is damaged or lost. Refs, history, tokens, rules and pins come back \
            from the packs; the old index stays beside the new one. No server may have the store open.

            EXAMPLES:
              cas rebuild-index --store /srv/cas
            """)

    @Option(
        help: ArgumentHelp(
            "The store's directory; the configured one if left out.", valueName: "dir"))
    var store: String?

    @OptionGroup var output: OutputFlags

    func run() throws {
        let settings = try Settings.load()
        let choice = try StoreChoice.choose(
            serverFlag: nil, storeFlag: store, host: nil, settings: settings)
        guard case .directory(let path, _, _) = choice else {
            throw CASError(
                .failedPrecondition, "the configured store is a server (\(choice.text))",
                hint: "run this on the server's machine with --store DIR")
        }
        let (report, oldCatalog) = try StoreLocation.rebuildIndex(directory: path)
        if output.json {
            Console.data(
                .object([
                    ("packs", .count(report.packs)), ("records", .count(report.records)),
                    ("refs", .count(report.refs)), ("damagedRecords", .count(report.damaged)),
                    ("incompleteRefs", .list(report.incompleteRefs.map { .text($0.description) })),
                    (
                        "unreadablePacks",
                        .list(
                            report.unreadable.map {
                                .object([("path", .text($0.path)), ("reason", .text($0.reason))])
                            })
                    ), ("oldIndex", .optional(oldCatalog)),
                ]))
        }
        Console.note(
            "rebuilt the index of \(path): \(counted(report.packs, "pack")), "
                + "\(counted(report.records, "record")), \(counted(report.refs, "ref"))")
        if let oldCatalog { Console.note("the old index is now \(oldCatalog)") }
        for pack in report.unreadable {
            Console.note("unreadable: \(pack.path): \(printable(pack.reason))")
        }
        if report.damaged > 0 {
            Console.note("damaged: \(counted(report.damaged, "record")) left out")
        }
        for ref in report.incompleteRefs {
            Console.note("incomplete: \(ref); push it again to mend it")
        }
        let isWhole =
            report.unreadable.isEmpty && report.damaged == 0 && report.incompleteRefs.isEmpty
        if !isWhole { throw ExitCode.findings }
    }
}
