package import CASCore

/// Where the messages of trees come from: memory, a store, a cache.
package protocol DirectorySource {
    /// The directory with that digest; nil if it is not there.
    func directory(_ digest: Digest) throws -> Directory?
    /// The attributes with that digest; nil if they are not there.
    func attributes(_ digest: Digest) throws -> AttributesDirectory?
}

/// Walks trees with an explicit stack, so that no depth that somebody made up exhausts the thread's.
package enum TreeWalk {
    /// One directory on the way, before its entries.
    package struct Step {
        /// The path from the root, without a slash at either end; empty for the root.
        package let path: [UInt8]
        /// Its digest.
        package let digest: Digest
        /// Its content.
        package let directory: Directory
        /// Its attributes' digest, if the walk has any.
        package let attributesDigest: Digest?
        /// Its attributes, if the walk has any.
        package let attributes: AttributesDirectory?
        /// Directories between it and the root.
        package let depth: Int
    }

    private struct Pending {
        let path: [UInt8]
        let digest: Digest
        let attributes: Digest?
        let depth: Int
    }

    /// Calls `body` with each directory of a tree, parents before children, in order of names.
    ///
    /// A directory that stands at several paths is met at each. `body` returns whether to go into it.
    /// Throws `notFound` naming what is missing, `resourceExhausted` beyond `limits`, `dataLoss` where
    /// attributes do not match their directory.
    package static func run(
        root: Digest, attributes: Digest?, source: some DirectorySource, limits: Limits,
        _ body: (Step) throws -> Bool
    ) throws {
        var stack = [Pending(path: [], digest: root, attributes: attributes, depth: 0)]
        var budget = limits.treeEntries
        while let next = stack.popLast() {
            let step = try load(next, source, limits)
            guard UInt64(step.directory.count) < budget else {
                throw CASError(
                    .resourceExhausted, "a tree has more than \(limits.treeEntries) entries")
            }
            budget -= UInt64(step.directory.count)
            guard try body(step) else { continue }
            for (index, child) in step.directory.directories.enumerated().reversed() {
                let path =
                    step.path.isEmpty ? child.name.bytes : step.path + [0x2f] + child.name.bytes
                stack.append(
                    Pending(
                        path: path, digest: child.digest,
                        attributes: step.attributes?.directories[index].digest,
                        depth: next.depth + 1))
            }
        }
    }

    private static func load(
        _ next: Pending, _ source: some DirectorySource, _ limits: Limits
    ) throws -> Step {
        guard next.depth < limits.treeDepth else {
            throw CASError(
                .resourceExhausted, "a tree is deeper than \(limits.treeDepth) directories")
        }
        guard let directory = try source.directory(next.digest) else {
            throw CASError(
                .notFound, "a directory of the tree is missing", digest: next.digest,
                path: PathText.printable(next.path))
        }
        var attributes: AttributesDirectory?
        if let digest = next.attributes {
            guard let found = try source.attributes(digest) else {
                throw CASError(
                    .notFound, "attributes of the tree are missing", digest: digest,
                    path: PathText.printable(next.path))
            }
            guard found.matches(directory) else {
                throw CASError(
                    .dataLoss, "attributes do not match their directory", digest: digest,
                    path: PathText.printable(next.path))
            }
            attributes = found
        }
        return Step(
            path: next.path, digest: next.digest, directory: directory,
            attributesDigest: next.attributes, attributes: attributes, depth: next.depth)
    }

    /// Sums over a tree and its depth, each distinct directory visited once; so a graph of 40 messages
    /// that names 2^40 files is summed in 40 steps, and refused by `limits`.
    package static func totals(
        root: Digest, source: some DirectorySource, limits: Limits
    ) throws -> (totals: TreeTotals, depth: Int) {
        let sums = try sums(root: root, source: source, limits: limits)
        return sums[root] ?? (TreeTotals(), 0)
    }

    /// The same for each directory of a tree; `own` says what one counts by itself.
    ///
    /// Throws `notFound` naming what is missing.
    package static func sums(
        root: Digest, source: some DirectorySource, limits: Limits,
        own: (Digest, Directory) -> TreeTotals = { $1.ownTotals }
    ) throws -> [Digest: (totals: TreeTotals, depth: Int)] {
        var known: [Digest: (totals: TreeTotals, depth: Int)] = [:]
        var stack: [(digest: Digest, directory: Directory, next: Int)] = []
        var onStack: Set<Digest> = []
        func enter(_ digest: Digest) throws {
            guard stack.count < limits.treeDepth, onStack.insert(digest).inserted else {
                throw CASError(
                    .resourceExhausted, "a tree is deeper than \(limits.treeDepth) directories")
            }
            guard let directory = try source.directory(digest) else {
                throw CASError(.notFound, "a directory of the tree is missing", digest: digest)
            }
            stack.append((digest, directory, 0))
        }
        try enter(root)
        while let top = stack.last {
            if top.next < top.directory.directories.count {
                stack[stack.count - 1].next += 1
                let child = top.directory.directories[top.next].digest
                if known[child] == nil { try enter(child) }
                continue
            }
            stack.removeLast()
            onStack.remove(top.digest)
            known[top.digest] = try sum(
                own(top.digest, top.directory), below: top.directory, known, limits)
        }
        return known
    }

    private static func sum(
        _ own: TreeTotals, below directory: Directory,
        _ known: [Digest: (totals: TreeTotals, depth: Int)], _ limits: Limits
    ) throws -> (totals: TreeTotals, depth: Int) {
        var totals = own
        var depth = 0
        for child in directory.directories {
            guard let below = known[child.digest] else { continue }
            totals.add(below.totals)
            depth = max(depth, below.depth)
        }
        try totals.check(limits)
        return (totals, depth + 1)
    }
}

extension Directory {
    /// Totals of the directory and its files and links, without its subdirectories.
    package var ownTotals: TreeTotals {
        var totals = TreeTotals(
            files: UInt64(files.count), directories: 1, symlinks: UInt64(symlinks.count))
        for file in files { totals.add(TreeTotals(bytes: file.size)) }
        return totals
    }
}

extension TreeTotals {
    /// Throws `resourceExhausted` beyond `limits`.
    package func check(_ limits: Limits) throws {
        guard entries <= limits.treeEntries else {
            throw CASError(
                .resourceExhausted,
                "a tree of \(entries) entries is larger than the \(limits.treeEntries) allowed")
        }
        guard bytes <= limits.treeBytes else {
            throw CASError(
                .resourceExhausted,
                "a tree of \(ByteCount.text(bytes)) is larger than the "
                    + "\(ByteCount.text(limits.treeBytes)) allowed")
        }
    }
}
