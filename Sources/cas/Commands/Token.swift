import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASWire

/// `cas token create|list|revoke`.
struct TokenCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Make, list and revoke access tokens.",
        discussion: """
            The first token is made on the server's machine, with --store.

            EXAMPLES:
              cas token create ci --scope read+write:team --expires 30d --store /srv/cas
              cas token list
              cas token revoke 0123456789abcdef0123456789abcdef
            """,
        subcommands: [Create.self, List.self, Revoke.self])

    /// `cas token create NAME --scope …`.
    struct Create: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "create",
            abstract: "Make a token; its text is printed once.",
            discussion: """
                A scope is RIGHTS[:PREFIX]: rights joined by '+' (read, write, delete, cache-write, \
                admin), and the beginning of names they hold for, in whole components.

                EXAMPLES:
                  cas token create laptop --scope read+write:team
                  cas token create pods --scope read --expires 90d
                """)

        @Argument(help: "What the token is for.")
        var name: String

        @Option(
            help: ArgumentHelp(
                "What it allows, as read+write:team/project; can be repeated.",
                valueName: "rights[:prefix]"))
        var scope: [String]

        @Option(help: ArgumentHelp("When it ends: 12h, 30d; never if left out.", valueName: "in"))
        var expires: String?

        @OptionGroup var storeFlags: StoreFlags
        @OptionGroup var output: OutputFlags

        func run() throws {
            guard name.contains(where: { !$0.isWhitespace }) else {
                throw ValidationError("a token needs a name that says what it is for")
            }
            guard !scope.isEmpty else { throw ValidationError("give at least one --scope") }
            let scopes = try scope.map { text in try Arguments.usage { try TokenScope(text) } }
            let seconds = try expires.map { try Arguments.duration($0) }
            let end = seconds.map { Timestamp(seconds: SystemClock().now().seconds + $0) }
            try storeFlags.withStore(create: true, settings: try Settings.load()) { store in
                let response = try store.connection.createToken(
                    TokenRequest(name: name, scopes: scopes, expires: end))
                if output.json {
                    Console.data(
                        .object([
                            ("token", .text(response.secret)), ("record", response.record.json),
                        ]))
                } else {
                    Console.data(response.secret)
                }
                Console.note(
                    "made token \(response.record.id) in \(store.choice.text); its text is shown "
                        + "this once: keep it in CAS_TOKEN, in a file, or with cas login")
            }
        }
    }

    /// `cas token list`.
    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "list", abstract: "List tokens, without their texts.")

        @OptionGroup var storeFlags: StoreFlags
        @OptionGroup var output: OutputFlags

        func run() throws {
            try storeFlags.withStore(settings: try Settings.load()) { store in
                // The oldest first; identifiers are random and tell nobody anything.
                let records = try store.connection.tokens().sorted { $0.created < $1.created }
                if output.json { return Console.data(.list(records.map(\.json))) }
                var table = TextTable(.left, .left, .left, .left, .left)
                for record in records {
                    table.add(
                        record.id.description, printable(record.name),
                        record.scopes.map { printable($0.description) }.joined(separator: " "),
                        record.created.iso8601, record.state)
                }
                Console.data(lines: table.lines())
                if records.isEmpty { Console.note("no tokens in \(store.choice.text)") }
            }
        }
    }

    /// `cas token revoke ID`.
    struct Revoke: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "revoke", abstract: "End a token at once.")

        @Argument(help: "The identifier that 'cas token list' shows.")
        var id: String

        @OptionGroup var storeFlags: StoreFlags

        func run() throws {
            guard let identifier = Identifier(hexadecimal: id) else {
                throw ValidationError("'\(id)' is no identifier; it has 32 hexadecimal digits")
            }
            try storeFlags.withStore(settings: try Settings.load()) { store in
                try store.connection.revokeToken(identifier)
                Console.note("revoked token \(identifier) in \(store.choice.text)")
            }
        }
    }
}

extension TokenRecord {
    /// For a person: whether it still works.
    var state: String {
        if let revoked { return "revoked \(revoked.iso8601)" }
        guard let expires else { return "does not expire" }
        return expires < SystemClock().now()
            ? "expired \(expires.iso8601)" : "until \(expires.iso8601)"
    }

    /// The record for `--json`; no hash of the secret.
    var json: JSONText {
        .object([
            ("id", .text(id.description)), ("name", .text(name)),
            ("scopes", .list(scopes.map { .text($0.description) })),
            ("created", .text(created.iso8601)), ("expires", .optional(expires?.iso8601)),
            ("revoked", .optional(revoked?.iso8601)),
        ])
    }
}
