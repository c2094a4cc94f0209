import CASCatalog
import CASCore
import CASWire

/// What a purge takes, in bounded transactions (Collection.md): what goes is noted, then the targets are refused,
/// then the rest goes note by note, each only if nothing keeps it by then.
extension PurgeRun {
    mutating func begin() throws {
        progress.phase = isContinued ? "removing it" : progress.phase
        if isDryRun {
            phase = .roots
            return
        }
        let isMore = try repository.catalog.write { [pace, domain] transaction in
            try Barrier.begin(limit: pace.rows, isPurge: true, transaction, domain: domain)
        }
        guard !isMore else { return }
        if !isContinued { record.begun = repository.clock.now() }
        scan = RootScan(repository, forgetting: record)
        phase = .roots
        guard isContinued else { return }
        resumed = .refs
        // With nothing left to take nobody has to know what is kept.
        if try nextNotes(limit: 1).isEmpty { phase = .refs }
    }

    mutating func roots() throws {
        guard let found = try repository.catalog.read({ try scan.next($0, limit: pace.rows) })
        else {
            phase = .mark
            return
        }
        for root in found { kept.add(root) }
    }

    /// Collects what only the targets reach, page by page.
    mutating func find() throws {
        progress.phase = "removing it"
        let page = try repository.catalog.read {
            try $0.locations(after: cursor, limit: pace.rows, domain: domain)
        }
        guard let last = page.last else {
            phase = isDryRun ? .images : .settle
            return
        }
        for (digest, location) in page where digest != .empty {
            if targets.contains(digest) || reached.contains(digest) && !kept.contains(digest) {
                gone[digest] = location.recordBytes
            }
        }
        cursor = last.digest
    }

    /// Finds the images of trees that have a target, one tree at a time.
    ///
    /// Only once the targets are refused: nobody can make another one of these trees then.
    mutating func findImages() throws {
        var search = try images ?? PurgedImages(repository, targets, domain: domain)
        let isMore = try search.step()
        images = search
        guard !isMore else { return }
        manifests = search.manifests.subtracting(targets).sorted()[...]
        guard isDryRun else {
            phase = .take
            return
        }
        let places = try repository.catalog.read { [domain, manifests] in
            try $0.locations(of: Array(manifests), domain: domain)
        }
        for case (let manifest, .some(let place)) in zip(manifests, places) {
            gone[manifest] = place.recordBytes
        }
        phase = .settle
    }

    /// Decides what may go, and says so where that is all.
    mutating func settle() throws {
        isTree =
            targets.count > 1 || reached.hasWalked(record.digests[0])
            || reached.hasWalked(image: record.digests[0])
        if gone.count > targets.count { try requireKnown() }
        guard !isDryRun else {
            progress.add("purged", UInt64(gone.count))
            progress.add("purgedBytes", gone.values.reduce(0, +))
            phase = .done
            return
        }
        unnoted = gone.keys.filter { !targets.contains($0) }.sorted()[...]
        gone = [:]
        phase = .clear
    }

    /// Throws where nobody knows what is kept, so that a tree can not be taken apart.
    private func requireKnown() throws {
        guard isTree, let root = kept.incomplete.first else { return }
        throw CASError(
            .failedPrecondition,
            "a directory of '\(root.name.isEmpty ? root.digest.description : root.name)' is "
                + "missing, so that nobody knows what it has in common with this",
            hint: "push it again, repair it or remove it first", digest: root.digest)
    }

    private func nextNotes(limit: Int) throws -> [Digest] {
        try repository.catalog.read {
            try $0.purging(after: nil, limit: limit, domain: domain)
        }
    }

    /// Forgets what a purge noted that never refused anything.
    mutating func clear() throws {
        let old = try nextNotes(limit: batch)
        guard !old.isEmpty else {
            phase = .note
            return
        }
        try repository.catalog.write { try $0.remove(purging: old, domain: domain) }
    }

    /// Notes what is to go beside the targets: once these are refused nobody can walk from them any more.
    mutating func note() throws {
        let part = Array(unnoted.prefix(batch))
        guard !part.isEmpty else {
            phase = .refuse
            return
        }
        try repository.catalog.write { try $0.insert(purging: part, domain: domain) }
        unnoted = unnoted.dropFirst(part.count)
    }

    /// Refuses the targets from now on.
    mutating func refuse() throws {
        let (found, taken) = try repository.begin(
            purge: record, isTree: isTree, limit: pace.rows)
        guard look(at: found) else { return }
        count(taken)
        phase = .refs
    }

    mutating func removeRefs() throws {
        let removed = try repository.removeRefs(purge: record, limit: batch)
        progress.add("removedRefs", UInt64(removed))
        if removed < batch { phase = .images }
    }

    /// Takes the images that have a target, whatever keeps them, and what was noted and is not kept by now.
    mutating func take() throws {
        let images = Array(manifests.prefix(batch))
        guard images.isEmpty else {
            let (found, taken) = try repository.goOn(
                purge: record, noted: images, gone: images, limit: pace.rows)
            guard look(at: found) else { return }
            count(taken)
            manifests = manifests.dropFirst(images.count)
            return
        }
        let noted = try nextNotes(limit: batch)
        guard !noted.isEmpty else {
            repository.plans.removeAll()
            try repository.catalog.erase()
            phase = .packs
            return
        }
        try requireKnown()
        let gone = noted.filter { !kept.contains($0) && !targets.contains($0) }
        let (found, taken) = try repository.goOn(
            purge: record, noted: noted, gone: gone, limit: pace.rows)
        guard look(at: found) else { return }
        count(taken)
    }

    /// Marks what became reachable, as it is kept too, and comes back; true if nothing did.
    private mutating func look(at found: Barrier) -> Bool {
        guard !found.isEmpty else { return true }
        kept.add(found)
        resumed = phase
        phase = .mark
        return false
    }

    private mutating func count(_ taken: Taken) {
        progress.add("purged", taken.blobs)
        progress.add("purgedBytes", taken.bytes)
    }
}
