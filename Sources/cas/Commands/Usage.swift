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
            EXAMPLES:
              cas usage
              cas usage --json
            """)

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        try storeFlags.withStore(settings: try Settings.load()) { store in
            let report = try store.connection.usage()
            if output.json { return Console.data(report.json) }
            var table = TextTable(.left, .left)
            table.add("store", store.choice.text)
            table.add("refs", grouped(report.refs))
            table.add("snapshots", grouped(report.snapshots))
            table.add("distinct files", grouped(report.blobs))
            table.add("distinct chunks", grouped(report.chunks))
            table.add("packs", grouped(report.packs))
            table.add("files of all refs", ByteCount.text(report.logicalBytes))
            table.add("kept, uncompressed", ByteCount.text(report.rawBytes))
            table.add("kept, in packs", ByteCount.text(report.storedBytes))
            table.add("free on the disk", ByteCount.text(report.freeBytes))
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

extension UsageReport {
    /// The report for `--json`.
    var json: JSONText {
        .object([
            ("refs", .count(refs)), ("snapshots", .count(snapshots)), ("blobs", .count(blobs)),
            ("chunks", .count(chunks)), ("packs", .count(packs)),
            ("storedBytes", .count(storedBytes)), ("rawBytes", .count(rawBytes)),
            ("logicalBytes", .count(logicalBytes)), ("freeBytes", .count(freeBytes)),
            (
                "prefixes",
                .list(
                    rows.map {
                        .object([
                            ("prefix", .text($0.prefix)), ("refs", .count($0.refs)),
                            ("logicalBytes", .count($0.logicalBytes)),
                        ])
                    })
            ),
        ])
    }
}
