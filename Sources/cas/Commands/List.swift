import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASTree
import CASWire

/// `cas ls [REF [PATH]]`.
struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "ls",
        abstract: "List refs, or what a ref holds.",
        discussion: """
            EXAMPLES:
              cas ls                          all refs
              cas ls team/                    refs whose name begins so
              cas ls team/project             what the snapshot holds
              cas ls team/project src --long  with modes, sizes and times
              cas ls team/app:v1              what an image is made of
            """)

    @Argument(
        help: ArgumentHelp("A ref or digest; ending in '/' a prefix of names.", valueName: "ref"))
    var reference: String?

    @Argument(help: "A path within it.")
    var path: String?

    @Flag(name: [.short, .long], help: "Also modes, sizes, times and digests.")
    var long = false

    @Flag(name: [.customShort("R"), .long], help: "Also everything below.")
    var recursive = false

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let settings = try Settings.load()
        guard let reference, !reference.hasSuffix("/") else {
            let prefix = try PrefixArgument(reference ?? "")
            return try storeFlags.withStore(host: prefix.host, settings: settings) { store in
                try listRefs(store, prefix: prefix.name)
            }
        }
        let wanted = try Arguments.reference(reference)
        try storeFlags.withStore(host: wanted.host, settings: settings) { store in
            if let image = try store.connection.image(wanted) {
                guard path == nil else {
                    throw ValidationError(
                        "\(wanted) is an image, and has layers instead of paths; "
                            + "cas ls \(wanted) lists them")
                }
                let parts = try ImageParts(image, store.connection)
                if output.json { return Console.data(parts.json) }
                return Console.data(lines: parts.lines)
            }
            let reader = try StoreReader(store.connection)
            let resolved = try reader.resolve(wanted)
            try listTree(reader, resolved)
        }
    }

    private func listRefs(_ store: StoreAccess, prefix: String) throws {
        var entries: [RefEntry] = []
        try store.connection.forEachRef(prefix: prefix) { entries.append($0) }
        if output.json { return Console.data(.list(entries.map(\.json))) }
        var table = TextTable(.left, .left, .right, .right, .left, .left)
        let now = SystemClock().now()
        for entry in entries {
            table.add(
                printable(entry.name.description), entry.target.digest.short,
                entry.totals.map {
                    counted($0.files, entry.target.kind == .manifest ? "blob" : "file")
                } ?? "",
                entry.totals.map { ByteCount.text($0.bytes) } ?? "", entry.moved.iso8601,
                entry.expires.map { ($0 < now ? "expired " : "until ") + $0.iso8601 } ?? "")
        }
        for line in table.lines() { Console.data(line) }
        if entries.isEmpty { Console.note("no refs in \(store.choice.text)") }
    }

    private func listTree(_ reader: StoreReader, _ resolved: ResolvedSnapshot) throws {
        let lister = TreeLister(
            reader: reader, isLong: long, isRecursive: recursive, isJSON: output.json)
        switch try reader.entry(path ?? "", in: resolved.snapshot) {
        case .file(let file, let attributes):
            lister.add(file, attributes, path: Array((path ?? "").utf8))
        case .symlink(let link): lister.add(link, path: Array((path ?? "").utf8))
        case .directory(let digest, _, let attributes):
            try lister.list(digest, attributes: attributes)
        }
        lister.print(resolved)
    }
}

/// The beginning of names of refs, with or without a host.
struct PrefixArgument {
    let host: String?
    let name: String

    init(_ text: String) throws {
        // A prefix reads as a reference does once something stands behind its slash.
        guard !text.isEmpty else {
            host = nil
            name = ""
            return
        }
        if text.contains("://"), !text.hasPrefix("cas://") {
            throw ValidationError(
                "'\(text)' is an address and no prefix of names; write HOST/, or --server URL")
        }
        do {
            let reference = try Reference(text + "x")
            host = reference.host
            name = String(try Arguments.refName(reference).name.dropLast())
        } catch is CASError {
            throw ValidationError(
                "'\(text)' is no prefix of names; write NAME/ or HOST/NAME/, or nothing for all refs"
            )
        }
    }
}

extension StoreConnection {
    /// Calls `body` with every ref below a prefix.
    func forEachRef(prefix: String, _ body: (RefEntry) throws -> Void) throws {
        var after = ""
        repeat {
            let page = try refs(prefix: prefix, after: after, limit: 1000)
            for entry in page.entries { try body(entry) }
            guard page.next != after else { return }
            after = page.next
        } while !after.isEmpty
    }
}

extension RefEntry {
    /// The entry for `--json`.
    var json: JSONText {
        .object([
            ("ref", .text(name.description)), ("digest", .digest(target.digest)),
            ("kind", .text(target.kind == .snapshot ? "snapshot" : "manifest")),
            ("tree", .digest(tree)), ("files", totals.map { .count($0.files) } ?? .null),
            ("bytes", totals.map { .count($0.bytes) } ?? .null), ("sequence", .count(sequence)),
            ("moved", .text(moved.iso8601)), ("provenance", provenance.json),
            ("expires", .optional(expires?.iso8601)),
            ("lifetime", lifetime == 0 ? .null : .count(lifetime)),
            ("imageOptions", imageOptions.isEmpty ? .null : .text(imageOptions)),
        ])
    }
}

extension Provenance {
    /// Where a push came from, for `--json`.
    var json: JSONText {
        .object([
            ("author", .text(author)), ("host", .text(host)),
            ("gitCommit", gitCommit.isEmpty ? .null : .text(gitCommit)),
            ("gitModified", gitCommit.isEmpty ? .null : .boolean(gitModified)),
            ("message", .text(message)), ("time", .text(time.iso8601)),
            ("subject", subject.isEmpty ? .null : .text(subject)),
        ])
    }
}
