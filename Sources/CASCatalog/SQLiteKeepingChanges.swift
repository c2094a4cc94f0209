import CASCore
import CASPack
import CASWire
import GRDB

extension SQLiteTransaction: KeepingTransaction {
    func nextGeneration() throws -> UInt64 { try increment("generation") }

    func condemn(_ digests: [Digest], generation: UInt64, domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            INSERT INTO condemned VALUES (?, ?)
            ON CONFLICT DO UPDATE SET generation = excluded.generation
            """)
        for digest in digests {
            query.bind(1, digest)
            query.bind(2, generation)
            try query.run()
        }
    }

    func revive(_ digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        try delete("DELETE FROM condemned WHERE digest = ?", digests)
    }

    func addBarrier(_ snapshot: Digest, domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(database, "INSERT OR IGNORE INTO barrier VALUES (?)")
        query.bind(1, snapshot)
        try query.run()
    }

    func takeBarrier(limit: Int, domain: Domain) throws -> [Digest] {
        try take(from: "barrier", limit, domain)
    }

    /// Takes the first digests out of a table of nothing else.
    private func take(from table: String, _ limit: Int, _ domain: Domain) throws -> [Digest] {
        try domain.requireStandard()
        let query = try SQLiteQuery(database, "SELECT digest FROM \(table) LIMIT ?")
        query.bind(1, Int64(limit))
        let digests = try query.all { try $0.digest(0) }
        try delete("DELETE FROM \(table) WHERE digest = ?", digests)
        return digests
    }

    func addArrivals(_ digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(database, "INSERT OR IGNORE INTO arrivals VALUES (?)")
        for digest in digests {
            query.bind(1, digest)
            try query.run()
        }
    }

    func takeArrivals(limit: Int, domain: Domain) throws -> [Digest] {
        try take(from: "arrivals", limit, domain)
    }

    func insert(touch: Touch, domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            INSERT INTO touches VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET
            by_digest = max(by_digest, excluded.by_digest),
            by_name = max(by_name, excluded.by_name)
            """)
        query.bind(1, touch.digest)
        query.bind(2, touch.byDigest)
        query.bind(3, touch.byName)
        try query.run()
    }

    func removeTouches(before seconds: Int64, limit: Int, domain: Domain) throws -> Int {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            DELETE FROM touches WHERE digest IN (
                SELECT digest FROM touches WHERE by_digest < ?1 AND by_name < ?1 LIMIT ?2)
            """)
        query.bind(1, seconds)
        query.bind(2, Int64(limit))
        return try query.run()
    }

    func removeHistory(_ name: RefName, upTo sequence: UInt64, domain: Domain) throws {
        let query = try SQLiteQuery(
            database,
            """
            SELECT entry FROM moves WHERE domain = ? AND name = ? AND tag = ? AND sequence <= ?
            """)
        bind(query, name, domain)
        query.bind(4, sequence)
        let pushes = try query.all { try HistoryEntry(decoding: $0.blob(0)).pushID }
        let answers = try SQLiteQuery(
            database, "DELETE FROM pushes WHERE domain = ? AND identifier = ?")
        for case .some(let push) in pushes {
            answers.bind(1, Int64(domain.rawValue))
            answers.bind(2, push.bytes)
            try answers.run()
        }
        let moves = try SQLiteQuery(
            database,
            "DELETE FROM moves WHERE domain = ? AND name = ? AND tag = ? AND sequence <= ?")
        bind(moves, name, domain)
        moves.bind(4, sequence)
        try moves.run()
    }

    func insert(pin: PinRecord, domain: Domain) throws {
        let query = try SQLiteQuery(database, "INSERT OR REPLACE INTO pins VALUES (?, ?, ?, ?)")
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, pin.name)
        query.bind(3, pin.digest)
        query.bind(4, pin.encode())
        try query.run()
    }

    func removePin(name: String, digest: Digest, domain: Domain) throws -> Bool {
        let query = try SQLiteQuery(
            database, "DELETE FROM pins WHERE domain = ? AND name = ? AND digest = ?")
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, name)
        query.bind(3, digest)
        return try query.run() == 1
    }

    func insert(rule: RetentionRule, domain: Domain) throws {
        let query = try SQLiteQuery(database, "INSERT OR REPLACE INTO rules VALUES (?, ?, ?)")
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, rule.pattern)
        query.bind(3, rule.encode())
        try query.run()
    }

    func removeRule(pattern: String, domain: Domain) throws -> Bool {
        let query = try SQLiteQuery(
            database, "DELETE FROM rules WHERE domain = ? AND pattern = ?")
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, pattern)
        return try query.run() == 1
    }

    func insert(purged digests: [Digest], reason: String, domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(database, "INSERT OR IGNORE INTO purges VALUES (?, ?)")
        for digest in digests {
            query.bind(1, digest)
            query.bind(2, reason)
            try query.run()
        }
    }

    func insert(purging digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(database, "INSERT OR IGNORE INTO purging VALUES (?)")
        for digest in digests {
            query.bind(1, digest)
            try query.run()
        }
    }

    func remove(purging digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        try delete("DELETE FROM purging WHERE digest = ?", digests)
    }

    func relocate(_ items: [Relocation], domain: Domain) throws -> Int {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            UPDATE locations SET pack = ?, offset = ?, stored = ?, form = ?
            WHERE digest = ? AND pack = ? AND offset = ?
            """)
        var moved = 0
        var usage: [UsageKey: (added: CatalogCounts.Records, removed: CatalogCounts.Records)] = [:]
        for item in items.sorted(by: { $0.digest < $1.digest }) {
            query.bind(1, item.new.pack)
            query.bind(2, item.new.offset)
            query.bind(3, Int64(item.new.storedLength))
            query.bind(4, Int64(item.new.kind.rawValue) << 8 | Int64(item.new.codec.rawValue))
            query.bind(5, item.digest)
            query.bind(6, item.old.pack)
            query.bind(7, item.old.offset)
            guard try query.run() == 1 else { continue }
            moved += 1
            let (new, old) = (item.new, item.old)
            usage[UsageKey(pack: new.pack, kind: new.kind), default: (.init(), .init())].added
                .add(new)
            usage[UsageKey(pack: old.pack, kind: old.kind), default: (.init(), .init())].removed
                .add(old)
        }
        for (key, sums) in usage {
            try add(sums.added, to: key, sign: 1)
            try add(sums.removed, to: key, sign: -1)
        }
        return moved
    }

    func removeEmptyPack(_ number: Int64) throws -> Bool {
        guard let entry = try pack(number) else { return false }
        let usage = try SQLiteQuery(
            database, "SELECT coalesce(sum(records), 0) FROM pack_usage WHERE pack = ?")
        usage.bind(1, number)
        guard try usage.first({ $0.integer(0) }) == 0 else { return false }
        let doomed = try SQLiteQuery(database, "INSERT OR REPLACE INTO doomed VALUES (?, ?)")
        doomed.bind(1, entry.identifier.bytes)
        doomed.bind(2, Int64(entry.isStored ? 1 : 0))
        try doomed.run()
        for sql in ["DELETE FROM pack_usage WHERE pack = ?", "DELETE FROM packs WHERE number = ?"] {
            let query = try SQLiteQuery(database, sql)
            query.bind(1, number)
            try query.run()
        }
        return true
    }

    func remove(doomed identifier: Identifier) throws {
        let query = try SQLiteQuery(database, "DELETE FROM doomed WHERE identifier = ?")
        query.bind(1, identifier.bytes)
        try query.run()
    }

    func addEvents(pack number: Int64, bytes: UInt64, lastSequence: UInt64) throws {
        let query = try SQLiteQuery(
            database,
            """
            UPDATE packs SET events = events + ?, last_event = max(last_event, ?) WHERE number = ?
            """)
        query.bind(1, bytes)
        query.bind(2, lastSequence)
        query.bind(3, number)
        guard try query.run() == 1 else { throw CatalogFailure.unknownPack(number) }
    }

    func update(pack number: Int64, level: Int) throws {
        let query = try SQLiteQuery(database, "UPDATE packs SET level = ? WHERE number = ?")
        query.bind(1, Int64(level))
        query.bind(2, number)
        guard try query.run() == 1 else { throw CatalogFailure.unknownPack(number) }
    }

    func set(measure: SnapshotMeasure?, of snapshot: Digest, domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            UPDATE snapshots SET ranges = ?, reads = ?, restored = ?
            WHERE snapshot = ? AND \(SQLiteSchema.isPresentEpoch)
            """)
        if let measure {
            query.bind(1, measure.ranges)
            query.bind(2, measure.readBytes)
            query.bind(3, measure.restoredBytes)
        } else {
            for position in Int32(1)...3 { query.bindNull(position) }
        }
        query.bind(4, snapshot)
        try query.run()
    }

    func limitLeases(to monotonicNanoseconds: UInt64) throws {
        let query = try SQLiteQuery(
            database, "UPDATE leases SET expires = ?1 WHERE expires > ?1")
        query.bind(1, monotonicNanoseconds)
        try query.run()
    }
}
