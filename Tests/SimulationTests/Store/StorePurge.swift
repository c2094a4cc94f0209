import CASCatalog
import CASCore
import CASFileSystem
import CASRepository
import CASTestSupport
import CASTree
import CASWire

/// Content that is removed for good.
extension StoreSimulation {
    /// One step of a process's removal, or the begin of one.
    func purge(_ process: SimulatedProcess) throws {
        guard let repository = process.repository else { return }
        do {
            guard let task = process.purge else { return try beginPurge(process, repository) }
            if try task.step() { return }
            process.purge = nil
            summary.purges += 1
            note("\(process.name) purged: \(task.progress.figures)")
            if task.progress["packsInUse"] == 0 { try checkBytesAreGone() }
        } catch let error as CASError {
            process.purge = nil
            isCollectedInDoubt = true
            note("purge failed: \(error)")
            // A pack that a push is still writing to is said to be in use.
            guard isExcused(error, process) || error.code == .unavailable else {
                throw fail("a purge failed: \(error)")
            }
        }
    }

    private func beginPurge(_ process: SimulatedProcess, _ repository: Repository) throws {
        // Whoever collects stops for it.
        process.collector = nil
        // More would leave nothing to look at.
        let known = draw(2) == 0 ? model.snapshots : model.universe.digests
        guard try purgedDigests().count < 40, !known.isEmpty else { return }
        let digest = known[draw(known.count)]
        guard digest != .empty else { return }
        let request = MaintenanceRequest(
            kind: .purge, digest: digest, reason: "a simulation")
        do {
            process.purge = try PurgeTask(repository, request, pace: pace, domain: .standard)
            model.purgeTargets.insert(digest)
            if let tree = model.trees[digest]?.snapshot.tree.digest {
                model.purgeTargets.insert(tree)
            }
            note("\(process.name) purges \(request.digest?.short ?? "")")
        } catch let error as CASError
            where error.code == .notFound || error.code == .failedPrecondition
        {
            // It is not here, or somebody collects.
        }
    }

    /// What the store says was removed for good.
    func purgedDigests() throws -> Set<Digest> {
        let purges = try catalog.read {
            try $0.purges(after: nil, limit: 1_000_000, domain: .standard)
        }
        return Set(purges.map(\.digest))
    }

    /// Whether something of a tree was removed for good.
    func isTouched(_ snapshot: Digest) throws -> Bool {
        guard hasPurges, let tree = model.trees[snapshot] else { return false }
        let purged = try purgedDigests()
        return !purged.isEmpty && model.universe.members(tree).contains(where: purged.contains)
    }

    /// Checks that what was removed for good is not here and never comes back.
    func checkPurges(_ reader: any CatalogReader) throws {
        guard hasPurges else { return }
        let now = try purgedDigests()
        for digest in model.purged.sorted() where !now.contains(digest) {
            throw fail("the store forgot that \(digest.short) was purged")
        }
        model.purged = now
        let digests = now.sorted()
        for (digest, place) in zip(digests, try reader.locations(of: digests, domain: .standard))
        where place != nil {
            throw fail("\(digest.short) was purged and is back")
        }
    }

    /// Searches all files and objects for bytes that were removed for good.
    private func checkBytesAreGone() throws {
        // One chunk or one message may be the begin of another.
        let pushed = clients.flatMap(\.pushed)
        for digest in try purgedDigests().subtracting(pushed).sorted() {
            // Of some only a compressed form was ever there; all others lie in packs as they are.
            guard model.universe.plainFiles.contains(digest),
                let bytes = model.universe.contents[digest], bytes.count >= 64
            else { continue }
            for (place, held) in machine.contents
                + objects.names.map({ ("\($0)", objects[$0] ?? []) })
            where held.contains(bytes) {
                throw fail("bytes of \(digest.short), which was purged, are in \(place)")
            }
        }
    }
}
