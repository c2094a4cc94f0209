import ArgumentParser
import CASClient
import CASCore
import CASFileSystem
import CASImage
import CASOCI

/// `cas image build --base IMAGE --workspace REF … --to IMAGE`.
struct ImageBuildCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "build",
        abstract: "Build an image of snapshots on top of a base, and push it.",
        usage:
            "cas image build --base IMAGE|scratch --workspace REF[=/PATH] … --to IMAGE [OPTIONS]",
        discussion: """
            No daemon, no root, no Dockerfile. An IMAGE whose first component has a dot, a colon, or is \
            'localhost' is in that registry; all else is a name in the configured store, never in a public \
            registry. Of a base only manifest and configuration are read where its layers are in the target \
            or can be mounted there, and layers of snapshots are neither read nor sent where the target is the \
            server that has them. Snapshots become layers in the order given: dependencies first, then \
            code, so that an edit changes the last ones only. Credentials are those of docker, podman and \
            'cas login', each sent to its registry only.
            The same inputs are the same image: times are SOURCE_DATE_EPOCH, else that of the newest push.

            EXAMPLES:
              cas image build --base docker.io/library/python:3.12 --workspace team/deps=/opt/deps \
            --workspace team/train --to registry.example/team/train:v1 --cmd '["python3", "train.py"]'
              cas image build --base scratch --workspace team/tool --prefix / --entrypoint /tool --to team/tool:image
              cas image build --base team/base:v2 --workspace team/train --to team/train:run --dry-run
            """)

    @OptionGroup var image: ImageFlags

    @Option(help: ArgumentHelp("The image to push.", valueName: "image"))
    var to: String

    @Option(
        help: ArgumentHelp(
            "How layers are stored: plain ones share their bytes with snapshots.",
            valueName: "none|gzip|zstd"))
    var compression = LayerCompression.none

    @Option(
        help: ArgumentHelp(
            "How hard: 1 to 9 for gzip (6), 1 to 19 for zstd (3).", valueName: "number"))
    var compressionLevel: Int?

    @Flag(help: "Say what would be sent, and send and change nothing.")
    var dryRun = false

    @OptionGroup var registries: RegistryFlags
    @OptionGroup var storeFlags: StoreFlags
    @OptionGroup var output: OutputFlags

    func validate() throws {
        let target = try ImageAccess.reference(to)
        guard target.digest == nil else {
            throw ValidationError("--to names a digest, which only the image itself decides")
        }
        _ = try image.host()
        guard let level = compressionLevel else { return }
        guard compression.levels?.contains(level) == true else {
            throw ValidationError(
                "--compression-level \(level) is none of --compression \(compression)")
        }
    }

    func run() throws {
        let settings = try Settings.load()
        let access = ImageAccess(settings, registries, storeFlags)
        let host = try image.host()
        try storeFlags.withStore(host: host, isPatient: true, settings: settings) { store in
            let work = { () throws -> Void in
                let result = Result { try build(store, access) }
                try access.close()
                let (report, target) = try result.get()
                show(report, target)
            }
            guard host != nil else {
                access.store = store
                return try work()
            }
            access.snapshots = store
            guard try needsConfiguredStore() else { return try work() }
            // Snapshots of some host, images of the configured store.
            try storeFlags.withStore(isPatient: true, settings: settings) { images in
                access.store = images
                try work()
            }
        }
    }

    /// Whether an image is named that is in no registry.
    private func needsConfiguredStore() throws -> Bool {
        if try ImageAccess.reference(to).host == nil { return true }
        return try image.base != "scratch" && ImageAccess.reference(image.base).host == nil
    }

    private func build(
        _ store: StoreAccess, _ access: ImageAccess
    ) throws -> (ImageBuild.Report, ImageReference) {
        let workspaces = try image.workspaces()
        let target = try ImageAccess.reference(to)
        let isBeside = try compression == .none && access.isBesideSnapshots(target)
        let place: WorkspaceLayers.Place =
            isBeside ? .here(name: target.name, isDryRun: dryRun) : .elsewhere
        let origin = try WorkspaceOrigin(workspaces.map(\.reference), store.connection)
        let (base, baseRepository) = try resolveBase(access)
        let cache = FilePaths.join(store.settings.directories.cache.value, "layers")
        let memory = try LayerMemory(path: FilePaths.join(cache, "known"))
        var layers: [any LayerProducer] = []
        let directories = try image.emptyDirectories()
        var room = ComposedImage.maximumLayers - (base?.manifest.layers.count ?? 0)
        if !directories.isEmpty { room -= 1 }
        for (index, workspace) in workspaces.enumerated() {
            let rest = workspaces.count - index - 1
            let planned = try WorkspaceLayers(
                origin.paths[index], shown: workspace.reference.path, from: store.connection,
                options: workspace.options,
                compression: compression, memory: memory,
                temporaryDirectory: dryRun ? nil : cache, maximumLayers: room - rest,
                level: compressionLevel, place: place)
            layers += planned.layers
            room -= planned.layers.count
            Console.note(
                "\(workspace.reference) in \(workspace.directory): "
                    + "\(counted(planned.entries, "entry", "entries")), "
                    + "\(ByteCount.text(planned.bytes)), \(counted(planned.layers.count, "layer"))")
        }
        if !directories.isEmpty, let owner = workspaces.last?.options {
            layers.append(
                try DirectoryLayer(
                    directories, owner: owner, compression: compression, level: compressionLevel))
        }
        let repository = try access.repository(target)
        var build = ImageBuild(
            base: base, in: baseRepository, layers: layers,
            options: try options(workspaces, origin, on: base, store), compression: compression,
            target: repository,
            tag: target.tag ?? RefName.defaultTag)
        build.isDryRun = dryRun
        let counters = ProgressCounters()
        // What a build learned of layers, or forgot, holds for the next one whatever became of it.
        let outcome = Result {
            try ProgressLine.show(
                .image, "building \(target)", counters, isQuiet: dryRun
            ) { try build.run(counters) }
        }
        let saved = Result { try memory.save() }
        let report = try outcome.get()
        try saved.get()
        return (report, target)
    }

    private func resolveBase(
        _ access: ImageAccess
    ) throws -> (CASOCI.BaseImage?, (any ImageRepository)?) {
        guard image.base != "scratch" else { return (nil, nil) }
        let reference = try ImageAccess.reference(image.base)
        let repository = try access.repository(reference)
        let resolved = try ResolvedImage(
            reference, in: repository, platform: try registries.chosenPlatform())
        let config = try ImageConfig(decoding: resolved.configuration)
        if registries.platform != nil {
            try registries.chosenPlatform().require(config.json, of: "\(reference)")
        }
        var name = reference
        if name.digest == nil || name.tag != nil {
            name.tag = name.tag ?? RefName.defaultTag
            name.digest = nil
        }
        return (
            CASOCI.BaseImage(
                manifest: resolved.manifest, config: config,
                // A name of our store means another image elsewhere, and the server's address is none of the image.
                name: reference.host == nil ? "" : name.description, digest: resolved.top.digest),
            repository
        )
    }

    private func options(
        _ workspaces: [ImageFlags.Workspace], _ origin: WorkspaceOrigin,
        on base: CASOCI.BaseImage?, _ store: StoreAccess
    ) throws -> ImageOptions {
        var options = try image.options()
        options.created = try origin.created(store.settings.environment)
        if let revision = origin.revision, options.annotations[Annotation.revision] == nil {
            options.annotations[Annotation.revision] = revision
        }
        if image.base == "scratch" {
            let platform = try registries.chosenPlatform()
            options.os = platform.os
            options.architecture = platform.architecture
            options.variant = platform.variant ?? ""
        }
        let inherited = base?.config.json["config"]?["WorkingDir"]?.text ?? ""
        if options.workingDirectory.isEmpty, ["", "/"].contains(inherited),
            let last = workspaces.last
        {
            options.workingDirectory = last.directory
        }
        return options
    }

    // MARK: - Output

    private func show(_ report: ImageBuild.Report, _ target: ImageReference) {
        let tag = "\(target.name):\(target.tag ?? RefName.defaultTag)"
        let place = target.host.map { "\($0)/" } ?? ""
        if output.json {
            Console.data(json(report, place + tag))
        } else {
            Console.data("\(place)\(target.name)@\(report.digest)")
        }
        let states = report.layers.map(\.placement)
        func count(_ placement: RegistryClient.Placement?) -> Int {
            states.filter { $0 == placement }.count
        }
        let sent = dryRun ? states.filter { $0 == nil }.count : count(.uploaded)
        var parts = [
            "\(counted(sent, "layer")) \(dryRun ? "would be sent" : "sent") "
                + "(\(ByteCount.text(report.sentBytes)))"
        ]
        if count(.derived) > 0 {
            parts.append("\(grouped(count(.derived))) made there of what is stored")
        }
        if count(.mounted) > 0 { parts.append("\(grouped(count(.mounted))) mounted") }
        if count(.present) > 0 { parts.append("\(grouped(count(.present))) there already") }
        Console.note(parts.joined(separator: ", "))
        if report.isUnchanged {
            Console.note("\(place)\(tag) is unchanged")
        } else if dryRun {
            Console.note("\(place)\(tag) would name \(report.digest)")
        } else {
            Console.note("\(place)\(tag) names \(report.digest) now")
        }
    }

    private func json(_ report: ImageBuild.Report, _ name: String) -> JSONText {
        .object([
            ("image", .text(name)), ("digest", .text(report.digest.description)),
            ("configuration", .text(report.image.manifest.config.digest.description)),
            ("isUnchanged", .boolean(report.isUnchanged)), ("isDryRun", .boolean(dryRun)),
            ("uploadedBytes", .count(report.sentBytes)),
            (
                "layers",
                .list(
                    report.layers.map { layer in
                        .object([
                            ("digest", .text(layer.descriptor.digest.description)),
                            ("mediaType", .text(layer.descriptor.mediaType)),
                            ("size", .count(layer.descriptor.size)),
                            ("from", .optional(layer.title)),
                            ("placement", .optional(layer.placement.map { "\($0)" })),
                        ])
                    })
            ),
        ])
    }
}
