import CASCore
import CASPack
import CASWire
import GRDB

extension SQLiteTransaction: ImageReader {
    private static func used(_ row: SQLiteQuery) throws -> UsedLink {
        UsedLink(link: try OCILink(decoding: row.blob(0)), used: row.integer(1))
    }

    func link(
        _ name: String, _ digest: Digest, _ kind: OCILink.Kind, domain: Domain
    ) throws -> UsedLink? {
        let query = try SQLiteQuery(
            database,
            """
            SELECT link, used FROM oci_links
            WHERE domain = ? AND name = ? AND kind = ? AND digest = ?
            """)
        bind(query, name, digest, kind, domain)
        return try query.first(SQLiteTransaction.used)
    }

    func bind(
        _ query: SQLiteQuery, _ name: String, _ digest: Digest?, _ kind: OCILink.Kind,
        _ domain: Domain
    ) {
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, name)
        query.bind(3, Int64(kind.rawValue))
        // An empty BLOB sorts before every digest.
        if let digest { query.bind(4, digest) } else { query.bind(4, [UInt8]()) }
    }

    func links(
        _ name: String, _ kind: OCILink.Kind, after: Digest?, limit: Int, domain: Domain
    ) throws -> [OCILink] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT link FROM oci_links WHERE domain = ? AND name = ? AND kind = ? AND digest > ?
            ORDER BY digest LIMIT ?
            """)
        bind(query, name, after, kind, domain)
        query.bind(5, Int64(limit))
        return try query.all { try OCILink(decoding: $0.blob(0)) }
    }

    func links(after: OCILink?, limit: Int, domain: Domain) throws -> [UsedLink] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT link, used FROM oci_links WHERE domain = ? AND (name, kind, digest) > (?, ?, ?)
            ORDER BY name, kind, digest LIMIT ?
            """)
        bind(query, after?.name ?? "", after?.digest, after?.kind ?? .blob, domain)
        query.bind(5, Int64(limit))
        return try query.all(SQLiteTransaction.used)
    }

    func links(to digest: Digest, limit: Int, domain: Domain) throws -> [OCILink] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT link FROM oci_links WHERE digest = ? AND domain = ? ORDER BY name, kind LIMIT ?
            """)
        query.bind(1, digest)
        query.bind(2, Int64(domain.rawValue))
        query.bind(3, Int64(limit))
        return try query.all { try OCILink(decoding: $0.blob(0)) }
    }

    func referrers(
        _ name: String, to subject: Digest, after: Digest?, limit: Int, domain: Domain
    ) throws -> [OCILink] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT link FROM oci_links
            WHERE domain = ? AND name = ? AND kind = ? AND digest > ? AND subject = ?
            ORDER BY digest LIMIT ?
            """)
        bind(query, name, after, .manifest, domain)
        query.bind(5, subject)
        query.bind(6, Int64(limit))
        return try query.all { try OCILink(decoding: $0.blob(0)) }
    }

    func referrers(to subject: Digest, domain: Domain) throws -> [OCILink] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT link FROM oci_links WHERE subject = ? AND domain = ? AND kind = 2
            ORDER BY name, digest
            """)
        query.bind(1, subject)
        query.bind(2, Int64(domain.rawValue))
        return try query.all { try OCILink(decoding: $0.blob(0)) }
    }

    func imageNames(after: String?, limit: Int, domain: Domain) throws -> [String] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT name FROM oci_links WHERE domain = ?1 AND name > ?2
            UNION SELECT name FROM refs WHERE domain = ?1 AND name > ?2 ORDER BY name LIMIT ?3
            """)
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, after ?? "")
        query.bind(3, Int64(limit))
        return try query.all { String(decoding: $0.blob(0), as: UTF8.self) }
    }

    func moves(
        named name: String, after: HistoryEntry?, limit: Int, domain: Domain
    ) throws -> [HistoryEntry] {
        let query = try SQLiteQuery(
            database,
            """
            SELECT entry FROM moves WHERE domain = ? AND name = ? AND (tag, sequence) > (?, ?)
            ORDER BY tag, sequence LIMIT ?
            """)
        query.bind(1, Int64(domain.rawValue))
        query.bind(2, name)
        query.bind(3, after?.name.tag ?? "")
        query.bind(4, after?.sequence ?? 0)
        query.bind(5, Int64(limit))
        return try query.all { try HistoryEntry(decoding: $0.blob(0)) }
    }

    func parts(of manifest: Digest, domain: Domain) throws -> [Digest]? {
        let query = try SQLiteQuery(
            database,
            "SELECT link FROM oci_links WHERE digest = ? AND domain = ? AND kind = 2")
        query.bind(1, manifest)
        query.bind(2, Int64(domain.rawValue))
        defer { query.reset() }
        var parts: Set<Digest>?
        while try query.step() {
            parts = (parts ?? []).union(try OCILink(decoding: query.blob(0)).reached)
        }
        return parts?.sorted()
    }

    func manifests(naming parts: Set<Digest>, domain: Domain) throws -> [Digest] {
        // The bytes of a digest somewhere in a link are a first guess that SQLite makes quickly. Of several
        // digests each link is read once all the same.
        let guess = parts.count == 1 ? " AND instr(link, ?) > 0" : ""
        let query = try SQLiteQuery(
            database, "SELECT link FROM oci_links WHERE domain = ? AND kind = 2" + guess)
        query.bind(1, Int64(domain.rawValue))
        if parts.count == 1, let part = parts.first { query.bind(2, part) }
        defer { query.reset() }
        var found: Set<Digest> = []
        while try query.step() {
            let link = try OCILink(decoding: query.blob(0))
            if !parts.isDisjoint(with: link.reached) { found.insert(link.digest) }
        }
        return found.sorted()
    }

    func alias(_ sha512: [UInt8], domain: Domain) throws -> Digest? {
        try domain.requireStandard()
        let query = try SQLiteQuery(database, "SELECT digest FROM oci_aliases WHERE sha512 = ?")
        query.bind(1, sha512)
        return try query.first { try $0.digest(0) }
    }

    func aliases(
        after: [UInt8]?, limit: Int, domain: Domain
    ) throws -> [(sha512: [UInt8], digest: Digest)] {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            "SELECT sha512, digest FROM oci_aliases WHERE sha512 > ? ORDER BY sha512 LIMIT ?")
        query.bind(1, after ?? [])
        query.bind(2, Int64(limit))
        return try query.all { (Array($0.blob(0)), try $0.digest(1)) }
    }
}

// MARK: - Derived images and uploads

extension SQLiteTransaction {
    func derivedImage(tree: Digest, options: [UInt8], domain: Domain) throws -> DerivedImage? {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database, "SELECT image FROM derived_images WHERE tree = ? AND options = ?")
        query.bind(1, tree)
        query.bind(2, options)
        return try query.first { try DerivedImage(decoding: $0.blob(0)) }
    }

    func derivedImages(of tree: Digest, domain: Domain) throws -> [DerivedImage] {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database, "SELECT image FROM derived_images WHERE tree = ? ORDER BY options")
        query.bind(1, tree)
        return try query.all { try DerivedImage(decoding: $0.blob(0)) }
    }

    func derivedImages(naming digest: Digest, limit: Int, domain: Domain) throws -> [DerivedImage] {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            SELECT image FROM derived_parts JOIN derived_images USING (tree, options)
            WHERE digest = ? ORDER BY tree, options LIMIT ?
            """)
        query.bind(1, digest)
        query.bind(2, Int64(limit))
        return try query.all { try DerivedImage(decoding: $0.blob(0)) }
    }

    func derivedImages(after: DerivedImage?, limit: Int, domain: Domain) throws -> [DerivedImage] {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            SELECT image FROM derived_images WHERE (tree, options) > (?, ?)
            ORDER BY tree, options LIMIT ?
            """)
        if let after { query.bind(1, after.tree) } else { query.bind(1, [UInt8]()) }
        query.bind(2, after?.options ?? [])
        query.bind(3, Int64(limit))
        return try query.all { try DerivedImage(decoding: $0.blob(0)) }
    }

    func upload(_ identifier: Identifier, domain: Domain) throws -> UploadEntry? {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database, "SELECT identifier, name, size, used, tail FROM uploads WHERE identifier = ?")
        query.bind(1, identifier.bytes)
        return try query.first { row in
            var entry = try SQLiteTransaction.upload(row)
            entry.tail = Array(row.blob(4))
            return entry
        }
    }

    private static func upload(_ row: SQLiteQuery) throws -> UploadEntry {
        UploadEntry(
            identifier: try row.identifier(0),
            name: String(decoding: row.blob(1), as: UTF8.self),
            size: try row.unsigned(2), used: row.integer(3))
    }

    func uploads(after: Identifier?, limit: Int, domain: Domain) throws -> [UploadEntry] {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            SELECT identifier, name, size, used FROM uploads WHERE identifier > ?
            ORDER BY identifier LIMIT ?
            """)
        query.bind(1, after?.bytes ?? [])
        query.bind(2, Int64(limit))
        return try query.all(SQLiteTransaction.upload)
    }

    func uploadCount(to name: String?, domain: Domain) throws -> Int {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database, "SELECT count(*) FROM uploads" + (name == nil ? "" : " WHERE name = ?"))
        if let name { query.bind(1, name) }
        return try query.first { try $0.number(0, Int.self) } ?? 0
    }

    func uploadParts(
        _ identifier: Identifier, after count: Int, limit: Int, domain: Domain
    ) throws -> [ChunkList] {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database,
            """
            SELECT list FROM upload_parts WHERE identifier = ? AND number >= ?
            ORDER BY number LIMIT ?
            """)
        query.bind(1, identifier.bytes)
        query.bind(2, Int64(count))
        query.bind(3, Int64(limit))
        return try query.all { try ChunkList(decoding: $0.blob(0), limits: .standard) }
    }
}
