import CASCatalog
import CASCore
import CASFileSystem
import CASOCI
import CASWire
import Synchronization

/// Hashing of layers that nobody hashed before.
extension Repository {
    /// Bytes up to which layers are hashed on the thread that asks.
    private static let inlineBytes: UInt64 = 2 << 20

    /// Digest and size of each part as a layer: what is known by the key of the part, the rest made and hashed on
    /// all processors, the largest first.
    func layerSums(
        _ items: [LayerPlan.Item], tree: Digest, _ source: PlannedLayers, _ options: LayerOptions,
        domain: Domain
    ) throws -> [LayerSum] {
        var sums = try items.map { try knownSum($0.key, domain) }
        let unknown = try items.indices.filter { sums[$0] == nil }.map { index in
            (index: index, weight: try source.weight(items[index].part, tree: tree))
        }.sorted { ($0.weight, $1.index) > ($1.weight, $0.index) }
        let bytes = unknown.reduce(0) { $0 + $1.weight }
        let threads =
            bytes <= Repository.inlineBytes
            ? 1 : max(1, min(WorkerGroup.processorCount, unknown.count))
        let next = Mutex(0)
        let found = Mutex<[Int: LayerSum]>([:])
        let isFailed = Atomic(false)
        try WorkerGroup.run(count: threads, name: "layers") { [self] _ in
            while !isFailed.load(ordering: .relaxed) {
                let turn = next.withLock { next in
                    defer { next += 1 }
                    return next
                }
                guard turn < unknown.count else { return }
                let index = unknown[turn].index
                do {
                    let layout = try self.layout(
                        of: items[index].part, tree: tree, options, domain: domain)
                    let sum = try hash(layout, key: items[index].key, domain)
                    found.withLock { $0[index] = sum }
                } catch {
                    isFailed.store(true, ordering: .relaxed)
                    throw error
                }
            }
        }
        for (index, sum) in found.withLock({ $0 }) { sums[index] = sum }
        return try sums.map { sum in
            guard let sum else { throw CASError(.internalError, "a layer was not hashed") }
            return sum
        }
    }

    /// What a part was hashed to once, by this process or for an image that there is.
    private func knownSum(_ key: Digest, _ domain: Domain) throws -> LayerSum? {
        if let sum = derivations.sum(key) { return sum }
        let layer = try catalog.read { reader in
            try reader.derivedImages(naming: key, limit: 1, domain: domain).first?.layers
                .first { $0.key == key }
        }
        return layer.map { LayerSum(digest: $0.digest, size: $0.size) }
    }

    /// Where everything stands in the layer of a part.
    func layout(
        of part: LayerPart, tree: Digest, _ options: LayerOptions, domain: Domain
    ) throws -> LayerLayout {
        var layout = LayerLayout()
        try LayerEncoder(options, limits: limits).encode(
            part, root: tree, source: StoredLayers(repository: self, domain: domain), to: &layout)
        return layout
    }

    private func hash(_ layout: LayerLayout, key: Digest, _ domain: Domain) throws -> LayerSum {
        var hasher = DigestHasher()
        let stream = try LayerStream(self, layout, 0..<layout.size, domain: domain)
        while try stream.next({ piece in
            switch piece {
            case .computed(let bytes): hasher.update(bytes)
            case .record(let record, let range):
                hasher.update(UnsafeRawBufferPointer(rebasing: try stream.decode(record)[range]))
            }
        }) {}
        let sum = LayerSum(digest: hasher.finish(), size: layout.size)
        derivations.remember(key, sum)
        return sum
    }
}

/// The bytes of a derived layer; where they stand is found once somebody reads them.
struct DerivedContent: BlobContent {
    let repository: Repository
    let domain: Domain
    let image: DerivedImage
    let layer: DerivedLayer

    /// Where its bytes stand; counts as a use of the tree.
    func layout() throws -> LayerLayout {
        // Who starts again finds its layers, as with a fetch by digest.
        repository.use(image.tree, isByDigest: true, domain: domain)
        let layout = try repository.derivations.layout(layer.key) {
            let options = try SnapshotImageOptions(String(decoding: image.options, as: UTF8.self))
            return try repository.layout(
                of: try LayerPart(decoding: layer.part), tree: image.tree, try options.layers,
                domain: domain)
        }
        guard layout.size == layer.size else {
            throw CASError(
                .internalError, "a layer is not made as it was once", digest: layer.digest)
        }
        return layout
    }

    func pieces(_ range: Range<UInt64>) throws -> any PieceSource {
        try LayerPieces(repository, try layout(), range, domain: domain)
    }

    func frames() throws -> (any PieceSource)? {
        try LayerFrames(repository, try layout(), domain: domain)
    }
}

extension Repository {
    /// A reader of a layer whose bytes are made; nil if there is none of that digest.
    func derivedReader(_ digest: Digest, domain: Domain) throws -> OCIBlobReader? {
        try derivedContent(digest, domain: domain).map {
            OCIBlobReader(digest: digest, size: $0.layer.size, content: $0)
        }
    }

    /// How a layer is made; nil if there is none of that digest.
    func derivedContent(_ digest: Digest, domain: Domain) throws -> DerivedContent? {
        let found = try catalog.read { reader -> DerivedContent? in
            let images = try reader.derivedImages(
                naming: digest, limit: limits.listingEntries, domain: domain)
            for image in images {
                // A record may be older than what became of its tree.
                guard let layer = image.layers.first(where: { $0.digest == digest }),
                    try reader.location(of: image.tree, domain: domain) != nil
                else { continue }
                return DerivedContent(
                    repository: self, domain: domain, image: image, layer: layer)
            }
            return nil
        }
        guard let found else { return nil }
        guard found.layer.format == UInt64(LayerEncoder.formatVersion) else {
            throw CASError(
                .unimplemented, "a layer was made by rules that this version of cas does not know",
                hint: "use the newest cas", digest: digest)
        }
        return found
    }
}
