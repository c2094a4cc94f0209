import CASCatalog
import CASCore
import CASTree
import CASWire

/// Links that are none in the catalog: what a name has because its snapshots are images.
extension Repository {
    /// The link of a name to the manifest, configuration or a layer of an image that a snapshot of it is, or was and
    /// its history says so.
    ///
    /// What lies below an image is seen by names whose ref had the options that say so, not by all that have the tree.
    func derivedLink(
        _ name: String, _ digest: Digest, _ kind: OCILink.Kind?, _ reader: any CatalogReader,
        _ domain: Domain
    ) throws -> OCILink? {
        var search = DerivedLinkSearch(
            repository: self, reader: reader, domain: domain, name: name, digest: digest,
            kind: kind)
        return try search.run()
    }
}

/// Looks for an image that has something, of a snapshot that a name has or had.
private struct DerivedLinkSearch {
    /// Images by whose trees the refs of a name are looked for; of more, refs are asked for their images.
    private static let fewImages = 32

    let repository: Repository
    let reader: any CatalogReader
    let domain: Domain
    let name: String
    let digest: Digest
    let kind: OCILink.Kind?
    /// All images that have it; nil where these are many.
    private var few: [DerivedImage]?

    init(
        repository: Repository, reader: any CatalogReader, domain: Domain, name: String,
        digest: Digest, kind: OCILink.Kind?
    ) {
        self.repository = repository
        self.reader = reader
        self.domain = domain
        self.name = name
        self.digest = digest
        self.kind = kind
    }

    mutating func run() throws -> OCILink? {
        let images = try reader.derivedImages(
            naming: digest, limit: DerivedLinkSearch.fewImages, domain: domain)
        guard !images.isEmpty else { return nil }
        if images.count < DerivedLinkSearch.fewImages { few = images }
        return try amongRefs() ?? amongMoves()
    }

    private func amongRefs() throws -> OCILink? {
        if let few {
            for tree in Set(few.map(\.tree)) {
                for entry in try reader.refs(
                    named: name, holding: tree, limit: repository.limits.listingEntries,
                    domain: domain)
                {
                    if let link = try link(tree, entry.imageOptions) { return link }
                }
            }
            return nil
        }
        var after: RefName?
        while true {
            let page = try reader.refs(
                prefix: name, after: after, limit: repository.limits.listingEntries,
                domain: domain)
            for entry in page {
                guard entry.name.name == name else { return nil }
                guard let tree = entry.tree else { continue }
                if let link = try link(tree, entry.imageOptions) { return link }
            }
            guard page.count == repository.limits.listingEntries else { return nil }
            after = page.last?.name
        }
    }

    private func amongMoves() throws -> OCILink? {
        struct Former: Hashable {
            let snapshot: Digest
            let options: String
        }
        let source = try StoredDirectories(repository, reader, domain: domain)
        var looked: Set<Former> = []
        var after: HistoryEntry?
        while true {
            let page = try reader.moves(
                named: name, after: after, limit: repository.limits.listingEntries, domain: domain)
            for move in page {
                guard let previous = move.previous, previous.kind == .snapshot,
                    looked.insert(
                        Former(snapshot: previous.digest, options: move.imageOptions)
                    ).inserted,
                    let tree = try source.snapshot(previous.digest)?.tree.digest,
                    let link = try link(tree, move.imageOptions)
                else { continue }
                return link
            }
            guard page.count == repository.limits.listingEntries,
                looked.count < repository.limits.findings
            else { return nil }
            after = page.last
        }
    }

    /// The link by an image of a tree that a ref has or had with these options.
    private func link(_ tree: Digest, _ options: String) throws -> OCILink? {
        let images =
            try few?.filter { $0.tree == tree } ?? reader.derivedImages(of: tree, domain: domain)
        for image in images where image.blobs.contains(digest) {
            guard image.base == nil || image.options == Array(options.utf8) else { continue }
            let isManifest = image.manifest == digest
            if let kind, (kind == .manifest) != isManifest { continue }
            let layer = image.layers.first { $0.digest == digest }
            let size = try layer?.size ?? repository.blobSize(digest, reader, domain)
            guard let size else { continue }
            return OCILink(
                name: name, digest: digest, kind: isManifest ? .manifest : .blob, size: size,
                mediaType: isManifest ? image.mediaType : "", created: image.created,
                parts: isManifest ? Array(image.blobs.dropFirst()) : [])
        }
        return nil
    }
}
