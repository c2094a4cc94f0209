import CASCore
import GRDB

/// Tables of the catalog and how a file of an older format becomes one of this (Catalog.md).
enum SQLiteSchema {
    /// "CASC" in the file's header tells a catalog from other SQLite files.
    static let applicationID: Int64 = 0x4341_5343
    /// The format that this program writes: the number of migrations.
    static var version: Int64 { Int64(migrations.count) }

    /// Said of a row of `trees` or `snapshots` that nothing made worthless since it was recorded.
    static let isPresentEpoch = "epoch = \(presentEpoch)"
    /// Counts the losses that made all such rows worthless.
    static let presentEpoch = "(SELECT value FROM counters WHERE name = 'completeness')"

    /// Step N makes format N + 1 of format N.
    ///
    /// A step that was released is never changed.
    static let migrations = [version1, version2, version3, version4]

    private static let version1 = """
        CREATE TABLE settings (
            name TEXT PRIMARY KEY, value BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE counters (
            name TEXT PRIMARY KEY, value INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        INSERT INTO counters VALUES ('pack', 0), ('sequence', 0);

        CREATE TABLE packs (
            number INTEGER PRIMARY KEY, identifier BLOB NOT NULL UNIQUE, class INTEGER NOT NULL,
            sealed INTEGER NOT NULL, object INTEGER NOT NULL, committed INTEGER NOT NULL,
            seconds INTEGER NOT NULL, nanoseconds INTEGER NOT NULL
        ) STRICT;
        CREATE TABLE pack_usage (
            pack INTEGER NOT NULL, kind INTEGER NOT NULL, records INTEGER NOT NULL,
            stored INTEGER NOT NULL, raw INTEGER NOT NULL,
            PRIMARY KEY (pack, kind)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE locations (
            digest BLOB PRIMARY KEY, pack INTEGER NOT NULL, offset INTEGER NOT NULL,
            stored INTEGER NOT NULL, raw INTEGER NOT NULL, form INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE chunk_lists (
            digest BLOB NOT NULL UNIQUE, list BLOB NOT NULL
        ) STRICT;

        CREATE TABLE trees (
            digest BLOB PRIMARY KEY, files INTEGER NOT NULL, directories INTEGER NOT NULL,
            symlinks INTEGER NOT NULL, bytes INTEGER NOT NULL, depth INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE snapshots (
            number INTEGER PRIMARY KEY, snapshot BLOB NOT NULL UNIQUE, tree BLOB NOT NULL,
            attributes BLOB
        ) STRICT;
        CREATE INDEX snapshots_by_tree ON snapshots (tree);

        CREATE TABLE refs (
            domain INTEGER NOT NULL, name TEXT NOT NULL, tag TEXT NOT NULL, target BLOB NOT NULL,
            tree BLOB, entry BLOB NOT NULL,
            PRIMARY KEY (domain, name, tag)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX refs_by_target ON refs (target);
        CREATE INDEX refs_by_tree ON refs (tree);
        CREATE TABLE moves (
            domain INTEGER NOT NULL, name TEXT NOT NULL, tag TEXT NOT NULL,
            sequence INTEGER NOT NULL, entry BLOB NOT NULL,
            PRIMARY KEY (domain, name, tag, sequence)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE pushes (
            domain INTEGER NOT NULL, identifier BLOB NOT NULL, response BLOB NOT NULL,
            PRIMARY KEY (domain, identifier)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE tokens (
            identifier BLOB PRIMARY KEY, record BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE leases (
            identifier BLOB PRIMARY KEY, purpose INTEGER NOT NULL, domain INTEGER NOT NULL,
            expires INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """

    /// What collection needs; see Catalog.md.
    private static let version2 = """
        INSERT INTO counters VALUES ('generation', 1);
        ALTER TABLE packs ADD COLUMN events INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE packs ADD COLUMN last_event INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE packs ADD COLUMN level INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE leases ADD COLUMN generation INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE leases ADD COLUMN digest BLOB;
        ALTER TABLE snapshots ADD COLUMN ranges INTEGER;
        ALTER TABLE snapshots ADD COLUMN reads INTEGER;
        ALTER TABLE snapshots ADD COLUMN restored INTEGER;
        CREATE INDEX snapshots_unmeasured ON snapshots (number) WHERE ranges IS NULL;
        CREATE TABLE condemned (
            digest BLOB PRIMARY KEY, generation INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE barrier (
            digest BLOB PRIMARY KEY
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE touches (
            digest BLOB PRIMARY KEY, by_digest INTEGER NOT NULL, by_name INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        -- Nobody knows which snapshots were fetched by digest lately: all of them may have been.
        INSERT INTO touches
            SELECT snapshot, CAST(strftime('%s', 'now') AS INTEGER), 0 FROM snapshots;
        CREATE TABLE pins (
            domain INTEGER NOT NULL, name TEXT NOT NULL, digest BLOB NOT NULL,
            record BLOB NOT NULL,
            PRIMARY KEY (domain, name, digest)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE rules (
            domain INTEGER NOT NULL, pattern TEXT NOT NULL, record BLOB NOT NULL,
            PRIMARY KEY (domain, pattern)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE purges (
            digest BLOB PRIMARY KEY, reason TEXT NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE doomed (
            identifier BLOB PRIMARY KEY, object INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        """

    /// What keeps transactions short in a large store; see Catalog.md.
    private static let version3 = """
        INSERT INTO counters VALUES ('completeness', 0);
        ALTER TABLE trees ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE snapshots ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE leases ADD COLUMN began INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX packs_unsealed ON packs (number) WHERE sealed = 0;
        CREATE TABLE arrivals (
            digest BLOB PRIMARY KEY
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE purging (
            digest BLOB PRIMARY KEY
        ) STRICT, WITHOUT ROWID;
        """

    /// What images need; see Catalog.md.
    private static let version4 = """
        CREATE TABLE oci_links (
            domain INTEGER NOT NULL, name TEXT NOT NULL, kind INTEGER NOT NULL,
            digest BLOB NOT NULL, subject BLOB, used INTEGER NOT NULL, link BLOB NOT NULL,
            PRIMARY KEY (domain, name, kind, digest)
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX oci_links_by_digest ON oci_links (digest);
        CREATE INDEX oci_links_by_subject ON oci_links (subject, domain, name, kind, digest)
            WHERE subject IS NOT NULL;
        CREATE TABLE oci_aliases (
            sha512 BLOB PRIMARY KEY, digest BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX oci_aliases_by_digest ON oci_aliases (digest);
        CREATE TABLE derived_images (
            tree BLOB NOT NULL, options BLOB NOT NULL, image BLOB NOT NULL,
            PRIMARY KEY (tree, options)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE derived_parts (
            digest BLOB NOT NULL, tree BLOB NOT NULL, options BLOB NOT NULL,
            PRIMARY KEY (digest, tree, options)
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE uploads (
            identifier BLOB PRIMARY KEY, name TEXT NOT NULL, size INTEGER NOT NULL,
            used INTEGER NOT NULL, tail BLOB NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE TABLE upload_parts (
            identifier BLOB NOT NULL, number INTEGER NOT NULL, list BLOB NOT NULL,
            PRIMARY KEY (identifier, number)
        ) STRICT, WITHOUT ROWID;
        """

    /// Tables that a rebuild empties; `counters` starts again instead.
    static let rebuiltTables = [
        "settings", "packs", "pack_usage", "locations", "chunk_lists", "trees", "snapshots", "refs",
        "moves", "pushes", "tokens", "leases", "condemned", "barrier", "touches", "pins", "rules",
        "purges", "doomed", "purging", "arrivals", "oci_links", "oci_aliases", "derived_images",
        "derived_parts", "uploads", "upload_parts",
    ]

    /// The format of an open file: 0 for an empty one; throws for what this program cannot use.
    static func format(of database: Database) throws -> Int64 {
        let application = try Int64.fetchOne(database, sql: "PRAGMA application_id") ?? 0
        let format = try Int64.fetchOne(database, sql: "PRAGMA user_version") ?? 0
        let tables = try Int64.fetchOne(database, sql: "SELECT count(*) FROM sqlite_master") ?? 0
        if application == 0, format == 0, tables == 0 { return 0 }
        guard application == applicationID, format > 0 else {
            throw CASError(
                .dataLoss, "the file in the place of the catalog is not one",
                hint: CatalogFailure.rebuildHint)
        }
        guard format <= version else {
            throw CASError(
                .failedPrecondition,
                "the catalog has format \(format), and this version of cas knows up to \(version)",
                hint: "use the newest cas")
        }
        return format
    }

    /// Brings an open file to this program's format, in one transaction.
    static func migrate(_ database: Database) throws {
        guard try format(of: database) < version else { return }
        try database.inTransaction(.immediate) {
            // Another process may have been faster.
            let present = try format(of: database)
            for step in migrations[Int(present)...] { try database.execute(sql: step) }
            try database.execute(sql: "PRAGMA application_id = \(applicationID)")
            try database.execute(sql: "PRAGMA user_version = \(version)")
            return .commit
        }
    }
}
