import CASCatalog
import CASCore
import CASTree
import CASWire

/// What becomes of images that a commit brings.
///
/// All of it is worked out before any of it is made: a transaction serves others too and can not be taken back.
struct BroughtLinks {
    private let repository: Repository
    private let domain: Domain
    private let now: Timestamp
    private var links: [OCILink] = []
    private var aliases: [(sha512: [UInt8], digest: Digest)] = []
    private let puts: [ManifestPut]
    /// Manifests whose links are made anew, or are held from now on.
    private var replaced: Set<NamedDigest>

    /// Links of what is brought, of which the commit gives tags to those that are `tagged`; throws
    /// `resourceExhausted` for an image that is too large.
    init(
        _ brought: BroughtImages, tagging tagged: Set<NamedDigest>, _ sums: ImageSums,
        _ repository: Repository, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws {
        self.repository = repository
        self.domain = domain
        now = repository.clock.now()
        puts = brought.puts
        var held = tagged
        for put in puts {
            let name = put.manifest.name
            held.formUnion(put.manifest.manifests.map { NamedDigest(name: name, digest: $0) })
        }
        let subjects = Set(brought.order)
        replaced = held.union(subjects)
        for contents in brought.contents {
            for blob in contents.blobs {
                let size = try repository.blobSize(blob.digest, transaction, domain) ?? blob.size
                links.append(
                    OCILink(
                        name: contents.name, digest: blob.digest, kind: .blob, size: size,
                        created: now))
                if !blob.sha512.isEmpty { aliases.append((blob.sha512, blob.digest)) }
            }
        }
        for put in puts {
            let key = NamedDigest(name: put.manifest.name, digest: put.digest)
            let bytes = try sums.totals(of: put).bytes
            var link = try repository.link(
                of: put, bytes, isHeld: held.contains(key), among: subjects, now, transaction,
                domain)
            link.isBySHA512 = link.isBySHA512 && brought.isBySHA512(put)
            links.append(link)
            if let alias = put.manifest.sha512 { aliases.append((alias, put.digest)) }
        }
    }

    /// Throws where a quota has no room for manifests that no tag and no index will hold.
    func requireRoom(_ rules: RuleSet, _ transaction: any CatalogTransaction) throws {
        try repository.requireRoom(
            forLone: links, insteadOf: replaced, rules, transaction, domain)
    }

    /// Links everything, recorded.
    func make(_ context: CommitContext) throws {
        for link in links { try repository.insert(link, context, now, domain) }
        for (sha512, digest) in aliases {
            try repository.insert(alias: sha512, digest, context, domain)
        }
        for put in puts { try repository.holdFromNow(put, context, now, domain) }
    }
}
