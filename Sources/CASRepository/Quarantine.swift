import CASCatalog
import CASCore
import CASPack
import Synchronization

/// Taking bytes out of use that proved bad: their blobs become missing and their trees incomplete, so that the
/// next push that has them is asked for them.
///
/// Each transaction takes a bounded number of blobs, and with them says that nothing is known to be complete,
/// which costs the same in every store. A push that commits between two of them was answered as one before the
/// damage was found: what it took for whole is forgotten with the next batch, and scrubs tell what it lacks.
extension Repository {
    /// Takes out of use what proved bad.
    func quarantine(_ records: [DamagedRecord], domain: Domain) throws {
        var rest = records[...]
        while !rest.isEmpty {
            let part = rest.prefix(limits.removedPerTransaction)
            rest = rest.dropFirst(part.count)
            try catalog.write { try quarantine(Array(part), $0, domain: domain) }
        }
        try forgetBeyondEnds(domain: domain)
    }

    /// The same within a transaction, but for what lies behind the end of a pack that is too short: that waits
    /// for `forgetBeyondEnds`.
    ///
    /// A digest that was stored anew elsewhere meanwhile stays.
    func quarantine(
        _ records: [DamagedRecord], _ transaction: any CatalogTransaction, domain: Domain
    ) throws {
        let places = try transaction.locations(of: records.map(\.digest), domain: domain)
        let bad = zip(records, places).filter { $0.location == $1 }.map(\.0)
        for record in bad {
            guard let end = record.packEnd else { continue }
            shortPacks.withLock { packs in
                packs[record.location.pack] = min(end, packs[record.location.pack] ?? .max)
            }
        }
        try remove(Array(Set(bad.map(\.digest))), transaction, domain: domain)
    }

    /// Takes out of use what reaches behind the ends of packs that proved too short, so that one push heals
    /// it all.
    func forgetBeyondEnds(domain: Domain) throws {
        let packs = shortPacks.withLock { packs in
            defer { packs = [:] }
            return packs
        }
        for (pack, end) in packs.sorted(by: { $0.key < $1.key }) {
            do {
                try forget(in: pack, domain: domain) { $0.offset + $0.recordBytes > end }
            } catch {
                shortPacks.withLock { $0[pack] = min(end, $0[pack] ?? .max) }
                throw error
            }
        }
    }

    /// Takes blobs out of use, whatever holds them.
    ///
    /// Nothing counts as complete afterwards. Only trees above these blobs stop being so, but to find them
    /// one would have to read every directory of the store (children do not know their parents, and an index of
    /// that costs a row for each entry of each directory). A false `complete` would lose data, a missing one
    /// costs a walk: the next commit of a tree makes it, and a scrub makes it for all refs in the background.
    /// Fetches do not ask for completeness, but name what they can not find; collection goes by what it walks.
    func remove(
        _ lost: [Digest], _ transaction: any CatalogTransaction, domain: Domain
    ) throws {
        guard !lost.isEmpty else { return }
        counters.add(quarantined: UInt64(lost.count))
        plans.removeAll()
        try transaction.remove(locations: lost, domain: domain)
        try transaction.remove(chunkLists: lost, domain: domain)
        try transaction.forgetCompleteness(domain: domain)
    }

    /// Takes out of use what the catalog believes to lie in a pack at or behind an offset; the whole
    /// pack from offset 0.
    func forgetRecords(of pack: Int64, from offset: UInt64) throws {
        guard try catalog.read({ try $0.pack(pack) }) != nil else { return }
        plans.removeAll()
        try forget(in: pack, domain: .standard) { $0.offset >= offset }
        guard offset == 0 else { return }
        try catalog.write { transaction in
            guard try transaction.pack(pack) != nil else { return }
            // Few, if any, came since.
            try transaction.forgetCompleteness(domain: .standard)
            try transaction.removePack(pack)
        }
    }

    /// Takes the records of a pack out of use that `isLost` names, page by page.
    ///
    /// To find them is slow, as places are not in order; nobody waits for that.
    private func forget(
        in pack: Int64, domain: Domain, where isLost: (BlobLocation) -> Bool
    ) throws {
        var after: Digest?
        var lost: [Digest] = []
        while true {
            let page = try catalog.read {
                try $0.locations(after: after, limit: limits.lookedAtPerStep, domain: domain)
            }
            after = page.last?.digest ?? after
            lost += page.filter { $0.location.pack == pack && isLost($0.location) }
                .map(\.digest)
            let isLast = page.count < limits.lookedAtPerStep
            while lost.count >= limits.removedPerTransaction || isLast && !lost.isEmpty {
                let part = Array(lost.prefix(limits.removedPerTransaction))
                lost.removeFirst(part.count)
                try catalog.write { transaction in
                    // Looked at again: some of them may have been stored anew.
                    let places = try transaction.locations(of: part, domain: domain)
                    let still = zip(part, places).filter { _, place in
                        place.map { $0.pack == pack && isLost($0) } ?? false
                    }.map(\.0)
                    try remove(still, transaction, domain: domain)
                }
            }
            if isLast { return }
        }
    }
}
