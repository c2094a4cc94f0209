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
                try checkPins(repository)
                try checkImageContents(repository)
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
                guard let entry = try reader.ref(ref, domain: .standard),
                    !ref.name.hasPrefix(StoreSimulation.imageNames)
                else { continue }
                guard let tree = model.trees[entry.target.digest] else {
                    throw fail("\(ref) names what nobody pushed")
                }
                try require(tree, present, reader, "\(ref)")
                try checkHistory(ref, present, reader)
            }
            for digest in pinned {
                guard let tree = model.trees[digest] else { continue }
                try require(tree, present, reader, "a pin")
            }
            try checkImageStructure(reader)
        }
    }

    /// Checks that a tree is there whole.
    private func require(
        _ tree: SampleTree, _ present: Set<Digest>, _ reader: any CatalogReader, _ what: String
    ) throws {
        if try isTouched(tree.digest) { return }
        for member in tree.messages.map(\.digest) + tree.files.keys.filter({ $0 != .empty }) {
            guard present.contains(member) else {
                throw fail("\(what) lacks \(member.short) of \(tree.digest.short)")
            }
            guard let chunks = model.universe.chunks[member],
                try reader.location(of: member, domain: .standard)?.kind == .chunkList
            else { continue }
            for chunk in chunks where !present.contains(chunk) {
                throw fail("\(what) lacks chunk \(chunk.short) of \(tree.digest.short)")
            }
        }
    }

    /// Checks that what a ref named within the last 30 days is there.
    private func checkHistory(
        _ ref: RefName, _ present: Set<Digest>, _ reader: any CatalogReader
    ) throws {
        let moves = try reader.history(ref, before: nil, limit: 1_000, domain: .standard)
        for move in moves {
            let time = move.recorded?.seconds ?? move.provenance.time.seconds
            guard time + 30 * 86_400 > clock.now().seconds, let previous = move.previous,
                let tree = model.trees[previous.digest]
            else { continue }
            try require(tree, present, reader, "the history of \(ref)")
        }
    }

    private func presentDigests(_ reader: any CatalogReader) throws -> Set<Digest> {
        try checkPurges(reader)
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
            for (index, entry) in history.enumerated() {
                // The purge's own removal of what names its content.
                if entry.target == nil, entry.provenance.message.hasPrefix("purged") { continue }
                if try isUnlink(entry) { continue }
                if try isExpiry(entry, before: history[(index + 1)...]) { continue }
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
            guard let entry, let tree = model.trees[entry.target.digest],
                try !isTouched(tree.digest)
            else { continue }
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
                if before == nil, isForgotten(ref) { break }
                if isLinked || before.map({ isInDoubt($0) }) ?? false { continue }
                let moves = history.map { move in
                    "\(move.sequence) \(move.provenance.author) "
                        + "\(move.previous?.digest.short ?? "-")>\(move.target?.digest.short ?? "-")"
                }
                throw fail("the history of \(ref) has a gap: \(moves)")
            }
        }
    }

    /// Whether nobody was told of a move.
    private func isInDoubt(_ move: HistoryEntry) -> Bool {
        let author = move.provenance.author
        return model.moves[author]?.state == .open
            || model.images.state(ofUnlink: author)?.state == .open
    }

    /// Whether a tag ended with its manifest.
    private func isUnlink(_ entry: HistoryEntry) throws -> Bool {
        guard let unlink = model.images.state(ofUnlink: entry.provenance.author) else {
            return false
        }
        guard entry.target == nil, entry.previous?.digest == unlink.key.digest,
            entry.name.name == unlink.key.name, unlink.state != .refused
        else { throw fail("\(entry.name) was ended by nobody: \(entry)") }
        return true
    }

    /// Whether moves of a ref may be forgotten: those of one that was gone for 30 days are.
    private func isForgotten(_ ref: RefName) -> Bool {
        model.moves.values.contains {
            $0.ref == ref && $0.begunAt + 30 * 86_400 <= clock.now().seconds
        }
    }

    /// Whether a removal is the store's own, of a ref that expired.
    private func isExpiry(
        _ entry: HistoryEntry, before older: ArraySlice<HistoryEntry>
    ) throws -> Bool {
        guard entry.provenance.author == "cas", entry.target == nil else { return false }
        let end = (entry.recorded?.seconds ?? 0) - 86_400
        let isDue = model.moves.values.contains {
            $0.ref == entry.name && $0.expires && $0.begunAt <= end
        }
        guard isDue else { throw fail("\(entry.name) was removed too early") }
        return true
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
                guard let entry else {
                    if isForgotten(move.ref) { continue }
                    throw fail("\(move.marker) was acknowledged and is lost")
                }
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
                guard let entry = try reader.ref(ref, domain: .standard),
                    try !isTouched(entry.target.digest)
                else { return false }
                return ref.description == want || entry.target.digest.description == want
            }
        }
    }
}
