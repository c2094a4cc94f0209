import CASCatalog
package import CASCore
import CASPack
import CASTree
package import CASWire

/// What repositories of images have.
extension Repository {
    /// The link of a name to a digest, of that kind or, without one, of either, a manifest's first.
    ///
    /// What it says to be here stays for half of `Limits.linkSeconds` at least, where the disk is not full. Manifests, configurations and
    /// layers of the images that the name's snapshots are count as linked; these can not be unlinked.
    package func link(
        _ name: String, _ digest: Digest, kind: OCILink.Kind? = nil, domain: Domain
    ) throws -> OCILink? {
        let found = try catalog.read { reader -> (known: UsedLink?, derived: OCILink?) in
            for kind in kind.map({ [$0] }) ?? [.manifest, .blob] {
                guard let known = try reader.link(name, digest, kind, domain: domain),
                    try isHere(digest, reader, domain)
                else { continue }
                return (known, nil)
            }
            return (nil, try derivedLink(name, digest, kind, reader, domain))
        }
        guard let known = found.known else { return found.derived }
        guard known.used + Int64(limits.linkSeconds / 2) < clock.now().seconds else {
            return known.link
        }
        do {
            return try keep(known.link, domain) ? known.link : nil
        } catch let error as CASError where error.code == .resourceExhausted {
            // On a full disk it can be read all the same.
            counters.addFailedRenewal()
            return known.link
        }
    }

    /// Whether a blob is here, or can be made.
    func isHere(_ digest: Digest, _ reader: any CatalogReader, _ domain: Domain) throws -> Bool {
        if digest == .empty { return true }
        if try reader.location(of: digest, domain: domain) != nil { return true }
        return try derivedLayer(digest, reader, domain) != nil
    }

    /// The layer of this digest that is made of a tree that is here; an image may also name it as one of the image below.
    func derivedLayer(
        _ digest: Digest, _ reader: any CatalogReader, _ domain: Domain
    ) throws -> DerivedLayer? {
        // Mostly the first one has it.
        for limit in [1, Int.max] {
            let images = try reader.derivedImages(naming: digest, limit: limit, domain: domain)
            for image in images {
                // A record may be older than what became of its tree.
                if let layer = image.layers.first(where: { $0.digest == digest }),
                    try reader.location(of: image.tree, domain: domain) != nil
                {
                    return layer
                }
            }
            if images.count < limit { return nil }
        }
        return nil
    }

    /// Whether a blob is here with all its chunks, or can be made.
    func isWhole(_ digest: Digest, _ reader: any CatalogReader, _ domain: Domain) throws -> Bool {
        guard let location = try reader.location(of: digest, domain: domain),
            location.kind == .chunkList
        else { return try isHere(digest, reader, domain) }
        guard let list = try reader.chunkList(of: digest, domain: domain) else { return false }
        return try reader.locations(of: list.chunks, domain: domain).allSatisfy { $0 != nil }
    }

    /// What an image needs and is not here whole: the manifest itself, or what it and those below it name.
    func lacking(
        inImage manifest: Digest, _ reader: any CatalogReader, _ domain: Domain
    ) throws -> [Digest] {
        var lacking: [Digest] = []
        var seen: Set<Digest> = [manifest]
        var waiting = [manifest]
        while let digest = waiting.popLast() {
            if try !isWhole(digest, reader, domain) { lacking.append(digest) }
            let link = try reader.links(to: digest, limit: limits.listingEntries, domain: domain)
                .first { $0.kind == .manifest }
            waiting += (link?.parts ?? []).filter { seen.insert($0).inserted }
        }
        return lacking
    }

    /// Bytes of a blob; nil if it is absent.
    func bytes(
        of digest: Digest, _ reader: any CatalogReader, _ domain: Domain
    ) throws -> UInt64? {
        if digest == .empty { return 0 }
        guard let location = try reader.location(of: digest, domain: domain) else { return nil }
        guard location.kind == .chunkList else { return UInt64(location.rawLength) }
        return try reader.chunkList(of: digest, domain: domain)?.size
    }

    /// Protects what somebody is told to be here; false where it is not any more.
    private func keep(_ link: OCILink, _ domain: Domain) throws -> Bool {
        let now = clock.now().seconds
        return try commit(session: nil, isEvent: false) { [self] context in
            let transaction = context.transaction
            guard
                try transaction.link(link.name, link.digest, link.kind, domain: domain) != nil,
                try revive(link.digest, transaction, domain)
            else { return false }
            try transaction.use(
                link: link.name, link.digest, link.kind, at: now, domain: domain)
            return true
        }
    }

    /// Takes back what condemned a blob and its chunks, and has a collection that runs look at it; false where it
    /// is not here whole.
    ///
    /// A list of chunks of which one is missing goes: whoever asks is told that the blob is missing, and may bring
    /// it again.
    func revive(
        _ digest: Digest, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws -> Bool {
        if digest == .empty { return true }
        guard let location = try transaction.location(of: digest, domain: domain) else {
            guard try reviveTree(ofLayer: digest, transaction, domain) else { return false }
            try transaction.addBarrier(digest, domain: domain)
            return true
        }
        guard location.kind == .chunkList else {
            try transaction.revive([digest], domain: domain)
            try transaction.addBarrier(digest, domain: domain)
            return true
        }
        let list = try transaction.chunkList(of: digest, domain: domain)
        let chunks = list?.chunks ?? []
        guard list != nil,
            try transaction.locations(of: chunks, domain: domain).allSatisfy({ $0 != nil })
        else {
            try transaction.remove(locations: [digest], domain: domain)
            try transaction.remove(chunkLists: [digest], domain: domain)
            return false
        }
        try transaction.revive([digest] + chunks, domain: domain)
        try transaction.addBarrier(digest, domain: domain)
        return true
    }

    /// Takes back what condemned the tree that a layer is made of; false where there is none that is here whole.
    ///
    /// A collection that was broken off may have taken a part of one that nothing kept, and not yet its image.
    private func reviveTree(
        ofLayer digest: Digest, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws -> Bool {
        let images = try transaction.derivedImages(naming: digest, limit: .max, domain: domain)
        for image in images where image.layers.contains(where: { $0.digest == digest }) {
            // What is complete has nothing condemned in it.
            if try transaction.treeState(of: image.tree, domain: domain) != nil { return true }
            let missing = try recordBuffers.with { buffers in
                let records = try RecordReader(
                    files: files, catalog: transaction, limits: limits, buffers: buffers)
                var completeness = Completeness(
                    transaction, records, domain: domain, limits: limits)
                return try completeness.check(tree: image.tree)
            }
            if missing.count == 0 { return true }
        }
        return false
    }

    /// Links of a name by ascending digest, from behind `after`; not those that derived images stand for.
    package func links(
        _ name: String, kind: OCILink.Kind, after: Digest?, limit: Int, domain: Domain
    ) throws -> [OCILink] {
        try catalog.read {
            try $0.links(
                name, kind, after: after, limit: min(limit, limits.listingEntries), domain: domain)
        }
    }

    /// Manifests of a name that are about another one, by ascending digest, from behind `after`.
    package func referrers(
        _ name: String, to subject: Digest, after: Digest?, limit: Int, domain: Domain
    ) throws -> [OCILink] {
        try catalog.read {
            try $0.referrers(
                name, to: subject, after: after, limit: min(limit, limits.listingEntries),
                domain: domain)
        }
    }

    /// Names with links or refs, sorted by their bytes, from behind `after`.
    package func repositories(after: String?, limit: Int, domain: Domain) throws -> [String] {
        try catalog.read {
            try $0.imageNames(
                after: after, limit: min(limit, limits.listingEntries), domain: domain)
        }
    }

    /// Names that have a blob, sorted by their bytes.
    package func linkedAnywhere(_ digest: Digest, limit: Int, domain: Domain) throws -> [String] {
        let limit = min(limit, limits.listingEntries)
        return try catalog.read { reader in
            guard try isHere(digest, reader, domain) else { return [] }
            var names = Set(
                try reader.links(to: digest, limit: limit, domain: domain)
                    .filter { $0.kind == .blob }.map(\.name))
            let images = try reader.derivedImages(naming: digest, limit: limit, domain: domain)
            for image in images where image.manifest != digest {
                for entry in try reader.refs(
                    holding: image.tree, limit: limit, domain: domain)
                {
                    names.insert(entry.name.name)
                    if names.count >= limit { break }
                }
            }
            return Array(names.sorted().prefix(limit))
        }
    }

    /// The digest of what has this SHA-512, of 64 bytes; nil where nobody pushed it under that.
    package func digest(alias sha512: [UInt8], domain: Domain) throws -> Digest? {
        try catalog.read { try $0.alias(sha512, domain: domain) }
    }
}
