import ArgumentParser
import CASClient
import CASCore
import CASWire

/// `cas tag SOURCE NEW`.
struct TagCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tag",
        abstract: "Let another ref name a snapshot or an image too.",
        discussion: """
            An image is found under the new name as under the old one, with what is about it, as signatures.

            EXAMPLES:
              cas tag team/project team/project:v1
              cas tag team/project@sha256:… team/project:good --if-match none
              cas tag team/project team/project:try --expires 7d
              cas tag team/app@sha256:… team/release:v1
            """)

    @Argument(help: ArgumentHelp("A ref or digest.", valueName: "source"))
    var source: String

    @Argument(help: ArgumentHelp("The ref to set.", valueName: "new"))
    var target: String

    @Option(help: "Only if the ref names this digest now; 'none': only if there is no such ref.")
    var ifMatch: String?

    @Option(name: [.short, .long], help: "A line for the history.")
    var message = ""

    @OptionGroup var expiry: ExpiryFlag
    @OptionGroup var image: ImageOptionFlag
    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let from = try Arguments.reference(source)
        let to = try Arguments.reference(target)
        let name = try Arguments.refName(to)
        let host = try Arguments.commonHost(from, to)
        let precondition = try Arguments.precondition(ifMatch)
        let lifetime = try expiry.lifetime()
        let imageOptions = try image.text()
        let settings = try Settings.load()
        try storeFlags.withStore(host: host, settings: settings) { store in
            if let found = try store.connection.image(from) {
                guard imageOptions == nil else {
                    throw ValidationError(
                        "--image-option is about snapshots, and \(from) is an image")
                }
                var options = ImageTransferOptions(
                    image: found, ref: name, provenance: settings.provenance(message: message))
                options.precondition = precondition
                options.lifetime = lifetime
                return try tag(options, store)
            }
            let resolved = try StoreReader(store.connection).resolve(from)
            let previous = try store.connection.ref(name)
            let entry = try store.connection.setRef(
                name,
                RefUpdate(
                    target: resolved.digest, precondition: precondition,
                    provenance: settings.provenance(message: message), lifetime: lifetime,
                    imageOptions: imageOptions))
            if output.json {
                Console.data(
                    .object([
                        ("entry", entry.json), ("previous", .digest(previous?.target.digest)),
                    ]))
            } else {
                Console.data("\(name.name)@\(entry.target.digest)")
            }
            let before = previous?.target.digest
            Console.note(
                "\(name) in \(store.choice.text) "
                    + (before == entry.target.digest
                        ? "is unchanged" : before.map { "named \($0) before" } ?? "is new"))
            if let line = ExpiryFlag.note(name, lifetime) { Console.note(line) }
            if let line = try image.note(name) { Console.note(line) }
        }
    }

    private func tag(_ options: ImageTransferOptions, _ store: StoreAccess) throws {
        let name = options.ref
        let summary = try ImageTransfer.tag(options, in: store.connection)
        if output.json {
            let entry = try store.connection.ref(name)
            Console.data(
                .object([
                    ("entry", entry?.json ?? .null), ("previous", .digest(summary.previous)),
                ]))
        } else {
            Console.data("\(name.name)@\(summary.digest)")
        }
        Console.note(
            "\(name) in \(store.choice.text) "
                + (!summary.isMoved
                    ? "is unchanged" : summary.previous.map { "named \($0) before" } ?? "is new"))
        if let line = ExpiryFlag.note(name, options.lifetime) { Console.note(line) }
    }
}

extension Arguments {
    /// `--if-match`: a digest, or `none`.
    static func precondition(_ text: String?) throws -> Precondition {
        guard let text else { return .any }
        return text == "none" ? .absent : .digest(try digest(text))
    }
}
