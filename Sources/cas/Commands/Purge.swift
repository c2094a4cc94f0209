import ArgumentParser
import CASClient
import CASCore
import CASWire

/// `cas purge REF|DIGEST --reason TEXT`.
struct PurgeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "purge",
        abstract: "Remove content from a store for good.",
        discussion: """
            For a key that was pushed, or data that must not be kept. The content is refused to readers at once; \
            its bytes go from all packs, and no push, import or rebuild brings it back. A file goes from \
            every snapshot that has it; a ref or snapshot goes with everything that nothing else keeps. \
            Prints what held it. What was fetched or copied elsewhere is not touched, and backups are not.

            EXAMPLES:
              cas purge sha256:… --reason "a key was in it" --dry-run
              cas purge team/project:v3 --reason "licence"
            """)

    @Argument(help: ArgumentHelp("A ref or digest.", valueName: "ref"))
    var reference: String

    @Option(help: ArgumentHelp("Why; whoever pushes it again is told.", valueName: "text"))
    var reason: String

    @Flag(name: .customLong("dry-run"), help: "Only say what would be removed.")
    var isDryRun = false

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let wanted = try Arguments.reference(reference)
        guard !reason.isEmpty else { throw ValidationError("--reason must say something") }
        try storeFlags.withStore(host: wanted.host, settings: try Settings.load()) { store in
            var request = MaintenanceRequest(kind: .purge, isDryRun: isDryRun, reason: reason)
            request.setTarget(wanted)
            let title =
                "\(isDryRun ? "looking at" : "purging") \(printable(reference)) in \(store.choice.text)"
            let state = try MaintenanceRun.run(request, title, store.connection)
            show(state)
        }
    }

    private func show(_ state: MaintenanceState) {
        if output.json {
            Console.data(
                .object(
                    [("dryRun", .boolean(isDryRun))] + state.jsonFigures + [
                        ("heldBy", .list(state.findings.map(\.json)))
                    ]))
        } else {
            Console.data(lines: state.findings.map(\.line))
        }
        let blobs = counted(state["purged"] ?? 0, "blob")
        let bytes = ByteCount.text(state["purgedBytes"] ?? 0)
        guard !isDryRun else {
            Console.note("would remove \(blobs), \(bytes); what holds them is listed above")
            return
        }
        Console.note(
            "removed \(blobs), \(bytes), for good, and \(counted(state["removedRefs"] ?? 0, "ref")); "
                + "rewrote \(counted(state["rewrittenPacks"] ?? 0, "pack"))")
        if let packs = state["packsInUse"], packs > 0 {
            Console.note(
                "not looked at: \(counted(packs, "pack")) that another process writes to; "
                    + "once it has ended, purge the digest again")
        }
    }
}
