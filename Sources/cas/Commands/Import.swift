import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASWire
import Glibc

/// `cas import FILE`.
struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Bring the refs of a file of cas export into a store.",
        discussion: """
            Nothing in the file is believed: the store checks every record, and no ref moves before the \
            whole file was read. Then all refs move in one step, or none (more than 256 in several; run again, it \
            goes on). A ref that names something else in the store is refused before anything is uploaded. \
            - is standard input.

            EXAMPLES:
              cas import project.cas
              cas import project.cas --store /srv/cas
              cas import project.cas --force    move refs that are there, and say which
            """)

    @Argument(help: "The file.")
    var file: String

    @Flag(help: "Move refs that name something else, and say which.")
    var force = false

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let settings = try Settings.load()
        let source = try ImportFile(file)
        try storeFlags.withStore(
            create: true, isPatient: true, isForeign: true, settings: settings
        ) { store in
            Interruption.leaves(.push)
            let counters = ProgressCounters()
            let title = "importing \(source.shown) into \(store.choice.text)"
            var done: [ImportedRef] = []
            let result = Result {
                try ProgressLine.show(.push, title, counters) {
                    try Import.run(
                        source, into: store.connection, force: force, counters: counters,
                        onRef: { done.append($0) })
                }
            }
            // Also those that moved before another one could not.
            for ref in done { note(ref) }
            let summary = try result.get()
            report(summary, source, store)
        }
    }

    private func note(_ ref: ImportedRef) {
        guard ref.isMoved else { return Console.note("\(ref.entry.name) is unchanged") }
        Console.note(
            ref.previous.map { "\(ref.entry.name) named \($0) before" }
                ?? "\(ref.entry.name) is new")
    }

    private func report(_ summary: ImportSummary, _ source: ImportFile, _ store: StoreAccess) {
        if output.json {
            Console.data(
                .object([
                    (
                        "refs",
                        .list(
                            summary.refs.map { ref in
                                .object([
                                    ("ref", .text(ref.entry.name.description)),
                                    (
                                        ref.entry.target.kind == .manifest
                                            ? "manifest" : "snapshot",
                                        .digest(ref.entry.target.digest)
                                    ),
                                    ("previous", .digest(ref.previous)),
                                    ("isMoved", .boolean(ref.isMoved)),
                                    ("image", ref.image?.json ?? .null),
                                ])
                            })
                    ), ("fileBytes", .count(summary.fileBytes)),
                    ("sentRecords", .count(summary.sentRecords)),
                    ("knownRecords", .count(summary.knownRecords)),
                    ("sentBytes", .count(summary.sentBytes)),
                ]))
        } else {
            Console.data(
                lines: summary.refs.map { "\($0.entry.name.name)@\($0.entry.target.digest)" })
        }
        for ref in summary.refs {
            if let line = ref.image?.note(ref.entry.name) { Console.note(line) }
        }
        Console.note(
            "\(source.shown): \(counted(summary.refs.count, "ref")); "
                + "\(counted(summary.sentRecords, "record")) new, "
                + "\(grouped(summary.knownRecords)) there already; "
                + "\(ByteCount.text(summary.sentBytes)) "
                + (store.connection.isLocal ? "written" : "sent"))
    }
}

extension CarriedImage {
    /// For a person: what became of the image of a ref's snapshot, unless it is what it was.
    func note(_ ref: RefName) -> String? {
        switch self {
        case .same: nil
        case .other(let was, let now):
            "the image of \(ref) was \(was) where it comes from; here it is "
                + (now.map { "\($0)" } ?? "none")
        case .failed(let digest, let error):
            "the image of \(ref), \(digest) where it comes from, could not be made here: "
                + error.message
        }
    }

    /// The image for `--json`.
    var json: JSONText {
        switch self {
        case .same(let digest):
            .object([("digest", .digest(digest)), ("is", .digest(digest))])
        case .other(let was, let now):
            .object([("digest", .digest(was)), ("is", .digest(now))])
        case .failed(let digest, let error):
            .object([
                ("digest", .digest(digest)), ("is", .null), ("error", .text(error.message)),
            ])
        }
    }
}

/// A file of `cas export`, or standard input for `-`.
final class ImportFile: ImportSource {
    private let path: String?
    private var file: OpenFile

    init(_ text: String) throws {
        guard text != "-" else {
            path = nil
            file = OpenFile(takingOver: dup(STDIN_FILENO))
            return
        }
        let path = try StoreChoice.absolute(text)
        self.path = path
        file = try OpenFile(reading: path)
        guard try file.status().kind != .directory else {
            throw CASError(.invalidArgument, "it is a directory, not a file", path: path)
        }
        file.adviseSequential()
        try checkEnd()
    }

    /// For a person.
    var shown: String { path ?? "standard input" }

    /// Looks at the end of a regular file first: one that was cut short is refused before it is sent.
    private func checkEnd() throws {
        let status = try file.status()
        guard status.kind == .regular else { return }
        let count = ExportFormat.lastByteCount
        let bytes = try [UInt8](unsafeUninitializedCapacity: count) { buffer, filled in
            filled =
                status.size < UInt64(count)
                ? 0
                : try file.read(
                    at: status.size - UInt64(count), into: UnsafeMutableRawBufferPointer(buffer))
        }
        guard !bytes.withUnsafeBytes({ ExportFormat.isWhole(lastBytes: $0, limits: .standard) })
        else { return }
        var head = [UInt8](repeating: 0, count: 8)
        _ = try head.withUnsafeMutableBytes { try file.read(at: 0, into: $0) }
        guard ExportFormat.isExport(head) else {
            throw CASError(
                .dataLoss, "this is no file of cas export",
                hint: "cas export REF... FILE makes one", path: path)
        }
        throw CASError(
            .dataLoss, "the export is cut short or damaged at its end; nothing was uploaded",
            hint: "copy or export it again", path: path)
    }

    func read(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        try file.read(into: target)
    }

    func rewind() throws -> Bool {
        guard let path, try file.status().kind == .regular else { return false }
        file = try OpenFile(reading: path)
        return true
    }
}
