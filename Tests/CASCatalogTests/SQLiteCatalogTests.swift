@testable import CASCatalog
import CASCore
import CASTestSupport
import Foundation
import GRDB
import Testing

/// What holds of the SQLite file alone: durability, other processes, damage, formats.
@Suite struct SQLiteCatalogTests {
    private let directory: TemporaryDirectory
    private var path: String { directory.path + "/catalog.sqlite" }

    init() throws { directory = try TemporaryDirectory("cas-catalog-") }

    private func open(create: Bool = false) throws -> SQLiteCatalog {
        try SQLiteCatalog(path: path, create: create)
    }

    private func bytes() throws -> [UInt8] { [UInt8](try Data(contentsOf: URL(filePath: path))) }

    private func write(_ bytes: [UInt8]) throws {
        try Data(bytes).write(to: URL(filePath: path))
    }

    private func files() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
    }

    @Test func `commits are synced, also after opening again`() throws {
        for create in [true, false] {
            let catalog = try open(create: create)
            try catalog.write { try $0.set(setting: "a", [1]) }
            let settings = try catalog.pool.writeWithoutTransaction { database in
                (
                    try Int.fetchOne(database, sql: "PRAGMA synchronous"),
                    try String.fetchOne(database, sql: "PRAGMA journal_mode"),
                    try Int.fetchOne(database, sql: "PRAGMA application_id")
                )
            }
            #expect(settings.0 == 2, "FULL is 2; GRDB's own choice would be NORMAL, 1")
            #expect(settings.1 == "wal" && settings.2 == 0x4341_5343)
            try catalog.close()
        }
    }

    @Test func `what was acknowledged is there when the process is gone without closing`() throws {
        let catalog = try open(create: true)
        try catalog.write { try CatalogSample.fill($0) }
        // A crash leaves the file and its log: what a copy of both shows.
        let copy = try TemporaryDirectory("cas-catalog-")
        for name in try files() {
            try FileManager.default.copyItem(
                atPath: directory.path + "/" + name, toPath: copy.path + "/" + name)
        }
        let reopened = try SQLiteCatalog(path: copy.path + "/catalog.sqlite", create: false)
        try reopened.read { try CatalogSample.check($0) }
        try reopened.close()
        try catalog.close()
    }

    @Test func `two processes on one file see each other's commits and never share a number`()
        throws
    {
        let catalogs = [try open(create: true), try open()]
        try catalogs[0].write { try $0.set(setting: "a", [1]) }
        #expect(try catalogs[1].read { try $0.setting("a") } == [1])
        try catalogs[0].write { change in
            try change.set(setting: "a", [2])
            #expect(try catalogs[1].read { try $0.setting("a") } == [1], "readers do not wait")
        }
        #expect(try catalogs[1].read { try $0.setting("a") } == [2])
        let numbers = Shared<[UInt64]>([])
        DispatchQueue.concurrentPerform(iterations: 4) { thread in
            for _ in 0..<50 {
                do {
                    let number = try catalogs[thread % 2].write { try $0.nextSequence() }
                    numbers.change { $0.append(number) }
                } catch {
                    Issue.record("\(error)")
                }
            }
        }
        #expect(numbers.value.sorted() == Array(1...200))
        for catalog in catalogs { try catalog.close() }
    }

    @Test func `several processes may create one catalog at once`() throws {
        let failures = Shared<[String]>([])
        DispatchQueue.concurrentPerform(iterations: 4) { _ in
            do {
                let catalog = try open(create: true)
                try catalog.write { _ = try $0.nextSequence() }
                try catalog.close()
            } catch {
                failures.change { $0.append("\(error)") }
            }
        }
        #expect(failures.value == [])
        #expect(try open().read { try $0.lastSequence() } == 4)
    }

    @Test func `a missing catalog is not made unless asked`() throws {
        let error = #expect(throws: CASError.self) { try open() }
        #expect(error?.code == .notFound && error?.hint?.contains("rebuild-index") == true)
        #expect(try files() == [])
    }

    /// Expects that opening or reading everything fails as damage, with the way out.
    private func expectDamage(_ what: String) {
        let error = #expect(throws: CASError.self, "\(what)") {
            let catalog = try open()
            defer { try? catalog.close() }
            _ = try catalog.read { try CatalogView($0) }
            try catalog.read { try CatalogSample.check($0) }
        }
        #expect(error?.code == .dataLoss, "\(what): \(error.map(String.init(describing:)) ?? "")")
        #expect(error?.hint?.contains("cas rebuild-index") == true, "\(what)")
    }

    @Test func `a damaged file is told as such, with the way out`() throws {
        let catalog = try open(create: true)
        try catalog.write { try CatalogSample.fill($0) }
        try catalog.close()
        let good = try bytes()
        #expect(good.count > 3 * 4096)
        var damaged: [(String, [UInt8])] = [
            ("text", Array("this is no database, but long enough to be looked at\n".utf8)),
            ("noise", good.indices.map { UInt8(truncatingIfNeeded: $0 &* 31 &+ 7) }),
            ("half", Array(good[..<(good.count / 2 / 4096 * 4096)])),
            ("another program's file", good),
            ("no bytes", []),
        ]
        damaged[3].1.replaceSubrange(68..<72, with: [0, 0, 0, 1])
        var body = good
        body.replaceSubrange(4096..., with: repeatElement(0xa5, count: good.count - 4096))
        damaged.append(("every page but the first", body))
        for (what, bytes) in damaged {
            for suffix in ["-wal", "-shm"] {
                try? FileManager.default.removeItem(atPath: path + suffix)
            }
            try write(bytes)
            expectDamage(what)
        }
    }

    @Test func `a value that no program of ours wrote is damage too`() throws {
        for sql in [
            "UPDATE locations SET form = 65535", "UPDATE locations SET raw = -1",
            "UPDATE packs SET class = 9", "UPDATE refs SET entry = x'00'",
            "UPDATE moves SET entry = x'ff'", "UPDATE tokens SET record = x'01'",
            "UPDATE chunk_lists SET list = x'01'",
            "UPDATE snapshots SET snapshot = x'01' WHERE number = 2",
            "UPDATE leases SET purpose = 77", "UPDATE trees SET depth = -1",
            "UPDATE pushes SET response = x'ff'", "DELETE FROM counters",
        ] {
            let catalog = try open(create: true)
            try catalog.write { try $0.removeEverything() }
            try catalog.write { try CatalogSample.fill($0) }
            try catalog.pool.write { try $0.execute(sql: sql) }
            let error = #expect(throws: CASError.self, "\(sql)") {
                _ = try catalog.read { reader in
                    _ = try CatalogView(reader)
                    try CatalogSample.check(reader)
                }
            }
            #expect(error?.code == .dataLoss, "\(sql)")
            try catalog.close()
            for name in try files() {
                try FileManager.default.removeItem(atPath: directory.path + "/" + name)
            }
        }
    }

    @Test func `a newer format is refused before anything is written`() throws {
        let queue = try DatabaseQueue(path: path)
        try queue.writeWithoutTransaction { database in
            try database.execute(sql: "PRAGMA application_id = \(SQLiteSchema.applicationID)")
            try database.execute(sql: "PRAGMA user_version = \(SQLiteSchema.version + 1)")
            try database.execute(sql: "CREATE TABLE something_new (a)")
        }
        try queue.close()
        let before = try bytes()
        for create in [false, true] {
            let error = #expect(throws: CASError.self) { try open(create: create) }
            #expect(error?.code == .failedPrecondition && error?.hint?.contains("newest") == true)
            #expect(try bytes() == before)
            #expect(try files() == ["catalog.sqlite"], "no log, no lock")
        }
    }

    @Test func `the page names every table and every column`() throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
            .appending(path: "Sources/CASCatalog/CASCatalog.docc/Catalog.md")
        var table = ""
        var named: [String: Set<String>] = [:]
        for line in try String(contentsOf: page, encoding: .utf8).split(separator: "\n") {
            let cells = line.split(separator: "|", omittingEmptySubsequences: false)
            guard cells.count == 5 else { continue }
            if let name = cells[1].firstMatch(of: /`(.*)`/)?.1 { table = String(name) }
            for column in cells[2].matches(of: /`([a-z0-9_]+)`/) {
                named[table, default: []].insert(String(column.1))
            }
        }
        let catalog = try open(create: true)
        let columns = try catalog.pool.read { database in
            try Row.fetchAll(
                database,
                sql: """
                    SELECT m.name AS owner, c.name AS part FROM sqlite_master m, \
                    pragma_table_info(m.name) c WHERE m.type = 'table'
                    """)
        }
        var present: [String: Set<String>] = [:]
        for row in columns { present[row["owner"], default: []].insert(row["part"]) }
        #expect(present == named)
        #expect(present.count == 28)
        try catalog.close()
    }

    /// The files were made by `makes the sample` and `sqlite3 FILE .dump`.
    @Test(arguments: [1, 2, 3, 4])
    func `the committed sample of each format stays readable and writable`(_ format: Int) throws {
        let sample = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "catalog-\(format).sql")
        let queue = try DatabaseQueue(path: path)
        let text = try String(contentsOf: sample, encoding: .utf8)
        try queue.writeWithoutTransaction { try $0.execute(sql: text) }
        try queue.close()
        let catalog = try open()
        try catalog.read { reader in
            try CatalogSample.check(reader)
            if format >= 2 { try CatalogSample.checkKeeping(reader) }
            if format >= 3 { try CatalogSample.checkBounded(reader) }
            if format >= 4 { try CatalogSample.checkImages(reader) }
            guard format == 1 else { return }
            // Nobody knows when its snapshots were fetched: all of them count as fetched lately.
            let snapshots = try reader.snapshotKeys(after: nil, limit: 100, domain: .standard)
            let touches = try reader.touches(after: nil, limit: 100, domain: .standard)
            #expect(!snapshots.isEmpty && touches.map(\.digest) == snapshots)
            #expect(touches.allSatisfy { $0.byDigest > 1_700_000_000 })
        }
        try catalog.write { change in
            #expect(try change.nextSequence() == 4)
            #expect(try change.insert(pack: Sample.pack(7)) == (format == 1 ? 3 : 4))
            try change.remove(locations: [Sample.digest(1)], domain: .standard)
            if format == 1 {
                _ = try change.removeTouches(before: .max, limit: 100, domain: .standard)
                try CatalogSample.fillKeeping(change)
            }
            if format < 3 { try CatalogSample.fillBounded(change) }
        }
        try catalog.read { try CatalogSample.checkBounded($0) }
        #expect(try catalog.read { try $0.counts(domain: .standard).total.count } == 1)
        try catalog.read { try CatalogSample.checkKeeping($0) }
        try catalog.close()
    }

    /// `CAS_WRITE_GOLDEN=DIRECTORY` leaves a catalog of this program's format there.
    @Test(.enabled(if: ProcessInfo.processInfo.environment["CAS_WRITE_GOLDEN"] != nil))
    func `makes the sample`() throws {
        let target = try #require(ProcessInfo.processInfo.environment["CAS_WRITE_GOLDEN"])
        let catalog = try SQLiteCatalog(path: target + "/catalog.sqlite", create: true)
        try catalog.write { change in
            try CatalogSample.fillBounded(before: change)
            try CatalogSample.fill(change)
            try CatalogSample.fillKeeping(change)
            try CatalogSample.fillBounded(change)
            try CatalogSample.fillImages(change)
        }
        try catalog.close()
    }
}

/// A value that several threads change.
final class Shared<Value: Sendable>: @unchecked Sendable {
    // Unchecked: every access holds the lock.
    private let lock = NSLock()
    private var held: Value

    init(_ value: Value) { held = value }

    var value: Value { lock.withLock { held } }
    func change(_ body: (inout Value) -> Void) { lock.withLock { body(&held) } }
}
