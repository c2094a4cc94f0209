import ArgumentParser
import CASClient
import CASCore
import CASImage
import CASWire

/// `cas copy REF HOST/REF`, `cas copy REF oci://REGISTRY/NAME`.
struct CopyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "copy",
        abstract: "Bring a ref to another store or registry; only what lacks there is sent.",
        usage: """
            cas copy REF HOST/REF [OPTIONS]
            cas copy REF oci://REGISTRY/NAME[:TAG] [OPTIONS]
            cas copy oci://REGISTRY/NAME[:TAG] REF [OPTIONS]
            """,
        discussion: """
            Either side may name a HOST; one without is in the configured store, which --server or --store \
            name too. Each host gets only its own credentials. Records go as they are stored, checked on \
            the way; what the ref says of author, commit and expiry comes along. A ref may name an image: its \
            manifests and layers come, and what is about it, as signatures.

            With oci:// any registry carries the snapshot, as an image that runtimes pull and run and that \
            cas copy and cas fetch make the exact snapshot of again. Programs that copy images carry it on, \
            also where they compress its layers. --compression, --plain-http and --platform are for this; \
            credentials are those of docker, podman and 'cas login'.

            EXAMPLES:
              cas copy team/project cas.example/team/project
              cas copy cas.example/team/project:v1 team/project:v1 --store /srv/cas
              cas copy old.example/team/project new.example/team/project
              cas copy team/project:v1 oci://registry.example/team/project:v1
              cas copy oci://registry.example/team/project:v1 team/project:v1
            """)

    @Argument(help: ArgumentHelp("The ref or digest to bring.", valueName: "ref"))
    var source: String

    @Argument(help: ArgumentHelp("The ref to move.", valueName: "host/ref"))
    var target: String

    @Option(
        help: ArgumentHelp(
            "How a registry is given the files: of plain layers a fetch reads parts (none).",
            valueName: "none|gzip|zstd"))
    var compression: LayerCompression?

    @OptionGroup var registries: RegistryFlags
    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func run() throws {
        switch (CarrierCopy.isCarrier(source), CarrierCopy.isCarrier(target)) {
        case (true, true):
            throw ValidationError("both are in registries; skopeo copy brings an image there")
        case (false, true): return try CarrierCopy(self).carry(source, to: target)
        case (true, false): return try CarrierCopy(self).bring(source, to: target)
        case (false, false): break
        }
        guard compression == nil, registries.plainHTTP.isEmpty, registries.platform == nil else {
            throw ValidationError(
                "--compression, --plain-http and --platform are for oci:// and its registries")
        }
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
    func flags(_ reference: Reference) -> StoreFlags {
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
                hint: "cas tag gives it another name")
        }
        Interruption.leaves(.push)
        if let image = try source.connection.image(from) {
            return try copy(image, from, source, name, target)
        }
        var options = TransferOptions(
            want: from.path, ref: name,
            provenance: source.settings.provenance(message: "copied from \(source.choice.text)"))
        if case .ref(let ref) = from.target, try source.connection.ref(ref) != nil {
            let takesImages =
                try target.connection.describe().takesImages
                && source.connection.describe().takesImages
            let (entry, images) = try source.connection.refWithImages(
                ref, takesImages: takesImages)
            for name in images.unreadable {
                Console.note(
                    "left out: the image below, of '\(printable(name))', which is not there or may "
                        + "not be read")
            }
            options.images = NamedImage(
                name: ref.name, digest: images.derived ?? .zero, entry: entry, images: images)
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

    private func copy(
        _ image: NamedImage, _ from: Reference, _ source: StoreAccess, _ name: RefName,
        _ target: StoreAccess
    ) throws {
        var options = ImageTransferOptions(
            image: image, ref: name,
            provenance: source.settings.provenance(message: "copied from \(source.choice.text)"))
        if let entry = image.entry {
            options.provenance = entry.provenance
            options.provenance.subject = ""
            options.lifetime = entry.lifetime
            options.expires = entry.lifetime == 0 ? entry.expires : nil
        }
        let counters = ProgressCounters()
        let title = "copying \(from) from \(source.choice.text) to \(name) in \(target.choice.text)"
        let summary = try ProgressLine.show(.push, title, counters) {
            try ImageTransfer.run(
                options, from: source.connection, to: target.connection, counters: counters)
        }
        if output.json {
            Console.data(
                .object([
                    ("ref", .text(name.description)), ("store", .text(target.choice.text)),
                    ("manifest", .digest(summary.digest)), ("previous", .digest(summary.previous)),
                    ("isMoved", .boolean(summary.isMoved)),
                    ("blobs", .count(summary.all.files)),
                    ("newBlobs", .count(summary.misses.files)),
                    ("newBytes", .count(summary.misses.bytes)),
                    ("receivedBytes", .count(summary.receivedBytes)),
                    ("sentBytes", .count(summary.sentBytes)),
                ]))
        } else {
            Console.data("\(name.name)@\(summary.digest)")
        }
        guard summary.isMoved else {
            return Console.note("\(name) in \(target.choice.text) is unchanged")
        }
        Console.note(
            "new: \(summary.misses.files) of \(counted(summary.all.files, "blob")) "
                + "(\(ByteCount.text(summary.misses.bytes))); "
                + "\(ByteCount.text(summary.sentBytes)) "
                + (target.connection.isLocal ? "written" : "sent"))
        Console.note(
            "\(name) in \(target.choice.text) "
                + (summary.previous.map { "named \($0) before" } ?? "is new"))
    }

    func report(_ summary: WarmSummary, _ name: RefName, _ target: StoreAccess) {
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
        if let line = summary.image?.note(name) { Console.note(line) }
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
