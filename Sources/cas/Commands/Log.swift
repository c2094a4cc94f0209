import ArgumentParser
import CASClient
import CASCore
import CASWire

/// `cas log REF`.
struct LogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log",
        abstract: "Show what a ref named, when, and who moved it.",
        discussion: """
            EXAMPLES:
              cas log team/project
              cas log team/project:v2 --limit 3 --json
            """)

    @Argument(help: ArgumentHelp("A ref.", valueName: "ref"))
    var reference: String

    @Option(name: [.customShort("n"), .long], help: "Show so many moves, newest first.")
    var limit = 20

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func validate() throws {
        if limit < 1 { throw ValidationError("--limit must be at least 1") }
    }

    func run() throws {
        let wanted = try Arguments.reference(reference)
        let name = try Arguments.refName(wanted)
        try storeFlags.withStore(host: wanted.host, settings: try Settings.load()) { store in
            var entries: [HistoryEntry] = []
            var before = ""
            repeat {
                let page = try store.connection.history(
                    name, before: before, limit: min(limit - entries.count, 1000))
                entries += page.entries
                guard page.next != before else { break }
                before = page.next
            } while !before.isEmpty && entries.count < limit
            guard !entries.isEmpty else {
                throw CASError(
                    .notFound, "there is no ref '\(name)'",
                    hint: "cas ls lists what there is")
            }
            entries = Array(entries.prefix(limit))
            if output.json { return Console.data(.list(entries.map(\.json))) }
            Console.data(lines: entries.flatMap(LogCommand.lines))
        }
    }

    private static func lines(_ entry: HistoryEntry) -> [String] {
        let target = entry.target.map { "\(entry.name.name)@\($0.digest)" } ?? "removed"
        var lines = [target]
        var details = "    \(entry.provenance.time.iso8601)"
        if !entry.provenance.author.isEmpty {
            details += "  \(printable(entry.provenance.author))@\(printable(entry.provenance.host))"
        }
        if !entry.provenance.subject.isEmpty {
            details += "  by \(printable(entry.provenance.subject))"
        }
        if !entry.provenance.gitCommit.isEmpty {
            details += "  commit \(printable(String(entry.provenance.gitCommit.prefix(12))))"
            if entry.provenance.gitModified { details += " (modified)" }
        }
        lines.append(details)
        if !entry.provenance.message.isEmpty {
            lines.append("    \(printable(entry.provenance.message))")
        }
        return lines
    }
}

extension HistoryEntry {
    /// The entry for `--json`.
    var json: JSONText {
        .object([
            ("sequence", .count(sequence)), ("ref", .text(name.description)),
            ("previous", .digest(previous?.digest)), ("digest", .digest(target?.digest)),
            ("provenance", provenance.json), ("push", .optional(pushID?.description)),
        ])
    }
}
