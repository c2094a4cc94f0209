import CASCatalog
import CASCore
import CASPack
import CASTree

/// Walks trees from roots and remembers every digest that they reach.
///
/// One thread at a time.
final class Marking {
    /// What keeps something.
    struct Root: Sendable {
        /// A snapshot, or a tree without one.
        let digest: Digest
        /// The tree, where it is known from elsewhere.
        var tree: Digest?
        /// In one word: `ref`, `pin`, `history`, `fetched`, `read`, `new`.
        var kind = "new"
        /// The ref or name; empty for none.
        var name = ""
    }

    private struct Pair: Hashable {
        let directory: Digest
        let attributes: Digest?
    }
    private let repository: Repository
    private let domain: Domain
    private var marks = DigestMarks()
    private var roots: [Root] = []
    private var stack: [Pair] = []
    /// What is taken for gone, with all that only it reaches.
    private let blocked: Set<Digest>
    private var current: Root?
    /// Roots below which a message is missing or damaged, the first of them: what else they reach is not known.
    private(set) var incomplete: [Root] = []
    private(set) var incompleteCount = 0
    /// What was not here when it was to be walked or marked: a push may bring it, and what is above it was walked
    /// by then.
    private var lackingPairs: Set<Pair> = []
    private var lackingFiles: Set<Digest> = []
    /// Files that are looked at again.
    private var filesAgain: [Digest] = []
    /// Where the last record lay whose pack was gone.
    private var moved: BlobLocation?

    init(_ repository: Repository, domain: Domain, blocked: Set<Digest> = []) {
        self.blocked = blocked
        self.repository = repository
        self.domain = domain
    }

    /// Digests seen, some of them in more than one way.
    var count: Int { marks.count }
    /// Bytes that remembering them takes.
    var byteCount: Int { marks.byteCount }
    /// Whether nothing is left to walk.
    var isIdle: Bool { roots.isEmpty && stack.isEmpty && filesAgain.isEmpty }

    /// Kinds of roots of which nothing that is missing is a gap.
    ///
    /// Of images all that is reached is known without the bytes.
    private static let lenient: Set<String> = [
        "history", "fetched", "read", "link", "part", "upload",
    ]

    /// Whether a blob was reached.
    func contains(_ digest: Digest) -> Bool { marks.contains(digest) }

    /// Whether what a key of the table of trees stands for was walked.
    func hasWalked(_ key: Digest) -> Bool { marks.contains(Marking.walked(key)) }

    /// Whether what an image reaches was walked from its manifest or layer.
    func hasWalked(image digest: Digest) -> Bool {
        marks.contains(Marking.walked(digest, asImage: true))
    }

    /// A digest of its own for "walked as a directory": a file with the bytes of one is reached and not walked.
    private static func walked(_ key: Digest, asImage: Bool = false) -> Digest {
        Digest.of(key.bytes + [asImage ? 1 : 0])
    }

    func add(_ root: Root) { roots.append(root) }

    /// Adds what became reachable, and looks again at all that was not here: that may have brought it.
    ///
    /// What came in chunks and was marked as something else is looked at too; what was not marked will be if it is
    /// met.
    func add(_ barrier: Barrier) {
        current = nil
        stack += lackingPairs
        lackingPairs = []
        filesAgain += lackingFiles
        lackingFiles = []
        filesAgain += barrier.arrivals.filter { marks.contains($0) }
        for snapshot in barrier.reachable { add(Root(digest: snapshot)) }
    }

    /// Walks up to so many directories; whether something is left.
    func step(directories: Int) throws -> Bool {
        do {
            try repository.catalog.read { reader in
                let source = try StoredDirectories(repository, reader, domain: domain)
                var left = directories
                while left > 0, try next(source, reader) { left -= 1 }
            }
            moved = nil
        } catch let error as RecordMoved {
            // Nothing was left out: the walk stopped before the directory whose pack went, and goes on there.
            // If a new look at the catalog finds it in the same place, then the pack is lost.
            if moved == error.location {
                _ = try repository.gone(error.location.pack, error.digest)
            }
            moved = error.location
        }
        return !isIdle
    }

    /// Walks one directory, or begins a root; false if nothing is left.
    private func next(_ source: StoredDirectories, _ reader: any CatalogReader) throws -> Bool {
        if let pair = stack.last {
            try walk(pair, source, reader)
            return true
        }
        if !filesAgain.isEmpty {
            let count = min(1_000, filesAgain.count)
            try mark(files: Array(filesAgain.suffix(count)), isComplete: false, reader)
            filesAgain.removeLast(count)
            return true
        }
        guard let root = roots.last else { return false }
        if blocked.contains(root.digest) || root.tree.map({ blocked.contains($0) }) ?? false {
            roots.removeLast()
            return true
        }
        try begin(root, source, reader)
        return true
    }

    private func begin(
        _ root: Root, _ source: StoredDirectories, _ reader: any CatalogReader
    ) throws {
        let location = try reader.location(of: root.digest, domain: domain)
        var root = root
        if root.kind == "new", let location, try !isPushed(root.digest, location, reader) {
            root.kind = "part"
        }
        current = root
        var pairs: [Pair] = []
        var images: [Root] = []
        if let tree = root.tree { pairs.append(Pair(directory: tree, attributes: nil)) }
        var isKnown = root.tree != nil
        let reach = try ImageReach(from: root, reader, domain: domain)
        isKnown = isKnown || reach.isKnown
        if reach.isKnown, marks.insert(Marking.walked(root.digest, asImage: true)) {
            images = reach.roots
        }
        if let location {
            do {
                if let snapshot = try source.snapshot(root.digest) {
                    pairs.append(
                        Pair(
                            directory: snapshot.tree.digest,
                            attributes: snapshot.attributes?.digest))
                } else if location.kind == .directory {
                    pairs.append(Pair(directory: root.digest, attributes: nil))
                } else {
                    for chunk in try reader.chunkList(of: root.digest, domain: domain)?.chunks ?? []
                    {
                        marks.insert(chunk)
                    }
                }
                isKnown = true
            } catch let error as CASError where error.code == .dataLoss {
                isKnown = false
            }
        }
        for pair in pairs {
            let reach = try ImageReach(of: pair.directory, reader, domain: domain)
            for blob in reach.blobs { marks.insert(blob) }
            images += reach.roots.filter { !marks.contains($0.digest) }
        }
        roots.removeLast()
        roots += images
        marks.insert(root.digest)
        stack += pairs.reversed()
        if !isKnown { try note(root, root.digest, reader) }
    }

    /// Whether what became reachable was pushed as a snapshot or a tree; a blob of an image may have the bytes of one
    /// all the same, of a tree that never was here.
    private func isPushed(
        _ digest: Digest, _ location: BlobLocation, _ reader: any CatalogReader
    ) throws -> Bool {
        if location.kind == .snapshot { return true }
        if try reader.completeSnapshot(digest, domain: domain) { return true }
        return try location.kind == .directory
            && reader.treeState(of: digest, domain: domain) != nil
    }

    /// Remembers a root of which a message is not here; what was purged is no gap.
    ///
    /// Nor is what only a fetch or a history had: nobody can fetch it any more, nor push it where it was, so
    /// that the gap would stay. A rule that makes histories longer may reach back to what went long ago.
    private func note(_ root: Root?, _ digest: Digest, _ reader: any CatalogReader) throws {
        guard let root, !Marking.lenient.contains(root.kind),
            try reader.purged([digest], domain: domain)[0] == nil
        else { return }
        if let last = incomplete.last, last.digest == root.digest, last.name == root.name { return }
        incompleteCount += 1
        if incomplete.count < repository.limits.findings { incomplete.append(root) }
    }

    private func walk(
        _ pair: Pair, _ source: StoredDirectories, _ reader: any CatalogReader
    ) throws {
        let key = pair.attributes.map { Digest.of(pair.directory.bytes + $0.bytes) }
        let isWalked = marks.contains(Marking.walked(pair.directory))
        let isPairWalked = key.map { marks.contains(Marking.walked($0)) } ?? true
        guard !isWalked || !isPairWalked, !blocked.contains(pair.directory) else {
            stack.removeLast()
            return
        }
        guard let directory = try read(pair.directory, { try source.directory($0) }) else {
            return try give(up: pair, reader)
        }
        var attributes: AttributesDirectory?
        if let digest = pair.attributes {
            attributes = try read(digest) { try source.attributes($0) }
            if attributes == nil || attributes?.matches(directory) != true {
                // The directory is walked all the same; only permissions and times are not known.
                try note(current, digest, reader)
                lackingPairs.insert(pair)
                attributes = nil
            }
        }
        stack.removeLast()
        marks.insert(pair.directory)
        if let digest = pair.attributes { marks.insert(digest) }
        if !isWalked {
            let files = directory.files.map(\.digest).filter {
                !blocked.contains($0) && $0 != .empty && marks.insert($0)
            }
            // Of what is complete everything is here.
            let isComplete = try reader.treeState(of: pair.directory, domain: domain) != nil
            try mark(files: files, isComplete: isComplete, reader)
        }
        marks.insert(Marking.walked(pair.directory))
        if let key, attributes != nil { marks.insert(Marking.walked(key)) }
        for (index, child) in directory.directories.enumerated() {
            stack.append(
                Pair(
                    directory: child.digest, attributes: attributes?.directories[index].digest))
        }
    }

    /// A directory that can not be read: what it has is not known.
    private func give(up pair: Pair, _ reader: any CatalogReader) throws {
        stack.removeLast()
        marks.insert(pair.directory)
        if let digest = pair.attributes { marks.insert(digest) }
        lackingPairs.insert(pair)
        try note(current, pair.directory, reader)
    }

    /// A message; nil if it is absent or damaged.
    private func read<Message>(
        _ digest: Digest, _ body: (Digest) throws -> Message?
    ) throws -> Message? {
        do {
            return try body(digest)
        } catch let error as CASError where error.code == .dataLoss {
            return nil
        }
    }

    /// Marks the chunks of files, and remembers the files that are not here.
    private func mark(files: [Digest], isComplete: Bool, _ reader: any CatalogReader) throws {
        guard !files.isEmpty else { return }
        for list in try reader.chunkLists(of: files, domain: domain) {
            for chunk in list?.chunks ?? [] { marks.insert(chunk) }
        }
        guard !isComplete else { return }
        for (file, place) in zip(files, try reader.locations(of: files, domain: domain))
        where place == nil {
            lackingFiles.insert(file)
        }
    }
}
