import CASCore
import CASFileSystem
import GRDB
import Synchronization

/// The catalog in one SQLite file: WAL, one writer, several readers, also among processes.
///
/// Any thread may use it. A transaction is durable when `write` returns: `synchronous` is FULL, which
/// in WAL mode syncs the log at every commit.
package final class SQLiteCatalog: Catalog {
    /// What the file's name is followed by in the names of all files of a catalog.
    package static let fileSuffixes = ["", "-wal", "-shm"]
    /// How long a process waits for another's transaction.
    private static let busySeconds = 30.0
    /// Pages in the log before a commit copies them into the file (32 MiB; far fewer random writes).
    private static let checkpointPages = 8_000
    /// Bytes that the log keeps once it was copied.
    private static let logBytes = 16 << 20
    private static let writerCacheKibibytes = 32 << 10
    private static let readerCacheKibibytes = 4 << 10
    private static let mappedBytes = 1 << 30
    private static let openAttempts = 100
    private static let openPauseMilliseconds: UInt64 = 20

    private let path: String
    let pool: DatabasePool
    private let isClosed = Mutex(false)
    /// Set by an I/O error in a transaction: what the log holds is unknown until it is opened again.
    private let failure = Mutex<CASError?>(nil)

    /// Opens a catalog; with `create`, makes a new one where there is none.
    ///
    /// Throws `notFound` for a missing one, `dataLoss` for a damaged one and `failedPrecondition`,
    /// before anything is written, for one of a newer format.
    package init(path: String, create: Bool, readers: Int = 4) throws {
        self.path = path
        do {
            try SQLiteCatalog.check(path, create: create)
            pool = try SQLiteCatalog.patiently {
                try DatabasePool(
                    path: path, configuration: SQLiteCatalog.configuration(readers: readers))
            }
            try pool.writeWithoutTransaction { database in
                try SQLiteCatalog.prepareWriter(database)
                try SQLiteSchema.migrate(database)
            }
        } catch {
            throw SQLiteFailure.error(error, path)
        }
    }

    package func read<Result>(_ body: (any CatalogReader) throws -> Result) throws -> Result {
        try checkOpen()
        do {
            return try pool.read { try body(SQLiteTransaction($0)) }
        } catch {
            throw SQLiteFailure.error(error, path)
        }
    }

    package func write<Result>(
        _ body: (any CatalogTransaction) throws -> Result
    ) throws -> Result {
        try checkOpen()
        if let failure = failure.withLock({ $0 }) { throw failure }
        do {
            return try pool.writeWithoutTransaction { database in
                try SQLiteCatalog.transaction(database) { try body(SQLiteTransaction(database)) }
            }
        } catch {
            let mapped = SQLiteFailure.error(error, path)
            if SQLiteFailure.leavesLogUnknown(error) {
                failure.withLock { $0 = mapped as? CASError }
            }
            throw mapped
        }
    }

    package func erase() throws {
        try checkOpen()
        do {
            // Pages are zeroed as rows go (`secure_delete`); the log still has them as they were.
            try pool.writeWithoutTransaction { database in
                _ = try Row.fetchAll(database, sql: "PRAGMA wal_checkpoint(TRUNCATE)")
            }
        } catch {
            throw SQLiteFailure.error(error, path)
        }
    }

    package func close() throws {
        guard
            !isClosed.withLock({ wasClosed in
                defer { wasClosed = true }
                return wasClosed
            })
        else { return }
        do { try pool.close() } catch { throw SQLiteFailure.error(error, path) }
    }

    private func checkOpen() throws {
        guard !isClosed.withLock({ $0 }) else {
            throw CASError(.failedPrecondition, "the catalog is closed")
        }
    }
}

// MARK: - Opening

extension SQLiteCatalog {
    /// Looks at the file through a connection that cannot write.
    private static func check(_ path: String, create: Bool) throws {
        var configuration = Configuration()
        configuration.readonly = true
        configuration.busyMode = .timeout(busySeconds)
        let format: Int64
        do {
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            format = try queue.read { try SQLiteSchema.format(of: $0) }
            try queue.close()
        } catch let error as DatabaseError where error.resultCode == .SQLITE_CANTOPEN {
            guard create else {
                throw CASError(
                    .notFound, "there is no catalog, or it cannot be opened",
                    hint: CatalogFailure.rebuildHint, cause: error, path: path)
            }
            return
        }
        guard format > 0 || create else {
            throw CASError(
                .dataLoss, "the catalog is empty", hint: CatalogFailure.rebuildHint, path: path)
        }
    }

    private static func configuration(readers: Int) -> Configuration {
        var configuration = Configuration()
        configuration.label = "cas.catalog"
        configuration.maximumReaderCount = max(readers, 1)
        configuration.busyMode = .timeout(busySeconds)
        configuration.foreignKeysEnabled = false
        configuration.prepareDatabase { database in
            try database.execute(sql: "PRAGMA mmap_size = \(mappedBytes)")
            try database.execute(sql: "PRAGMA cache_size = -\(readerCacheKibibytes)")
            try database.execute(sql: "PRAGMA temp_store = MEMORY")
        }
        return configuration
    }

    /// Settings of the writing connection, made after opening: GRDB sets `synchronous` to NORMAL then.
    private static func prepareWriter(_ database: Database) throws {
        try database.execute(sql: "PRAGMA synchronous = FULL")
        try database.execute(sql: "PRAGMA secure_delete = ON")
        try database.execute(sql: "PRAGMA wal_autocheckpoint = \(checkpointPages)")
        try database.execute(sql: "PRAGMA journal_size_limit = \(logBytes)")
        try database.execute(sql: "PRAGMA cache_size = -\(writerCacheKibibytes)")
        let synchronous = try Int64.fetchOne(database, sql: "PRAGMA synchronous")
        let journal = try String.fetchOne(database, sql: "PRAGMA journal_mode")
        guard synchronous == 2, journal == "wal" else {
            throw CASError(
                .internalError, "SQLite does not sync its log",
                hint: "keep the catalog on a local disk, not on a network file system")
        }
    }

    /// Repeats what fails because another process opens the same file at this moment: a change of
    /// journal mode does not wait for the busy timeout.
    private static func patiently<Result>(_ body: () throws -> Result) throws -> Result {
        for _ in 0..<openAttempts {
            do {
                return try body()
            } catch let error as DatabaseError where error.resultCode == .SQLITE_BUSY {
                Sleep.milliseconds(openPauseMilliseconds)
            }
        }
        return try body()
    }

    private static func transaction<Result>(
        _ database: Database, _ body: () throws -> Result
    ) throws -> Result {
        try database.beginTransaction(.immediate)
        do {
            let result = try body()
            try database.commit()
            return result
        } catch {
            // What failed first is what matters; SQLite may have rolled back by itself.
            if database.isInsideTransaction { try? database.rollback() }
            throw error
        }
    }
}

/// What SQLite's errors mean here.
enum SQLiteFailure {
    static func error(_ error: any Error, _ path: String) -> any Error {
        guard let failure = error as? DatabaseError else { return error }
        switch failure.resultCode {
        case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT, .SQLITE_SCHEMA:
            return CASError(
                .dataLoss, "the catalog is damaged", hint: CatalogFailure.rebuildHint,
                cause: failure, path: path)
        case .SQLITE_BUSY, .SQLITE_LOCKED:
            return CASError(
                .unavailable, "another process holds the catalog for too long",
                hint: "see which process writes to this store, then try again", cause: failure,
                path: path)
        case .SQLITE_FULL:
            return CASError(
                .resourceExhausted, "the disk of the catalog is full",
                hint: "free some space and try again; nothing was lost", cause: failure, path: path)
        case .SQLITE_PERM, .SQLITE_READONLY, .SQLITE_AUTH:
            return CASError(
                .permissionDenied, "the catalog may not be written", cause: failure, path: path)
        case .SQLITE_CANTOPEN:
            return CASError(
                .unavailable, "the catalog cannot be opened",
                hint: "check that the directory exists and may be written", cause: failure,
                path: path)
        default:
            return CASError(
                .internalError, "the catalog failed", hint: "start again; then cas doctor",
                cause: failure, path: path)
        }
    }

    /// Whether the frames of a transaction may stand in the log although it was reported as failed.
    static func leavesLogUnknown(_ error: any Error) -> Bool {
        (error as? DatabaseError)?.resultCode == .SQLITE_IOERR
    }
}
