import CASCatalog
import CASCore
import CASPack

/// Takes what was not marked: first what is known of trees, then the blobs.
///
/// In this order nothing counts as complete of which a part is condemned.
extension CollectionRun {
    mutating func sweepSnapshots() throws {
        progress.phase = "condemning what nothing keeps"
        if isDryRun { return enter(.condemn) }
        let page = try catalog.read {
            try $0.snapshotKeys(after: cursor, limit: pace.rows, domain: domain)
        }
        guard let last = page.last else { return enter(.trees) }
        let gone = page.filter { !marking.contains($0) }
        if !gone.isEmpty {
            let isTaken = try take { [domain] transaction in
                try transaction.remove(completeSnapshots: gone, domain: domain)
            }
            guard isTaken else { return }
        }
        cursor = last
    }

    mutating func sweepTrees() throws {
        let page = try catalog.read {
            try $0.treeKeys(after: cursor, limit: pace.rows, domain: domain)
        }
        guard let last = page.last else { return enter(.links) }
        let gone = page.filter { !marking.hasWalked($0) }
        if !gone.isEmpty {
            let isTaken = try take { [domain] transaction in
                try transaction.remove(treeStates: gone, domain: domain)
            }
            guard isTaken else { return }
        }
        cursor = last
    }

    mutating func condemn() throws {
        progress.phase = "condemning what nothing keeps"
        let (page, known) = try catalog.read { reader in
            let page = try reader.locations(after: cursor, limit: pace.rows, domain: domain)
            let known = try reader.condemned(of: page.map(\.digest), domain: domain)
            return (page, known)
        }
        guard let last = page.last else { return enter(isDryRun ? .end : .uploads) }
        let unmarked = zip(page, known).filter { !marking.contains($0.0.digest) }
        if isDryRun {
            count(unmarked.map(\.0.location))
            cursor = last.digest
            return
        }
        let new = unmarked.filter { $0.1 == nil }.map(\.0.digest)
        // Something condemned that is reachable again was revived by what made it so; this is a second net.
        let back = zip(page, known).filter { item, generation in
            generation != nil && marking.contains(item.digest)
        }.map(\.0.digest)
        if !new.isEmpty || !back.isEmpty {
            let isTaken = try take { [domain, generation] transaction in
                try transaction.condemn(new, generation: generation, domain: domain)
                try transaction.revive(back, domain: domain)
            }
            guard isTaken else { return }
            progress.add("condemned", UInt64(new.count))
            repository.counters.add(condemnedBlobs: UInt64(new.count))
        }
        cursor = last.digest
    }

    /// Takes back what uploads have got since the roots were found.
    ///
    /// One may have gone on then and rest for longer than its lease lasts. What it gets from here on is not
    /// condemned any more, or its commit takes that back.
    mutating func keepUploads() throws {
        var scan = uploadScan ?? ImageRootScan(uploadsOf: domain)
        let (found, generations) = try catalog.read { reader in
            let found = try scan.next(reader, limit: pace.rows)?.map(\.digest)
            return (found, try reader.condemned(of: found ?? [], domain: domain))
        }
        guard let found else {
            uploadScan = nil
            return enter(.delete)
        }
        let back = zip(found, generations).filter { $0.1 != nil }.map(\.0)
        if !back.isEmpty {
            let isTaken = try take { [domain] in try $0.revive(back, domain: domain) }
            guard isTaken else { return }
        }
        uploadScan = scan
    }

    private mutating func count(_ locations: [BlobLocation]) {
        progress.add("condemned", UInt64(locations.count))
        progress.add("freedBytes", locations.reduce(0) { $0 + $1.recordBytes })
    }

    /// Removes what is condemned and that no push in progress may have been told of.
    mutating func delete() throws {
        progress.phase = "deleting what was condemned"
        let page = try catalog.read {
            try $0.condemned(after: cursor, limit: pace.rows, domain: domain)
        }
        guard let last = page.last else {
            if progress["deleted"] > 0 { repository.plans.removeAll() }
            return enter(.checkpoint)
        }
        let candidates = page.map(\.digest).filter { !marking.contains($0) }
        var deleted: [BlobLocation] = []
        let now = repository.clock.monotonicNanoseconds()
        let isTaken = try take { [domain] transaction in
            let oldest = try transaction.leases().filter {
                $0.purpose == .push && $0.expires > now
            }.map(\.generation).min()
            // Looked at again: since then a push may have been told of one, or brought one back.
            let generations = try transaction.condemned(of: candidates, domain: domain)
            let gone = zip(candidates, generations).filter { _, generation in
                guard let generation else { return false }
                return oldest.map { generation < $0 } ?? true
            }.map(\.0)
            deleted = try transaction.locations(of: gone, domain: domain).compactMap { $0 }
            try transaction.remove(locations: gone, domain: domain)
            try transaction.remove(chunkLists: gone, domain: domain)
            try transaction.remove(aliasesAndImagesOf: gone, domain: domain)
            try transaction.revive(gone, domain: domain)
        }
        guard isTaken else { return }
        progress.add("deleted", UInt64(deleted.count))
        progress.add("deletedBytes", deleted.reduce(0) { $0 + $1.recordBytes })
        repository.counters.add(deletedBlobs: UInt64(deleted.count))
        cursor = last.digest
    }
}
