package import CASClient
import CASCore
import CASFileSystem
package import CASOCI
import Synchronization

/// Puts an image together and into a repository: a base, and layers on top of it.
package struct ImageBuild: Sendable {
    /// The image below; nil for none.
    package var base: BaseImage?
    /// Where its layers are; nil without a base.
    package var baseRepository: (any ImageRepository)?
    /// The layers on top, in order.
    package var layers: [any LayerProducer]
    /// How it is run and what is said of it.
    package var options: ImageOptions
    /// How the layers on top are stored.
    package var compression: LayerCompression
    /// Where to.
    package var target: any ImageRepository
    /// Under which tag.
    package var tag: String
    /// What made the layers, for the history.
    package var createdBy = "cas image build"
    /// Whether nothing is written.
    package var isDryRun = false
    /// Blobs that are on their way at once.
    package var workers = 4

    /// A build of nothing on top of a base yet.
    package init(
        base: BaseImage?, in repository: (any ImageRepository)?, layers: [any LayerProducer],
        options: ImageOptions, compression: LayerCompression, target: any ImageRepository,
        tag: String
    ) {
        self.base = base
        baseRepository = repository
        self.layers = layers
        self.options = options
        self.compression = compression
        self.target = target
        self.tag = tag
    }

    /// What became of one layer.
    package struct PlacedLayer: Sendable {
        /// The layer.
        package var descriptor: Descriptor
        /// What it holds; nil for one of the base.
        package var title: String?
        /// What became of it; nil in a dry run that found it absent.
        package var placement: RegistryClient.Placement?
    }

    /// What was built.
    package struct Report: Sendable {
        /// The image.
        package var image: ComposedImage
        /// The digest of its manifest.
        package var digest: OCIDigest
        /// Its layers, the lowest first.
        package var layers: [PlacedLayer]
        /// What the tag named before; nil for nothing.
        package var previous: OCIDigest?
        /// Bytes of layers and configuration that were sent, or would be.
        package var sentBytes: UInt64
        /// Whether the tag named it before.
        package var isUnchanged: Bool { previous == digest }
    }

    /// Builds it; nothing is visible in the target before the end.
    package func run(_ counters: ProgressCounters) throws -> Report {
        defer {
            // What could not be closed is closed with the process.
            for layer in layers { do { try layer.close() } catch {} }
        }
        let described = try describe()
        let image = try ComposedImage(
            base: base, layers: described,
            options: options)
        let digest = OCIDigest.of(image.bytes)
        let previous = try named()
        var placed = image.manifest.layers.map { PlacedLayer(descriptor: $0) }
        let lower = placed.count - layers.count
        for (index, layer) in layers.enumerated() { placed[lower + index].title = layer.title }
        let placements = try place(placed, from: lower, counters)
        for index in placed.indices { placed[index].placement = placements[index] }
        var sent: UInt64 = 0
        for (index, layer) in placed.enumerated()
        where layer.placement == nil || layer.placement == .uploaded {
            let isFirst = !placed[..<index].contains {
                $0.descriptor.digest == layer.descriptor.digest
            }
            if isFirst { sent += layer.descriptor.size }
        }
        if !isDryRun {
            if try put(image.config, image.manifest.config.digest) {
                sent += UInt64(image.config.count)
            }
            try target.put(
                manifest: image.bytes, mediaType: image.manifest.mediaType, as: tag)
        }
        return Report(
            image: image, digest: digest, layers: placed, previous: previous, sentBytes: sent)
    }

    private func named() throws -> OCIDigest? {
        do { return try target.manifest(tag)?.digest } catch let error as CASError
            where isAbsence(error)
        { return nil }
    }

    /// Registries answer in these ways for a repository that a first push would make.
    private func isAbsence(_ error: CASError) -> Bool {
        [.notFound, .permissionDenied, .unauthenticated].contains(error.code)
    }

    private func describe() throws -> [ImageLayer] {
        let described = Mutex([Int: LayerDescription]())
        try each(layers.count) { index in
            let description = try layers[index].describe()
            described.withLock { $0[index] = description }
        }
        let all = described.withLock { $0 }
        return layers.indices.compactMap { index in
            all[index].map { description in
                ImageLayer(
                    descriptor: Descriptor(
                        mediaType: layers[index].mediaType ?? compression.mediaType,
                        digest: .sha256(description.digest), size: description.size),
                    diffID: description.diffID, createdBy: "\(createdBy) \(layers[index].title)")
            }
        }
    }

    /// Calls `body` for each number, several at once.
    private func each(_ count: Int, _ body: @escaping @Sendable (Int) throws -> Void) throws {
        guard count > 0 else { return }
        let next = Mutex(0)
        try WorkerGroup.run(count: min(workers, count), name: "image") { _ in
            do {
                while true {
                    let index = next.withLock { next in
                        defer { next += 1 }
                        return next
                    }
                    guard index < count else { return }
                    try body(index)
                }
            } catch {
                // The others end after what they are at.
                next.withLock { $0 = count }
                throw error
            }
        }
    }

    private func place(
        _ placed: [PlacedLayer], from lower: Int, _ counters: ProgressCounters
    ) throws -> [RegistryClient.Placement?] {
        // One upload for each content.
        var first: [OCIDigest: Int] = [:]
        for (index, layer) in placed.enumerated() where first[layer.descriptor.digest] == nil {
            first[layer.descriptor.digest] = index
        }
        let unique = first.values.sorted()
        let results = Mutex([OCIDigest: RegistryClient.Placement]())
        try each(unique.count) { number in
            let index = unique[number]
            let descriptor = placed[index].descriptor
            let placement =
                index < lower
                ? try placeLower(descriptor, counters)
                : try placeOwn(descriptor, layers[index - lower], counters)
            results.withLock { $0[descriptor.digest] = placement }
        }
        let all = results.withLock { $0 }
        return placed.map { all[$0.descriptor.digest] }
    }

    private func isThere(_ descriptor: Descriptor) throws -> Bool {
        guard isDryRun else { return try target.hasBlob(descriptor.digest, isWritten: true) }
        do {
            return try target.hasBlob(descriptor.digest, isWritten: false)
        } catch let error as CASError where isAbsence(error) { return false }
    }

    private func placeLower(
        _ descriptor: Descriptor, _ counters: ProgressCounters
    ) throws -> RegistryClient.Placement? {
        // Such layers are not to be copied; runtimes get them from their addresses.
        if !descriptor.urls.isEmpty { return .present }
        if try isThere(descriptor) { return .present }
        guard !isDryRun, let source = baseRepository else { return nil }
        let mounted = source.host == target.host ? [source.name] : []
        return try target.upload(
            descriptor.digest, size: descriptor.size, mountedFrom: mounted
        ) { write in
            try source.read(descriptor) { bytes in
                try write(bytes)
                counters.add(bytes: UInt64(bytes.count))
            }
        }
    }

    private func placeOwn(
        _ descriptor: Descriptor, _ layer: any LayerProducer, _ counters: ProgressCounters
    ) throws -> RegistryClient.Placement? {
        if layer.isDerived { return .derived }
        if try isThere(descriptor) { return .present }
        guard !isDryRun else { return nil }
        do {
            return try target.upload(descriptor.digest, size: descriptor.size, mountedFrom: []) {
                write in
                try layer.write { bytes in
                    try write(bytes)
                    counters.add(bytes: UInt64(bytes.count))
                }
            }
        } catch let error as CASError where error.code == .dataLoss {
            // A registry may say so before the last byte is known to have gone out, and `write` with it.
            layer.distrust()
            throw error
        }
    }

    /// Puts a small blob; whether it was sent.
    private func put(_ bytes: [UInt8], _ digest: OCIDigest) throws -> Bool {
        if try target.hasBlob(digest, isWritten: true) { return false }
        return try target.upload(digest, size: UInt64(bytes.count), mountedFrom: []) { write in
            try bytes.withUnsafeBytes { try write($0) }
        } == .uploaded
    }
}
