package import CASCore
import CASFileSystem
package import CASTree
import Synchronization

/// A scanned tree as messages.
package struct AssembledTree: Sendable {
    /// All directories in pre-order, the root first; equal ones appear as often as they exist.
    package let directories: [EncodedDirectory]
    /// What a ref will name.
    package let snapshot: Snapshot
    /// The encoded snapshot.
    package let snapshotBytes: [UInt8]
    /// The digest of the encoded snapshot.
    package let snapshotDigest: Digest
}

/// One directory's two messages.
///
/// The bytes are made when they are asked for: a push of a known tree
/// never needs them, and a million files' worth of messages never lies in memory.
package struct EncodedDirectory: Sendable {
    let scanned: ScannedDirectory
    /// Its Directory message.
    package let directory: SizedDigest
    /// Its AttributesDirectory message.
    package let attributes: SizedDigest

    /// The path below the root of the scan; empty for the root.
    package var path: [UInt8] { scanned.path }

    /// Both messages, encoded.
    package func encode() throws -> (directory: [UInt8], attributes: [UInt8]) {
        let messages = try DirectoryMessages(scanned)
        return (messages.tree.encode(), messages.attributes.encode())
    }
}

extension ScannedTree {
    /// Makes the messages of all directories, bottom-up and on several threads.
    ///
    /// Throws the first problem of the scan, and `failedPrecondition` naming a file that nobody hashed.
    package func assemble() throws -> AssembledTree {
        if let problem = problems.first {
            let more = problems.count > 1 ? " (and \(problems.count - 1) more)" : ""
            throw CASError(
                (problem.error as? CASError)?.code ?? .unknown,
                "\(problem.text) cannot be read\(more)",
                hint: "make it readable, or leave it out with --exclude or .casignore",
                cause: problem.error, path: problem.text)
        }
        try TreeAssembler(self).run()
        guard let root = directories.first, let result = root.result else {
            throw CASError(.internalError, "the root of the scan was not assembled")
        }
        let snapshot = Snapshot(
            tree: result.tree, attributes: result.attributes,
            stableAttributes: result.stable.digest, totals: result.totals)
        let bytes = snapshot.encode()
        return AssembledTree(
            directories: preorder(root), snapshot: snapshot, snapshotBytes: bytes,
            snapshotDigest: Digest.of(bytes))
    }

    private func preorder(_ root: ScannedDirectory) -> [EncodedDirectory] {
        var order: [EncodedDirectory] = []
        order.reserveCapacity(directories.count)
        var stack = [root]
        while let directory = stack.popLast() {
            guard let result = directory.result else { continue }
            order.append(
                EncodedDirectory(
                    scanned: directory, directory: result.tree, attributes: result.attributes))
            for child in directory.subdirectories.reversed() { stack.append(child.directory) }
        }
        return order
    }
}

/// Makes messages bottom-up without recursion: every worker takes leaves and climbs from each as long
/// as it finished the last child of the directory above.
struct TreeAssembler: Sendable {
    /// Fewer directories than this are not worth threads.
    private static let parallelFrom = 256

    private let tree: ScannedTree

    init(_ tree: ScannedTree) {
        self.tree = tree
    }

    func run() throws {
        var leaves: [Int] = []
        for directory in tree.directories {
            directory.result = nil
            directory.waiting.store(directory.subdirectories.count, ordering: .relaxed)
            if directory.subdirectories.isEmpty { leaves.append(directory.index) }
        }
        let isLarge = tree.directories.count + tree.fileCount / 64 >= TreeAssembler.parallelFrom
        let next = Cursor()
        let starts = leaves
        try WorkerGroup.run(count: isLarge ? tree.workers : 1, name: "assemble") { _ in
            while let run = next.take(16, of: starts.count) {
                for index in starts[run] { try climb(from: tree.directories[index]) }
            }
        }
    }

    private final class Cursor: Sendable {
        private let position = Atomic<Int>(0)

        func take(_ count: Int, of total: Int) -> Range<Int>? {
            let start = position.add(count, ordering: .relaxed).oldValue
            return start < total ? start..<min(start + count, total) : nil
        }
    }

    private func climb(from leaf: ScannedDirectory) throws {
        var current = leaf
        while true {
            try assemble(current)
            guard let parent = current.parent,
                parent.waiting.subtract(1, ordering: .acquiringAndReleasing).newValue == 0
            else { return }
            current = parent
        }
    }

    private func assemble(_ directory: ScannedDirectory) throws {
        if directory.state == .dropped { return }
        let messages = try DirectoryMessages(directory)
        if directory.state == .partial, messages.tree.count == 0 {
            directory.state = .dropped
            return
        }
        let tree = messages.tree.encode()
        let attributes = messages.attributes.encode()
        let stable = messages.stableAttributes.encode()
        directory.result = AssembledDirectory(
            tree: TreeAssembler.sized(tree), attributes: TreeAssembler.sized(attributes),
            stable: TreeAssembler.sized(stable), totals: messages.totals)
    }

    private static func sized(_ bytes: [UInt8]) -> SizedDigest {
        SizedDigest(digest: Digest.of(bytes), size: UInt64(bytes.count))
    }
}

/// The messages of one directory whose subdirectories are done.
struct DirectoryMessages {
    private(set) var tree = Directory()
    private(set) var attributes: AttributesDirectory
    private(set) var totals = TreeTotals(directories: 1)
    private var stableDirectories: [SizedDigest] = []

    init(_ directory: ScannedDirectory) throws {
        attributes = AttributesDirectory(
            own: FileAttributes(
                permissions: directory.permissions, modified: directory.modified))
        try addFiles(directory)
        try addLinks(directory)
        try addDirectories(directory)
    }

    /// The attributes with the time of every directory zero.
    var stableAttributes: AttributesDirectory {
        var stable = attributes
        stable.own.modified = Timestamp(seconds: 0)
        stable.directories = stableDirectories
        return stable
    }

    /// Names are sorted as the file system has them; messages sort them as they write them, which
    /// differs only for names that need an escape.
    private static func sorted<Node>(
        _ nodes: [(node: Node, name: EntryName)]
    ) -> [(node: Node, name: EntryName)] {
        let isSorted = zip(nodes, nodes.dropFirst()).allSatisfy { $0.name < $1.name }
        return isSorted ? nodes : nodes.sorted { $0.name < $1.name }
    }

    private mutating func addFiles(_ directory: ScannedDirectory) throws {
        var files: [(node: Int, name: EntryName)] = []
        files.reserveCapacity(directory.files.count)
        for position in directory.files.indices {
            switch directory.files[position].state {
            case .vanished: continue
            case .cached, .hashed: break
            case .pending:
                let text = PathText.printable(directory.path(of: directory.name(position)))
                throw CASError(
                    .failedPrecondition, "\(text) was found but not read", path: text)
            }
            files.append((position, try EntryName(Array(directory.name(position)))))
        }
        tree.files.reserveCapacity(files.count)
        attributes.files.reserveCapacity(files.count)
        for (position, name) in DirectoryMessages.sorted(files) {
            let record = directory.files[position]
            tree.files.append(
                FileNode(
                    name: name, digest: record.digest, size: record.size,
                    isExecutable: record.permissions & 0o100 != 0))
            attributes.files.append(
                FileAttributes(permissions: record.permissions, modified: record.modified))
            totals.add(TreeTotals(files: 1, bytes: record.size))
        }
    }

    private mutating func addLinks(_ directory: ScannedDirectory) throws {
        let links = try directory.links.map { (node: $0, name: try EntryName($0.name)) }
        for (link, name) in DirectoryMessages.sorted(links) {
            tree.symlinks.append(SymlinkNode(name: name, target: link.target))
            attributes.symlinks.append(link.modified)
            totals.add(TreeTotals(symlinks: 1))
        }
    }

    private mutating func addDirectories(_ directory: ScannedDirectory) throws {
        var children: [(node: AssembledDirectory, name: EntryName)] = []
        for reference in directory.subdirectories {
            guard let result = reference.directory.result else { continue }
            children.append((result, try EntryName(reference.directory.name)))
        }
        for (child, name) in DirectoryMessages.sorted(children) {
            tree.directories.append(
                DirectoryNode(name: name, digest: child.tree.digest, size: child.tree.size))
            attributes.directories.append(child.attributes)
            stableDirectories.append(child.stable)
            totals.add(child.totals)
        }
    }
}
