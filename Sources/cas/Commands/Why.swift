import ArgumentParser
import CASClient
import CASCore
import CASWire

/// `cas why REF|DIGEST`.
struct WhyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "why",
        abstract: "Show what keeps a blob, a tree, a snapshot, an image or a layer.",
        discussion: """
            Prints a line for everything that keeps it: a ref, a pin, what a ref named before (history), or a \
            fetch of the last days, each with the path by which it is reached. Names that the token may not \
            read are left out. A layer or configuration is kept by tags of the images that have it, by names in which one was \
            pushed by its digest (link), by an upload of the last hours, or by the workspace whose image has it. The \
            exit status is 2 if nothing keeps it.

            EXAMPLES:
              cas why sha256:…
              cas why team/project
              cas why team/app:v1
            """)

    @Argument(help: ArgumentHelp("A ref or digest.", valueName: "ref"))
    var reference: String

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let wanted = try Arguments.reference(reference)
        try storeFlags.withStore(host: wanted.host, settings: try Settings.load()) { store in
            var request = MaintenanceRequest(kind: .why)
            request.setTarget(wanted)
            let title = "looking for what keeps \(printable(reference)) in \(store.choice.text)"
            let state = try MaintenanceRun.run(request, title, store.connection)
            if output.json {
                Console.data(
                    .object(
                        state.jsonFigures + [("keptBy", .list(state.findings.map(\.json)))]))
            } else {
                var table = TextTable(.left, .left, .left)
                for finding in state.findings {
                    let name =
                        finding.name.isEmpty ? finding.digest?.description ?? "" : finding.name
                    table.add(finding.kind, printable(name), printable(finding.text))
                }
                Console.data(lines: table.lines())
            }
            let hidden = Int(clamping: state["found"] ?? 0) - state.findings.count
            if hidden > 0 { Console.note("\(counted(hidden, "more")) not shown") }
            guard state["found"] ?? 0 == 0 else { return }
            Console.note("nothing keeps it: the next collection takes it")
            throw ExitCode.findings
        }
    }
}

extension MaintenanceRequest {
    /// Names what the work is about.
    mutating func setTarget(_ reference: Reference) {
        switch reference.target {
        case .ref(let name): ref = name
        case .digest(let digest, _): self.digest = digest
        }
    }
}
