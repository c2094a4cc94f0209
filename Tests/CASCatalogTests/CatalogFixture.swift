import CASCatalog
import CASCore
import CASPack
import CASTestSupport
import CASTree
import CASWire

/// The implementations that one suite runs over.
enum CatalogKind: CaseIterable, Sendable {
    case sqlite
    case memory
}

/// A catalog of either kind that can be closed and opened again.
final class CatalogFixture {
    private let directory: TemporaryDirectory
    private let kind: CatalogKind
    private(set) var catalog: any Catalog

    /// Where the SQLite file is.
    var path: String { directory.path + "/catalog.sqlite" }

    init(_ kind: CatalogKind) throws {
        self.kind = kind
        directory = try TemporaryDirectory("cas-catalog-")
        catalog =
            kind == .memory
            ? InMemoryCatalog()
            : try SQLiteCatalog(path: directory.path + "/catalog.sqlite", create: true)
    }

    /// Closes the catalog and opens it anew, as the next process would.
    func reopen() throws {
        try catalog.close()
        if let memory = catalog as? InMemoryCatalog {
            memory.reopen()
        } else {
            catalog = try SQLiteCatalog(path: path, create: false)
        }
    }

    deinit { try? catalog.close() }
}

/// Values to put into catalogs.
enum Sample {
    static let time = Timestamp(seconds: 1_700_000_000, nanoseconds: 5)
    static let later = Timestamp(seconds: 1_700_000_100, nanoseconds: 999_999_999)

    static func digest(_ number: Int) -> Digest { Digest.of(Array("\(number)".utf8)) }

    static func identifier(_ number: Int) -> Identifier {
        Identifier(high: UInt64(number) &* 0x9e37_79b9_7f4a_7c15, low: UInt64(number))
    }

    static func pack(
        _ number: Int, _ packClass: PackClass = .small, committed: UInt64 = 64
    ) -> PackEntry {
        PackEntry(
            identifier: identifier(number), packClass: packClass, committedBytes: committed,
            created: time)
    }

    static func location(
        _ pack: Int64, _ offset: UInt64, kind: RecordKind = .chunk, stored: UInt32 = 10,
        raw: UInt32 = 20, codec: FrameCodec = .zstd
    ) -> BlobLocation {
        BlobLocation(
            pack: pack, offset: offset, storedLength: stored, rawLength: raw, kind: kind,
            codec: codec)
    }

    static func list(_ number: Int) -> ChunkList {
        ChunkList(terms: [.chunk(digest(number), length: 7), .inline([1, 2])])
    }

    static func state(_ number: Int) -> TreeState {
        TreeState(
            totals: TreeTotals(
                files: UInt64(number), directories: 1, symlinks: 2, bytes: UInt64(number) << 33),
            depth: UInt32(number + 1))
    }

    static func entry(_ name: String, _ sequence: UInt64, target: Int, tree: Int?) throws
        -> RefEntry
    {
        RefEntry(
            name: try RefName(name), target: RefTarget(kind: .snapshot, digest: digest(target)),
            tree: tree.map(digest), totals: TreeTotals(files: 1, directories: 1, bytes: 3),
            sequence: sequence, moved: time, provenance: Provenance(author: "ada", time: time),
            expires: nil)
    }

    static func move(_ name: String, _ sequence: UInt64, to target: Int?) throws -> HistoryEntry {
        HistoryEntry(
            sequence: sequence, name: try RefName(name), previous: nil,
            target: target.map { RefTarget(kind: .snapshot, digest: digest($0)) },
            provenance: Provenance(author: "ada", message: "\(sequence)", time: time),
            pushID: identifier(Int(sequence)))
    }

    static func pin(_ number: Int, name: String) -> PinRecord {
        PinRecord(
            name: name, digest: digest(number), expires: number % 2 == 0 ? later : nil,
            reason: "because \(number)", provenance: Provenance(author: "ada", time: time),
            created: time)
    }

    static func response(_ number: Int) -> PushResponse {
        PushResponse(
            outcome: .done, snapshot: digest(number), tree: digest(number + 1), previous: nil,
            sequence: UInt64(number), missing: [], missingCount: 0)
    }

    static func token(_ number: Int, name: String = "ci") throws -> TokenRecord {
        TokenRecord(
            id: identifier(number), name: name, secretHash: digest(number),
            scopes: [try TokenScope("read+write:team")], created: time, expires: later,
            revoked: nil)
    }

    static func lease(_ number: Int, expires: UInt64) -> Lease {
        Lease(
            identifier: identifier(number), purpose: number % 2 == 0 ? .push : .read,
            domain: .standard, expires: expires)
    }
}
