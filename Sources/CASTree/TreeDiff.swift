package import CASCore

/// What differs between two trees, by content alone; equal subtrees are one comparison.
package enum TreeDiff {
    /// What stands at a path.
    package enum Node: Hashable, Sendable {
        case file(Digest, size: UInt64, isExecutable: Bool)
        case directory(Digest)
        case symlink([UInt8])
    }

    /// One path at which the trees differ.
    package struct Change: Hashable, Sendable {
        /// The path from the root.
        package let path: [UInt8]
        /// What the first tree has there; nil for something added.
        package let old: Node?
        /// What the second tree has there; nil for something removed.
        package let new: Node?
    }

    private struct Pending {
        let path: [UInt8]
        let old: Digest?
        let new: Digest?
        let depth: Int
    }

    /// Calls `body` with each change, by ascending path within each directory.
    ///
    /// A directory that is only in one tree is reported itself and with everything in it; one that is
    /// in both is reported through its entries. Throws as `TreeWalk` does.
    package static func run(
        from old: Digest?, to new: Digest?, source: some DirectorySource, limits: Limits,
        _ body: (Change) throws -> Void
    ) throws {
        var stack = [Pending(path: [], old: old, new: new, depth: 0)]
        var budget = limits.treeEntries
        while let next = stack.popLast() {
            guard next.old != next.new else { continue }
            guard next.depth < limits.treeDepth else {
                throw CASError(
                    .resourceExhausted, "a tree is deeper than \(limits.treeDepth) directories")
            }
            let left = try entries(next.old, source)
            let right = try entries(next.new, source)
            guard UInt64(left.count + right.count) < budget else {
                throw CASError(
                    .resourceExhausted, "a tree has more than \(limits.treeEntries) entries")
            }
            budget -= UInt64(left.count + right.count)
            var below: [Pending] = []
            try merge(left, right) { name, old, new in
                guard old != new else { return }
                let path = next.path.isEmpty ? name.bytes : next.path + [0x2f] + name.bytes
                let oldDirectory = directoryDigest(old)
                let newDirectory = directoryDigest(new)
                if oldDirectory == nil || newDirectory == nil {
                    try body(Change(path: path, old: old, new: new))
                }
                if oldDirectory != nil || newDirectory != nil {
                    below.append(
                        Pending(
                            path: path, old: oldDirectory, new: newDirectory, depth: next.depth + 1)
                    )
                }
            }
            stack.append(contentsOf: below.reversed())
        }
    }

    private static func directoryDigest(_ node: Node?) -> Digest? {
        if case .directory(let digest) = node { digest } else { nil }
    }

    private static func entries(
        _ digest: Digest?, _ source: some DirectorySource
    ) throws -> [(EntryName, Node)] {
        guard let digest else { return [] }
        guard let directory = try source.directory(digest) else {
            throw CASError(.notFound, "a directory of the tree is missing", digest: digest)
        }
        var entries: [(EntryName, Node)] = []
        entries.reserveCapacity(directory.count)
        for file in directory.files {
            entries.append(
                (file.name, .file(file.digest, size: file.size, isExecutable: file.isExecutable)))
        }
        for child in directory.directories {
            entries.append((child.name, .directory(child.digest)))
        }
        for link in directory.symlinks { entries.append((link.name, .symlink(link.target))) }
        return entries.sorted { $0.0 < $1.0 }
    }

    private static func merge(
        _ left: [(EntryName, Node)], _ right: [(EntryName, Node)],
        _ body: (EntryName, Node?, Node?) throws -> Void
    ) throws {
        var first = 0
        var second = 0
        while first < left.count || second < right.count {
            let order: Int
            if first == left.count {
                order = 1
            } else if second == right.count {
                order = -1
            } else {
                order = ByteOrder.compare(left[first].0.wire, right[second].0.wire)
            }
            if order < 0 {
                try body(left[first].0, left[first].1, nil)
                first += 1
            } else if order > 0 {
                try body(right[second].0, nil, right[second].1)
                second += 1
            } else {
                try body(left[first].0, left[first].1, right[second].1)
                first += 1
                second += 1
            }
        }
    }
}
