import ArgumentParser
import CASClient
import CASCore
import CASTree

/// `cas diff A B`.
struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract:
            "Show which files differ between two snapshots, or which layers between two images.",
        discussion: """
            Compares content: names, bytes, link targets and execute bits. The exit status is 2 if there \
            are differences. Of images it compares manifests, configurations and layers by their digests.

            EXAMPLES:
              cas diff team/project:v1 team/project
              cas diff team/project@sha256:… team/project --json
              cas diff team/app:v1 team/app:v2
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
            let images = try [left, right].map { try store.connection.image($0) }
            if let old = images[0], let new = images[1] {
                return try compare(
                    ImageParts(old, store.connection), ImageParts(new, store.connection))
            }
            let reader = try StoreReader(store.connection)
            guard images.allSatisfy({ $0 == nil }) else {
                // The other is a snapshot, or nothing at all.
                _ = try reader.resolve(images[0] == nil ? left : right)
                throw CASError(
                    .failedPrecondition, "one of them is an image, and the other a snapshot",
                    hint: "cas ls shows what each is made of")
            }
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

    /// Shows what two images do not have in common; true if that is nothing.
    private func compare(_ old: ImageParts, _ new: ImageParts) -> Bool {
        let changes =
            old.lacking(in: new).map { (letter: "D", part: $0) }
            + new.lacking(in: old).map { (letter: "A", part: $0) }
        if output.json {
            Console.data(
                .object([
                    ("from", .digest(old.digest)), ("to", .digest(new.digest)),
                    (
                        "changes",
                        .list(changes.map { $0.part.json([("change", .text($0.letter))]) })
                    ),
                ]))
        } else {
            var table = TextTable(.left, .left, .left, .right)
            for (letter, part) in changes {
                table.add(letter, part.role, part.digest, ByteCount.text(part.size))
            }
            Console.data(lines: table.lines())
        }
        let shared = old.shared(with: new)
        Console.note(
            "\(counted(shared.count, "layer")) (\(ByteCount.text(shared.bytes))) in both")
        return changes.isEmpty
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
