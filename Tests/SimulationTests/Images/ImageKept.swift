import CASCatalog
import CASCore
import CASPack
import CASTestSupport
import CASTree
import CASWire

/// What rules keep of images.
extension StoreSimulation {
    /// Seconds for which a link stays that somebody made or relied on.
    static let linkSeconds: Int64 = 86_400

    /// Manifests and blobs that have to be here: what a tag names or named within 30 days, what was put by its
    /// digest, and what somebody relied on within a day, with all that these name.
    func keptImages(_ reader: any CatalogReader) throws -> Set<Digest> {
        guard hasImages else { return [] }
        let now = clock.now().seconds
        var waiting: [Digest] = []
        for ref in model.refs where ref.name.hasPrefix(StoreSimulation.imageNames) {
            if let entry = try reader.ref(ref, domain: .standard) {
                waiting.append(entry.target.digest)
            }
            for move in try reader.history(ref, before: nil, limit: 1_000, domain: .standard) {
                let time = move.recorded?.seconds ?? move.provenance.time.seconds
                if time + 30 * 86_400 > now, let previous = move.previous {
                    waiting.append(previous.digest)
                }
            }
        }
        var referrers: [(key: ImageModel.LinkKey, subject: Digest)] = []
        for key in model.images.links {
            let lasting = model.images.lasting(key)
            let isRoot = lasting.contains { $0.kind == .putAsRoot }
            if lasting.contains(where: { $0.used + StoreSimulation.linkSeconds > now })
                || isRoot && !model.images.held.contains(key)
            {
                waiting.append(key.digest)
            }
            if !lasting.isEmpty, key.kind == .manifest,
                let subject = model.images.manifests[key.digest]?.subject
            {
                referrers.append((key, subject))
            }
        }
        waiting += try keptBases(reader)
        let purged = hasPurges ? try purgedDigests() : []
        let based = model.images.derivedImages.filter { image in
            image.isKept && image.base != nil && !isTouched(image, purged)
        }
        let trees = based.isEmpty ? [] : try keptTrees(reader)
        for image in based where trees.contains(image.tree) {
            waiting += (image.base.map { [$0.digest] } ?? []) + image.inherited
        }
        var kept: Set<Digest> = []
        while let digest = waiting.popLast() {
            guard kept.insert(digest).inserted,
                let parts = model.images.manifests[digest]?.parts
            else { continue }
            // What a manifest names is known as long as anybody has it.
            let names = try reader.links(to: digest, limit: 100, domain: .standard)
                .filter { $0.kind == .manifest }.map(\.name)
            if !names.isEmpty { waiting += parts }
            waiting += referrers.filter { $0.subject == digest && names.contains($0.key.name) }
                .map(\.key.digest)
        }
        kept.remove(.empty)
        return purged.isEmpty ? kept : kept.filter { !isTouched($0, purged) }
    }

    /// Whether a blob or manifest was removed for good, or a chunk of it.
    func isTouched(_ blob: Digest, _ purged: Set<Digest>) -> Bool {
        if purged.isEmpty { return false }
        if purged.contains(blob) { return true }
        if model.images.chunks[blob]?.contains(where: purged.contains) ?? false { return true }
        // A layer of a tree goes with any file of that.
        return model.images.derived.values.contains { image in
            image.blobs.contains(blob) && !image.inherited.contains(blob)
        }
    }

    /// Whether a name has to have a blob or manifest now.
    func isPromised(_ key: ImageModel.LinkKey) throws -> Bool {
        guard !model.images.lasting(key).isEmpty else { return false }
        return try catalog.read { try keptImages($0).contains(key.digest) }
    }

    /// Trees that have to be here.
    func keptTrees(_ reader: any CatalogReader) throws -> Set<Digest> {
        let now = clock.now().seconds
        var snapshots = Set(pinned)
        for ref in model.refs {
            if let entry = try reader.ref(ref, domain: .standard) {
                snapshots.insert(entry.target.digest)
            }
            for move in try reader.history(ref, before: nil, limit: 1_000, domain: .standard) {
                let time = move.recorded?.seconds ?? move.provenance.time.seconds
                if time + 30 * 86_400 > now, let previous = move.previous {
                    snapshots.insert(previous.digest)
                }
            }
        }
        return Set(
            try snapshots.filter { try !isTouched($0) }
                .compactMap { model.trees[$0]?.snapshot.tree.digest })
    }

    /// Forgets what nothing keeps, as somebody is about to collect.
    func forgetUnkeptImages() throws {
        guard hasImages else { return }
        try catalog.read { reader in
            let kept = try keptImages(reader)
            for key in model.images.links where !kept.contains(key.digest) {
                model.images.forget(key)
            }
            model.images.keepAliases(of: kept)
            for (ref, base) in model.options.bases {
                let entry = try reader.ref(ref, domain: .standard)
                guard StoreSimulation.base(of: entry?.imageOptions ?? "") != base else { continue }
                model.options.forget(baseOf: ref)
            }
            let derived = model.images.derived.filter(\.value.isKept)
            guard !derived.isEmpty else { return }
            let trees = try keptTrees(reader)
            let purged = hasPurges ? try purgedDigests() : []
            for (key, image) in derived
            where !trees.contains(image.tree) || isTouched(image, purged) {
                model.images.derived[key]?.isKept = false
            }
        }
    }

    /// Everything that links, refs and pins reach at most, with the chunks of it.
    func keepableImages(_ reader: any CatalogReader) throws -> Set<Digest> {
        var waiting: [Digest] = []
        var trees: Set<Digest> = []
        var kept: Set<Digest> = []
        for entry in try reader.refs(prefix: "", after: nil, limit: 1_000, domain: .standard) {
            waiting.append(entry.target.digest)
            if let base = StoreSimulation.base(of: entry.imageOptions) {
                waiting.append(base.digest)
            }
        }
        waiting += try reader.pins(domain: .standard).map(\.digest)
        for used in try reader.links(after: nil, limit: 1_000, domain: .standard)
        where used.link.isRoot { waiting.append(used.link.digest) }
        func keep(tree: Digest) throws {
            guard trees.insert(tree).inserted else { return }
            for sample in model.trees.values where sample.snapshot.tree.digest == tree {
                kept.formUnion(model.universe.members(sample))
            }
            for image in try reader.derivedImages(of: tree, domain: .standard) {
                waiting += [image.manifest, image.config] + image.inherited
                if let base = image.base { waiting.append(base) }
            }
        }
        while let digest = waiting.popLast() {
            guard kept.insert(digest).inserted else { continue }
            if let tree = model.trees[digest] { try keep(tree: tree.snapshot.tree.digest) }
            waiting += model.images.manifests[digest]?.parts ?? []
            waiting += try reader.referrers(to: digest, domain: .standard).map(\.digest)
            for image in try reader.derivedImages(naming: digest, limit: 100, domain: .standard)
            where !image.inherited.contains(digest) {
                try keep(tree: image.tree)
            }
        }
        for list in try reader.chunkLists(of: kept.sorted(), domain: .standard) {
            kept.formUnion(list?.chunks ?? [])
        }
        return kept
    }
}
