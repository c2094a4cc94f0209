package import CASCore
import CASTree

/// Takes the bytes of a layer: some as they are, the others by the digest of a file.
package protocol LayerConsumer {
    /// Headers and padding, lent for the call; at most some 100 KiB at once.
    mutating func bytes(_ bytes: UnsafeRawBufferPointer) throws
    /// The content of a file stands here; it has at least one byte.
    mutating func file(_ digest: Digest, size: UInt64) throws
}

/// Makes a layer of a part of a tree: a tar archive whose bytes depend on nothing but the tree, the part and
/// the options (Layers.md, "Archive").
package struct LayerEncoder: Sendable {
    /// The version of the rules; a layer of another version has other bytes.
    package static let formatVersion: UInt8 = 1
    /// Headers are handed on when there are as many bytes of them.
    private static let pieceBytes = 64 << 10

    private let options: LayerOptions
    private let limits: Limits

    /// An encoder for these options.
    package init(_ options: LayerOptions, limits: Limits = .standard) {
        self.options = options
        self.limits = limits
    }

    /// Hands on all bytes of the layer of a part of the tree at `root`.
    package func encode(
        _ part: LayerPart, root: Digest, source: some LayerSource,
        to consumer: inout some LayerConsumer
    ) throws {
        var output = Output(limits: limits)
        try encodeAncestors(part, &output)
        let top = try find(part, root, source)
        try walk(part, top, source, &output, &consumer)
        output.pending += repeatElement(0, count: 2 * TarHeader.blockBytes)
        try output.flush(&consumer)
    }

    /// Exactly how many bytes the layer has; reads the directories and no file.
    package func size(
        _ part: LayerPart, root: Digest, source: some LayerSource
    ) throws -> UInt64 {
        var counter = Counter()
        try encode(part, root: root, source: source, to: &counter)
        return counter.count
    }

    private struct Counter: LayerConsumer {
        var count: UInt64 = 0
        mutating func bytes(_ bytes: UnsafeRawBufferPointer) throws {
            count += UInt64(bytes.count)
        }
        mutating func file(_ digest: Digest, size: UInt64) throws { count += size }
    }

    /// Headers that wait to be handed on.
    private struct Output {
        let limits: Limits
        var pending: [UInt8] = []
        private var entries: UInt64 = 0

        init(limits: Limits) { self.limits = limits }

        mutating func add(_ header: TarHeader) throws {
            entries += 1
            guard entries <= limits.treeEntries else {
                throw CASError(
                    .resourceExhausted, "a layer has more than \(limits.treeEntries) entries")
            }
            header.append(to: &pending)
        }

        mutating func flush(_ consumer: inout some LayerConsumer) throws {
            guard !pending.isEmpty else { return }
            try pending.withUnsafeBytes { try consumer.bytes($0) }
            pending.removeAll(keepingCapacity: true)
        }
    }

    /// The directories that lead to what the part holds, so that they look the same in each layer.
    private func encodeAncestors(_ part: LayerPart, _ output: inout Output) throws {
        for path in options.ancestors { try output.add(outer(path)) }
        guard !part.path.isEmpty else { return }
        for end in part.path.indices where part.path[end] == UInt8(ascii: "/") {
            try output.add(directory(joined(options.prefix, Array(part.path[..<end]))))
        }
        try output.add(directory(joined(options.prefix, part.path)))
    }

    private func find(
        _ part: LayerPart, _ root: Digest, _ source: some LayerSource
    ) throws -> Directory {
        var current = try source.present(root, [])
        var path: [UInt8] = []
        for name in part.path.split(separator: UInt8(ascii: "/")) {
            let name = try EntryName(Array(name))
            path = joined(path, name)
            guard let child = current.directory(name) else {
                throw CASError(
                    .dataLoss, "a layer is described by a directory that its tree does not have",
                    digest: root, path: PathText.printable(path))
            }
            current = try source.present(child.digest, path)
        }
        return current
    }

    /// One directory on the way down, and which of its entries come next.
    private struct Frame {
        let path: [UInt8]
        let directory: Directory
        var file = 0
        var child = 0
        var link = 0

        /// The kind of the entry with the smallest name among the next ones: 0 file, 1 directory, 2 link.
        func next() -> Int? {
            var least: (kind: Int, name: EntryName)?
            func offer(_ kind: Int, _ name: EntryName?) {
                guard let name else { return }
                if let current = least, current.name < name { return }
                least = (kind, name)
            }
            offer(0, file < directory.files.count ? directory.files[file].name : nil)
            offer(
                1, child < directory.directories.count ? directory.directories[child].name : nil)
            offer(2, link < directory.symlinks.count ? directory.symlinks[link].name : nil)
            return least?.kind
        }
    }

    private func walk(
        _ part: LayerPart, _ top: Directory, _ source: some LayerSource, _ output: inout Output,
        _ consumer: inout some LayerConsumer
    ) throws {
        var stack = [Frame(path: joined(options.prefix, part.path), directory: top)]
        while let frame = stack.last {
            let depth = stack.count - 1
            let isTop = depth == 0
            if output.pending.count >= LayerEncoder.pieceBytes { try output.flush(&consumer) }
            switch frame.next() {
            case 0:
                stack[depth].file += 1
                let node = frame.directory.files[frame.file]
                guard !isTop || part.holds(node.name) else { continue }
                try output.add(file(node, joined(frame.path, node.name)))
                guard node.size > 0 else { continue }
                try output.flush(&consumer)
                try consumer.file(node.digest, size: node.size)
                output.pending += repeatElement(0, count: TarHeader.padding(node.size))
            case 1:
                stack[depth].child += 1
                let node = frame.directory.directories[frame.child]
                guard !isTop || part.holds(node.name) else { continue }
                let path = joined(frame.path, node.name)
                guard stack.count < limits.treeDepth else {
                    throw CASError(
                        .resourceExhausted,
                        "a tree is deeper than \(limits.treeDepth) directories")
                }
                try output.add(directory(path))
                stack.append(
                    Frame(path: path, directory: try source.present(node.digest, path)))
            case 2:
                stack[depth].link += 1
                let node = frame.directory.symlinks[frame.link]
                guard !isTop || part.holds(node.name) else { continue }
                try output.add(link(node, joined(frame.path, node.name)))
            default: stack.removeLast()
            }
        }
    }
}

/// The headers of entries.
extension LayerEncoder {
    private func file(_ node: FileNode, _ path: [UInt8]) -> TarHeader {
        TarHeader(
            path: path, kind: .file, mode: node.isExecutable ? 0o755 : 0o644,
            userID: UInt64(options.userID), groupID: UInt64(options.groupID), size: node.size,
            modified: DerivedTime.of(node.digest).seconds)
    }

    /// A directory of the tree; its time is no function of its content, which would change those that lead to
    /// an edit in every layer.
    private func directory(_ path: [UInt8]) -> TarHeader {
        TarHeader(
            path: path, kind: .directory, mode: 0o755, userID: UInt64(options.userID),
            groupID: UInt64(options.groupID))
    }

    /// A directory of the image on the way to the tree: the tree's own root belongs to the owner, those above
    /// it to root, and the ones that anybody may write to stay so.
    private func outer(_ path: [UInt8]) -> TarHeader {
        if path == options.prefix { return directory(path) }
        let isShared = ["tmp", "var/tmp"].contains { path.elementsEqual($0.utf8) }
        return TarHeader(path: path, kind: .directory, mode: isShared ? 0o1777 : 0o755)
    }

    private func link(_ node: SymlinkNode, _ path: [UInt8]) -> TarHeader {
        TarHeader(
            path: path, kind: .symlink, mode: 0o777, userID: UInt64(options.userID),
            groupID: UInt64(options.groupID),
            modified: DerivedTime.of(Digest.of(node.target)).seconds, target: node.target)
    }
}
