import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASImage
import CASOCI
import CASRepository
import CASWire

/// `cas copy` to and from registries that carry snapshots.
struct CarrierCopy {
    private let command: CopyCommand

    init(_ command: CopyCommand) { self.command = command }

    /// Whether somebody named an image in a registry.
    static func isCarrier(_ text: String) -> Bool { text.hasPrefix(ImageReference.scheme) }

    /// Opens what an image carries, and says what it is.
    static func open(
        _ text: String, _ registries: RegistryFlags, _ storeFlags: StoreFlags,
        _ settings: Settings, compresses: Bool = false,
        _ body: (StoreAccess, CarriedSnapshot) throws -> Void
    ) throws {
        let image = try ImageAccess.reference(text)
        let access = ImageAccess(settings, registries, storeFlags)
        let scratch = LayerScratch(
            directory: FilePaths.join(settings.directories.cache.value, "layers"),
            onNote: { Console.note(printable($0)) })
        let result = Result {
            let carried = try CarriedSnapshot(
                image, in: try access.registry(image), platform: try registries.chosenPlatform(),
                compresses: compresses, scratch: scratch)
            defer { carried.close() }
            Console.note(
                "\(image) is the image \(carried.image), which carries snapshot \(carried.digest)")
            let address = try ServerAddress(host: image.host ?? "")
            try body(
                StoreAccess(
                    connection: carried, choice: .server(address, .reference), settings: settings),
                carried)
        }
        try access.close()
        try result.get()
    }

    /// The flags of the side that is a store.
    private func flags(_ reference: Reference) throws -> StoreFlags {
        guard
            reference.host == nil
                || (command.storeFlags.server == nil && command.storeFlags.store == nil)
        else {
            throw ValidationError(
                "'\(reference)' names a HOST, so --server and --store would name another store")
        }
        return command.flags(reference)
    }

    // MARK: - Into a registry

    /// Puts a snapshot of a store into a registry.
    func carry(_ source: String, to target: String) throws {
        let from = try Arguments.reference(source)
        let image = try ImageAccess.reference(target)
        guard image.digest == nil else {
            throw ValidationError("'\(target)' names a digest, which only the image itself decides")
        }
        guard command.registries.platform == nil else {
            throw ValidationError(
                "--platform is for reading; --image-option platform=… of cas push says what a "
                    + "snapshot is for")
        }
        let settings = try Settings.load()
        let flags = try flags(from)
        try flags.withStore(host: from.host, isPatient: true, settings: settings) { store in
            let access = ImageAccess(settings, command.registries, flags)
            access.store = store
            let result = Result { try carry(from, store, to: image, shown: target, access) }
            try access.close()
            try result.get()
        }
    }

    private func carry(
        _ from: Reference, _ store: StoreAccess, to image: ImageReference, shown: String,
        _ access: ImageAccess
    ) throws {
        Interruption.leaves(.push)
        let cache = FilePaths.join(store.settings.directories.cache.value, "layers")
        let memory = try LayerMemory(path: FilePaths.join(cache, "known"))
        var request = CarrierLayers.Request(path: from.path)
        if case .ref(let ref) = from.target, let entry = try store.connection.ref(ref) {
            // By digest: a ref may move meanwhile.
            request.path = "\(ref.name)@\(entry.target.digest)"
            request.imageOptions = entry.imageOptions
            var provenance = entry.provenance
            // Whom a token was for is found by the store that sees the token.
            provenance.subject = ""
            request.provenance = provenance
        }
        request.compression = command.compression ?? .none
        request.memory = memory
        request.temporaryDirectory = cache
        let (base, baseRepository) = try base(request.imageOptions, access)
        request.baseLayers = base?.manifest.layers.count ?? 0
        let target = try access.registry(image)
        let counters = ProgressCounters()
        let title = "copying \(from) from \(store.choice.text) to \(shown)"
        let copy = { () throws -> (CarrierLayers, ImageBuild.Report) in
            let carrier = try CarrierLayers(request, from: store.connection, counters: counters)
            var build = ImageBuild(
                base: base, in: baseRepository, layers: carrier.producers,
                options: carrier.options, compression: request.compression, target: target,
                tag: image.tag ?? RefName.defaultTag)
            build.createdBy = "cas copy"
            return (carrier, try build.run(counters))
        }
        let outcome = Result { try ProgressLine.show(.image, title, counters, copy) }
        let saved = Result { try memory.save() }
        let (carrier, report) = try outcome.get()
        try saved.get()
        show(carrier, report, image)
    }

    /// The image below, where the ref says one.
    private func base(
        _ text: String, _ access: ImageAccess
    ) throws -> (CASOCI.BaseImage?, (any ImageRepository)?) {
        let options = try SnapshotImageOptions(text)
        guard let base = options.base else { return (nil, nil) }
        let reference = ImageReference(
            host: nil, name: base.name, tag: nil, digest: .sha256(base.digest))
        let repository = try access.repository(reference)
        let resolved = try ResolvedImage(
            reference, in: repository, platform: try ImagePlatform(options.platform))
        return (
            CASOCI.BaseImage(
                manifest: resolved.manifest,
                config: try ImageConfig(decoding: resolved.configuration), name: base.name,
                digest: .sha256(base.digest)), repository
        )
    }

    private func show(
        _ carrier: CarrierLayers, _ report: ImageBuild.Report, _ image: ImageReference
    ) {
        let name = "\(image.host.map { "\($0)/" } ?? "")\(image.name)"
        let tag = "\(name):\(image.tag ?? RefName.defaultTag)"
        if command.output.json {
            Console.data(
                .object([
                    ("image", .text(tag)), ("digest", .text(report.digest.description)),
                    ("snapshot", .digest(carrier.snapshot)), ("tree", .digest(carrier.tree)),
                    ("previous", .optional(report.previous?.description)),
                    ("isMoved", .boolean(!report.isUnchanged)),
                    ("layers", .count(report.layers.count)),
                    ("newLayers", .count(count(report, .uploaded))),
                    ("uploadedBytes", .count(report.sentBytes)),
                ]))
        } else {
            Console.data("\(name)@\(report.digest)")
        }
        Console.note(
            "snapshot \(carrier.snapshot): \(counted(carrier.entries, "entry", "entries")), "
                + "\(ByteCount.text(carrier.bytes)) in \(counted(report.layers.count, "layer"))")
        var parts = ["\(counted(count(report, .uploaded), "layer"))"]
        if count(report, .mounted) > 0 {
            parts.append("\(grouped(count(report, .mounted))) mounted")
        }
        if count(report, .present) > 0 {
            parts.append("\(grouped(count(report, .present))) there already")
        }
        Console.note(
            "new: \(parts.joined(separator: ", ")); \(ByteCount.text(report.sentBytes)) sent")
        guard !report.isUnchanged else { return Console.note("\(tag) is unchanged") }
        Console.note(
            "\(tag) names \(report.digest) now"
                + (report.previous.map { " and named \($0) before" } ?? ""))
    }

    private func count(
        _ report: ImageBuild.Report, _ placement: RegistryClient.Placement
    ) -> Int {
        report.layers.filter { $0.placement == placement }.count
    }

    // MARK: - Out of a registry

    /// Brings what an image carries into a store.
    func bring(_ source: String, to target: String) throws {
        let to = try Arguments.reference(target)
        let name = try Arguments.refName(to)
        guard command.compression == nil else {
            throw ValidationError("--compression is for what a registry is given")
        }
        let settings = try Settings.load()
        let flags = try flags(to)
        try flags.withStore(
            host: to.host, create: true, isPatient: true, isForeign: true, settings: settings
        ) { target in
            try CarrierCopy.open(source, command.registries, flags, settings, compresses: true) {
                _, carried in
                try bring(carried, from: source, to: name, in: target)
            }
        }
    }

    private func bring(
        _ carried: CarriedSnapshot, from source: String, to name: RefName, in target: StoreAccess
    ) throws {
        Interruption.leaves(.push)
        var options = TransferOptions(
            want: carried.digest.description, ref: name,
            provenance: carried.provenance
                ?? target.settings.provenance(message: "copied from \(source)"))
        if try SnapshotImageOptions(carried.imageOptions).base == nil {
            options.imageOptions = carried.imageOptions
        } else {
            Console.note(
                "the base of its image is not copied; --image-option of cas tag sets another")
        }
        let counters = ProgressCounters()
        let title = "copying \(source) to \(name) in \(target.choice.text)"
        let summary = try ProgressLine.show(.push, title, counters) {
            try Transfer.run(
                options, from: carried, to: target.connection, counters: counters)
        }
        command.report(summary, name, target)
    }
}
