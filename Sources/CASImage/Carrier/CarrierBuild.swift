package import CASClient
package import CASCore
import CASFileSystem
package import CASOCI
import CASRepository
import CASTree
package import CASWire
import Synchronization

/// A snapshot as the layers of an image that carries it: those of its tree, which a runtime runs, and some
/// small ones with what they do not say, which the last of them takes away again (Carrier.md).
package struct CarrierLayers: Sendable {
    /// What there may be beside the layers of the tree.
    package static let maximumCount = CarrierMessages.maximumFiles + 2

    /// The layers, in order.
    package let producers: [any LayerProducer]
    /// How the image is run and labelled.
    package let options: ImageOptions
    /// The digest of the snapshot.
    package let snapshot: Digest
    /// The root of its tree.
    package let tree: Digest
    /// Files and directories of the tree.
    package let entries: UInt64
    /// Bytes of its files.
    package let bytes: UInt64

    /// What is asked for.
    package struct Request: Sendable {
        /// The snapshot: a ref or digest of the store, without a host.
        package var path: String
        /// What its ref says of its image, as text.
        package var imageOptions = ""
        /// Where it came from; nil where that is not told.
        package var provenance: Provenance?
        /// How the layers of the tree are stored.
        package var compression = LayerCompression.none
        /// Layers that the base has.
        package var baseLayers = 0
        /// What is known of layers.
        package var memory: LayerMemory?
        /// What takes layers that should not be made twice.
        package var temporaryDirectory: String?
        /// Layers that are made at once.
        package var workers = 4

        /// A request for a snapshot, everything else as usual.
        package init(path: String) { self.path = path }
    }

    /// Reads the tree, and whatever layers nobody knows yet, to find their digests.
    package init(
        _ request: Request, from connection: any StoreConnection, counters: ProgressCounters
    ) throws {
        let text = try SnapshotImageOptions(request.imageOptions)
        let layerOptions = try text.layers
        let room = ComposedImage.maximumLayers - request.baseLayers - CarrierLayers.maximumCount
        let reader = try TreeReader(request.path, from: connection)
        guard Digest.of(reader.snapshot.encode()) == reader.digest else {
            throw CASError(
                .failedPrecondition, "'\(request.path)' names a tree without a snapshot of its own",
                hint: "fetch it and push it")
        }
        let lists = try CarrierMessages.lists(reader, from: connection, counters)
        let messages = try CarrierMessages(reader, lists: lists)
        let workspace = try WorkspaceLayers(
            reader, request.path, from: connection, options: layerOptions,
            compression: request.compression, memory: request.memory,
            temporaryDirectory: request.temporaryDirectory, maximumLayers: room)
        let descriptions = try CarrierLayers.describe(workspace.layers, request.workers)
        var index = CarrierIndex(
            snapshot: reader.snapshot.encode(), provenance: request.provenance?.encode() ?? [],
            imageOptions: text.text, options: layerOptions, layers: [], messages: [])
        for (part, description) in zip(workspace.parts, descriptions) {
            let size = try LayerEncoder(layerOptions).size(
                part, root: reader.snapshot.tree.digest, source: reader)
            index.layers.append(
                CarrierIndex.Layer(diffID: description.diffID, size: size, part: part))
        }
        let extra = try CarrierLayers.extra(
            messages, &index, in: try CarrierLayers.directory(reader, layerOptions))
        producers = workspace.layers + extra
        var options = try text.image
        let described = try extra[extra.count - 2].describe()
        options.labels[Annotation.carrier] = described.diffID.description
        options.annotations[Annotation.snapshot] = "\(reader.digest)"
        options.annotations[Annotation.tree] = "\(reader.snapshot.tree.digest)"
        if let commit = request.provenance?.gitCommit, !commit.isEmpty,
            request.provenance?.gitModified == false
        {
            options.annotations[Annotation.revision] = commit
        }
        self.options = options
        snapshot = reader.digest
        tree = reader.snapshot.tree.digest
        entries = workspace.entries
        bytes = workspace.bytes
    }

    private static func describe(
        _ layers: [any LayerProducer], _ workers: Int
    ) throws -> [LayerDescription] {
        let found = Mutex([Int: LayerDescription]())
        let next = Mutex(0)
        try WorkerGroup.run(count: max(1, min(workers, layers.count)), name: "carrier") { _ in
            do {
                while true {
                    let index = next.withLock { next in
                        defer { next += 1 }
                        return next
                    }
                    guard index < layers.count else { return }
                    let description = try layers[index].describe()
                    found.withLock { $0[index] = description }
                }
            } catch {
                // The others end after what they are at.
                next.withLock { $0 = layers.count }
                throw error
            }
        }
        let all = found.withLock { $0 }
        return layers.indices.compactMap { all[$0] }
    }

    /// A directory that the tree has not.
    private static func directory(
        _ reader: TreeReader, _ options: LayerOptions
    ) throws -> [UInt8] {
        var taken: Set<[UInt8]> = []
        if let first = options.prefix.split(separator: UInt8(ascii: "/")).first {
            taken.insert(Array(first))
        } else if let root = try reader.directory(reader.snapshot.tree.digest) {
            taken.formUnion(root.files.map(\.name.bytes))
            taken.formUnion(root.directories.map(\.name.bytes))
            taken.formUnion(root.symlinks.map(\.name.bytes))
        }
        return CarrierFormat.directory(besides: taken)
    }

    /// The layers with messages, that with the index, and the one that takes their files away.
    private static func extra(
        _ messages: CarrierMessages, _ index: inout CarrierIndex, in directory: [UInt8]
    ) throws -> [any LayerProducer] {
        var layers: [BytesLayer] = []
        var budget = MessageBudget()
        for group in messages.groups.dropFirst() {
            let file = try CarrierFormat.file(group, &budget)
            let name = "tree-\(Digest.of(file).hexadecimal.prefix(16))"
            let layer = BytesLayer(
                "what restores the tree", CarrierFormat.layer(file, named: name, in: directory))
            index.messages.append(layer.digest)
            layers.append(layer)
        }
        let file = try CarrierFormat.file(messages.groups[0], index: index, &budget)
        layers.append(
            BytesLayer(
                "what restores the snapshot",
                CarrierFormat.layer(file, named: "index", in: directory)))
        layers.append(
            BytesLayer("a tree without that", CarrierFormat.whiteout(directory)))
        guard layers.allSatisfy({ $0.count <= CarrierFormat.maximumLayerBytes }) else {
            throw CASError(
                .resourceExhausted,
                "the directories of the snapshot are too large to be carried by an image",
                hint: "push parts of the workspace as refs of their own")
        }
        return layers
    }
}

/// A small layer that lies in memory; always plain, as its content is compressed already.
private struct BytesLayer: LayerProducer {
    let title: String
    let digest: Digest
    private let bytes: [UInt8]
    var count: UInt64 { UInt64(bytes.count) }
    var mediaType: String? { MediaType.imageLayer }

    init(_ title: String, _ bytes: [UInt8]) {
        self.title = title
        self.bytes = bytes
        digest = Digest.of(bytes)
    }

    func describe() throws -> LayerDescription {
        LayerDescription(diffID: digest, digest: digest, size: count)
    }

    func write(_ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        try bytes.withUnsafeBytes { try sink($0) }
    }

    func close() throws {}
}
