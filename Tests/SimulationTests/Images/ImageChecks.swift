import CASCatalog
import CASCore
import CASPack
import CASRepository
import CASTestSupport
import CASWire

/// What has to be true of images at any time.
extension StoreSimulation {
    /// Checks what the catalog says: links against what was asked for and answered, and that all is there that has to be.
    func checkImageStructure(_ reader: any CatalogReader) throws {
        guard hasImages else { return }
        let kept = try keptImages(reader)
        let links = try reader.links(after: nil, limit: 10_000, domain: .standard).map(\.link)
        let present = Set(links.map(ImageModel.LinkKey.init))
        for key in present.sorted() {
            guard model.images.wasAskedFor(key) else {
                throw fail("\(key.name) has \(key.digest.short), which nobody put there")
            }
            if model.images.isGone(key) {
                throw fail("\(key.name) has \(key.kind) \(key.digest.short), which was ended")
            }
        }
        for key in model.images.links
        where kept.contains(key.digest) && !present.contains(key)
            && !model.images.lasting(key).isEmpty
        {
            throw fail("\(key.name) lost \(key.kind) \(key.digest.short)")
        }
        for digest in kept.sorted() { try checkIsHere(digest, reader) }
        try checkOptions(reader)
        try checkAliases(reader, kept)
        try checkTags(reader, present)
    }

    private func checkIsHere(_ digest: Digest, _ reader: any CatalogReader) throws {
        guard let place = try reader.location(of: digest, domain: .standard) else {
            let isMade = try reader.derivedImages(naming: digest, limit: 1, domain: .standard)
            guard isMade.isEmpty else { return }
            throw fail("\(digest.short) is gone, which an image has")
        }
        guard place.kind == .chunkList else { return }
        let list = try reader.chunkList(of: digest, domain: .standard)
        let places = try reader.locations(of: list?.chunks ?? [], domain: .standard)
        guard list != nil, places.allSatisfy({ $0 != nil }) else {
            throw fail("\(digest.short) is not whole, which an image has")
        }
    }

    /// Checks that what tags name is linked.
    private func checkTags(
        _ reader: any CatalogReader, _ present: Set<ImageModel.LinkKey>
    ) throws {
        let purged = hasPurges ? try purgedDigests() : []
        for ref in model.refs where ref.name.hasPrefix(StoreSimulation.imageNames) {
            guard let target = try reader.ref(ref, domain: .standard)?.target else { continue }
            guard target.kind == .manifest else { throw fail("\(ref) is no image") }
            let key = ImageModel.LinkKey(name: ref.name, digest: target.digest, kind: .manifest)
            guard present.contains(key) || purged.contains(target.digest) else {
                throw fail("\(ref) names \(target.digest.short), which \(ref.name) does not have")
            }
        }
    }

    /// Reads everything that an image has, and images that snapshots are.
    func checkImageContents(_ repository: Repository) throws {
        guard hasImages else { return }
        let (kept, trees) = try catalog.read { (try keptImages($0), try keptTrees($0)) }
        for digest in kept.sorted() {
            try checkBytes(of: digest, repository)
        }
        let purged = hasPurges ? try purgedDigests() : []
        for image in model.images.derivedImages
        where image.isKept && trees.contains(image.tree) && !isTouched(image, purged) {
            let manifest = image.manifest
            for digest in [manifest] + image.blobs { try checkBytes(of: digest, repository) }
            let entry = try repository.ref(image.ref, domain: .standard)
            guard let entry, isVisible(image, by: entry) else { continue }
            let link = try repository.link(
                image.ref.name, manifest, kind: .manifest, domain: .standard)
            guard link != nil else { throw fail("\(image.ref) lacks \(manifest.short)") }
            for blob in image.blobs {
                let link = try repository.link(
                    image.ref.name, blob, kind: .blob, domain: .standard)
                guard link != nil else { throw fail("\(image.ref) lacks \(blob.short)") }
            }
        }
    }

    /// Whether something of an image, its own or of the one below, was removed for good.
    func isTouched(_ image: ImageModel.Derived, _ purged: Set<Digest>) -> Bool {
        if purged.isEmpty { return false }
        let parts = [image.manifest] + image.blobs + (image.base.map { [$0.digest] } ?? [])
        return parts.contains { part in
            purged.contains(part)
                || model.images.chunks[part]?.contains(where: purged.contains) ?? false
        }
    }

    /// Whether who has a ref sees an image: of one on top of another only with the same options.
    func isVisible(_ image: ImageModel.Derived, by entry: RefEntry) -> Bool {
        entry.tree == image.tree
            && (image.base == nil || entry.imageOptions == image.key.options)
    }

    private func checkBytes(of digest: Digest, _ repository: Repository) throws {
        do {
            guard let bytes = try repository.blobBytes(digest) else {
                throw fail("\(digest.short) is lost, which an image has")
            }
            guard bytes == model.images.contents[digest] else {
                throw fail("\(digest.short), which an image has, has other bytes")
            }
        } catch let error as CASError {
            throw fail("\(digest.short), which an image has, can not be read: \(error)")
        }
    }

    /// Compares what a rebuild found with what the catalog had: nothing that was acknowledged may be missing, and
    /// nothing may come back that nobody asked for meanwhile.
    func checkRebuilt(from old: InMemoryCatalog) throws {
        guard hasImages else { return }
        func links(_ catalog: InMemoryCatalog) throws -> Set<ImageModel.LinkKey> {
            try catalog.read { reader in
                Set(
                    try reader.links(after: nil, limit: 10_000, domain: .standard)
                        .map(\.link).map(ImageModel.LinkKey.init))
            }
        }
        let (before, after) = (try links(old), try links(catalog))
        for key in after.subtracting(before).sorted() {
            // What was ended by the store, or by somebody who was told so, stays so.
            guard model.images.hasOpenPut(key) else {
                throw fail("\(key.name) has \(key.digest.short) again after a rebuild")
            }
        }
        for key in before.subtracting(after).sorted()
        where !model.images.hasOpenRemoval(key) && !isCollectedInDoubt {
            throw fail("\(key.name) has no \(key.digest.short) after a rebuild")
        }
    }

    /// Checks that nothing is left of what nothing keeps.
    func checkNoImagesStay(_ reader: any CatalogReader) throws {
        guard hasImages else { return }
        let kept = try keepableImages(reader)
        for (digest, place) in try reader.locations(after: nil, limit: .max, domain: .standard)
        where digest != .empty && !kept.contains(digest) {
            throw fail("\(digest.short), a \(place.kind), stays although nothing keeps it")
        }
        for used in try reader.links(after: nil, limit: .max, domain: .standard)
        where !kept.contains(used.link.digest) {
            throw fail("a link to \(used.link.digest.short) stays although nothing keeps it")
        }
        guard try reader.uploads(after: nil, limit: 1, domain: .standard).isEmpty else {
            throw fail("an upload stays although nobody goes on with it")
        }
    }
}

extension ImageModel.LinkKey {
    init(_ link: OCILink) { self.init(name: link.name, digest: link.digest, kind: link.kind) }
}
