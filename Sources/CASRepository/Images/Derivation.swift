import CASCatalog
package import CASCore
import CASFileSystem
import CASOCI
import CASTree
package import CASWire

/// The images that snapshots are (Images.md).
extension Repository {
    /// The manifest of the image that the snapshot of a ref is, made now where nobody asked for it before;
    /// nil where the ref names a manifest.
    ///
    /// Blocks for as long as it takes to hash what nobody hashed before. Throws `dataLoss` where the store
    /// lost a part of the snapshot, and `failedPrecondition` where its base is not here.
    package func derivedManifest(_ entry: RefEntry, domain: Domain) throws -> Digest? {
        guard entry.target.kind == .snapshot, let tree = entry.tree else { return nil }
        let image = try derivedImage(
            snapshot: entry.target.digest, tree: tree, options: entry.imageOptions, domain: domain)
        renew(entry.name.name, holding: entry.target.digest, domain: domain)
        return image.manifest
    }

    /// Whether the image of a ref was made already, so that `derivedManifest` answers at once.
    package func isDerived(_ entry: RefEntry, domain: Domain) throws -> Bool {
        guard entry.target.kind == .snapshot, let tree = entry.tree else { return true }
        return try knownImage(tree, try SnapshotImageOptions(entry.imageOptions), domain) != nil
    }

    /// The same for a snapshot and its tree.
    func derivedImage(
        snapshot: Digest, tree: Digest, options text: String, domain: Domain
    ) throws -> DerivedImage {
        // A lease for what is read, also of an image that is known: its layers are asked for next.
        use(snapshot, isByDigest: false, domain: domain)
        let options = try SnapshotImageOptions(text)
        if let known = try knownImage(tree, options, domain) { return known }
        let key = ImageDerivations.Key(tree: tree, options: options.text)
        return try derivations.image(key) {
            try knownImage(tree, options, domain)
                ?? makeImage(snapshot: snapshot, tree: tree, options, domain)
        }
    }

    /// An image that was answered once, as it was then.
    func knownImage(
        _ tree: Digest, _ options: SnapshotImageOptions, _ domain: Domain
    ) throws -> DerivedImage? {
        try catalog.read { reader in
            guard
                let image = try reader.derivedImage(
                    tree: tree, options: Array(options.text.utf8), domain: domain),
                try reader.locations(of: [image.manifest, image.config], domain: domain)
                    .allSatisfy({ $0 != nil })
            else { return nil }
            return image
        }
    }

    private func makeImage(
        snapshot: Digest, tree: Digest, _ options: SnapshotImageOptions, _ domain: Domain
    ) throws -> DerivedImage {
        try requireWhole(snapshot, tree, domain)
        let base = try DerivationBase(self, options, domain: domain)
        let layers = try plannedLayers(
            tree, options,
            room: ComposedImage.maximumLayers - (base?.image.manifest.layers.count ?? 0), domain)
        let composed = try ComposedImage(
            base: base?.image,
            layers: try layers.map { layer in
                ImageLayer(
                    plain: layer.digest, size: layer.size,
                    createdBy: "cas \(try LayerPart(decoding: layer.part).text(options.layers))")
            }, options: try options.image)
        let image = DerivedImage(
            tree: tree, options: Array(options.text.utf8), manifest: Digest.of(composed.bytes),
            mediaType: composed.manifest.mediaType, config: Digest.of(composed.config),
            layers: layers, created: clock.now(), base: base?.digest,
            inherited: base?.layers ?? [])
        return try record(image, composed, snapshot, keeping: base?.kept ?? [], domain)
    }

    /// The layers that a whole tree is cut into, at most as many as there is room for, made and hashed where nobody
    /// knows them.
    func plannedLayers(
        _ tree: Digest, _ options: SnapshotImageOptions, room: Int, _ domain: Domain
    ) throws -> [DerivedLayer] {
        let layerOptions = try options.layers
        let source = PlannedLayers(StoredLayers(repository: self, domain: domain))
        let plan = try LayerPlan(
            root: tree, source: source, options: layerOptions,
            maximumParts: min(options.maximumLayers, room))
        let sums = try layerSums(plan.items, tree: tree, source, layerOptions, domain: domain)
        return zip(plan.items, sums).map { item, sum in
            DerivedLayer(
                digest: sum.digest, size: sum.size,
                format: UInt64(LayerEncoder.formatVersion), part: item.part.encode(),
                key: item.key)
        }
    }

    /// Makes sure that a tree is whole, and known to be; throws `dataLoss` where something lacks, or
    /// `failedPrecondition` where that was removed for good.
    func requireWhole(_ snapshot: Digest, _ tree: Digest, _ domain: Domain) throws {
        if try catalog.read({ try $0.treeState(of: tree, domain: domain) }) != nil { return }
        do {
            try commit(session: nil, isEvent: false) { [self] context in
                _ = try totals((snapshot, tree, nil), context, domain)
            }
        } catch let error as CASError where error.code == .dataLoss {
            if let digest = error.digest { try refusePurged([digest], domain: domain) }
            throw error
        }
    }

    /// Stores manifest and configuration and records the image, in one durable step.
    private func record(
        _ image: DerivedImage, _ composed: ComposedImage, _ snapshot: Digest,
        keeping kept: [Digest], _ domain: Domain
    ) throws -> DerivedImage {
        let session = PushSession(
            identifier: .random(), domain: domain, now: clock.monotonicNanoseconds())
        return try writing {
            try refusePurged([image.manifest], domain: domain)
            try store(composed.bytes, image.manifest, session)
            try store(composed.config, image.config, session)
            return try commit(session: session, isEvent: true) { [self] context in
                let transaction = context.transaction
                // Whole, and looked at by a collection that runs.
                _ = try totals((snapshot, image.tree, nil), context, domain)
                for digest in [image.manifest, image.config] + kept {
                    guard try revive(digest, transaction, domain) else {
                        throw PlanBuilder.incomplete(digest)
                    }
                }
                try transaction.insert(derivedImage: image, domain: domain)
                context.record(
                    .imageDerived(image, domain, sequence: try transaction.nextSequence()))
                try holdFromNow(image, context, domain)
                return image
            }
        }
    }
}

/// Trees of a store, to be made layers of; each message is read in a view of the catalog of its own.
struct StoredLayers: LayerSource {
    let repository: Repository
    let domain: Domain

    func directory(_ digest: Digest) throws -> Directory? {
        try repository.withContent(digest, nil) {
            try Directory(decodingCanonical: $0, limits: repository.limits)
        }
    }

    func totals(_ digest: Digest) throws -> TreeTotals? {
        try totals(of: [digest])[0]
    }

    func totals(of digests: [Digest]) throws -> [TreeTotals?] {
        try repository.catalog.read { reader in
            try reader.treeStates(of: digests, domain: domain).map { $0?.totals }
        }
    }
}

/// Remembers the directories that a plan looks at, which are the large ones, and the sums of what is in them.
///
/// One thread at a time.
final class PlannedLayers: LayerSource {
    private let stored: StoredLayers
    private var directories: [Digest: Directory] = [:]
    private var sums: [Digest: TreeTotals] = [:]

    init(_ stored: StoredLayers) { self.stored = stored }

    func directory(_ digest: Digest) throws -> Directory? {
        if let known = directories[digest] { return known }
        guard let directory = try stored.directory(digest) else { return nil }
        directories[digest] = directory
        let children = directory.directories.map(\.digest)
        for (child, totals) in zip(children, try stored.totals(of: children)) {
            sums[child] = totals
        }
        return directory
    }

    func totals(_ digest: Digest) throws -> TreeTotals? {
        if let known = sums[digest] { return known }
        let totals = try stored.totals(digest)
        sums[digest] = totals
        return totals
    }

    /// About how many bytes a part has.
    func weight(_ part: LayerPart, tree: Digest) throws -> UInt64 {
        var top = tree
        for name in part.path.split(separator: UInt8(ascii: "/")) {
            guard let child = try directory(top)?.directory(try EntryName(Array(name))) else {
                return 0
            }
            top = child.digest
        }
        guard let directory = try directory(top) else { return 0 }
        var weight: UInt64 = 0
        for file in directory.files where part.holds(file.name) { weight += file.size }
        for child in directory.directories where part.holds(child.name) {
            weight += try totals(child.digest)?.bytes ?? 0
        }
        return weight
    }
}
