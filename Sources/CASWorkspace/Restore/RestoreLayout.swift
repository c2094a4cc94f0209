import CASCore
import CASTree

/// A tree laid out flat: all directories in pre-order with their messages.
struct RestoreLayout: Sendable {
    struct Node: Sendable {
        let path: [UInt8]
        let parent: Int
        let name: [UInt8]
        let digest: Digest
        let attributesDigest: Digest?
        let directory: Directory
        let attributes: AttributesDirectory?
    }
    let nodes: [Node]
    /// The index of each directory by its path.
    let byPath: [[UInt8]: Int]

    /// Lays a snapshot's tree out; throws where it is not whole, not allowed or larger than limits.
    init(_ snapshot: Snapshot, _ contents: TreeContents, limits: Limits) throws {
        // Before anything is unfolded: forty messages can name 2^40 files.
        let sums = try TreeWalk.totals(root: snapshot.tree.digest, source: contents, limits: limits)
        guard sums.totals == snapshot.totals else {
            throw CASError(.dataLoss, "the snapshot says other totals than its tree has")
        }
        var nodes: [Node] = []
        var byPath: [[UInt8]: Int] = [:]
        nodes.reserveCapacity(Int(clamping: sums.totals.directories))
        try TreeWalk.run(
            root: snapshot.tree.digest, attributes: snapshot.attributes?.digest, source: contents,
            limits: limits
        ) { step in
            let slash = step.path.lastIndex(of: 0x2f)
            let parent = slash.map { byPath[Array(step.path[..<$0])] ?? 0 } ?? 0
            let name = slash.map { Array(step.path[($0 + 1)...]) } ?? step.path
            byPath[step.path] = nodes.count
            nodes.append(
                Node(
                    path: step.path, parent: parent, name: name, digest: step.digest,
                    attributesDigest: step.attributesDigest, directory: step.directory,
                    attributes: step.attributes))
            return true
        }
        let reserved = Array(RestoreLayout.stateName.utf8)
        if let root = nodes.first?.directory,
            root.files.contains(where: { $0.name.bytes == reserved })
                || root.symlinks.contains(where: { $0.name.bytes == reserved })
                || root.directories.contains(where: { $0.name.bytes == reserved })
        {
            throw CASError(
                .failedPrecondition, "the snapshot has an entry '.cas', which is not allowed")
        }
        self.nodes = nodes
        self.byPath = byPath
    }

    /// The directory at the root of a destination that is ours.
    static let stateName = ".cas"

    /// All messages, each once, in the order of the directories.
    func messages(_ contents: TreeContents) -> [[UInt8]] {
        var seen: Set<Digest> = []
        var messages: [[UInt8]] = []
        for node in nodes {
            for digest in [node.digest, node.attributesDigest].compactMap({ $0 })
            where seen.insert(digest).inserted {
                if let message = contents.message(digest) { messages.append(message) }
            }
        }
        return messages
    }

    /// The attributes that a file is to get.
    func attributes(_ place: Restore.Place, _ options: RestoreOptions) -> FileAttributes {
        let node = nodes[place.directory]
        let file = node.directory.files[place.file]
        var wanted: FileAttributes
        if !options.reproducible, let attributes = node.attributes {
            wanted = attributes.files[place.file]
        } else {
            wanted = FileAttributes(
                permissions: file.isExecutable ? 0o755 : 0o644,
                modified: DerivedTime.of(file.digest))
        }
        if options.link { wanted.permissions &= 0o555 }
        if options.isSealed { wanted.permissions = file.isExecutable ? 0o555 : 0o444 }
        return wanted
    }
}
