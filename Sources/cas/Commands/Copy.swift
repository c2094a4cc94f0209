import ArgumentParser
import CASClient
import CASCore
import CASWire

/// `cas copy REF HOST/REF`.
struct CopyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "copy",
        abstract: "Bring a ref to another store; only what lacks there is sent.",
        usage: "cas copy REF HOST/REF [OPTIONS]",
        discussion: """
            Either side may name a HOST; one without is in the configured store, which --server or --store \
            name too. Each host gets only its own credentials. Records go as they are stored, checked on \
            the way; what the ref says of author, commit and expiry comes along.

            EXAMPLES:
              cas copy team/project cas.example/team/project
              cas copy cas.example/team/project:v1 team/project:v1 --store /srv/cas
              cas copy old.example/team/project new.example/team/project
            """)

    @Argument(help: ArgumentHelp("The ref or digest to bring.", valueName: "ref"))
    var source: String

    @Argument(help: ArgumentHelp("The ref to move.", valueName: "host/ref"))
    var target: String

    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        let from = try Arguments.reference(source)
        let to = try Arguments.reference(target)
        let name = try Arguments.refName(to)
        guard from.host != nil || to.host != nil else {
            throw ValidationError(
                "both refs are in one store; cas tag does that, or name another one: HOST/REF")
        }
        if from.host != nil, to.host != nil, storeFlags.server != nil || storeFlags.store != nil {
            throw ValidationError(
                "both refs name a HOST, so --server and --store would name a third store")
        }
        let settings = try Settings.load()
        try flags(from).withStore(host: from.host, isPatient: true, settings: settings) { source in
            try flags(to).withStore(
                host: to.host, create: true, isPatient: true, isForeign: true, settings: settings
            ) { target in
                try copy(from, source, name, target)
            }
        }
    }

    /// The flags are about the side that names no host.
    private func flags(_ reference: Reference) -> StoreFlags {
        guard reference.host != nil else { return storeFlags }
        var flags = StoreFlags()
        flags.server = nil
        flags.store = nil
        flags.wait = storeFlags.wait
        return flags
    }

    private func copy(
        _ from: Reference, _ source: StoreAccess, _ name: RefName, _ target: StoreAccess
    ) throws {
        guard source.connection.location != target.connection.location else {
            throw CASError(
                .invalidArgument, "both refs are in the same store",
                hint: "cas tag gives a snapshot another name")
        }
        Interruption.leaves(.push)
        var options = TransferOptions(
            want: from.path, ref: name,
            provenance: source.settings.provenance(message: "copied from \(source.choice.text)"))
        if case .ref(let ref) = from.target, let entry = try source.connection.ref(ref) {
            options.want = "\(ref.name)@\(entry.target.digest)"
            options.provenance = entry.provenance
            // Whom a token was for is found by the store that sees the token.
            options.provenance.subject = ""
            options.lifetime = entry.lifetime
            options.imageOptions = entry.imageOptions
            options.expires = entry.lifetime == 0 ? entry.expires : nil
        }
        let counters = ProgressCounters()
        let title = "copying \(from) from \(source.choice.text) to \(name) in \(target.choice.text)"
        let summary = try ProgressLine.show(.push, title, counters) {
            try Transfer.run(
                options, from: source.connection, to: target.connection, counters: counters)
        }
        report(summary, name, target)
    }

    private func report(_ summary: WarmSummary, _ name: RefName, _ target: StoreAccess) {
        let digest = summary.plan.snapshot
        if output.json {
            Console.data(
                .object([
                    ("ref", .text(name.description)), ("store", .text(target.choice.text)),
                    ("snapshot", .digest(digest)), ("previous", .digest(summary.previous)),
                    ("isMoved", .boolean(summary.isMoved)),
                    ("newFiles", .count(summary.misses.files)),
                    ("newBytes", .count(summary.misses.bytes)),
                    ("newDirectories", .count(summary.sentMessages)),
                    ("receivedBytes", .count(summary.receivedBytes)),
                    ("sentBytes", .count(summary.sentBytes)),
                ]))
        } else {
            Console.data("\(name.name)@\(digest)")
        }
        guard summary.isMoved else {
            return Console.note("\(name) in \(target.choice.text) is unchanged")
        }
        Console.note(
            "new: \(counted(summary.misses.files, "file")) "
                + "(\(ByteCount.text(summary.misses.bytes))) and "
                + "\(counted(summary.sentMessages, "message")) of directories; "
                + "\(ByteCount.text(summary.sentBytes)) "
                + (target.connection.isLocal ? "written" : "sent"))
        Console.note(
            "\(name) in \(target.choice.text) "
                + (summary.previous.map { "named \($0) before" } ?? "is new"))
    }
}
