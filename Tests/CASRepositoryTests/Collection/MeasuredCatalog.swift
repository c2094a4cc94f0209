import CASCore
import Synchronization

@testable import CASCatalog

/// A catalog in SQLite that remembers how many rows its largest transaction changed.
final class MeasuredCatalog: Catalog {
    private let catalog: SQLiteCatalog
    private let sizes = Mutex<[Int]>([])

    init(_ catalog: SQLiteCatalog) { self.catalog = catalog }

    /// Rows that each transaction changed since the last call, deleted ones counted too.
    func takeSizes() -> [Int] {
        sizes.withLock { sizes in
            defer { sizes = [] }
            return sizes
        }
    }

    func read<Result>(_ body: (any CatalogReader) throws -> Result) throws -> Result {
        try catalog.read(body)
    }

    func write<Result>(_ body: (any CatalogTransaction) throws -> Result) throws -> Result {
        try catalog.write { transaction in
            let before = try MeasuredCatalog.changes(transaction)
            let result = try body(transaction)
            let count = try MeasuredCatalog.changes(transaction) - before
            sizes.withLock { $0.append(count) }
            return result
        }
    }

    private static func changes(_ transaction: any CatalogTransaction) throws -> Int {
        guard let transaction = transaction as? SQLiteTransaction else { return 0 }
        let query = try SQLiteQuery(transaction.database, "SELECT total_changes()")
        return try query.first { Int($0.integer(0)) } ?? 0
    }

    func erase() throws { try catalog.erase() }
    func close() throws { try catalog.close() }
}
