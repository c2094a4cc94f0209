import ArgumentParser
import CASCore
import CASTree

/// `cas diff A B`.
struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract: "Show which files differ between two snapshots.",
        discussion: """
            Compares content: names, bytes, link targets and execute bits. The exit status is 2 if there \
            are differences.

            EXAMPLES:
              cas diff team/project:v1 team/project
              cas diff team/project@sha256:… team/project --json
            """)

    @Argument(help: ArgumentHelp("A ref or digest.", valueName: "a"))
    var first: String

    @Argument(help: ArgumentHelp("Another one, in the same store.", valueName: "b"))
    var second: String

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let left = try Arguments.reference(first)
        let right = try Arguments.reference(second)
        let host = try Arguments.commonHost(left, right)
        let isEqual = try storeFlags.withStore(host: host, settings: try Settings.load()) { store in
            let reader = try StoreReader(store.connection)
            let old = try reader.resolve(left)
            let new = try reader.resolve(right)
            var changes: [TreeDiff.Change] = []
            try TreeDiff.run(
                from: old.snapshot.tree.digest, to: new.snapshot.tree.digest, source: reader,
                limits: .standard
            ) { changes.append($0) }
            changes.sort { ByteOrder.precedes($0.path, $1.path) }
            if output.json {
                Console.data(
                    .object([
                        ("from", .digest(old.digest)), ("to", .digest(new.digest)),
                        ("changes", .list(changes.map(\.json))),
                    ]))
            } else {
                Console.data(lines: changes.map(\.line))
            }
            return changes.isEmpty
        }
        if !isEqual { throw ExitCode.findings }
    }
}

extension Arguments {
    /// The host of two references that have to lie in one store.
    static func commonHost(_ left: Reference, _ right: Reference) throws -> String? {
        if let first = left.host, let second = right.host, first != second {
            throw ValidationError("'\(left)' and '\(right)' are on different servers")
        }
        return left.host ?? right.host
    }
}

extension TreeDiff.Change {
    /// `A path`, `D path`, `M path`, `T path` for another kind of entry.
    var line: String { "\(letter) \(PathText.printable(path))" + (isDirectory ? "/" : "") }

    private var isDirectory: Bool {
        switch new ?? old {
        case .directory: true
        default: false
        }
    }

    private var letter: String {
        switch (old, new) {
        case (nil, _): "A"
        case (_, nil): "D"
        case (.file, .file), (.symlink, .symlink), (.directory, .directory): "M"
        default: "T"
        }
    }

    /// The change for `--json`.
    var json: JSONText {
        .object([
            ("path", .text(PathText.printable(path))), ("change", .text(letter)),
            ("old", TreeDiff.Change.json(old)), ("new", TreeDiff.Change.json(new)),
        ])
    }

    private static func json(_ node: TreeDiff.Node?) -> JSONText {
        switch node {
        case nil: .null
        case .file(let digest, let size, let isExecutable):
            .object([
                ("kind", .text("file")), ("digest", .digest(digest)), ("size", .count(size)),
                ("executable", .boolean(isExecutable)),
            ])
        case .directory(let digest):
            .object([("kind", .text("directory")), ("digest", .digest(digest))])
        case .symlink(let target):
            .object([("kind", .text("symlink")), ("target", .text(PathText.printable(target)))])
        }
    }
}
