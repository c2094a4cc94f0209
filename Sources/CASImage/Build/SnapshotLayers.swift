package import CASClient
import CASCompression
package import CASCore
package import CASOCI
import CASFileSystem
import CASTree
import CASWire
import Synchronization

/// A snapshot to be put into an image, and where.
package struct WorkspaceLayers: Sendable {
    private static let plainVersion = "none"

    /// The digest of the snapshot.
    package let snapshot: Digest
    /// The layers, in order.
    package let layers: [any LayerProducer]
    /// What each of them holds; empty where the store made them.
    let parts: [LayerPart]
    /// Files and directories of the tree.
    package let entries: UInt64
    /// Bytes of its files.
    package let bytes: UInt64

    /// Plans the layers of what a reference names (without its host), for these options; `shown` is how people call it.
    ///
    /// `place` says whether the image goes into the very store of the snapshot: that makes plain layers of what it has,
    /// and nothing is read or sent. Else this reads the directories of the tree and no file. `temporaryDirectory` takes
    /// what should not be made twice between describing and sending it; nil makes it twice.
    package init(
        _ path: String, shown: String? = nil, from connection: any StoreConnection,
        options: LayerOptions,
        compression: LayerCompression, memory: LayerMemory?, temporaryDirectory: String?,
        maximumLayers: Int, level: Int? = nil, place: Place = .elsewhere
    ) throws {
        if compression == .none,
            let answer = try place.layers(path, connection, options, maximumLayers)
        {
            self.init(answer, of: shown ?? path)
            return
        }
        try self.init(
            try TreeReader(path, from: connection), shown ?? path, from: connection,
            options: options,
            compression: compression, memory: memory, temporaryDirectory: temporaryDirectory,
            maximumLayers: maximumLayers, level: level)
    }

    /// What the store of the snapshot made.
    private init(_ answer: LayersResponse, of path: String) {
        snapshot = answer.snapshot
        entries = answer.totals.entries
        bytes = answer.totals.bytes
        parts = []
        layers = answer.layers.map { DerivedTreeLayer($0, of: path) }
    }

    /// The same for a tree that was read.
    init(
        _ tree: TreeReader, _ path: String, from connection: any StoreConnection,
        options: LayerOptions, compression: LayerCompression, memory: LayerMemory?,
        temporaryDirectory: String?, maximumLayers: Int, level: Int? = nil
    ) throws {
        snapshot = tree.digest
        entries = tree.snapshot.totals.entries
        bytes = tree.snapshot.totals.bytes
        let plan = try LayerPlan(
            root: tree.snapshot.tree.digest, source: tree, options: options,
            maximumParts: max(1, min(maximumLayers, LayerPlan.maximumParts)))
        let format = compression.format
        let version =
            format.map { StreamCompressor.version($0, level: level) }
            ?? WorkspaceLayers.plainVersion
        // A plain layer of a store on this machine is made again as quickly as it is copied.
        let keeps = format != nil || !connection.isLocal
        parts = plan.items.map(\.part)
        layers = plan.items.map { item in
            TreeLayer(
                title: LayerTitle.text(item.part.text(options), of: path), item: item, tree: tree,
                connection: connection, options: options, format: format, level: level,
                version: version,
                memory: memory, temporaryDirectory: keeps ? temporaryDirectory : nil)
        }
    }
}

/// A layer made of a part of a tree.
private final class TreeLayer: LayerProducer {
    let title: String
    let isDerived = false
    private let item: LayerPlan.Item
    private let tree: TreeReader
    private let connection: any StoreConnection
    private let options: LayerOptions
    private let format: StreamCompressor.Format?
    private let level: Int?
    private let version: String
    private let memory: LayerMemory?
    private let temporaryDirectory: String?

    private struct State {
        var description: LayerDescription?
        var file: (any StoreFile)?
    }
    private let state = Mutex(State())

    init(
        title: String, item: LayerPlan.Item, tree: TreeReader, connection: any StoreConnection,
        options: LayerOptions, format: StreamCompressor.Format?, level: Int?, version: String,
        memory: LayerMemory?, temporaryDirectory: String?
    ) {
        self.title = title
        self.item = item
        self.tree = tree
        self.connection = connection
        self.options = options
        self.format = format
        self.level = level
        self.version = version
        self.memory = memory
        self.temporaryDirectory = temporaryDirectory
    }

    func describe() throws -> LayerDescription {
        if let known = state.withLock({ $0.description }) { return known }
        var description = memory?.find(item.key, version)
        var file: (any StoreFile)?
        if description == nil {
            file = try temporaryDirectory.map(ScratchFile.make)
            let made: LayerDescription
            do {
                made = try make { bytes in try file?.append(bytes) }
            } catch {
                file?.close()
                throw error
            }
            memory?.set(item.key, version, made)
            description = made
        }
        guard let description else { throw CASError(.internalError, "a layer was not described") }
        state.withLock { state in
            state.description = description
            state.file = file
        }
        return description
    }

    func write(_ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        let wanted = try describe()
        if let file = state.withLock({ $0.file }) {
            return try ScratchFile.read(file, 0..<wanted.size, sink)
        }
        guard try make(sink) == wanted else { throw changed() }
    }

    func distrust() { memory?.remove(item.key, version) }

    private func changed() -> CASError {
        distrust()
        return CASError(
            .dataLoss, "a layer is not what it was when it was made last: \(title)",
            hint: "run the command again", path: memory?.path)
    }

    /// Makes the layer, and says what it is.
    private func make(
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> LayerDescription {
        try withoutActuallyEscaping(sink) { sink in
            let output = LayerOutput(
                try format.map { try StreamCompressor($0, level: level) }, sink)
            var writer = LayerWriter(connection.readBlobs) { try output.take($0) }
            try LayerEncoder(options).encode(
                item.part, root: tree.snapshot.tree.digest, source: tree, to: &writer)
            try writer.flush()
            return try output.finish()
        }
    }

    func close() throws {
        state.withLock { state in
            state.file?.close()
            state.file = nil
        }
    }
}

/// Hashes a layer before and after it is compressed.
private final class LayerOutput {
    private let compressor: StreamCompressor?
    private let sink: (UnsafeRawBufferPointer) throws -> Void
    private var plain = DigestHasher()
    private var stored = DigestHasher()
    private var size: UInt64 = 0

    init(
        _ compressor: StreamCompressor?, _ sink: @escaping (UnsafeRawBufferPointer) throws -> Void
    ) {
        self.compressor = compressor
        self.sink = sink
    }

    func take(_ bytes: UnsafeRawBufferPointer) throws {
        plain.update(bytes)
        guard let compressor else { return try emit(bytes) }
        try compressor.compress(bytes) { try emit($0) }
    }

    private func emit(_ bytes: UnsafeRawBufferPointer) throws {
        if compressor != nil { stored.update(bytes) }
        size += UInt64(bytes.count)
        try sink(bytes)
    }

    func finish() throws -> LayerDescription {
        try compressor?.compress(UnsafeRawBufferPointer(start: nil, count: 0), isLast: true) {
            try emit($0)
        }
        let diffID = plain.finish()
        return LayerDescription(
            diffID: diffID, digest: compressor == nil ? diffID : stored.finish(), size: size)
    }
}
