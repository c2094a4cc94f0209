import CASClient
import CASCompression
import CASCore
import CASOCI
import CASPack
import CASTree
import CASWire
import CASWorkspace

/// The messages of a snapshot, shared out over some files so that an edit changes few of them
/// (Carrier.md, "Messages").
struct CarrierMessages {
    /// Files beside that of the index at most.
    static let maximumFiles = 15
    /// Directories of up to 256 KiB of messages are not cut.
    private static let smallestClass = 17
    private static let listsPerRequest = 10_000

    /// What stands in the file of the index, then what stands in each of the others.
    let groups: [[CarriedMessage]]

    /// Shares out the messages of a tree that was read, and the chunk lists of its large files.
    init(_ tree: TreeReader, lists: [Digest: [UInt8]], limits: Limits = .standard) throws {
        let root = tree.snapshot.tree.digest
        let plan = try LayerPlan(
            root: root, source: try MessageWeights(tree, lists, limits),
            options: try LayerOptions(), maximumParts: CarrierMessages.maximumFiles,
            smallestClass: CarrierMessages.smallestClass)
        var walk = Walk(tree: tree, lists: lists, limits: limits)
        if plan.items.count > 1 {
            for (index, item) in plan.items.enumerated() {
                walk.parts[item.part.path, default: []].append((index + 1, item.part))
            }
        }
        let count = plan.items.count > 1 ? plan.items.count : 0
        walk.groups = .init(repeating: [], count: count + 1)
        walk.seen = .init(repeating: [], count: count + 1)
        try walk.run()
        groups = walk.groups
    }

    /// The chunk lists of all files above what a store keeps in one piece.
    static func lists(
        _ tree: TreeReader, from connection: any StoreConnection, _ counters: ProgressCounters,
        limits: Limits = .standard
    ) throws -> [Digest: [UInt8]] {
        let description = try connection.describe()
        let border = 4 * min(description.chunkerAverageBytes, UInt64(UInt32.max))
        var wanted: Set<Digest> = []
        var visited: Set<Digest> = []
        try TreeWalk.run(
            root: tree.snapshot.tree.digest, attributes: nil, source: tree.contents, limits: limits
        ) { step in
            for file in step.directory.files where file.size > border { wanted.insert(file.digest) }
            return visited.insert(step.digest).inserted
        }
        guard !wanted.isEmpty else { return [:] }
        guard description.givesChunkLists else {
            throw CASError(
                .unimplemented, "the server is too old to say how large files are composed",
                hint: "run a newer cas serve")
        }
        var lists: [Digest: [UInt8]] = [:]
        let decompressor = try Decompressor()
        let raw = ReusableBuffer(capacity: 64 << 10)
        let sorted = wanted.sorted()
        for start in stride(from: 0, to: sorted.count, by: listsPerRequest) {
            let part = Array(sorted[start..<min(start + listsPerRequest, sorted.count)])
            try BlobStream.take(
                counters, limits, { try connection.readChunkLists(part, $0) },
                { record in
                    let header = record.header
                    if header.kind == .failure { throw RecordFailure.error(record) }
                    guard header.kind == .chunkList, wanted.contains(header.digest) else { return }
                    raw.resize(to: header.rawLength)
                    try decompressor.decode(
                        record.payload, codec: header.codec, rawLength: header.rawLength,
                        into: raw.mutableBytes)
                    _ = try ChunkList(decoding: raw.bytes, limits: limits)
                    lists[header.digest] = Array(raw.bytes)
                })
        }
        return lists
    }

    /// A directory on the way down, and the file for what is below; nil while directories are cut.
    private struct Step {
        let path: [UInt8]
        let directory: Digest
        let attributes: Digest?
        let group: Int?
    }

    private struct Pair: Hashable {
        let directory: Digest
        let attributes: Digest?
    }

    private struct Walk {
        let tree: TreeReader
        let lists: [Digest: [UInt8]]
        let limits: Limits
        var parts: [[UInt8]: [(group: Int, part: LayerPart)]] = [:]
        var groups: [[CarriedMessage]] = []
        var seen: [Set<Digest>] = []

        mutating func run() throws {
            let snapshot = tree.snapshot
            var visited: [Int: Set<Pair>] = [:]
            var stack = [
                Step(
                    path: [], directory: snapshot.tree.digest,
                    attributes: snapshot.attributes?.digest, group: parts.isEmpty ? 0 : nil)
            ]
            while let step = stack.popLast() {
                if let group = step.group {
                    let pair = Pair(directory: step.directory, attributes: step.attributes)
                    guard visited[group, default: []].insert(pair).inserted else { continue }
                }
                guard let directory = try tree.contents.directory(step.directory) else {
                    throw CASError(
                        .dataLoss, "the store did not send a directory", digest: step.directory)
                }
                var attributes: AttributesDirectory?
                if let digest = step.attributes {
                    attributes = try tree.contents.attributes(digest)
                    guard attributes?.matches(directory) == true else {
                        throw CASError(
                            .dataLoss, "the store did not send attributes as they should be",
                            digest: digest)
                    }
                }
                add(step, directory)
                for (index, child) in directory.directories.enumerated().reversed() {
                    stack.append(
                        Step(
                            path: step.group == nil ? joined(step.path, child.name.bytes) : [],
                            directory: child.digest,
                            attributes: attributes?.directories[index].digest,
                            group: step.group ?? group(of: child.name, in: step.path)))
                }
            }
        }

        private func joined(_ path: [UInt8], _ name: [UInt8]) -> [UInt8] {
            path.isEmpty ? name : path + [UInt8(ascii: "/")] + name
        }

        /// The file for an entry of a directory that is cut; nil for one that is cut in its turn.
        private func group(of name: EntryName, in path: [UInt8]) -> Int? {
            parts[path]?.first { $0.part.holds(name) }?.group
        }

        private mutating func add(_ step: Step, _ directory: Directory) {
            let group = step.group ?? 0
            // An empty message is nothing that somebody would have to be told.
            if let bytes = tree.contents.message(step.directory), !bytes.isEmpty,
                seen[group].insert(step.directory).inserted
            {
                groups[group].append(.directory(bytes))
            }
            if let digest = step.attributes, let bytes = tree.contents.message(digest),
                seen[group].insert(digest).inserted
            {
                groups[group].append(.attributes(bytes))
            }
            for file in directory.files {
                guard let list = lists[file.digest], seen[group].insert(file.digest).inserted else {
                    continue
                }
                groups[group].append(.chunkList(file.digest, list))
            }
        }
    }
}

/// A tree as the plan for its messages sees it: directories only, each as heavy as what is said of it.
private struct MessageWeights: LayerSource {
    private let tree: TreeReader
    private let sums: [Digest: TreeTotals]

    init(_ tree: TreeReader, _ lists: [Digest: [UInt8]], _ limits: Limits) throws {
        self.tree = tree
        sums = try TreeWalk.sums(
            root: tree.snapshot.tree.digest, source: tree.contents, limits: limits
        ) { digest, directory in
            var bytes = UInt64(tree.contents.message(digest)?.count ?? 0)
            bytes += 14 * UInt64(directory.count) + 40 * UInt64(directory.directories.count)
            for file in directory.files { bytes += UInt64(lists[file.digest]?.count ?? 0) }
            return TreeTotals(bytes: bytes)
        }.mapValues { $0.totals }
    }

    func directory(_ digest: Digest) throws -> Directory? {
        try tree.contents.directory(digest).map { Directory(directories: $0.directories) }
    }

    func totals(_ digest: Digest) throws -> TreeTotals? { sums[digest] }
}
