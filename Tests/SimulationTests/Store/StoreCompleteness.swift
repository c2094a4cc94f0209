import CASCatalog
import CASCore
import CASPack
import CASTestSupport
import CASTree

/// Finds out anew what is whole, whatever the catalog says.
private struct WholeTrees {
    let universe: BlobUniverse
    /// What is there and not condemned.
    let present: Set<Digest>
    /// Files that lie there as lists of chunks.
    let lists: Set<Digest>
    private var known: [Digest: Digest?] = [:]

    init(universe: BlobUniverse, present: Set<Digest>, lists: Set<Digest>) {
        self.universe = universe
        self.present = present
        self.lists = lists
    }

    /// The first member that a directory lacks; nil if it is whole.
    mutating func lack(ofDirectory digest: Digest) -> Digest? {
        if let lack = known[digest] { return lack }
        let lack = findLack(ofDirectory: digest)
        known[digest] = .some(lack)
        return lack
    }

    private mutating func findLack(ofDirectory digest: Digest) -> Digest? {
        guard present.contains(digest), let directory = universe.directories[digest] else {
            return digest
        }
        for file in directory.files where file.digest != .empty {
            guard present.contains(file.digest) else { return file.digest }
            guard lists.contains(file.digest) else { continue }
            let lack = universe.chunks[file.digest]?.first { !present.contains($0) }
            if let lack { return lack }
        }
        for child in directory.directories {
            if let lack = lack(ofDirectory: child.digest) { return lack }
        }
        return nil
    }

    /// The first attributes that a directory lacks, in itself or below; nil if all are there.
    mutating func lack(ofPair key: Digest) -> Digest? {
        guard let pair = universe.pairs[key], present.contains(pair.attributes) else { return key }
        for child in pair.children {
            if let lack = lack(ofPair: child) { return lack }
        }
        return nil
    }
}

extension StoreSimulation {
    /// Checks that whatever the catalog calls complete is there with all that is below it, and that nothing of
    /// it is condemned.
    func checkCompleteness(_ reader: any CatalogReader, _ present: Set<Digest>) throws {
        let universe = model.universe
        let keys = universe.directories.keys.sorted() + universe.pairs.keys.sorted()
        let states = try reader.treeStates(of: keys, domain: .standard)
        var whole = try wholeTrees(reader, present)
        func require(_ lack: Digest?, _ digest: Digest) throws {
            guard let lack else { return }
            throw fail(
                "\(digest.short) is not complete, as the catalog says: it lacks \(lack.short)")
        }
        for (key, state) in zip(keys, states) where state != nil {
            if universe.directories[key] != nil {
                try require(whole.lack(ofDirectory: key), key)
            }
            if universe.pairs[key] != nil { try require(whole.lack(ofPair: key), key) }
        }
        for snapshot in model.snapshots
        where try reader.completeSnapshot(snapshot, domain: .standard) {
            guard let tree = model.trees[snapshot]?.snapshot else { continue }
            try require(whole.present.contains(snapshot) ? nil : snapshot, snapshot)
            try require(whole.lack(ofDirectory: tree.tree.digest), snapshot)
            guard let attributes = tree.attributes?.digest else { continue }
            let key = Digest.of(tree.tree.digest.bytes + attributes.bytes)
            try require(whole.lack(ofPair: key), snapshot)
        }
    }

    private func wholeTrees(
        _ reader: any CatalogReader, _ present: Set<Digest>
    ) throws -> WholeTrees {
        let digests = model.universe.digests
        let generations = try reader.condemned(of: digests, domain: .standard)
        let condemned = zip(digests, generations).filter { $0.1 != nil }.map(\.0)
        let large = model.universe.chunks.keys.sorted()
        let places = try reader.locations(of: large, domain: .standard)
        let lists = zip(large, places).filter { $0.1?.kind == .chunkList }.map(\.0)
        return WholeTrees(
            universe: model.universe, present: present.subtracting(condemned), lists: Set(lists))
    }
}
