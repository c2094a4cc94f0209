import CASCatalog
import CASCore
import CASPack
import CASTree

/// The records that hold the files of a tree, met in the order in which the tree names them, a few at a time.
///
/// A record that several files share is met several times. Messages of the tree and chunk lists, which lie
/// in packs of their own, are not met.
struct ContentWalk {
    typealias Item = RecordSequence.Item

    /// What reading a directory counts for, in lookups.
    private static let directoryWork = 20

    private let domain: Domain
    private let limits: Limits
    /// Directories that were not looked at yet, the next one last.
    private var directories: [Digest]
    private var visited: Set<Digest> = []
    /// Files of the directory at hand, the next one last.
    private var files: [FileNode] = []
    /// Chunks of the file at hand, the next one last.
    private var chunks: [Digest] = []
    /// Bytes of the files that were met, shared ones counted each time.
    private(set) var restoredBytes: UInt64 = 0

    /// A walk of the tree with this root.
    init(root: Digest, domain: Domain, limits: Limits) {
        self.domain = domain
        self.limits = limits
        directories = [root]
    }

    /// About `count` records more, perhaps none; nil once all were met.
    ///
    /// Throws `dataLoss` where something of the tree is missing.
    mutating func next(
        _ count: Int, _ reader: any CatalogReader, _ source: StoredDirectories
    ) throws -> [Item]? {
        var items: [Item] = []
        var work = 0
        while work < count {
            work += 1
            if !chunks.isEmpty {
                let some = Array(chunks.suffix(count).reversed())
                chunks.removeLast(some.count)
                items += try locate(some, reader)
                work += some.count
            } else if !files.isEmpty {
                let some = Array(files.suffix(count).reversed())
                files.removeLast(some.count)
                work += some.count
                try take(some, reader, &items)
            } else if let directory = directories.popLast() {
                guard visited.insert(directory).inserted else { continue }
                guard UInt64(visited.count) < limits.treeEntries else {
                    throw CASError(.resourceExhausted, "a tree has too many directories")
                }
                try enter(directory, source)
                work += ContentWalk.directoryWork
            } else {
                return work == 1 ? nil : items
            }
        }
        return items
    }

    private mutating func enter(_ digest: Digest, _ source: StoredDirectories) throws {
        guard let directory = try source.directory(digest) else {
            throw PlanBuilder.incomplete(digest)
        }
        for child in directory.directories.reversed() { directories.append(child.digest) }
        for file in directory.files.reversed() where file.digest != .empty { files.append(file) }
    }

    /// Meets small files; at a file in chunks it stops, puts back those behind it, and goes on with its chunks.
    private mutating func take(
        _ some: [FileNode], _ reader: any CatalogReader, _ items: inout [Item]
    ) throws {
        let places = try locate(some.map(\.digest), reader)
        for (index, item) in places.enumerated() {
            restoredBytes += some[index].size
            guard item.location.kind == .chunkList else {
                items.append(item)
                continue
            }
            guard let list = try reader.chunkList(of: item.digest, domain: domain) else {
                throw PlanBuilder.incomplete(item.digest)
            }
            chunks = list.chunks.reversed()
            files += some[(index + 1)...].reversed()
            return
        }
    }

    private func locate(_ digests: [Digest], _ reader: any CatalogReader) throws -> [Item] {
        try zip(digests, try reader.locations(of: digests, domain: domain)).map { digest, place in
            guard let place else { throw PlanBuilder.incomplete(digest) }
            return (digest, place)
        }
    }
}
