import CASCore
import CASPack
import CASWire
import GRDB

extension SQLiteTransaction: KeepingReader {
    func generation() throws -> UInt64 { try counter("generation") }

    /// A query whose first parameter is the key to begin behind and the second how many rows to give.
    private func scan(_ text: String, _ after: Digest?, _ limit: Int) throws -> SQLiteQuery {
        let query = try SQLiteQuery(database, text)
        // An empty BLOB sorts before every digest.
        if let after { query.bind(1, after) } else { query.bind(1, [UInt8]()) }
        query.bind(2, Int64(limit))
        return query
    }

    func locations(
        after: Digest?, limit: Int, domain: Domain
    ) throws -> [(digest: Digest, location: BlobLocation)] {
        try domain.requireStandard()
        return try scan(
            """
            SELECT pack, offset, stored, raw, form, digest FROM locations WHERE digest > ?
            ORDER BY digest LIMIT ?
            """, after, limit
        ).all { (try $0.digest(5), try SQLiteTransaction.location($0)) }
    }

    func treeKeys(after: Digest?, limit: Int, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        return try scan(
            "SELECT digest FROM trees WHERE digest > ? ORDER BY digest LIMIT ?", after, limit
        ).all { try $0.digest(0) }
    }

    func snapshotKeys(after: Digest?, limit: Int, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        return try scan(
            "SELECT snapshot FROM snapshots WHERE snapshot > ? ORDER BY snapshot LIMIT ?", after,
            limit
        ).all { try $0.digest(0) }
    }

    func condemned(of digests: [Digest], domain: Domain) throws -> [UInt64?] {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database, "SELECT generation FROM condemned WHERE digest = ?")
        return try digests.map { digest in
            query.bind(1, digest)
            return try query.first { try $0.unsigned(0) }
        }
    }

    func condemned(
        after: Digest?, limit: Int, domain: Domain
    ) throws -> [(digest: Digest, generation: UInt64)] {
        try domain.requireStandard()
        return try scan(
            """
            SELECT digest, generation FROM condemned WHERE digest > ? ORDER BY digest LIMIT ?
            """, after, limit
        ).all { (try $0.digest(0), try $0.unsigned(1)) }
    }

    func blobs(ofChunk digest: Digest, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        // The bytes of a digest somewhere in a list are a first guess that SQLite makes quickly.
        let query = try SQLiteQuery(
            database, "SELECT digest, list FROM chunk_lists WHERE instr(list, ?) > 0")
        query.bind(1, digest)
        return try query.all { row -> Digest? in
            let list = try ChunkList(decoding: row.blob(1), limits: .standard)
            return list.chunks.contains(digest) ? try row.digest(0) : nil
        }.compactMap { $0 }
    }

    func touch(of digest: Digest, domain: Domain) throws -> Touch? {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database, "SELECT digest, by_digest, by_name FROM touches WHERE digest = ?")
        query.bind(1, digest)
        return try query.first(SQLiteTransaction.touch)
    }

    private static func touch(_ row: SQLiteQuery) throws -> Touch {
        Touch(digest: try row.digest(0), byDigest: row.integer(1), byName: row.integer(2))
    }

    func touches(after: Digest?, limit: Int, domain: Domain) throws -> [Touch] {
        try domain.requireStandard()
        return try scan(
            """
            SELECT digest, by_digest, by_name FROM touches WHERE digest > ?
            ORDER BY digest LIMIT ?
            """, after, limit
        ).all(SQLiteTransaction.touch)
    }

    func moves(after: HistoryEntry?, limit: Int, domain: Domain) throws -> [HistoryEntry] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT entry FROM moves WHERE domain = ? AND (name, tag, sequence) > (?, ?, ?)
            ORDER BY name, tag, sequence LIMIT ?
            """)
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, after?.name.name ?? "")
        query.bind(3, after?.name.tag ?? "")
        query.bind(4, after?.sequence ?? 0)
        query.bind(5, Int64(limit))
        return try query.all { try HistoryEntry(decoding: $0.blob(0)) }
    }

    func pins(domain: Domain) throws -> [PinRecord] {
        let query = try SQLiteQuery(
            database, "SELECT record FROM pins WHERE domain = ? ORDER BY name, digest")
        query.bind(1, Int64(domain.rawValue))
        return try query.all { try PinRecord(decoding: $0.blob(0)) }
    }

    func rules(domain: Domain) throws -> [RetentionRule] {
        let query = try SQLiteQuery(
            database, "SELECT record FROM rules WHERE domain = ? ORDER BY pattern")
        query.bind(1, Int64(domain.rawValue))
        return try query.all { try RetentionRule(decoding: $0.blob(0)) }
    }

    func purged(_ digests: [Digest], domain: Domain) throws -> [String?] {
        try domain.requireStandard()
        let query = try SQLiteQuery(database, "SELECT reason FROM purges WHERE digest = ?")
        return try digests.map { digest in
            query.bind(1, digest)
            return try query.first { String(decoding: $0.blob(0), as: UTF8.self) }
        }
    }

    func hasPurges() throws -> Bool {
        try SQLiteQuery(database, "SELECT 1 FROM purges LIMIT 1").first { _ in true } ?? false
    }

    func purges(
        after: Digest?, limit: Int, domain: Domain
    ) throws -> [(digest: Digest, reason: String)] {
        try domain.requireStandard()
        return try scan(
            "SELECT digest, reason FROM purges WHERE digest > ? ORDER BY digest LIMIT ?", after,
            limit
        ).all { (try $0.digest(0), String(decoding: $0.blob(1), as: UTF8.self)) }
    }

    func purging(after: Digest?, limit: Int, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        return try scan(
            "SELECT digest FROM purging WHERE digest > ? ORDER BY digest LIMIT ?", after, limit
        ).all { try $0.digest(0) }
    }

    func doomedPacks() throws -> [DoomedPack] {
        try SQLiteQuery(database, "SELECT identifier, object FROM doomed ORDER BY identifier").all {
            DoomedPack(identifier: try $0.identifier(0), isStored: $0.integer(1) != 0)
        }
    }

    func packUsage() throws -> [Int64: CatalogCounts.Records] {
        var sums: [Int64: CatalogCounts.Records] = [:]
        let query = try SQLiteQuery(
            database,
            "SELECT pack, sum(records), sum(stored), sum(raw) FROM pack_usage GROUP BY pack")
        _ = try query.all { row in
            sums[row.integer(0), default: .init()].add(
                count: try row.unsigned(1), storedBytes: try row.unsigned(2),
                rawBytes: try row.unsigned(3))
        }
        return sums
    }

    func unmeasuredSnapshots(limit: Int, domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            SELECT snapshot FROM snapshots WHERE ranges IS NULL AND \(SQLiteSchema.isPresentEpoch)
            ORDER BY number DESC LIMIT ?
            """)
        query.bind(1, Int64(limit))
        return try query.all { try $0.digest(0) }
    }

    func measure(of snapshot: Digest, domain: Domain) throws -> SnapshotMeasure? {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            SELECT ranges, reads, restored FROM snapshots
            WHERE snapshot = ? AND ranges IS NOT NULL AND \(SQLiteSchema.isPresentEpoch)
            """)
        query.bind(1, snapshot)
        return try query.first {
            SnapshotMeasure(
                ranges: try $0.unsigned(0), readBytes: try $0.unsigned(1),
                restoredBytes: try $0.unsigned(2))
        }
    }
}
