import CASCatalog
import CASCore
import CASOCI
import CASWire

/// What holds a manifest in its name: a tag, an index that names it, or the manifest that it is about.
///
/// Only a manifest that was pushed by its digest and that none of these ever held is a root: it stays until somebody
/// deletes it. All others go with what held them last.
extension Repository {
    /// The link of a manifest that is put.
    func link(
        of put: ManifestPut, _ now: Timestamp, _ transaction: any CatalogTransaction,
        _ domain: Domain
    ) throws -> OCILink {
        let manifest = put.manifest
        var link = put.link(now)
        let present = try transaction.link(link.name, link.digest, .manifest, domain: domain)?.link
        link.isRoot = manifest.isByDigest || present?.isRoot ?? false
        if link.isRoot { link.isRoot = try !isHeld(link, put.tags, transaction, domain) }
        return link
    }

    private func isHeld(
        _ link: OCILink, _ tags: [RefName], _ transaction: any CatalogTransaction,
        _ domain: Domain
    ) throws -> Bool {
        guard tags.isEmpty else { return true }
        let refs = try transaction.refs(
            named: link.name, holding: link.digest, limit: limits.listingEntries, domain: domain)
        if refs.contains(where: { $0.target.kind == .manifest }) { return true }
        guard let subject = link.subject else { return false }
        if try transaction.link(link.name, subject, .manifest, domain: domain) != nil {
            return true
        }
        return try derivedLink(link.name, subject, .manifest, transaction, domain) != nil
    }

    /// Notes that a manifest holds from now on those that it names, and those about it.
    func holdFromNow(
        _ put: ManifestPut, _ context: CommitContext, _ now: Timestamp, _ domain: Domain
    ) throws {
        let (transaction, name) = (context.transaction, put.manifest.name)
        for child in put.manifest.manifests {
            guard let link = try transaction.link(name, child, .manifest, domain: domain)?.link
            else { continue }
            try hold(link, context, now, domain)
        }
        let keys =
            [put.digest] + (put.manifest.sha512.map { [OCIDigest.sha512($0).stand] } ?? [])
        // Of more than that the rest stays until it is deleted.
        var left = limits.listingEntries
        for key in keys {
            var after: Digest?
            repeat {
                let page = try transaction.referrers(
                    name, to: key, after: after, limit: limits.listingEntries, domain: domain)
                for var link in page where link.isRoot || key != put.digest {
                    guard left > 0 else { return }
                    left -= 1
                    link.subject = put.digest
                    try hold(link, context, now, domain)
                }
                after = page.count < limits.listingEntries ? nil : page.last?.digest
            } while after != nil
        }
    }

    /// Notes that something else than itself holds a manifest, recorded.
    func hold(
        _ link: OCILink, _ context: CommitContext, _ now: Timestamp, _ domain: Domain
    ) throws {
        var link = link
        link.isRoot = false
        try insert(link, context, now, domain)
    }
}
