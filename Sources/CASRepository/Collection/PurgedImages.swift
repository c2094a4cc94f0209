import CASCatalog
import CASCore
import CASTree
import CASWire

/// Finds the images of trees that have something of what is to be removed for good: their layers would have it.
///
/// One tree in each step; what is known of a directory is remembered.
struct PurgedImages {
    private let repository: Repository
    private let domain: Domain
    private let targets: Set<Digest>
    private var last: DerivedImage?
    private var reaches: [Digest: Bool] = [:]
    /// Their manifests so far.
    private(set) var manifests: Set<Digest> = []

    init(_ repository: Repository, _ gone: Set<Digest>, domain: Domain) throws {
        self.repository = repository
        self.domain = domain
        // Few of them: what is composed of what goes is damaged as well.
        targets = try repository.catalog.read { reader in
            guard gone.count == 1, let one = gone.first else { return gone }
            return gone.union(try reader.blobs(ofChunk: one, domain: domain))
        }
    }

    /// Looks at the next image; false if there is none.
    mutating func step() throws -> Bool {
        let page = try repository.catalog.read {
            try $0.derivedImages(after: last, limit: 1, domain: domain)
        }
        guard let image = page.first else { return false }
        last = image
        if try isReached(from: image.tree) || !targets.isDisjoint(with: image.blobs) {
            manifests.insert(image.manifest)
        }
        return true
    }

    private mutating func isReached(from root: Digest) throws -> Bool {
        var known = reaches
        try repository.view(domain) { reader in
            let source = try StoredDirectories(repository, reader, domain: domain)
            var stack: [(digest: Digest, directory: Directory, next: Int)] = []
            func enter(_ digest: Digest) throws {
                guard known[digest] == nil else { return }
                guard !targets.contains(digest), let directory = try source.directory(digest)
                else {
                    // What is merely lost may come back, and what else it lacks then does not.
                    known[digest] =
                        try targets.contains(digest)
                        || reader.purged([digest], domain: domain)[0] != nil
                    return
                }
                if directory.files.contains(where: { targets.contains($0.digest) }) {
                    known[digest] = true
                } else {
                    stack.append((digest, directory, 0))
                }
            }
            try enter(root)
            while let top = stack.last {
                let children = top.directory.directories
                let isAny = top.next > 0 && known[children[top.next - 1].digest] == true
                guard !isAny, top.next < children.count else {
                    known[top.digest] = isAny
                    stack.removeLast()
                    continue
                }
                stack[stack.count - 1].next += 1
                try enter(children[top.next].digest)
            }
        }
        reaches = known
        return known[root] ?? false
    }
}
