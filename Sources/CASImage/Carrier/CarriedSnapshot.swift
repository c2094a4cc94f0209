import CASClient
package import CASCore
package import CASOCI
import CASPack
import CASTree
package import CASWire
import CASWorkspace
import Synchronization

/// A snapshot that an image in a registry carries, as a store from which it is fetched and copied.
///
/// Its messages are read and checked when it is opened; of the layers with its files as much as is asked
/// for. Any thread may call.
package final class CarriedSnapshot: Sendable {
    /// The image that carries it, as its reference names it.
    package let image: OCIDigest
    /// The digest of the snapshot.
    package let digest: Digest
    /// Where it came from; nil where that is not told.
    package let provenance: Provenance?
    /// What its ref said of its image, as text.
    package let imageOptions: String
    let snapshot: Snapshot
    let registry: RegistryClient
    let limits: Limits
    let layers: [CarriedLayer]
    /// Bytes of their plain archives.
    let sizes: [UInt64]
    let contents: TreeContents
    /// Its messages in the order in which they came, and what they are.
    let messages: [(digest: Digest, kind: RecordKind)]
    let kinds: [Digest: RecordKind]
    let lists: [Digest: ChunkList]
    let files: [Digest: CarriedExtent]
    /// Whether records that are handed out are compressed, as those for another store should be.
    let compresses: Bool
    let chunks = Mutex<[Digest: CarriedExtent]?>(nil)
    let refusesRanges = Mutex(false)
    let spools: LayerSpools?

    /// Opens what an image carries.
    ///
    /// Layers that are compressed are unpacked in `scratch`; without one they are read again for each part of them that is
    /// asked for. Throws `notFound` where there is no image, `failedPrecondition` for one that carries nothing, and
    /// `dataLoss` where something is not what its digest says.
    package init(
        _ reference: ImageReference, in registry: RegistryClient, platform: ImagePlatform,
        compresses: Bool = false, scratch: LayerScratch? = nil, limits: Limits = .standard
    ) throws {
        let resolved = try ResolvedImage(reference, in: registry, platform: platform)
        let places = try CarriedSnapshot.places(resolved, reference)
        func layer(_ diffID: Digest) throws -> CarriedLayer {
            guard let descriptor = places.descriptors[diffID] else {
                throw CarrierFormat.damaged("a layer is not in the image")
            }
            return CarriedLayer(registry: registry, descriptor: descriptor, diffID: diffID)
        }
        let loaded = try Loader(limits: limits)
        guard let index = try loaded.take(try layer(places.index)) else {
            throw CarrierFormat.damaged("it has no index")
        }
        for diffID in index.messages {
            guard try loaded.take(try layer(diffID)) == nil else { throw CarrierFormat.damaged() }
        }
        snapshot = try Snapshot(decoding: index.snapshot)
        try loaded.check(snapshot, limits)
        digest = Digest.of(index.snapshot)
        layers = try index.layers.map { one in
            let layer = try layer(one.diffID)
            guard !layer.isPlain || layer.descriptor.size == one.size else {
                throw CarrierFormat.damaged("a layer has another size than its index says")
            }
            return layer
        }
        sizes = index.layers.map(\.size)
        spools = scratch.map { [layers, sizes] in LayerSpools($0, layers, sizes) }
        var found = try CarriedFiles(
            index, snapshot, loaded.contents, limits: limits
        ).extents
        for (digest, list) in loaded.lists where found[digest]?.size == list.size {
            found[digest]?.list = list
        }
        files = found
        image = resolved.top.digest
        var said =
            index.provenance.isEmpty
            ? nil : try Provenance(decoding: index.provenance, limits: limits)
        // Whom a token was for is found by the store that sees the token.
        said?.subject = ""
        provenance = said
        imageOptions = index.imageOptions
        contents = loaded.contents
        messages = loaded.messages
        kinds = loaded.kinds
        lists = loaded.lists
        self.registry = registry
        self.compresses = compresses
        self.limits = limits
    }

    /// The layers of an image by what they are uncompressed, and which of them has the index.
    private static func places(
        _ image: ResolvedImage, _ reference: ImageReference
    ) throws -> (descriptors: [Digest: Descriptor], index: Digest) {
        let config = try ImageConfig(decoding: image.configuration)
        guard let label = config.json["config"]?["Labels"]?.map?[Annotation.carrier] else {
            throw CASError(
                .failedPrecondition, "\(reference) is an image that carries no snapshot",
                hint: "cas copy REF oci://\(reference.host ?? "HOST")/\(reference.name) makes one "
                    + "that does; podman or docker run this one")
        }
        guard let index = try OCIDigest(label).sha256 else { throw CarrierFormat.damaged() }
        let diffIDs = config.diffIDs
        guard diffIDs.count == image.manifest.layers.count else {
            throw CarrierFormat.damaged("its configuration does not fit its layers")
        }
        var descriptors: [Digest: Descriptor] = [:]
        for (text, descriptor) in zip(diffIDs, image.manifest.layers) {
            guard let digest = try OCIDigest(text).sha256 else { continue }
            descriptors[digest] = descriptor
        }
        return (descriptors, index)
    }
}

/// Gathers what the files in an image say.
private final class Loader {
    let contents: TreeContents
    private(set) var messages: [(digest: Digest, kind: RecordKind)] = []
    private(set) var kinds: [Digest: RecordKind] = [:]
    private(set) var lists: [Digest: ChunkList] = [:]
    private let limits: Limits
    private var budget = MessageBudget()

    init(limits: Limits) throws {
        self.limits = limits
        contents = try TreeContents(limits: limits)
    }

    /// Takes the messages of a layer as they come, so that nothing of it is in memory but they.
    func take(_ layer: CarriedLayer) throws -> CarrierIndex? {
        let reader = try CarrierReader(limits: limits, budget: budget) { try self.take($0) }
        var file = CarrierArchive(reader)
        var archive = TarReader()
        var failure: (any Error)?
        try layer.read(maximumBytes: CarrierFormat.maximumLayerBytes) { bytes in
            guard failure == nil else { return }
            // That the layer is another one says more than what is wrong in it; its end tells.
            do { try archive.push(bytes, to: &file) } catch { failure = error }
        }
        if let failure { throw failure }
        try archive.finish(to: &file)
        let index = try file.finish()
        budget = reader.budget
        return index
    }

    private func take(_ message: CarriedMessage) throws {
        switch message {
        case .directory(let bytes): insert(bytes, .directory)
        case .attributes(let bytes): insert(bytes, .attributes)
        case .chunkList(let digest, let bytes):
            lists[digest] = try ChunkList(decoding: bytes, limits: limits)
        }
    }

    private func insert(_ bytes: [UInt8], _ kind: RecordKind) {
        let digest = contents.insert(message: bytes)
        guard kinds[digest] == nil else { return }
        kinds[digest] = kind
        messages.append((digest, kind))
    }

    /// Throws unless everything of a snapshot is here, and no more of it than is allowed.
    func check(_ snapshot: Snapshot, _ limits: Limits) throws {
        do {
            let sums = try TreeWalk.totals(
                root: snapshot.tree.digest, source: contents, limits: limits)
            guard sums.totals == snapshot.totals else {
                throw CarrierFormat.damaged("it says other totals than its tree has")
            }
            var visited: Set<[Digest]> = []
            try TreeWalk.run(
                root: snapshot.tree.digest, attributes: snapshot.attributes?.digest,
                source: contents, limits: limits
            ) { step in
                visited.insert([step.digest, step.attributesDigest ?? .zero]).inserted
            }
        } catch let error as CASError where error.code == .notFound {
            throw CarrierFormat.damaged(error.message)
        }
    }
}
