import ArgumentParser
import CASClient
import CASCore
import CASWire

/// `cas gc [--dry-run]`.
struct CollectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc",
        abstract: "Free the space of what nothing keeps.",
        discussion: """
            Ends what expired and what rules say, finds what no ref, pin, history or fetch keeps, deletes it and \
            packs what is left. Pushes and fetches go on meanwhile. A server does it by itself, every hour \
            unless told otherwise. What a ref named before stays for 30 days (cas rule set … --history). \
            The exit status is 2 if a tree has a gap: then nothing is deleted that may belong to it.

            EXAMPLES:
              cas gc --dry-run
              cas gc --store /srv/cas
            """)

    @Flag(name: .customLong("dry-run"), help: "Only say what would be freed.")
    var isDryRun = false

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        try storeFlags.withStore(settings: try Settings.load()) { store in
            let request = MaintenanceRequest(kind: .collect, isDryRun: isDryRun)
            let title = "collecting \(store.choice.text)\(isDryRun ? ", changing nothing" : "")"
            let state = try MaintenanceRun.run(request, title, store.connection)
            show(state)
            if state["incomplete"] ?? 0 > 0 { throw ExitCode.findings }
        }
    }

    private func show(_ state: MaintenanceState) {
        if output.json {
            Console.data(
                .object(
                    [("dryRun", .boolean(isDryRun))] + state.jsonFigures + [
                        ("findings", .list(state.findings.map(\.json)))
                    ]))
        } else {
            Console.data(lines: state.findings.map(\.line))
        }
        let removed = state["removedRefs"] ?? 0
        if removed > 0 {
            Console.note("\(isDryRun ? "would remove" : "removed") \(counted(removed, "ref"))")
        }
        let condemned = state["condemned"] ?? 0
        let deleted = state["deleted"] ?? 0
        let bytes = ByteCount.text(state["freedBytes"] ?? 0)
        if isDryRun {
            Console.note(
                "nothing keeps \(counted(condemned, "blob")); \(bytes) could be freed")
            keep(state)
            return tellGaps(state)
        }
        Console.note(
            "deleted \(counted(deleted, "blob")), freed \(bytes) in "
                + counted(state["removedPacks"] ?? 0, "pack"))
        if condemned > deleted {
            Console.note(
                "a later collection deletes \(counted(condemned - deleted, "blob")): "
                    + "pushes in progress may count on them")
        }
        keep(state)
        tellGaps(state)
    }

    private func tellGaps(_ state: MaintenanceState) {
        guard let incomplete = state["incomplete"], incomplete > 0 else { return }
        Console.note(
            "\(isDryRun ? "would delete" : "deleted") nothing that may belong to trees with a gap: "
                + "push them again, cas repair --from DIR, or cas rm")
    }
}

extension CollectCommand {
    /// Says what else than refs and pins keeps something, as it may not be what somebody expects.
    private func keep(_ state: MaintenanceState) {
        let history = state["keptByHistory"] ?? 0
        if history > 0 {
            Console.note(
                "kept: what refs named before, \(counted(history, "earlier state")) "
                    + "(30 days, or cas rule set PATTERN --history)")
        }
        let fetches = state["keptByFetch"] ?? 0
        if fetches > 0 { Console.note("kept: \(counted(fetches, "snapshot")) fetched lately") }
    }
}

extension MaintenanceState.Finding {
    /// For `--json`.
    var json: JSONText {
        .object([
            ("kind", .text(kind)), ("name", .text(name)),
            ("digest", .optional(digest?.description)),
            ("text", .text(text)),
        ])
    }

    /// One line for a person.
    var line: String {
        ([kind, name] + [digest.map(\.description) ?? "", printable(text)])
            .filter { !$0.isEmpty }.joined(separator: " ")
    }
}
