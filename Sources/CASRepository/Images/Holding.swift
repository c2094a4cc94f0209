import CASCatalog
import CASCore
import CASOCI
import CASWire

/// What holds a manifest in its name: a tag, an index that names it, or the manifest that it is about.
///
/// Only a manifest that was pushed by its digest and that none of these ever held is a root: it stays until somebody
/// deletes it. All others go with what held them last.
extension Repository {
    /// The link of a manifest that is put; a tag or an index that comes along may hold it, and what it is about may be
    /// among `subjects`.
    ///
    /// Where nothing holds it, it counts with the bytes of all that it names.
    func link(
        of put: ManifestPut, _ bytes: UInt64, isHeld: Bool,
        among subjects: Set<NamedDigest> = [], _ now: Timestamp,
        _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws -> OCILink {
        var link = put.link(now)
        let present = try transaction.link(link.name, link.digest, .manifest, domain: domain)?.link
        let isAlone = put.manifest.isByDigest || present?.isRoot ?? false
        link.isRoot = false
        guard isAlone, !isHeld, try !isTagged(link, transaction, domain) else { return link }
        link.loneBytes = bytes
        let isAboutOneOfThese =
            link.subject.map {
                subjects.contains(NamedDigest(name: link.name, digest: $0))
            } ?? false
        link.isRoot = try !isAboutOneOfThese && !hasSubject(link, transaction, domain)
        return link
    }

    private func isTagged(
        _ link: OCILink, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws -> Bool {
        try transaction.refs(
            named: link.name, holding: link.digest, limit: limits.listingEntries, domain: domain
        ).contains { $0.target.kind == .manifest }
    }

    /// Whether what a manifest is about is here.
    private func hasSubject(
        _ link: OCILink, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws -> Bool {
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
            guard var link = try transaction.link(name, child, .manifest, domain: domain)?.link,
                link.isRoot || link.loneBytes > 0
            else { continue }
            // It counts with the index from now on.
            link.loneBytes = 0
            try hold(link, context, now, domain)
        }
        try holdReferrers(
            of: put.digest, in: name,
            alsoNamed: put.manifest.sha512.map { [OCIDigest.sha512($0).stand] } ?? [], context,
            now, domain)
    }

    /// Notes that a manifest holds from now on those about it in a name, also where they name it in other ways.
    ///
    /// Of many only the first: the rest stays until it is deleted.
    private func holdReferrers(
        of subject: Digest, in name: String, alsoNamed others: [Digest] = [],
        _ context: CommitContext, _ now: Timestamp, _ domain: Domain
    ) throws {
        var left = limits.listingEntries
        for key in [subject] + others {
            var after: Digest?
            repeat {
                let page = try context.transaction.referrers(
                    name, to: key, after: after, limit: limits.listingEntries, domain: domain)
                for var link in page where link.isRoot || key != subject {
                    guard left > 0 else { return }
                    left -= 1
                    link.subject = subject
                    try hold(link, context, now, domain)
                }
                after = page.count < limits.listingEntries ? nil : page.last?.digest
            } while after != nil
        }
    }

    /// Notes that the image that a tree is holds from now on those about it, in names that have it.
    ///
    /// They may have come first: who copies a snapshot copies its signatures, and not the image.
    func holdFromNow(_ image: DerivedImage, _ context: CommitContext, _ domain: Domain) throws {
        let transaction = context.transaction
        let names = Set(
            try transaction.referrers(to: image.manifest, domain: domain).filter(\.isRoot)
                .map(\.name))
        for name in names.sorted().prefix(limits.listingEntries)
        where try derivedLink(name, image.manifest, .manifest, transaction, domain) != nil {
            try holdReferrers(of: image.manifest, in: name, context, clock.now(), domain)
        }
    }

    /// Notes that the images that the tree of a ref is hold from now on those about them in its name.
    func holdFromNow(_ entry: RefEntry, _ context: CommitContext, _ domain: Domain) throws {
        guard let tree = entry.tree else { return }
        // One with a base is seen by names whose ref has the options that say so.
        for image in try context.transaction.derivedImages(of: tree, domain: domain)
        where image.base == nil || image.options == Array(entry.imageOptions.utf8) {
            try holdReferrers(of: image.manifest, in: entry.name.name, context, clock.now(), domain)
        }
    }

    /// Throws `resourceExhausted` where a quota has no room for manifests that no tag and no index holds.
    ///
    /// These are counted for themselves: who pushes an image in parts has both for a moment, the tag's old image and
    /// the parts of the new one. What makes the sum no larger than it was is never refused. Of those that are there
    /// `replaced` count as they will be.
    func requireRoom(
        forLone links: [OCILink], insteadOf replaced: Set<NamedDigest>, _ rules: RuleSet,
        _ reader: any CatalogReader, _ domain: Domain
    ) throws {
        let lone = links.filter { $0.loneBytes > 0 }
        var checked: Set<String> = []
        for link in lone {
            guard let rule = rules.rule(for: link.name), let limit = rule.refusedBeyond,
                checked.insert(rule.rule.pattern).inserted
            else { continue }
            var before = QuotaSum()
            var sum = QuotaSum()
            try forEachLoneManifest(rule.pattern, reader, domain) { other in
                before.add(other.digest, other.loneBytes)
                if !replaced.contains(NamedDigest(name: other.name, digest: other.digest)) {
                    sum.add(other.digest, other.loneBytes)
                }
            }
            let used = sum.bytes
            let counted = lone.filter { rule.pattern.matches($0.name) }
            for other in counted { sum.add(other.digest, other.loneBytes) }
            guard sum.bytes > limit, sum.bytes > before.bytes else { continue }
            throw CASError(
                .resourceExhausted,
                "the quota of '\(rule.rule.pattern)' is \(ByteCount.text(limit)): manifests without "
                    + "a tag or index use \(ByteCount.text(used)), and "
                    + (counted.count == 1 ? "this one has " : "these \(counted.count) have ")
                    + ByteCount.text(sum.bytes - used) + " more",
                hint: "delete some by their digest, or give them a tag", digest: link.digest)
        }
    }

    private func forEachLoneManifest(
        _ pattern: GlobPattern, _ reader: any CatalogReader, _ domain: Domain,
        _ body: (OCILink) -> Void
    ) throws {
        let prefix = pattern.literalPrefix
        var names: [String] = prefix.isEmpty ? [] : [prefix]
        var lastName: String? = prefix.isEmpty ? nil : prefix
        repeat {
            for name in names where pattern.matches(name) {
                var after: Digest?
                repeat {
                    let page = try reader.links(
                        name, .manifest, after: after, limit: limits.listingEntries,
                        domain: domain)
                    for link in page where link.loneBytes > 0 { body(link) }
                    after = page.count < limits.listingEntries ? nil : page.last?.digest
                } while after != nil
            }
            names = try reader.imageNames(
                after: lastName, limit: limits.listingEntries, domain: domain
            ).filter { $0.hasPrefix(prefix) }
            lastName = names.last
        } while !names.isEmpty
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
