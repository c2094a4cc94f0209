import ArgumentParser
import CASClient
import CASCore
import CASWire

/// `cas rm REF`.
struct RemoveCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rm",
        abstract: "Remove a ref.",
        discussion: """
            What it named stays for 30 days, or as 'cas rule set PATTERN --history' says, and \
            'cas tag NAME@sha256:… NAME' brings it back. Then a collection frees the space.

            EXAMPLES:
              cas rm team/project:old
              cas rm team/project --if-match sha256:…
            """)

    @Argument(help: ArgumentHelp("The ref to remove.", valueName: "ref"))
    var reference: String

    @Option(help: "Only if the ref names this digest now.")
    var ifMatch: String?

    @Option(name: [.short, .long], help: "A line for the history.")
    var message = ""

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let wanted = try Arguments.reference(reference)
        let name = try Arguments.refName(wanted)
        let precondition = try Arguments.precondition(ifMatch)
        let settings = try Settings.load()
        try storeFlags.withStore(host: wanted.host, settings: settings) { store in
            guard let entry = try store.connection.ref(name) else {
                throw CASError(
                    .notFound, "there is no ref '\(name)'",
                    hint: "cas ls lists what there is")
            }
            try store.connection.removeRef(
                name,
                RefUpdate(
                    precondition: precondition, provenance: settings.provenance(message: message)))
            if output.json { Console.data(.object([("removed", entry.json)])) }
            Console.note(
                "removed \(name) from \(store.choice.text); it named \(entry.target.digest)")
        }
    }
}
