import CASCore
import CASPack
import CASTree
import CASWire
import GRDB

extension SQLiteTransaction: CatalogTransaction {
    func set(setting name: String, _ value: [UInt8]) throws {
        let query = try SQLiteQuery(
            database,
            "INSERT INTO settings VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value")
        query.bind(1, name)
        query.bind(2, value)
        try query.run()
    }

    func nextSequence() throws -> UInt64 { try increment("sequence") }

    func increment(_ name: String) throws -> UInt64 {
        let next = try counter(name) + 1
        try raise(name, to: next)
        return next
    }

    private func raise(_ name: String, to value: UInt64) throws {
        let query = try SQLiteQuery(
            database, "UPDATE counters SET value = max(value, ?) WHERE name = ?")
        query.bind(1, value)
        query.bind(2, name)
        try query.run()
    }

    func raiseSequence(to sequence: UInt64) throws { try raise("sequence", to: sequence) }

    // MARK: - Packs and locations

    func insert(pack entry: PackEntry) throws -> Int64 {
        let known = try SQLiteQuery(database, "SELECT 1 FROM packs WHERE identifier = ?")
        known.bind(1, entry.identifier.bytes)
        guard try known.first({ _ in true }) == nil else {
            throw CatalogFailure.duplicatePack(entry.identifier)
        }
        let number = Int64(clamping: try increment("pack"))
        let query = try SQLiteQuery(
            database, "INSERT INTO packs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
        query.bind(1, number)
        query.bind(2, entry.identifier.bytes)
        query.bind(3, Int64(entry.packClass.rawValue))
        query.bind(4, Int64(entry.isSealed ? 1 : 0))
        query.bind(5, Int64(entry.isStored ? 1 : 0))
        query.bind(6, entry.committedBytes)
        query.bind(7, entry.created.seconds)
        query.bind(8, Int64(entry.created.nanoseconds))
        query.bind(9, entry.eventBytes)
        query.bind(10, entry.lastEvent)
        query.bind(11, Int64(entry.level))
        try query.run()
        return number
    }

    func update(pack number: Int64, isSealed: Bool?, committedBytes: UInt64?) throws {
        let query = try SQLiteQuery(
            database,
            """
            UPDATE packs SET sealed = coalesce(?, sealed), committed = coalesce(?, committed)
            WHERE number = ?
            """)
        if let isSealed { query.bind(1, Int64(isSealed ? 1 : 0)) } else { query.bindNull(1) }
        if let committedBytes { query.bind(2, committedBytes) } else { query.bindNull(2) }
        query.bind(3, number)
        guard try query.run() == 1 else { throw CatalogFailure.unknownPack(number) }
    }

    func markStored(pack number: Int64) throws {
        let query = try SQLiteQuery(database, "UPDATE packs SET object = 1 WHERE number = ?")
        query.bind(1, number)
        guard try query.run() == 1 else { throw CatalogFailure.unknownPack(number) }
    }

    func removePack(_ number: Int64) throws {
        // Most packs that go are empty; to look for their locations would read the whole table.
        let first = try records(in: number) > 0 ? ["DELETE FROM locations WHERE pack = ?"] : []
        for sql in first + [
            "DELETE FROM pack_usage WHERE pack = ?", "DELETE FROM packs WHERE number = ?",
        ] {
            let query = try SQLiteQuery(database, sql)
            query.bind(1, number)
            try query.run()
        }
    }

    func insert(locations: [(Digest, BlobLocation)], domain: Domain) throws {
        try domain.requireStandard()
        guard !locations.isEmpty else { return }
        try requirePacks(Set(locations.map(\.1.pack)))
        var usage: [UsageKey: CatalogCounts.Records] = [:]
        let query = try SQLiteQuery(
            database, "INSERT OR IGNORE INTO locations VALUES (?, ?, ?, ?, ?, ?)")
        // In the order of the tree's keys: each page is touched once.
        for (digest, location) in locations.sorted(by: { $0.0 < $1.0 }) {
            query.bind(1, digest)
            query.bind(2, location.pack)
            query.bind(3, location.offset)
            query.bind(4, Int64(location.storedLength))
            query.bind(5, Int64(location.rawLength))
            query.bind(6, Int64(location.kind.rawValue) << 8 | Int64(location.codec.rawValue))
            if try query.run() == 1 {
                usage[UsageKey(pack: location.pack, kind: location.kind), default: .init()].add(
                    location)
            }
        }
        for (key, records) in usage { try add(records, to: key, sign: 1) }
    }

    private func requirePacks(_ numbers: Set<Int64>) throws {
        let query = try SQLiteQuery(database, "SELECT 1 FROM packs WHERE number = ?")
        for number in numbers {
            query.bind(1, number)
            guard try query.first({ _ in true }) != nil else {
                throw CatalogFailure.unknownPack(number)
            }
        }
    }

    struct UsageKey: Hashable {
        let pack: Int64
        let kind: RecordKind
    }

    func add(
        _ records: CatalogCounts.Records, to key: UsageKey, sign: Int64
    ) throws {
        let query = try SQLiteQuery(
            database,
            """
            INSERT INTO pack_usage VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET
            records = records + excluded.records, stored = stored + excluded.stored,
            raw = raw + excluded.raw
            """)
        query.bind(1, key.pack)
        query.bind(2, Int64(key.kind.rawValue))
        query.bind(3, sign * Int64(clamping: records.count))
        query.bind(4, sign * Int64(clamping: records.storedBytes))
        query.bind(5, sign * Int64(clamping: records.rawBytes))
        try query.run()
    }

    func remove(locations digests: [Digest], domain: Domain) throws {
        let known = try locations(of: digests, domain: domain)
        let query = try SQLiteQuery(database, "DELETE FROM locations WHERE digest = ?")
        for (digest, location) in zip(digests, known) {
            guard let location else { continue }
            query.bind(1, digest)
            guard try query.run() == 1 else { continue }
            var records = CatalogCounts.Records()
            records.add(location)
            try add(records, to: UsageKey(pack: location.pack, kind: location.kind), sign: -1)
        }
    }

    func insert(chunkLists: [(Digest, ChunkList)], domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(database, "INSERT OR IGNORE INTO chunk_lists VALUES (?, ?)")
        for (digest, list) in chunkLists {
            query.bind(1, digest)
            query.bind(2, list.encode())
            try query.run()
        }
    }

    func remove(chunkLists digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        try delete("DELETE FROM chunk_lists WHERE digest = ?", digests)
    }

    func delete(_ sql: String, _ digests: [Digest]) throws {
        let query = try SQLiteQuery(database, sql)
        for digest in digests {
            query.bind(1, digest)
            try query.run()
        }
    }

    // MARK: - Completeness

    func insert(treeStates: [(Digest, TreeState)], domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            INSERT INTO trees VALUES (?, ?, ?, ?, ?, ?, \(SQLiteSchema.presentEpoch))
            ON CONFLICT DO UPDATE SET files = excluded.files, directories = excluded.directories,
            symlinks = excluded.symlinks, bytes = excluded.bytes, depth = excluded.depth,
            epoch = excluded.epoch WHERE trees.epoch <> excluded.epoch
            """)
        for (digest, state) in treeStates.sorted(by: { $0.0 < $1.0 }) {
            query.bind(1, digest)
            query.bind(2, state.totals.files)
            query.bind(3, state.totals.directories)
            query.bind(4, state.totals.symlinks)
            query.bind(5, state.totals.bytes)
            query.bind(6, Int64(state.depth))
            try query.run()
        }
    }

    func insert(completeSnapshots: [CompleteSnapshot], domain: Domain) throws {
        try domain.requireStandard()
        // One that was recorded before a loss is recorded anew, as the newest.
        let old = try SQLiteQuery(
            database,
            """
            DELETE FROM snapshots WHERE snapshot = ? AND NOT \(SQLiteSchema.isPresentEpoch)
            """)
        let query = try SQLiteQuery(
            database,
            """
            INSERT OR IGNORE INTO snapshots (snapshot, tree, attributes, epoch)
            VALUES (?, ?, ?, \(SQLiteSchema.presentEpoch))
            """)
        for item in completeSnapshots {
            old.bind(1, item.snapshot)
            try old.run()
            query.bind(1, item.snapshot)
            query.bind(2, item.tree)
            query.bind(3, item.attributes)
            try query.run()
        }
    }

    func remove(treeStates digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        try delete("DELETE FROM trees WHERE digest = ?", digests)
    }

    func remove(completeSnapshots digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        try delete("DELETE FROM snapshots WHERE snapshot = ?", digests)
    }

    func forgetCompleteness(domain: Domain) throws {
        try domain.requireStandard()
        // However many rows there are: those of an earlier epoch are not looked at any more.
        _ = try increment("completeness")
    }

    // MARK: - Refs, pushes, tokens, leases

    func move(_ move: HistoryEntry, _ entry: RefEntry?, domain: Domain) throws {
        try raiseSequence(to: move.sequence)
        let history = try SQLiteQuery(
            database, "INSERT OR REPLACE INTO moves VALUES (?, ?, ?, ?, ?)")
        history.bind(1, Int64(domain.rawValue))
        history.bind(2, move.name.name)
        history.bind(3, move.name.tag)
        history.bind(4, move.sequence)
        history.bind(5, move.encode())
        try history.run()
        guard let entry else {
            let query = try SQLiteQuery(
                database, "DELETE FROM refs WHERE domain = ? AND name = ? AND tag = ?")
            query.bind(1, Int64(domain.rawValue))
            query.bind(2, move.name.name)
            query.bind(3, move.name.tag)
            try query.run()
            return
        }
        let query = try SQLiteQuery(
            database, "INSERT OR REPLACE INTO refs VALUES (?, ?, ?, ?, ?, ?)")
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, entry.name.name)
        query.bind(3, entry.name.tag)
        query.bind(4, entry.target.digest)
        query.bind(5, entry.tree)
        query.bind(6, entry.encode())
        try query.run()
    }

    func update(ref entry: RefEntry, domain: Domain) throws {
        let query = try SQLiteQuery(
            database,
            "UPDATE refs SET entry = ?4 WHERE domain = ?1 AND name = ?2 AND tag = ?3")
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, entry.name.name)
        query.bind(3, entry.name.tag)
        query.bind(4, entry.encode())
        try query.run()
    }

    func insert(push identifier: Identifier, _ response: PushResponse, domain: Domain) throws {
        let query = try SQLiteQuery(database, "INSERT OR IGNORE INTO pushes VALUES (?, ?, ?)")
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, identifier.bytes)
        query.bind(3, response.encode())
        try query.run()
    }

    func insert(token: TokenRecord) throws {
        let query = try SQLiteQuery(database, "INSERT OR REPLACE INTO tokens VALUES (?, ?)")
        query.bind(1, token.id.bytes)
        query.bind(2, token.encode())
        try query.run()
    }

    func revoke(token identifier: Identifier, at time: Timestamp) throws -> Bool {
        guard var record = try token(identifier) else { return false }
        if record.revoked == nil {
            record.revoked = time
            try insert(token: record)
        }
        return true
    }

    func insert(lease: Lease) throws {
        let query = try SQLiteQuery(
            database, "INSERT OR REPLACE INTO leases VALUES (?, ?, ?, ?, ?, ?, ?)")
        query.bind(1, lease.identifier.bytes)
        query.bind(2, Int64(lease.purpose.rawValue))
        query.bind(3, Int64(lease.domain.rawValue))
        query.bind(4, lease.expires)
        query.bind(5, lease.generation)
        query.bind(6, lease.digest)
        query.bind(7, lease.began)
        try query.run()
    }

    func renew(lease identifier: Identifier, until monotonicNanoseconds: UInt64) throws -> Bool {
        let query = try SQLiteQuery(database, "UPDATE leases SET expires = ? WHERE identifier = ?")
        query.bind(1, monotonicNanoseconds)
        query.bind(2, identifier.bytes)
        return try query.run() == 1
    }

    func remove(lease identifier: Identifier) throws {
        let query = try SQLiteQuery(database, "DELETE FROM leases WHERE identifier = ?")
        query.bind(1, identifier.bytes)
        try query.run()
    }

    func removeEverything() throws {
        for table in SQLiteSchema.rebuiltTables {
            try SQLiteQuery(database, "DELETE FROM \(table)").run()
        }
        try SQLiteQuery(database, "UPDATE counters SET value = (name = 'generation')").run()
    }
}
