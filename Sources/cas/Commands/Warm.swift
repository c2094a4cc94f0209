import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASWire
import CASWorkspace

/// `cas warm REF…`.
struct WarmCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "warm",
        abstract: "Bring refs to a node cache, or to a server from another one.",
        usage: """
            cas warm REF … --cache DIR [OPTIONS]
            cas warm REF … --from URL [OPTIONS]
            """,
        discussion: """
            With --cache every file of the snapshots is brought into the node cache, without a \
            destination: later fetches with this cache take it from there. With --from, or where a REF \
            names a HOST, the store that is configured gets the refs from that server. What is there is \
            not moved again; every file is checked on the way.

            EXAMPLES:
              cas warm team/project team/deps --cache /var/cache/cas
              cas warm team/project --from https://cas.example
              cas warm cas.example/team/project --server http://127.0.0.1:8700
            """)

    @Argument(help: ArgumentHelp("Refs; with --cache digests as well.", valueName: "ref"))
    var references: [String]

    @Option(help: ArgumentHelp("The node cache to fill.", valueName: "dir"))
    var cache: String?

    @Option(help: ArgumentHelp("How large the cache may grow (10GiB).", valueName: "bytes"))
    var cacheSize: String?

    @Option(help: ArgumentHelp("The server that has the refs.", valueName: "url"))
    var from: String?

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func validate() throws {
        if cache != nil, from != nil {
            throw ValidationError("--cache and --from exclude each other")
        }
        if let from { _ = try Arguments.usage { try ServerAddress(from) } }
    }

    func run() throws {
        let settings = try Settings.load()
        let wanted = try references.map { (text: $0, reference: try Arguments.reference($0)) }
        var rows: [JSONText] = []
        for (text, reference) in wanted {
            let summary =
                try cache == nil && (from != nil || reference.host != nil)
                ? transfer(text, reference, settings) : fill(text, reference, settings)
            rows.append(summary)
        }
        if output.json { Console.data(.list(rows)) }
    }

    // MARK: - A cache

    private func fill(_ text: String, _ reference: Reference, _ settings: Settings) throws
        -> JSONText
    {
        guard let directory = settings.cache(flag: cache) else {
            throw ValidationError(
                "say what to warm: --cache DIR, or --from URL for the store that is configured")
        }
        let size = try cacheSize.map { try Arguments.bytes($0) }
        let path = try StoreChoice.absolute(directory.value)
        let fill = try CacheFill(path, limit: settings.cacheSize(flag: size).value)
        return try storeFlags.withStore(
            host: reference.host, isPatient: true, settings: settings
        ) { store in
            let counters = ProgressCounters()
            let title = "warming \(path) with \(text) from \(store.choice.text)"
            let summary = try ProgressLine.show(.fetch, title, counters) {
                try Warm.run(
                    reference.path, into: fill, connection: store.connection,
                    workers: WorkerGroup.processorCount, counters: counters)
            }
            return report(summary, text)
        }
    }

    // MARK: - A server

    private func transfer(
        _ text: String, _ reference: Reference, _ settings: Settings
    ) throws -> JSONText {
        let ref = try Arguments.refName(reference)
        let counters = ProgressCounters()
        return try storeFlags.withStore(
            create: true, isPatient: true, isForeign: true, settings: settings
        ) { target in
            try source(reference, settings) { source in
                let title = "warming \(target.choice.text) with \(text) from \(source.choice.text)"
                let summary = try ProgressLine.show(.fetch, title, counters) {
                    try Transfer.run(
                        TransferOptions(
                            want: reference.path, ref: ref,
                            provenance: settings.provenance(
                                message: "warmed from \(source.choice.text)")),
                        from: source.connection, to: target.connection, counters: counters)
                }
                return report(summary, text)
            }
        }
    }

    private func source<Result>(
        _ reference: Reference, _ settings: Settings, _ body: (StoreAccess) throws -> Result
    ) throws -> Result {
        var flags = StoreFlags()
        flags.server = from
        flags.store = nil
        flags.wait = storeFlags.wait
        return try flags.withStore(
            host: reference.host, isPatient: true, settings: settings, body)
    }

    // MARK: - Words

    private func report(_ summary: WarmSummary, _ text: String) -> JSONText {
        let digest = summary.plan.snapshot
        let name = summary.plan.ref.map { "\($0.name)@\(digest)" } ?? "\(digest)"
        if !output.json { Console.data(name) }
        func line(_ counts: WarmCounts) -> String {
            "\(counted(counts.files, "file")) (\(ByteCount.text(counts.bytes)))"
        }
        Console.note(
            "\(printable(text)): \(line(summary.hits)) there, \(line(summary.misses)) brought, "
                + "\(ByteCount.text(summary.receivedBytes)) received")
        return .object([
            ("ref", .text(text)), ("snapshot", .digest(digest)),
            ("hitFiles", .count(summary.hits.files)), ("hitBytes", .count(summary.hits.bytes)),
            ("missFiles", .count(summary.misses.files)),
            ("missBytes", .count(summary.misses.bytes)),
            ("receivedBytes", .count(summary.receivedBytes)),
        ])
    }
}
