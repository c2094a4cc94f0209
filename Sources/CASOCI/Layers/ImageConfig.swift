package import CASCore

/// The configuration of an image (image-spec, "Image Configuration"), with everything that a base says kept.
package struct ImageConfig: Hashable, Sendable {
    /// The document.
    package let json: JSON

    /// The configuration of an image of nothing.
    package static let empty = ImageConfig(.object([]))

    private init(_ json: JSON) { self.json = json }

    /// Reads a configuration of OCI's or Docker's; throws `invalidArgument`.
    package init(decoding bytes: [UInt8]) throws {
        json = try JSON(decoding: bytes)
        guard json.members != nil else {
            throw CASError(.invalidArgument, "the configuration of an image is not an object")
        }
        for text in json["rootfs"]?["diff_ids"]?.texts ?? [] { _ = try OCIDigest(text) }
    }

    /// Digests of the layers' plain archives, lowest first.
    package var diffIDs: [String] { json["rootfs"]?["diff_ids"]?.texts ?? [] }

    /// Where it runs; nil if it does not say so.
    package var platform: Platform? {
        json["architecture"]?.text == nil && json["os"]?.text == nil ? nil : Platform(json)
    }

    /// The entries of its history that stand for layers, or nil where they are not as many as these.
    private var history: [JSON]? {
        let entries = json["history"]?.elements ?? []
        let layers = entries.filter { $0["empty_layer"]?.flag != true }
        return layers.count == diffIDs.count ? entries : nil
    }

    /// The configuration of an image with layers on top of this one.
    package func adding(_ layers: [ImageLayer], options: ImageOptions) -> ImageConfig {
        let created = JSON.text(Timestamp(seconds: options.created).iso8601)
        var members = [JSON.Member("created", created)]
        if let author = json["author"] { members.append(JSON.Member("author", author)) }
        members += mergedPlatform(options).members
        members.append(JSON.Member("config", execution(options)))
        let diffIDs = self.diffIDs + layers.map { OCIDigest.sha256($0.diffID).description }
        members.append(
            JSON.Member(
                "rootfs",
                .object([.init("type", .text("layers")), .init("diff_ids", .texts(diffIDs))])))
        members.append(JSON.Member("history", .list(history(layers, created))))
        return ImageConfig(.object(members + ImageConfig.others(in: json, than: members)))
    }

    private func mergedPlatform(_ options: ImageOptions) -> Platform {
        var platform = self.platform ?? Platform(architecture: "", os: "")
        if !options.architecture.isEmpty {
            // The variant is one of the processor that the base is for.
            if options.architecture != platform.architecture { platform.variant = "" }
            platform.architecture = options.architecture
        }
        if !options.os.isEmpty { platform.os = options.os }
        if !options.variant.isEmpty { platform.variant = options.variant }
        if platform.architecture.isEmpty { platform.architecture = "amd64" }
        if platform.os.isEmpty { platform.os = "linux" }
        return platform
    }

    private func history(_ layers: [ImageLayer], _ created: JSON) -> [JSON] {
        // A base without history, or with one that tells of other layers, gets one entry for each layer.
        let base =
            history
            ?? diffIDs.map { _ in
                .object([.init("created", created), .init("created_by", .text("unknown"))])
            }
        return base
            + layers.map { layer in
                .object([
                    .init("created", created), .init("created_by", .text(layer.createdBy)),
                ])
            }
    }

    /// How it is run: the members in the order of the specification's Go structure, then what else the base has.
    private func execution(_ options: ImageOptions) -> JSON {
        let base = json["config"] ?? .object([])
        var members: [JSON.Member] = []
        func add(_ key: String, _ value: JSON?) {
            if let value { members.append(JSON.Member(key, value)) }
        }
        func words(_ values: [String]?) -> JSON? {
            values.flatMap { $0.isEmpty ? nil : .texts($0) }
        }
        add("User", options.user.isEmpty ? base["User"] : .text(options.user))
        add("ExposedPorts", base["ExposedPorts"])
        let environment = ImageConfig.merged(base["Env"]?.texts ?? [], options.environment)
        add("Env", words(environment))
        let entrypoint = options.entrypoint == nil ? base["Entrypoint"] : words(options.entrypoint)
        add("Entrypoint", entrypoint)
        // As in a Dockerfile, arguments of the base are not for another entry point.
        let inherited = options.entrypoint == nil ? base["Cmd"] : nil
        add("Cmd", options.command == nil ? inherited : words(options.command))
        add("Volumes", base["Volumes"])
        let directory = options.workingDirectory
        add("WorkingDir", directory.isEmpty ? base["WorkingDir"] : .text(directory))
        var labels = base["Labels"]?.map ?? [:]
        labels.merge(options.labels) { _, own in own }
        add("Labels", labels.isEmpty ? nil : .map(labels))
        add("StopSignal", base["StopSignal"])
        let others = ImageConfig.others(in: base, than: members)
        return .object(members + others.filter { !ImageConfig.known.contains($0.key) })
    }

    /// What was decided on above, so that a null of the base does not come back.
    private static let known: Set = [
        "User", "ExposedPorts", "Env", "Entrypoint", "Cmd", "Volumes", "WorkingDir", "Labels",
        "StopSignal",
    ]

    /// Variables of two lists: those of the first keep their place, with the last value given.
    private static func merged(_ base: [String], _ own: [String]) -> [String] {
        func name(_ entry: String) -> [UInt8] { Array(entry.utf8.prefix { $0 != 0x3d }) }
        var output: [String] = []
        var places: [[UInt8]: Int] = [:]
        for entry in base + own {
            if let place = places[name(entry)] {
                output[place] = entry
            } else {
                places[name(entry)] = output.count
                output.append(entry)
            }
        }
        return output
    }

    /// Members of an object that are not among `members`, by ascending bytes of their names.
    private static func others(in json: JSON, than members: [JSON.Member]) -> [JSON.Member] {
        let known = Set(members.map { Array($0.key.utf8) })
        let others = (json.members ?? []).filter { !known.contains(Array($0.key.utf8)) }
        return others.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
    }

    /// The document's bytes.
    package func encode() -> [UInt8] { json.encode() }
}

/// A layer as an image names it.
package struct ImageLayer: Hashable, Sendable {
    /// Its blob: the archive, or the archive compressed.
    package var descriptor: Descriptor
    /// The SHA-256 of the plain archive.
    package var diffID: Digest
    /// What made it, for the history.
    package var createdBy: String

    /// A layer from its parts.
    package init(descriptor: Descriptor, diffID: Digest, createdBy: String) {
        self.descriptor = descriptor
        self.diffID = diffID
        self.createdBy = createdBy
    }

    /// A plain layer, whose digest is its DiffID.
    package init(plain diffID: Digest, size: UInt64, createdBy: String) {
        self.init(
            descriptor: Descriptor(
                mediaType: MediaType.imageLayer, digest: .sha256(diffID), size: size),
            diffID: diffID, createdBy: createdBy)
    }
}

/// The image that others are built on: its manifest and its configuration.
package struct BaseImage: Hashable, Sendable {
    package var manifest: ImageManifest
    package var config: ImageConfig
    /// What it was called.
    package var name: String
    /// The digest of its manifest.
    package var digest: OCIDigest

    /// A base from its parts.
    package init(manifest: ImageManifest, config: ImageConfig, name: String, digest: OCIDigest) {
        self.manifest = manifest
        self.config = config
        self.name = name
        self.digest = digest
    }
}

/// An image put together: what to store, and in which order nothing refers to what is not there.
package struct ComposedImage: Hashable, Sendable {
    /// The configuration.
    package let config: [UInt8]
    /// The manifest.
    package let manifest: ImageManifest
    /// The manifest's bytes.
    package let bytes: [UInt8]

    /// Puts layers on top of a base, or of nothing; the same values are the same bytes.
    ///
    /// Throws `invalidArgument` where the base's configuration does not fit its layers, or there are more
    /// layers than runtimes mount.
    package init(base: BaseImage?, layers: [ImageLayer], options: ImageOptions) throws {
        let lower = base?.manifest.layers ?? []
        let config = base?.config ?? .empty
        guard config.diffIDs.count == lower.count else {
            throw CASError(
                .invalidArgument, "the configuration of the base image does not fit its layers",
                hint: "a base has to be an image that runs, not another kind of artifact")
        }
        guard lower.count + layers.count <= ComposedImage.maximumLayers else {
            throw CASError(
                .invalidArgument,
                "an image of \(lower.count + layers.count) layers is more than the "
                    + "\(ComposedImage.maximumLayers) that runtimes mount")
        }
        self.config = config.adding(layers, options: options).encode()
        var annotations = options.annotations
        if let base {
            if !base.name.isEmpty { annotations[Annotation.baseName] = base.name }
            annotations[Annotation.baseDigest] = base.digest.description
        }
        if options.created != 0 {
            annotations[Annotation.created] = Timestamp(seconds: options.created).iso8601
        }
        manifest = ImageManifest(
            config: Descriptor(mediaType: MediaType.imageConfig, of: self.config),
            layers: lower.map(ComposedImage.translated) + layers.map(\.descriptor),
            annotations: annotations)
        bytes = manifest.encode()
    }

    /// Layers that runtimes mount at most.
    package static let maximumLayers = 127

    /// Docker's layers in a manifest of OCI's: the same bytes by OCI's names.
    private static func translated(_ layer: Descriptor) -> Descriptor {
        var layer = layer
        switch layer.mediaType {
        case MediaType.dockerLayer: layer.mediaType = MediaType.imageLayer
        case MediaType.dockerLayerGzip: layer.mediaType = MediaType.imageLayerGzip
        case MediaType.dockerLayerZstd: layer.mediaType = MediaType.imageLayerZstd
        default: break
        }
        return layer
    }
}

/// Names of annotations.
package enum Annotation {
    package static let created = "org.opencontainers.image.created"
    package static let authors = "org.opencontainers.image.authors"
    package static let url = "org.opencontainers.image.url"
    package static let documentation = "org.opencontainers.image.documentation"
    package static let source = "org.opencontainers.image.source"
    package static let version = "org.opencontainers.image.version"
    package static let revision = "org.opencontainers.image.revision"
    package static let vendor = "org.opencontainers.image.vendor"
    package static let licenses = "org.opencontainers.image.licenses"
    package static let refName = "org.opencontainers.image.ref.name"
    package static let title = "org.opencontainers.image.title"
    package static let description = "org.opencontainers.image.description"
    package static let baseName = "org.opencontainers.image.base.name"
    package static let baseDigest = "org.opencontainers.image.base.digest"
    /// The digest of the snapshot that an image was made of.
    package static let snapshot = "org.example.cas.snapshot"
    /// The root of the tree that an image was made of.
    package static let tree = "org.example.cas.tree"
    /// A label: the DiffID of the layer with the index of the snapshot that an image carries (Carrier.md).
    package static let carrier = "org.example.cas.carrier"
}
