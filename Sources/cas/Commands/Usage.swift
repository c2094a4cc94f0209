import ArgumentParser
import CASClient
import CASCore
import CASWire

/// `cas usage`.
struct UsageCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "usage",
        abstract: "Show what a store holds and how much space that takes.",
        discussion: """
            Files that several refs share count once for each of them in 'files of all refs', and once in \
            the rows about what is kept. Records are chunks of files, and also directories, snapshots and \
            history, so that a store of few small files keeps more than the files have.

            Of images it tells the bytes of all that was pushed, each blob once; how many of them workspaces have too, \
            so that they are stored once for both; and the layers of images of workspaces, which take no room. \
            For that it looks through the directories of all refs.

            EXAMPLES:
              cas usage
              cas usage --json
            """)

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        try storeFlags.withStore(settings: try Settings.load()) { store in
            let report = try store.connection.usage()
            var shares: ImageSharesReport?
            do {
                if report.hasImages { shares = try ImageSharesReport(store.connection) }
            } catch let error as CASError
                where [.resourceExhausted, .unavailable].contains(error.code)
            {
                Console.note("what images share is not shown: \(printable(error.message))")
            }
            if output.json { return Console.data(report.json(shares)) }
            var table = TextTable(.left, .left)
            table.add("store", store.choice.text)
            table.add("refs", grouped(report.refs))
            table.add("snapshots", grouped(report.snapshots))
            table.add("distinct files", grouped(report.blobs))
            table.add("distinct chunks", grouped(report.chunks))
            table.add("packs", grouped(report.packs))
            table.add("files of all refs", ByteCount.text(report.logicalBytes))
            table.add("records, uncompressed", ByteCount.text(report.rawBytes))
            table.add("packs on the disk", ByteCount.text(report.storedBytes))
            table.add("free on the disk", ByteCount.text(report.freeBytes))
            if report.scatter.ranges > 0 {
                let average = report.scatter.readBytes / report.scatter.ranges
                table.add(
                    "reads of a fetch",
                    "\(ByteCount.text(average)) at a time, \(report.scatter.text) times the files' bytes"
                )
            }
            shares?.add(to: &table)
            Console.data(lines: table.lines())
            var rows = TextTable(.left, .right, .right)
            for row in report.rows {
                rows.add(
                    printable(row.prefix), counted(row.refs, "ref"),
                    ByteCount.text(row.logicalBytes))
            }
            Console.data(lines: rows.lines(indent: "  "))
        }
    }
}

/// What the images of a store take, and share with workspaces.
struct ImageSharesReport {
    private let state: MaintenanceState

    init(_ connection: any StoreConnection) throws {
        state = try MaintenanceRun.run(
            MaintenanceRequest(kind: .shares), "looking for what images and workspaces share",
            connection)
    }

    private func figure(_ name: String) -> UInt64 { state[name] ?? 0 }
    /// Bytes that only images have, each once.
    private var ownBytes: UInt64 {
        figure("distinctBytes") - min(figure("distinctBytes"), figure("sharedBytes"))
    }

    func add(to table: inout TextTable) {
        table.add(
            "images",
            "\(counted(figure("imageBlobs"), "blob")), \(ByteCount.text(figure("imageBytes")))")
        table.add("  shared with workspaces", ByteCount.text(figure("sharedBytes")))
        table.add("  only in images", ByteCount.text(ownBytes))
        table.add(
            "images of workspaces",
            "\(counted(figure("madeLayers"), "layer")), "
                + "\(ByteCount.text(figure("madeBytes"))), not stored")
    }

    var json: JSONText {
        .object([
            ("blobs", .count(figure("imageBlobs"))), ("bytes", .count(figure("imageBytes"))),
            ("distinctBytes", .count(figure("distinctBytes"))),
            ("sharedBytes", .count(figure("sharedBytes"))), ("ownBytes", .count(ownBytes)),
            ("derivedLayers", .count(figure("madeLayers"))),
            ("derivedBytes", .count(figure("madeBytes"))),
        ])
    }
}

extension UsageReport.Scatter {
    /// Bytes read for each byte of the files, as "0.27".
    var text: String {
        let hundredths = restoredBytes == 0 ? 0 : readBytes * 100 / restoredBytes
        return "\(hundredths / 100).\(hundredths % 100 / 10)\(hundredths % 10)"
    }
}

extension UsageReport {
    /// The report for `--json`.
    func json(_ images: ImageSharesReport?) -> JSONText {
        .object([
            ("refs", .count(refs)), ("snapshots", .count(snapshots)),
            ("distinctFiles", .count(blobs)),
            ("distinctChunks", .count(chunks)), ("packs", .count(packs)),
            ("refFileBytes", .count(logicalBytes)), ("recordBytes", .count(rawBytes)),
            ("packBytes", .count(storedBytes)), ("freeBytes", .count(freeBytes)),
            (
                "measured",
                .object([
                    ("refs", .count(scatter.refs)), ("ranges", .count(scatter.ranges)),
                    ("readBytes", .count(scatter.readBytes)),
                    ("restoredBytes", .count(scatter.restoredBytes)),
                ])
            ),
            ("images", images?.json ?? .null),
            (
                "prefixes",
                .list(
                    rows.map {
                        .object([
                            ("prefix", .text($0.prefix)), ("refs", .count($0.refs)),
                            ("refFileBytes", .count($0.logicalBytes)),
                        ])
                    })
            ),
        ])
    }
}
