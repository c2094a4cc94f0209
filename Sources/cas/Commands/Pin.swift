import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASWire

/// `cas pin [REF|DIGEST]`.
struct PinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "pin",
        abstract:
            "Keep a snapshot or an image whatever becomes of its refs, or list what is pinned.",
        discussion: """
            A ref pins what it names now, for its name. A pin of a digest without a name takes the right \
            'admin'. Pinning again gives another end and reason.

            EXAMPLES:
              cas pin team/project:v1 --reason 'paper, table 3'
              cas pin team/project@sha256:… --expires 90d
              cas pin
            """)

    @Argument(
        help: ArgumentHelp("A ref or digest; the list of pins if left out.", valueName: "ref"))
    var reference: String?

    @Option(
        help: ArgumentHelp("When the pin ends: 12h, 90d; never if left out.", valueName: "duration")
    )
    var expires: String?

    @Option(help: "What it is for.")
    var reason = ""

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func validate() throws {
        if reference == nil, expires != nil || !reason.isEmpty {
            throw ValidationError("name what to pin: a ref or digest")
        }
    }

    func run() throws {
        let wanted = try reference.map { try Arguments.reference($0) }
        let lifetime = try expires.map { UInt64(try Arguments.duration($0)) } ?? 0
        let settings = try Settings.load()
        try storeFlags.withStore(host: wanted?.host, settings: settings) { store in
            guard let wanted else { return try list(store) }
            let (name, digest) = try PinCommand.resolve(wanted, store.connection)
            let pin = try store.connection.pin(
                digest, name: name,
                PinRequest(
                    lifetime: lifetime, reason: reason, provenance: settings.provenance()))
            if output.json { Console.data(pin.json) } else { Console.data(pin.reference) }
            Console.note(
                "pinned \(pin.reference) in \(store.choice.text)"
                    + (lifetime > 0 ? " for \(DurationText.text(lifetime))" : ""))
        }
    }

    private func list(_ store: StoreAccess) throws {
        var pins: [PinRecord] = []
        var after = ""
        repeat {
            let page = try store.connection.pins(prefix: "", after: after, limit: 1000)
            pins += page.entries
            guard page.next != after else { break }
            after = page.next
        } while !after.isEmpty
        if output.json { return Console.data(.list(pins.map(\.json))) }
        var table = TextTable(.left, .left, .left)
        for pin in pins {
            table.add(printable(pin.reference), pin.state, printable(pin.reason))
        }
        Console.data(lines: table.lines())
        if pins.isEmpty { Console.note("no pins in \(store.choice.text)") }
    }

    /// The name and snapshot of a reference; a ref is asked what it names now.
    static func resolve(
        _ reference: Reference, _ connection: any StoreConnection
    ) throws -> (name: String, digest: Digest) {
        switch reference.target {
        case .digest(let digest, let name): return (name ?? "", digest)
        case .ref(let name):
            guard let entry = try connection.ref(name) else {
                throw CASError(
                    .notFound, "there is no ref '\(name)'",
                    hint: "cas ls lists what there is, and cas log what a ref named before")
            }
            return (name.name, entry.target.digest)
        }
    }
}

/// `cas unpin REF|DIGEST`.
struct UnpinCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "unpin",
        abstract: "End a pin.",
        discussion: """
            What nothing else keeps then goes with the next collection.

            EXAMPLES:
              cas unpin team/project:v1
              cas unpin team/project@sha256:…
            """)

    @Argument(help: ArgumentHelp("A ref or digest, as 'cas pin' lists it.", valueName: "ref"))
    var reference: String

    @OptionGroup var storeFlags: StoreFlags

    func run() throws {
        let wanted = try Arguments.reference(reference)
        let settings = try Settings.load()
        try storeFlags.withStore(host: wanted.host, settings: settings) { store in
            let (name, digest) = try PinCommand.resolve(wanted, store.connection)
            try store.connection.unpin(
                digest, name: name, PinRequest(provenance: settings.provenance()))
            Console.note(
                "unpinned \(name.isEmpty ? "" : "\(name)@")\(digest) in \(store.choice.text)")
        }
    }
}

extension PinRecord {
    /// For a person: until when it holds.
    var state: String {
        guard let expires else { return "does not expire" }
        return expires < SystemClock().now()
            ? "expired \(expires.iso8601)" : "until \(expires.iso8601)"
    }

    /// The pin for `--json`.
    var json: JSONText {
        .object([
            ("pin", .text(reference)), ("name", name.isEmpty ? .null : .text(name)),
            ("digest", .digest(digest)), ("expires", .optional(expires?.iso8601)),
            ("reason", .text(reason)), ("provenance", provenance.json),
            ("created", .text(created.iso8601)),
        ])
    }
}
