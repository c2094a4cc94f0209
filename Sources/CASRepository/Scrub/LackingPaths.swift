import CASCatalog
import CASCore
import CASPack
import CASTree

/// Finds where in a snapshot something is missing; changes nothing.
///
/// What the catalog knows to be whole is not looked at. Below a directory that is missing nobody knows
/// what there is.
struct LackingPaths {
    /// One place.
    struct Place {
        let digest: Digest
        let text: String
    }
    private struct Pair: Hashable {
        let directory: Digest
        let attributes: Digest?
    }
    private let reader: any CatalogReader
    private let source: StoredDirectories
    private let domain: Domain
    private let limits: Limits
    private let limit: Int
    private(set) var places: [Place] = []
    private var seen: Set<Pair> = []

    init(
        _ repository: Repository, _ reader: any CatalogReader, domain: Domain, limit: Int
    ) throws {
        self.reader = reader
        self.domain = domain
        self.limit = limit
        limits = repository.limits
        source = try StoredDirectories(repository, reader, domain: domain)
    }

    /// Finds the first places of a snapshot, in the order of paths.
    mutating func find(in snapshot: Digest) throws {
        guard let root = try present(try source.snapshot(snapshot)) else {
            return add(snapshot, "the snapshot")
        }
        var stack: [(path: [UInt8], pair: Pair)] = [
            ([], Pair(directory: root.tree.digest, attributes: root.attributes?.digest))
        ]
        while let (path, pair) = stack.popLast(), places.count < limit {
            guard seen.insert(pair).inserted, try !isWhole(pair) else { continue }
            guard seen.count <= Int(clamping: limits.treeEntries), stack.count <= 4_000_000 else {
                throw CASError(.resourceExhausted, "a tree has too many directories")
            }
            let directory = try present(try source.directory(pair.directory))
            if directory == nil { add(pair.directory, text(path, "directory")) }
            var attributes: AttributesDirectory?
            if let digest = pair.attributes {
                attributes = try present(try source.attributes(digest))
                if attributes == nil { add(digest, text(path, "attributes")) }
            }
            guard let directory else { continue }
            try addFiles(directory, path)
            for (index, child) in directory.directories.enumerated().reversed() {
                let below = attributes.flatMap {
                    $0.directories.indices.contains(index) ? $0.directories[index].digest : nil
                }
                stack.append(
                    (
                        path + child.name.bytes + [UInt8(ascii: "/")],
                        Pair(directory: child.digest, attributes: below)
                    ))
            }
        }
    }

    /// A message, nil also where the store's copy is damaged.
    private func present<Message>(_ read: @autoclosure () throws -> Message?) throws -> Message? {
        do { return try read() } catch let error as CASError where error.isOfContent { return nil }
    }

    private func isWhole(_ pair: Pair) throws -> Bool {
        guard try reader.treeState(of: pair.directory, domain: domain) != nil else { return false }
        guard let attributes = pair.attributes else { return true }
        return try reader.treeState(
            of: Completeness.key(pair.directory, attributes), domain: domain) != nil
    }

    private mutating func addFiles(_ directory: Directory, _ path: [UInt8]) throws {
        let digests = directory.files.map(\.digest)
        let locations = try reader.locations(of: digests, domain: domain)
        for (file, location) in zip(directory.files, locations) where places.count < limit {
            if file.size == 0, file.digest == .empty { continue }
            var isMissing = location == nil
            if location?.kind == .chunkList {
                let list = try reader.chunkList(of: file.digest, domain: domain)
                isMissing =
                    try list.map {
                        try reader.locations(of: $0.chunks, domain: domain).contains { $0 == nil }
                    } ?? true
            }
            if isMissing { add(file.digest, text(path + file.name.bytes, nil)) }
        }
    }

    private mutating func add(_ digest: Digest, _ text: String) {
        if places.count < limit { places.append(Place(digest: digest, text: text)) }
    }

    private func text(_ path: [UInt8], _ what: String?) -> String {
        let path = PathText.printable(path.isEmpty ? [UInt8(ascii: ".")] : path)
        return what.map { "\(path) (\($0))" } ?? path
    }
}
