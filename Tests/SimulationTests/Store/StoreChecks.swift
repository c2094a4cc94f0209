import CASCatalog
import CASCore
import CASPack
import CASRepository
import CASTestSupport
import CASTree
import CASWire

/// What has to be true of a store at any time.
extension StoreSimulation {
    /// Runs checks, which are no part of the course of events.
    private func apart(_ body: () throws -> Void) rethrows {
        let was = isObserved
        isObserved = false
        defer { isObserved = was }
        try body()
    }

    /// Checks all that the store holds, and reads it.
    func checkEverything() throws {
        guard let process = processes.first(where: \.isAlive), let repository = process.repository
        else { return }
        disarmMachine()
        try apart {
            do {
                try checkStructure()
                try checkContents(repository)
                try checkRefs(repository)
            } catch let error as CASError {
                throw fail("a check failed: \(error)")
            }
        }
    }

    // MARK: - Completeness

    /// Checks what the catalog says: that whatever it calls complete is there with all its members.
    func checkStructure() throws {
        try catalog.read { reader in
            let present = try presentDigests(reader)
            try checkCompleteness(reader, present)
            for ref in model.refs {
                guard let entry = try reader.ref(ref, domain: .standard) else { continue }
                guard let tree = model.trees[entry.target.digest] else {
                    throw fail("\(ref) names what nobody pushed")
                }
                for member in model.universe.members(tree) where !present.contains(member) {
                    // A small file may be a chunk of a large one, and the other way round.
                    throw fail("\(ref) lacks \(member.short) of \(tree.digest.short)")
                }
            }
        }
    }

    private func presentDigests(_ reader: any CatalogReader) throws -> Set<Digest> {
        let digests = model.universe.digests
        var present: Set<Digest> = []
        for (digest, location) in zip(digests, try reader.locations(of: digests, domain: .standard))
        {
            guard let location else { continue }
            present.insert(digest)
            guard let pack = try reader.pack(location.pack) else {
                throw fail("\(digest.short) lies in a pack that the catalog does not know")
            }
            guard location.offset + UInt64(location.storedLength) <= pack.committedBytes else {
                throw fail("\(digest.short) lies behind the end of its pack")
            }
        }
        return present
    }

    private func checkCompleteness(_ reader: any CatalogReader, _ present: Set<Digest>) throws {
        let universe = model.universe
        let keys = universe.directories.keys.sorted() + universe.pairs.keys.sorted()
        let states = try reader.treeStates(of: keys, domain: .standard)
        let complete = Set(zip(keys, states).filter { $0.1 != nil }.map(\.0))
        func require(_ condition: Bool, _ whole: Digest, _ what: String) throws {
            guard !condition else { return }
            throw fail("\(whole.short) is not complete, as the catalog says: \(what)")
        }
        for digest in complete.sorted() {
            if let directory = universe.directories[digest] {
                try require(present.contains(digest), digest, "itself")
                for file in directory.files where file.digest != .empty {
                    try require(present.contains(file.digest), digest, "file \(file.digest.short)")
                    let isList =
                        try reader.location(of: file.digest, domain: .standard)?.kind == .chunkList
                    guard isList else { continue }
                    for chunk in universe.chunks[file.digest] ?? [] {
                        try require(present.contains(chunk), digest, "chunk \(chunk.short)")
                    }
                }
                for child in directory.directories {
                    try require(complete.contains(child.digest), digest, "\(child.digest.short)")
                }
            }
            guard let pair = universe.pairs[digest] else { continue }
            try require(present.contains(pair.attributes), digest, "attributes")
            for child in pair.children { try require(complete.contains(child), digest, "pair") }
        }
        for snapshot in model.snapshots
        where try reader.completeSnapshot(snapshot, domain: .standard) {
            guard let tree = model.trees[snapshot] else { continue }
            try require(present.contains(snapshot), snapshot, "itself")
            try require(complete.contains(tree.snapshot.tree.digest), snapshot, "tree")
        }
    }

    // MARK: - Contents

    /// Reads every blob that the catalog has a place of.
    private func checkContents(_ repository: Repository) throws {
        let digests = model.universe.digests
        let (places, lists) = try catalog.read { reader in
            (
                try reader.locations(of: digests, domain: .standard),
                try reader.chunkLists(of: digests, domain: .standard)
            )
        }
        let present = Set(zip(digests, places).filter { $0.1 != nil }.map(\.0))
        for (index, digest) in digests.enumerated() {
            guard let place = places[index] else { continue }
            // A list whose chunks never all came is found out by whoever commits it.
            if place.kind == .chunkList {
                guard let list = lists[index] else { throw fail("\(digest.short) has no list") }
                guard list.chunks.allSatisfy(present.contains) else { continue }
            }
            do {
                let bytes = try repository.read(
                    blob: digest, maximumBytes: 1 << 20, domain: .standard)
                guard bytes == model.universe.contents[digest] else {
                    throw fail("\(digest.short) has other bytes")
                }
            } catch let error as CASError {
                throw fail("\(digest.short) can not be read: \(error)")
            }
        }
    }

    // MARK: - Refs

    /// Fetches every ref and compares histories with what was asked for and acknowledged.
    private func checkRefs(_ repository: Repository) throws {
        var found: [String: HistoryEntry] = [:]
        for ref in model.refs {
            let history = try repository.history(ref, before: nil, limit: 1_000, domain: .standard)
            try checkChain(ref, history)
            for entry in history {
                let marker = entry.provenance.author
                guard let move = model.moves[marker], move.ref == ref,
                    move.target == entry.target?.digest
                else { throw fail("\(ref) has a move that nobody asked for: \(entry)") }
                guard found.updateValue(entry, forKey: marker) == nil else {
                    throw fail("\(marker) was done twice")
                }
            }
            let entry = try repository.ref(ref, domain: .standard)
            guard entry?.target == history.first?.target else {
                throw fail("\(ref) is not what its history says")
            }
            guard let entry, let tree = model.trees[entry.target.digest] else { continue }
            guard try Fetched(repository, ref.description).isWhole(tree) else {
                throw fail("\(ref) is not what was pushed")
            }
        }
        try checkMoves(found)
    }

    /// Checks that each move says what the one before it set.
    ///
    /// One that was never acknowledged may have come to light in a rebuild; others went on without it.
    private func checkChain(_ ref: RefName, _ history: [HistoryEntry]) throws {
        for (index, newer) in history.enumerated() {
            var isLinked = false
            var older = history[(index + 1)...]
            while !isLinked {
                let before = older.popFirst()
                isLinked = before?.target == newer.previous
                guard !isLinked, model.moves[before?.provenance.author ?? ""]?.state != .open else {
                    continue
                }
                let moves = history.map { move in
                    "\(move.sequence) \(move.provenance.author) "
                        + "\(move.previous?.digest.short ?? "-")>\(move.target?.digest.short ?? "-")"
                }
                throw fail("the history of \(ref) has a gap: \(moves)")
            }
        }
    }

    private func checkMoves(_ found: [String: HistoryEntry]) throws {
        var ordered: [StoreModel.Move] = []
        for move in model.moves.values {
            let entry = found[move.marker]
            switch move.state {
            case .open: break
            case .refused:
                if entry != nil { throw fail("\(move.marker) was refused and happened") }
            case .done(moved: false):
                if entry != nil { throw fail("\(move.marker) moved nothing and is in the history") }
            case .done(moved: true):
                guard let entry else { throw fail("\(move.marker) was acknowledged and is lost") }
                if let sequence = move.sequence, sequence != entry.sequence {
                    throw fail("\(move.marker) is move \(entry.sequence), not \(sequence)")
                }
            }
            if entry != nil { ordered.append(move) }
        }
        // What ended before another began came before it.
        ordered.sort { found[$0.marker]?.sequence ?? 0 < found[$1.marker]?.sequence ?? 0 }
        var latestBegin = 0
        for move in ordered {
            guard move.ended >= latestBegin else {
                throw fail("\(move.marker) was done before what came before it")
            }
            latestBegin = max(latestBegin, move.begun)
        }
    }

    /// Whether what somebody wants must be there: a ref that exists, or a snapshot that one names.
    func isProtected(_ want: String) throws -> Bool {
        try catalog.read { reader in
            try model.refs.contains { ref in
                guard let entry = try reader.ref(ref, domain: .standard) else { return false }
                return ref.description == want || entry.target.digest.description == want
            }
        }
    }
}
