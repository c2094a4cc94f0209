import CASCatalog
import CASCore
import CASPack
import CASWire

/// What keeps something besides refs and pins: links and uploads.
struct ImageRootScan {
    private enum Stage {
        case links(after: OCILink?)
        case uploads(after: Identifier?)
        case parts(of: UploadEntry, after: Int)
        case done
    }
    /// Parts of an upload that are looked at in one step, of some thousand chunks each.
    private static let parts = 2

    private var stage = Stage.links(after: nil)
    private let domain: Domain
    /// Seconds since 1970 from which on a link that was relied on keeps something.
    private let oldest: Int64
    /// Names whose links keep only what was pushed by digest, or relied on later than that.
    private let forgotten: Set<String>
    private let forgottenUntil: Int64

    init(_ repository: Repository, domain: Domain, forgetting purge: PurgeRecord? = nil) {
        self.domain = domain
        forgotten = Set(purge?.names ?? [])
        forgottenUntil = purge?.begun?.seconds ?? .max
        oldest = repository.clock.now().seconds - Int64(clamping: repository.limits.linkSeconds)
    }

    /// Only what uploads keep.
    init(uploadsOf domain: Domain) {
        self.domain = domain
        oldest = 0
        forgotten = []
        forgottenUntil = 0
        stage = .uploads(after: nil)
    }

    /// The next roots; nil once there are no more.
    mutating func next(_ reader: any CatalogReader, limit: Int) throws -> [Marking.Root]? {
        switch stage {
        case .links(let after):
            let page = try reader.links(after: after, limit: limit, domain: domain)
            stage = page.count < limit ? .uploads(after: nil) : .links(after: page.last?.link)
            let kept = page.filter {
                if $0.link.isRoot { return true }
                let isForgotten = $0.used <= forgottenUntil && forgotten.contains($0.link.name)
                return $0.used > oldest && !isForgotten
            }
            return kept.map {
                Marking.Root(digest: $0.link.digest, kind: "link", name: $0.link.name)
            }
        case .uploads(let after):
            let next = try reader.uploads(after: after, limit: 1, domain: domain).first
            stage = next.map { .parts(of: $0, after: 0) } ?? .done
            return []
        case .parts(let upload, let after):
            let lists = try reader.uploadParts(
                upload.identifier, after: after, limit: ImageRootScan.parts, domain: domain)
            stage =
                lists.count < ImageRootScan.parts
                ? .uploads(after: upload.identifier)
                : .parts(of: upload, after: after + lists.count)
            return lists.flatMap(\.chunks).map {
                Marking.Root(digest: $0, kind: "upload", name: upload.name)
            }
        case .done: return nil
        }
    }
}

/// What images reach: a manifest what it names and the manifests about it, a derived layer its tree, a tree the
/// images that it is.
struct ImageReach {
    /// Roots that are reached from here.
    var roots: [Marking.Root] = []
    /// Blobs that are reached and reach nothing.
    var blobs: [Digest] = []
    /// Whether all that a root reaches is known, without its bytes.
    var isKnown = false

    /// What a root reaches by itself.
    init(from root: Marking.Root, _ reader: any CatalogReader, domain: Domain) throws {
        func part(_ digest: Digest) -> Marking.Root {
            Marking.Root(digest: digest, kind: "part", name: root.name)
        }
        if let parts = try reader.parts(of: root.digest, domain: domain) {
            isKnown = true
            roots += parts.map(part)
            // Those of names from which it is gone lost what they are about.
            for link in try reader.referrers(to: root.digest, domain: domain)
            where try reader.link(link.name, root.digest, .manifest, domain: domain) != nil {
                roots.append(part(link.digest))
            }
        }
        // A layer of an image below says nothing of the trees on top of it.
        for image in try reader.derivedImages(naming: root.digest, limit: .max, domain: domain)
        where !image.inherited.contains(root.digest) {
            isKnown = true
            var tree = part(image.tree)
            tree.tree = image.tree
            roots.append(tree)
        }
    }

    /// These blobs, the manifests that reach them, and the trees of which these are images.
    static func manifests(
        naming blobs: Set<Digest>, _ reader: any CatalogReader, domain: Domain
    ) throws -> Set<Digest> {
        var found = blobs
        var waiting = blobs
        while !waiting.isEmpty {
            var next = Set(try reader.manifests(naming: waiting, domain: domain))
            for digest in waiting {
                let links = try reader.links(to: digest, limit: .max, domain: domain)
                next.formUnion(links.compactMap(\.subject))
                let images = try reader.derivedImages(naming: digest, limit: .max, domain: domain)
                for image in images where image.manifest == digest || image.config == digest {
                    next.insert(image.tree)
                }
            }
            waiting = next.subtracting(found)
            found.formUnion(waiting)
        }
        return found
    }

    /// The images that a tree is, with those below.
    init(of tree: Digest, _ reader: any CatalogReader, domain: Domain) throws {
        for image in try reader.derivedImages(of: tree, domain: domain) {
            blobs += [image.manifest, image.config]
            let about = try reader.referrers(to: image.manifest, domain: domain).map(\.digest)
            for below in (image.base.map { [$0] } ?? []) + image.inherited + about {
                roots.append(Marking.Root(digest: below, kind: "part"))
            }
        }
    }
}
