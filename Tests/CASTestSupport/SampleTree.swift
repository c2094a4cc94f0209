package import CASCore
package import CASPack
package import CASTree

/// A directory tree in memory that tests push and compare.
package struct SampleFolder: Hashable, Sendable {
    /// A file and its attributes.
    package struct File: Hashable, Sendable {
        package var content: [UInt8]
        package var isExecutable: Bool
        package var modified: Timestamp

        /// A file of that content.
        package init(
            content: [UInt8], isExecutable: Bool = false,
            modified: Timestamp = Timestamp(seconds: 1_600_000_000)
        ) {
            self.content = content
            self.isExecutable = isExecutable
            self.modified = modified
        }
    }
    /// Files by name.
    package var files: [String: File] = [:]
    /// Targets of symbolic links by name.
    package var symlinks: [String: [UInt8]] = [:]
    /// Folders by name.
    package var folders: [String: SampleFolder] = [:]
    /// When it was changed.
    package var modified = Timestamp(seconds: 1_500_000_000)

    /// A folder with these files, or an empty one.
    package init(files: [String: File] = [:]) { self.files = files }

    /// A random folder: few distinct contents, so that files share blobs.
    package static func random(
        _ random: inout SeededGenerator, depth: Int = 3, largestFile: Int = 3_000
    ) -> SampleFolder {
        var folder = SampleFolder()
        folder.modified.nanoseconds = UInt32.random(in: 0..<1_000_000_000, using: &random)
        for index in 0..<Int.random(in: 0...6, using: &random) {
            let count = Int.random(in: 0...largestFile, using: &random)
            let isShared = Int.random(in: 0..<4, using: &random) == 0
            folder.files["file-\(index)"] = File(
                content: isShared
                    ? Array(repeating: 7, count: count % 5) : content(count, &random),
                isExecutable: Bool.random(using: &random))
        }
        if Bool.random(using: &random) {
            folder.symlinks["link"] = Array("../somewhere/\(random.next())".utf8)
        }
        guard depth > 1 else { return folder }
        for index in 0..<Int.random(in: 0...3, using: &random) {
            folder.folders["folder-\(index)"] = .random(
                &random, depth: depth - 1, largestFile: largestFile)
        }
        return folder
    }

    /// Bytes, sometimes compressible and sometimes not.
    package static func content(_ count: Int, _ random: inout SeededGenerator) -> [UInt8] {
        if Bool.random(using: &random) { return random.bytes(count) }
        let line = Array("line \(random.next()) of a text\n".utf8)
        return (0..<count).map { line[$0 % line.count] }
    }
}

/// What a store holds of a folder once it was pushed: all messages and file contents by digest.
package struct SampleTree: Sendable {
    /// A message of the tree as it is stored.
    package struct Message: Sendable {
        package let kind: RecordKind
        package let digest: Digest
        package let bytes: [UInt8]
    }
    /// Directories and attributes, children first, and the snapshot last.
    package private(set) var messages: [Message] = []
    /// Contents of its files.
    package private(set) var files: [Digest: [UInt8]] = [:]
    /// What it was made of.
    package let folder: SampleFolder
    /// The message that refs name.
    package let snapshot: Snapshot

    /// The messages of a folder.
    package init(_ folder: SampleFolder, hasAttributes: Bool = true) throws {
        var builder = Builder()
        let root = try builder.add(folder)
        self.folder = folder
        files = builder.files
        snapshot = Snapshot(
            tree: root.tree, attributes: hasAttributes ? root.attributes : nil,
            stableAttributes: hasAttributes ? root.stable : nil, totals: root.totals)
        messages = builder.messages.filter { hasAttributes || $0.kind == .directory }
        let bytes = snapshot.encode()
        messages.append(Message(kind: .snapshot, digest: Digest.of(bytes), bytes: bytes))
    }

    package static func random(_ seed: UInt64, largestFile: Int = 3_000) throws -> SampleTree {
        var random = SeededGenerator(seed: seed)
        return try SampleTree(.random(&random, largestFile: largestFile))
    }

    /// The digest of the snapshot.
    package var digest: Digest { snapshot.digest }
    /// Digests of everything that has to be uploaded.
    package var allDigests: [Digest] {
        let contents = files.keys.filter { $0 != .empty }
        return Array(Set(contents + messages.map(\.digest)))
    }

    private struct Root {
        let tree: SizedDigest
        let attributes: SizedDigest
        let stable: Digest
        let totals: TreeTotals
    }

    private struct Builder {
        var messages: [Message] = []
        var files: [Digest: [UInt8]] = [:]
        private var seen: Set<Digest> = []

        mutating func add(_ folder: SampleFolder) throws -> Root {
            var directory = Directory()
            var totals = TreeTotals(directories: 1)
            var times: [EntryName: FileAttributes] = [:]
            for (text, file) in folder.files {
                let name = try EntryName(text)
                let digest = Digest.of(file.content)
                files[digest] = file.content
                directory.files.append(
                    FileNode(
                        name: name, digest: digest, size: UInt64(file.content.count),
                        isExecutable: file.isExecutable))
                times[name] = FileAttributes(
                    permissions: file.isExecutable ? 0o755 : 0o644, modified: file.modified)
                totals.files += 1
                totals.bytes += UInt64(file.content.count)
            }
            for (text, target) in folder.symlinks {
                directory.symlinks.append(SymlinkNode(name: try EntryName(text), target: target))
                totals.symlinks += 1
            }
            var roots: [EntryName: Root] = [:]
            for (text, child) in folder.folders.sorted(by: { $0.key < $1.key }) {
                let name = try EntryName(text)
                let root = try add(child)
                roots[name] = root
                totals.add(root.totals)
                directory.directories.append(
                    DirectoryNode(name: name, digest: root.tree.digest, size: root.tree.size))
            }
            directory.sort()
            var attributes = AttributesDirectory(
                own: FileAttributes(permissions: 0o755, modified: folder.modified),
                files: directory.files.compactMap { times[$0.name] },
                symlinks: directory.symlinks.map { _ in Timestamp(seconds: 5) },
                directories: directory.directories.compactMap { roots[$0.name]?.attributes })
            let tree = insert(.directory, directory.encode())
            let own = insert(.attributes, attributes.encode())
            attributes.own.modified = Timestamp(seconds: 0)
            attributes.directories = directory.directories.compactMap { node in
                roots[node.name].map { SizedDigest(digest: $0.stable, size: 0) }
            }
            return Root(
                tree: tree, attributes: own, stable: Digest.of(attributes.encode()),
                totals: totals)
        }

        private mutating func insert(_ kind: RecordKind, _ bytes: [UInt8]) -> SizedDigest {
            let digest = Digest.of(bytes)
            if seen.insert(digest).inserted {
                messages.append(Message(kind: kind, digest: digest, bytes: bytes))
            }
            return SizedDigest(digest: digest, size: UInt64(bytes.count))
        }
    }
}
