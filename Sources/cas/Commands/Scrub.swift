import ArgumentParser
import CASClient
import CASCore
import CASWire

/// `cas scrub [--report]`.
struct ScrubCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scrub",
        abstract: "Read and check everything in a store.",
        discussion: """
            Every record of every pack is read and compared with its digest. A bad one is taken out of use: \
            the next push that has its content, an unchanged one too, is asked for it, as is cas repair. Pushes \
            and fetches go on meanwhile. A server does the same by itself, slowly. The exit status is 2 if \
            there are findings.

            EXAMPLES:
              cas scrub --store /srv/cas
              cas scrub --server https://cas.example.com
              cas scrub --report                only which refs lack something
            """)

    @Flag(help: "Only name the refs that lack something; reads no content.")
    var report = false

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let isSound = try storeFlags.withStore(settings: try Settings.load()) { store in
            let state = try MaintenanceRun.run(
                MaintenanceRequest(kind: .scrub, isReport: report),
                report
                    ? "looking for refs of \(store.choice.text) that lack something"
                    : "reading everything in \(store.choice.text)", store.connection)
            if output.json {
                Console.data(
                    .object(
                        state.jsonFigures + [("findingList", .list(state.findings.map(\.json)))]))
            } else {
                Console.data(lines: state.findings.map(\.scrubLine))
            }
            tell(state)
            return state.findings.isEmpty && (state["findings"] ?? 0) == 0
        }
        if !isSound { throw ExitCode.findings }
    }

    private func tell(_ state: MaintenanceState) {
        let affected = Set(state.findings.filter { $0.kind == "ref" }.map(\.name)).count
        if !report {
            Console.note(
                "read \(counted(state["packs"] ?? 0, "pack")), "
                    + "\(counted(state["records"] ?? 0, "record")), "
                    + "\(ByteCount.text(state["readBytes"] ?? 0)): "
                    + counted(state["findings"] ?? 0, "finding"))
            if state["recordedAnew"] != nil {
                Console.note("refs, tokens and rules were recorded anew: none of them is lost")
            }
        }
        guard affected > 0 else {
            Console.note("no ref lacks anything")
            return
        }
        Console.note(
            "\(counted(affected, "ref")) \(affected == 1 ? "lacks" : "lack") something; push again, "
                + "or cas repair --from DIR, from where it is whole")
    }
}

extension MaintenanceState.Finding {
    /// The finding on one line.
    fileprivate var scrubLine: String {
        let what = kind == "lacks" ? "  \(name)" : name.isEmpty ? kind : "\(kind) \(name)"
        let parts = [what, digest?.description ?? "", text].filter { !$0.isEmpty }
        return printable(parts.joined(separator: "  "))
    }
}
