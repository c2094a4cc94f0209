package import CASCore
import CASTree

/// How a tree is cut into layers, as a pure function of its content (Layers.md, "The rule").
///
/// The tree is cut along directories, by classes of size only: two trees that differ in a few bytes are cut
/// at the same places, and an edit is in exactly one part.
package struct LayerPlan: Sendable {
    /// One part, and what its bytes depend on.
    package struct Item: Hashable, Sendable {
        /// What the layer holds.
        package let part: LayerPart
        /// The digest of everything that its bytes depend on: whoever knows the layer of a key need not make
        /// it again.
        package let key: Digest
    }

    /// Layers that a tree is cut into at most.
    package static let maximumParts = 64
    /// The class of size up to which nothing is cut: 32 MiB are above it.
    package static let smallestClass = 24
    /// What an entry counts beside its content: its header and padding.
    private static let entryBytes: UInt64 = 1_024
    /// Bytes of the path of a directory that is cut at most.
    private static let maximumPathBytes = 4_096

    /// The parts, in order; at least one.
    package let items: [Item]

    /// Cuts a complete tree; throws what the source does, and `notFound` or `failedPrecondition` where
    /// something of the tree lacks.
    package init(
        root: Digest, source: some LayerSource, options: LayerOptions,
        maximumParts: Int = LayerPlan.maximumParts, smallestClass: Int = LayerPlan.smallestClass
    ) throws {
        let keys = KeyWriter(options)
        let total = LayerPlan.weight(try source.sums(root, []))
        // An entry alone is never above the threshold: else an empty directory would be cut into no part.
        var threshold = max(smallestClass, LayerPlan.sizeClass(LayerPlan.entryBytes))
        while LayerPlan.sizeClass(total) > threshold {
            var cutter = Cutter(threshold: threshold, maximumParts: max(1, maximumParts))
            if try cutter.cut(root, source) {
                items = cutter.nodes.flatMap { $0.items(keys) }
                return
            }
            threshold += 1
        }
        let part = LayerPart(path: [], selection: .whole)
        items = [Item(part: part, key: keys.key(part, KeyWriter.entry(3, [], root)))]
    }

    /// The exponent of the largest power of two that is not above a size.
    static func sizeClass(_ weight: UInt64) -> Int {
        weight == 0 ? 0 : 63 - weight.leadingZeroBitCount
    }

    /// What a subtree counts.
    static func weight(_ totals: TreeTotals) -> UInt64 {
        let (product, overflow) = totals.entries.multipliedReportingOverflow(by: entryBytes)
        return add(overflow ? .max : product, totals.bytes)
    }

    private static func add(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let (sum, overflow) = left.addingReportingOverflow(right)
        return overflow ? .max : sum
    }

    /// A directory that is cut.
    private struct Node {
        let path: [UInt8]
        let directory: Directory
        /// Files that are parts of their own.
        var files: [FileNode] = []
        /// Names of entries that are in other parts, ascending.
        var excluded: [EntryName] = []
        /// How many bits of a name's hash choose the group of what remains; nil if nothing does.
        var bits: UInt8?

        /// Its parts: groups by index, then files by name.
        func items(_ keys: KeyWriter) -> [Item] {
            var items: [Item] = []
            if let bits {
                for (index, content) in groups(bits).enumerated() where !content.isEmpty {
                    let part = LayerPart(
                        path: path,
                        selection: .group(bits: bits, index: UInt64(index), excluded: excluded))
                    items.append(Item(part: part, key: keys.key(part, content)))
                }
            }
            for file in files {
                let part = LayerPart(path: path, selection: .file(file.name))
                items.append(Item(part: part, key: keys.key(part, KeyWriter.entry(file))))
            }
            return items
        }

        /// What the key of each group covers.
        private func groups(_ bits: UInt8) -> [[UInt8]] {
            var groups = [[UInt8]](repeating: [], count: 1 << Int(bits))
            let skipped = Set(excluded)
            func add(_ name: EntryName, _ entry: [UInt8]) {
                guard !skipped.contains(name) else { return }
                groups[Int(LayerPart.group(name, bits: bits))] += entry
            }
            for file in directory.files { add(file.name, KeyWriter.entry(file)) }
            for child in directory.directories {
                add(child.name, KeyWriter.entry(3, child.name.bytes, child.digest))
            }
            for link in directory.symlinks {
                add(link.name, KeyWriter.entry(4, link.name.bytes, Digest.of(link.target)))
            }
            return groups
        }
    }

    /// Cuts with one threshold.
    private struct Cutter {
        let threshold: Int
        let maximumParts: Int
        private(set) var nodes: [Node] = []
        private var count = 0

        init(threshold: Int, maximumParts: Int) {
            self.threshold = threshold
            self.maximumParts = maximumParts
        }

        /// False as soon as there are too many parts.
        mutating func cut(_ root: Digest, _ source: some LayerSource) throws -> Bool {
            var stack: [(path: [UInt8], digest: Digest)] = [([], root)]
            while let next = stack.popLast() {
                var node = Node(
                    path: next.path, directory: try source.present(next.digest, next.path))
                var children: [(path: [UInt8], digest: Digest)] = []
                var rest: UInt64 = 0
                for file in node.directory.files {
                    let weight = LayerPlan.add(file.size, LayerPlan.entryBytes)
                    if isLarge(weight) {
                        node.files.append(file)
                        node.excluded.append(file.name)
                    } else {
                        rest = LayerPlan.add(rest, weight)
                    }
                }
                for child in node.directory.directories {
                    let path = joined(next.path, child.name)
                    let weight = LayerPlan.weight(try source.sums(child.digest, path))
                    if isLarge(weight), path.count <= LayerPlan.maximumPathBytes {
                        children.append((path, child.digest))
                        node.excluded.append(child.name)
                    } else {
                        rest = LayerPlan.add(rest, weight)
                    }
                    guard children.count <= maximumParts else { return false }
                }
                for _ in node.directory.symlinks {
                    rest = LayerPlan.add(rest, LayerPlan.entryBytes)
                }
                node.excluded.sort()
                count += node.files.count
                if rest > 0 {
                    let bits = max(0, LayerPlan.sizeClass(rest) - threshold)
                    guard bits <= 16 else { return false }
                    node.bits = UInt8(bits)
                    count += 1 << bits
                }
                guard count <= maximumParts else { return false }
                nodes.append(node)
                stack += children.reversed()
            }
            return true
        }

        private func isLarge(_ weight: UInt64) -> Bool {
            LayerPlan.sizeClass(weight) > threshold
        }
    }
}

/// Writes what the key of a part is the digest of (Layers.md, "Keys").
private struct KeyWriter {
    private let head: [UInt8]

    init(_ options: LayerOptions) {
        var head = Array("CASL".utf8)
        head.append(LayerEncoder.formatVersion)
        head.append(littleEndian: options.userID)
        head.append(littleEndian: options.groupID)
        head.append(varint: UInt64(options.prefix.count))
        self.head = head + options.prefix
    }

    func key(_ part: LayerPart, _ content: [UInt8]) -> Digest {
        var bytes = head
        bytes.append(varint: UInt64(part.path.count))
        bytes += part.path
        bytes += content
        return Digest.of(bytes)
    }

    /// 1 a file, 2 an executable one, 3 a directory, 4 a symbolic link by the digest of its target.
    static func entry(_ kind: UInt8, _ name: [UInt8], _ digest: Digest) -> [UInt8] {
        var bytes: [UInt8] = [kind]
        bytes.append(varint: UInt64(name.count))
        bytes += name
        bytes.append(digest: digest)
        return bytes
    }

    static func entry(_ file: FileNode) -> [UInt8] {
        entry(file.isExecutable ? 2 : 1, file.name.bytes, file.digest)
    }
}
