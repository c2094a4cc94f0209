import CASCatalog
import CASCore
import CASPack
import CASTree

/// Collects what one tree has and another does not.
struct PlanBuilder {
    private struct Pair: Hashable {
        let directory: Digest
        let attributes: Digest?
    }
    let reader: any CatalogReader
    let source: StoredDirectories
    let domain: Domain
    let limits: Limits
    private var messages: [Digest] = []
    private var files: [Digest] = []
    private var seenFiles: Set<Digest> = []
    private var seenMessages: Set<Digest> = []
    private var visited: Set<Pair> = []

    init(reader: any CatalogReader, source: StoredDirectories, domain: Domain, limits: Limits) {
        self.reader = reader
        self.source = source
        self.domain = domain
        self.limits = limits
    }

    mutating func build(
        _ digest: Digest, _ snapshot: Snapshot, have: Digest?, base: Snapshot?
    ) throws -> FetchPlan {
        try snapshot.totals.check(limits)
        try collect(
            Pair(directory: snapshot.tree.digest, attributes: snapshot.attributes?.digest),
            base.map { Pair(directory: $0.tree.digest, attributes: $0.attributes?.digest) })
        let places = try locations(messages)
        let (units, chunks, rawBytes) = try PlanBuilder.units(
            files, reader: reader, domain: domain)
        return FetchPlan(
            snapshotDigest: digest, snapshot: snapshot, have: have,
            metadata: zip(messages, places).map { (digest: $0, location: $1) }, units: units,
            chunks: chunks, rawBytes: rawBytes)
    }

    private func locations(_ digests: [Digest]) throws -> [BlobLocation] {
        try zip(digests, try reader.locations(of: digests, domain: domain)).map { digest, place in
            guard let place else { throw try PlanBuilder.absence(digest, reader, domain) }
            return place
        }
    }

    /// Why something of a tree is not here: removed for good, or lost.
    private static func absence(
        _ digest: Digest, _ reader: any CatalogReader, _ domain: Domain
    ) throws -> CASError {
        try reader.purged([digest], domain: domain)[0].map { Repository.wasPurged(digest, $0) }
            ?? incomplete(digest)
    }

    static func incomplete(_ digest: Digest) -> CASError {
        CASError(
            .dataLoss, "the store has lost a part of this snapshot",
            hint: "push the workspace again from where it is still whole: that heals the store",
            digest: digest)
    }

    /// Walks both trees side by side where they differ.
    ///
    /// What only moved within directories that differ is found too; what moved from elsewhere is
    /// sent again.
    private mutating func collect(_ root: Pair, _ base: Pair?) throws {
        var stack: [(new: Pair, old: Pair?)] = [(root, base)]
        var order: [Digest] = []
        while let (new, old) = stack.popLast() {
            guard new != old, visited.insert(new).inserted else { continue }
            guard UInt64(visited.count) < limits.treeEntries else {
                throw CASError(.resourceExhausted, "a tree has too many directories")
            }
            let (directory, attributes) = try load(new)
            let (oldDirectory, oldAttributes) = try old.map { try load($0) } ?? (nil, nil)
            if new.directory != old?.directory {
                add(new.directory)
                for file in oldDirectory?.files ?? [] { seenFiles.insert(file.digest) }
                order.append(contentsOf: (directory?.files ?? []).map(\.digest))
            }
            if let digest = new.attributes, digest != old?.attributes { add(digest) }
            guard let directory else { continue }
            for (index, child) in directory.directories.enumerated().reversed() {
                let position = oldDirectory?.directoryIndex(child.name)
                stack.append(
                    (
                        Pair(
                            directory: child.digest,
                            attributes: attributes?.directories[index].digest),
                        position.flatMap { position in
                            oldDirectory.map {
                                Pair(
                                    directory: $0.directories[position].digest,
                                    attributes: oldAttributes?.directories[position].digest)
                            }
                        }
                    ))
            }
        }
        for digest in order where digest != .empty && seenFiles.insert(digest).inserted {
            files.append(digest)
        }
    }

    private mutating func add(_ message: Digest) {
        if seenMessages.insert(message).inserted { messages.append(message) }
    }

    private func load(_ pair: Pair) throws -> (Directory?, AttributesDirectory?) {
        guard let directory = try source.directory(pair.directory) else {
            throw try PlanBuilder.absence(pair.directory, reader, domain)
        }
        guard let digest = pair.attributes else { return (directory, nil) }
        guard let attributes = try source.attributes(digest), attributes.matches(directory) else {
            throw PlanBuilder.incomplete(digest)
        }
        return (directory, attributes)
    }

    /// The units of some blobs in their order; throws where one is not here.
    static func units(
        _ digests: [Digest], reader: any CatalogReader, domain: Domain
    ) throws -> (
        units: [FetchPlan.Unit], chunks: [(digest: Digest, location: BlobLocation)],
        rawBytes: UInt64
    ) {
        var units: [FetchPlan.Unit] = []
        var chunks: [(digest: Digest, location: BlobLocation)] = []
        var rawBytes: UInt64 = 0
        let places = try reader.locations(of: digests, domain: domain)
        for (digest, place) in zip(digests, places) {
            guard let place else { throw try absence(digest, reader, domain) }
            guard place.kind == .chunkList else {
                rawBytes += UInt64(place.rawLength)
                units.append(
                    FetchPlan.Unit(
                        digest: digest, first: place, chunks: 0..<0,
                        storedBytes: place.recordBytes, rawBytes: UInt64(place.rawLength)))
                continue
            }
            guard let list = try reader.chunkList(of: digest, domain: domain) else {
                throw incomplete(digest)
            }
            let start = chunks.count
            var stored = place.recordBytes
            let names = list.chunks
            for (chunk, place) in zip(names, try reader.locations(of: names, domain: domain)) {
                guard let place else { throw incomplete(chunk) }
                chunks.append((chunk, place))
                stored += place.recordBytes
            }
            rawBytes += list.size
            units.append(
                FetchPlan.Unit(
                    digest: digest, first: place, chunks: start..<chunks.count,
                    storedBytes: stored, rawBytes: list.size))
        }
        return (units, chunks, rawBytes)
    }
}
