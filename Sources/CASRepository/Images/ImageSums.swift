import CASCatalog
import CASCore
import CASTree
import CASWire

/// Adds up what images have, for one commit: how much it looks at is limited for all of them together.
///
/// One thread at a time.
final class ImageSums {
    private let repository: Repository
    private let transaction: any CatalogTransaction
    private let brought: BroughtImages
    private let domain: Domain
    private var left: Int

    /// Sums of images that are here, or that a commit brings.
    init(
        _ repository: Repository, _ transaction: any CatalogTransaction, _ domain: Domain,
        bringing brought: BroughtImages = BroughtImages()
    ) {
        self.repository = repository
        self.transaction = transaction
        self.brought = brought
        self.domain = domain
        left = repository.limits.imagePartsPerCommit
    }

    /// How many blobs an image of a name has, and their bytes, each counted once.
    func totals(
        _ name: String, _ manifest: Digest, bytes: UInt64, parts: [Digest]
    ) throws -> TreeTotals {
        var totals = TreeTotals()
        var seen: Set<Digest> = [manifest]
        var waiting = parts
        totals.files = 1
        totals.bytes = bytes
        while let digest = waiting.popLast() {
            guard seen.insert(digest).inserted else { continue }
            guard seen.count <= repository.limits.imageParts else {
                throw CASError(.resourceExhausted, "an image names too many blobs")
            }
            guard left > 0 else {
                throw CASError(
                    .resourceExhausted, "the images of one push name too many blobs",
                    hint: "bring fewer of them at once")
            }
            left -= 1
            waiting +=
                try brought.manifest(name, digest)?.reached
                ?? transaction.parts(of: digest, domain: domain) ?? []
            guard let size = try repository.blobSize(digest, transaction, domain) else { continue }
            totals.files += 1
            totals.bytes = totals.bytes.addingReportingOverflow(size).partialValue
        }
        return totals
    }

    /// The same for a manifest that is put.
    func totals(of put: ManifestPut) throws -> TreeTotals {
        try totals(put.manifest.name, put.digest, bytes: put.size, parts: put.reached)
    }
}
