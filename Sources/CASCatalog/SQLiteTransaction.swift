import CASCore
import CASPack
import CASTree
import CASWire
import GRDB

/// One view of a SQLite catalog, or one transaction on it; lives within the closure that lent it.
final class SQLiteTransaction: CatalogReader {
    let database: Database

    init(_ database: Database) {
        self.database = database
    }

    func setting(_ name: String) throws -> [UInt8]? {
        let query = try SQLiteQuery(database, "SELECT value FROM settings WHERE name = ?")
        query.bind(1, name)
        return try query.first { Array($0.blob(0)) }
    }

    func lastSequence() throws -> UInt64 { try counter("sequence") }

    func counter(_ name: String) throws -> UInt64 {
        let query = try SQLiteQuery(database, "SELECT value FROM counters WHERE name = ?")
        query.bind(1, name)
        guard let value = try query.first({ try $0.unsigned(0) }) else {
            throw SQLiteQuery.malformed()
        }
        return value
    }

    func locations(of digests: [Digest], domain: Domain) throws -> [BlobLocation?] {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            "SELECT pack, offset, stored, raw, form FROM locations WHERE digest = ?")
        return try digests.map { digest in
            query.bind(1, digest)
            return try query.first(SQLiteTransaction.location)
        }
    }

    /// The location in the first five columns of a row.
    static func location(_ row: SQLiteQuery) throws -> BlobLocation {
        let form = try row.number(4, UInt16.self)
        guard let kind = RecordKind(rawValue: UInt8(form >> 8)),
            let codec = FrameCodec(rawValue: UInt8(form & 0xff))
        else { throw SQLiteQuery.malformed() }
        return BlobLocation(
            pack: row.integer(0), offset: try row.unsigned(1),
            storedLength: try row.number(2, UInt32.self),
            rawLength: try row.number(3, UInt32.self), kind: kind, codec: codec)
    }

    func digests(in pack: Int64, from offset: UInt64) throws -> [Digest] {
        let query = try SQLiteQuery(
            database, "SELECT digest FROM locations WHERE pack = ? AND offset >= ?")
        query.bind(1, pack)
        query.bind(2, offset)
        return try query.all { try $0.digest(0) }
    }

    func records(in pack: Int64) throws -> UInt64 {
        let query = try SQLiteQuery(
            database, "SELECT coalesce(sum(records), 0) FROM pack_usage WHERE pack = ?")
        query.bind(1, pack)
        return try query.first { try $0.unsigned(0) } ?? 0
    }

    func chunkLists(of digests: [Digest], domain: Domain) throws -> [ChunkList?] {
        try domain.requireStandard()
        let query = try SQLiteQuery(database, "SELECT list FROM chunk_lists WHERE digest = ?")
        return try digests.map { digest in
            query.bind(1, digest)
            return try query.first { try ChunkList(decoding: $0.blob(0), limits: .standard) }
        }
    }

    func treeStates(of digests: [Digest], domain: Domain) throws -> [TreeState?] {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            SELECT files, directories, symlinks, bytes, depth FROM trees
            WHERE digest = ? AND \(SQLiteSchema.isPresentEpoch)
            """)
        return try digests.map { digest in
            query.bind(1, digest)
            return try query.first { row in
                TreeState(
                    totals: TreeTotals(
                        files: try row.unsigned(0), directories: try row.unsigned(1),
                        symlinks: try row.unsigned(2), bytes: try row.unsigned(3)),
                    depth: try row.number(4, UInt32.self))
            }
        }
    }

    func completeSnapshot(_ snapshot: Digest, domain: Domain) throws -> Bool {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            "SELECT 1 FROM snapshots WHERE snapshot = ? AND \(SQLiteSchema.isPresentEpoch)")
        query.bind(1, snapshot)
        return try query.first { _ in true } ?? false
    }

    func snapshotOf(tree: Digest, domain: Domain) throws -> Digest? {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            SELECT snapshot FROM snapshots WHERE tree = ? AND \(SQLiteSchema.isPresentEpoch)
            ORDER BY number DESC LIMIT 1
            """)
        query.bind(1, tree)
        return try query.first { try $0.digest(0) }
    }
}

// MARK: - Packs and refs

extension SQLiteTransaction {
    private static let packColumns =
        """
        SELECT number, identifier, class, sealed, object, committed, seconds, nanoseconds, events,
            last_event, level FROM packs
        """

    private static func pack(_ row: SQLiteQuery) throws -> PackEntry {
        guard let packClass = PackClass(rawValue: try row.number(2, UInt8.self)) else {
            throw SQLiteQuery.malformed()
        }
        var entry = PackEntry(
            number: row.integer(0), identifier: try row.identifier(1), packClass: packClass,
            isSealed: row.integer(3) != 0, isStored: row.integer(4) != 0,
            committedBytes: try row.unsigned(5),
            created: Timestamp(
                seconds: row.integer(6), nanoseconds: try row.number(7, UInt32.self)))
        entry.eventBytes = try row.unsigned(8)
        entry.lastEvent = try row.unsigned(9)
        entry.level = try row.number(10, Int.self)
        return entry
    }

    func unsealedPacks() throws -> [PackEntry] {
        try SQLiteQuery(
            database, SQLiteTransaction.packColumns + " WHERE sealed = 0 ORDER BY number"
        ).all(SQLiteTransaction.pack)
    }

    func packs() throws -> [PackEntry] {
        try SQLiteQuery(database, SQLiteTransaction.packColumns + " ORDER BY number").all(
            SQLiteTransaction.pack)
    }

    func pack(_ number: Int64) throws -> PackEntry? {
        let query = try SQLiteQuery(database, SQLiteTransaction.packColumns + " WHERE number = ?")
        query.bind(1, number)
        return try query.first(SQLiteTransaction.pack)
    }

    func ref(_ name: RefName, domain: Domain) throws -> RefEntry? {
        let query = try SQLiteQuery(
            database, "SELECT entry FROM refs WHERE domain = ? AND name = ? AND tag = ?")
        bind(query, name, domain)
        return try query.first { try RefEntry(decoding: $0.blob(0)) }
    }

    func bind(_ query: SQLiteQuery, _ name: RefName, _ domain: Domain) {
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, name.name)
        query.bind(3, name.tag)
    }

    func refs(
        prefix: String, after: RefName?, limit: Int, domain: Domain
    ) throws -> [RefEntry] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT entry FROM refs
            WHERE domain = ? AND (name, tag) > (?, ?) AND name >= ? AND name < ?
            ORDER BY name, tag LIMIT ?
            """)
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, after?.name ?? "")
        query.bind(3, after?.tag ?? "")
        query.bind(4, prefix)
        // Names are ASCII: nothing sorts behind this that begins with the prefix.
        query.bind(5, prefix + "\u{7f}")
        query.bind(6, Int64(limit))
        return try query.all { try RefEntry(decoding: $0.blob(0)) }
    }

    func refs(holding digest: Digest, limit: Int, domain: Domain) throws -> [RefEntry] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT entry FROM refs WHERE domain = ?1 AND (target = ?2 OR tree = ?2)
            ORDER BY name, tag LIMIT ?3
            """)
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, digest)
        query.bind(3, Int64(limit))
        return try query.all { try RefEntry(decoding: $0.blob(0)) }
    }

    func refs(
        named name: String, holding digest: Digest, limit: Int, domain: Domain
    ) throws -> [RefEntry] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT entry FROM refs
            WHERE (target = ?2 OR tree = ?2) AND +domain = ?1 AND +name = ?3 ORDER BY tag LIMIT ?4
            """)
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, digest)
        query.bind(3, name)
        query.bind(4, Int64(limit))
        return try query.all { try RefEntry(decoding: $0.blob(0)) }
    }

    func history(
        _ name: RefName, before: UInt64?, limit: Int, domain: Domain
    ) throws -> [HistoryEntry] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT entry FROM moves WHERE domain = ? AND name = ? AND tag = ? AND sequence < ?
            ORDER BY sequence DESC LIMIT ?
            """)
        bind(query, name, domain)
        query.bind(4, before ?? UInt64(Int64.max))
        query.bind(5, Int64(limit))
        return try query.all { try HistoryEntry(decoding: $0.blob(0)) }
    }

    func push(_ identifier: Identifier, domain: Domain) throws -> PushResponse? {
        let query = try SQLiteQuery(
            database, "SELECT response FROM pushes WHERE domain = ? AND identifier = ?")
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, identifier.bytes)
        return try query.first { try PushResponse(decoding: $0.blob(0)) }
    }
}

// MARK: - Tokens, leases, sums

extension SQLiteTransaction {
    func tokens() throws -> [TokenRecord] {
        try SQLiteQuery(database, "SELECT record FROM tokens ORDER BY identifier").all {
            try TokenRecord(decoding: $0.blob(0))
        }
    }

    func token(_ identifier: Identifier) throws -> TokenRecord? {
        let query = try SQLiteQuery(database, "SELECT record FROM tokens WHERE identifier = ?")
        query.bind(1, identifier.bytes)
        return try query.first { try TokenRecord(decoding: $0.blob(0)) }
    }

    private static func lease(_ row: SQLiteQuery) throws -> Lease {
        guard let purpose = Lease.Purpose(rawValue: try row.number(1, UInt8.self)) else {
            throw SQLiteQuery.malformed()
        }
        return Lease(
            identifier: try row.identifier(0), purpose: purpose,
            domain: Domain(rawValue: try row.number(2, UInt32.self)), expires: try row.unsigned(3),
            generation: try row.unsigned(4), digest: try row.optionalDigest(5),
            began: try row.unsigned(6))
    }

    private static let leaseColumns =
        "SELECT identifier, purpose, domain, expires, generation, digest, began FROM leases"

    func leases() throws -> [Lease] {
        try SQLiteQuery(database, SQLiteTransaction.leaseColumns + " ORDER BY identifier").all(
            SQLiteTransaction.lease)
    }

    func lease(_ identifier: Identifier) throws -> Lease? {
        let query = try SQLiteQuery(
            database,
            SQLiteTransaction.leaseColumns + " WHERE identifier = ?")
        query.bind(1, identifier.bytes)
        return try query.first(SQLiteTransaction.lease)
    }

    func expiredLeases(at monotonicNanoseconds: UInt64) throws -> [Lease] {
        let query = try SQLiteQuery(
            database,
            SQLiteTransaction.leaseColumns + " WHERE expires <= ? ORDER BY expires, identifier")
        query.bind(1, monotonicNanoseconds)
        return try query.all(SQLiteTransaction.lease)
    }

    func counts(domain: Domain) throws -> CatalogCounts {
        var counts = CatalogCounts()
        let refs = try SQLiteQuery(database, "SELECT count(*) FROM refs WHERE domain = ?")
        refs.bind(1, Int64(domain.rawValue))
        counts.refs = try refs.first { try $0.unsigned(0) } ?? 0
        counts.snapshots =
            try SQLiteQuery(
                database, "SELECT count(*) FROM snapshots WHERE \(SQLiteSchema.isPresentEpoch)"
            ).first { try $0.unsigned(0) } ?? 0
        let packs = try SQLiteQuery(
            database, "SELECT count(*), coalesce(sum(committed), 0) FROM packs")
        if let sums = try packs.first({ (try $0.unsigned(0), try $0.unsigned(1)) }) {
            (counts.packs, counts.packBytes) = sums
        }
        let usage = try SQLiteQuery(
            database,
            """
            SELECT class, kind, sum(records), sum(stored), sum(raw)
            FROM pack_usage JOIN packs ON number = pack GROUP BY class, kind
            HAVING sum(records) > 0
            """)
        _ = try usage.all { row in
            guard let packClass = PackClass(rawValue: try row.number(0, UInt8.self)),
                let kind = RecordKind(rawValue: try row.number(1, UInt8.self))
            else { throw SQLiteQuery.malformed() }
            counts.records[.init(kind: kind, packClass: packClass), default: .init()].add(
                count: try row.unsigned(2), storedBytes: try row.unsigned(3),
                rawBytes: try row.unsigned(4))
        }
        return counts
    }
}
