import CASCore
import GRDB
import GRDBSQLite

/// A cached statement, bound and stepped through SQLite's own calls.
///
/// Half the cost of a lookup through GRDB is its row and value types (swift-measurements.md, 4a).
/// Holds the `Statement`: SQLite's handle dies with it. Lives within the closure that lent the
/// connection; never nest two queries of the same text.
struct SQLiteQuery {
    private let statement: Statement
    private let handle: OpaquePointer
    /// Makes SQLite copy what is bound.
    private static let transient = unsafeBitCast(-1, to: sqlite3_destructor_type.self)

    init(_ database: Database, _ text: String) throws {
        statement = try database.cachedStatement(sql: text)
        handle = statement.sqliteStatement
    }

    // MARK: - Binding; positions count from 1

    func bind(_ position: Int32, _ value: Int64) {
        check(sqlite3_bind_int64(handle, position, value))
    }

    func bind(_ position: Int32, _ value: UInt64) {
        bind(position, Int64(clamping: value))
    }

    func bind(_ position: Int32, _ bytes: UnsafeRawBufferPointer) {
        // A null pointer would bind NULL where an empty BLOB is meant.
        guard let base = bytes.baseAddress, bytes.count > 0 else {
            return check(sqlite3_bind_zeroblob(handle, position, 0))
        }
        check(
            sqlite3_bind_blob64(
                handle, position, base, sqlite3_uint64(bytes.count), SQLiteQuery.transient))
    }

    func bind(_ position: Int32, _ bytes: [UInt8]) {
        bytes.withUnsafeBytes { bind(position, $0) }
    }

    func bind(_ position: Int32, _ digest: Digest) {
        digest.withBytes { bind(position, $0) }
    }

    func bind(_ position: Int32, _ digest: Digest?) {
        if let digest { bind(position, digest) } else { bindNull(position) }
    }

    func bind(_ position: Int32, _ text: String) {
        check(sqlite3_bind_text(handle, position, text, -1, SQLiteQuery.transient))
    }

    func bindNull(_ position: Int32) {
        check(sqlite3_bind_null(handle, position))
    }

    /// A failed binding is a mistake of this program, or no memory; the step reports the latter.
    private func check(_ code: Int32) {
        assert(code == SQLITE_OK, "binding failed with code \(code)")
    }

    // MARK: - Running

    /// Steps once; whether there is a row.
    ///
    /// Call `reset` when done with it.
    func step() throws -> Bool {
        switch sqlite3_step(handle) {
        case SQLITE_ROW: return true
        case SQLITE_DONE: return false
        case let code:
            let message = sqlite3_db_handle(handle).map { String(cString: sqlite3_errmsg($0)) }
            sqlite3_reset(handle)
            throw DatabaseError(
                resultCode: ResultCode(rawValue: code), message: message,
                sql: String(cString: sqlite3_sql(handle)))
        }
    }

    /// Makes it ready to be bound and stepped again, and ends its hold on the database.
    func reset() {
        sqlite3_reset(handle)
    }

    /// Runs a statement without rows and returns how many rows it changed.
    @discardableResult
    func run() throws -> Int {
        defer { reset() }
        _ = try step()
        return Int(sqlite3_changes(sqlite3_db_handle(handle)))
    }

    /// The result of `body` on the first row; nil if there is none.
    func first<Result>(_ body: (SQLiteQuery) throws -> Result) throws -> Result? {
        defer { reset() }
        return try step() ? try body(self) : nil
    }

    /// The results of `body` on each row.
    func all<Result>(_ body: (SQLiteQuery) throws -> Result) throws -> [Result] {
        defer { reset() }
        var results: [Result] = []
        while try step() { results.append(try body(self)) }
        return results
    }

    // MARK: - Columns; positions count from 0

    func integer(_ column: Int32) -> Int64 { sqlite3_column_int64(handle, column) }

    func unsigned(_ column: Int32) throws -> UInt64 {
        guard let value = UInt64(exactly: integer(column)) else { throw SQLiteQuery.malformed() }
        return value
    }

    func number<Number: FixedWidthInteger>(_ column: Int32, _: Number.Type) throws -> Number {
        guard let value = Number(exactly: integer(column)) else { throw SQLiteQuery.malformed() }
        return value
    }

    /// Valid until the next step.
    func blob(_ column: Int32) -> UnsafeRawBufferPointer {
        let base = sqlite3_column_blob(handle, column)
        return UnsafeRawBufferPointer(
            start: base, count: Int(sqlite3_column_bytes(handle, column)))
    }

    func digest(_ column: Int32) throws -> Digest {
        let bytes = blob(column)
        guard bytes.count == Digest.byteCount else { throw SQLiteQuery.malformed() }
        return Digest(bytes)
    }

    func optionalDigest(_ column: Int32) throws -> Digest? {
        blob(column).count == 0 ? nil : try digest(column)
    }

    func identifier(_ column: Int32) throws -> Identifier {
        guard let identifier = Identifier(bytes: blob(column)) else {
            throw SQLiteQuery.malformed()
        }
        return identifier
    }

    /// What is thrown for a value that this program cannot have written.
    static func malformed() -> CASError {
        CASError(
            .dataLoss, "the catalog holds a value that makes no sense",
            hint: CatalogFailure.rebuildHint)
    }
}
