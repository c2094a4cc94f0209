import CASCore
import CASPack
import CASWire
import GRDB

extension SQLiteTransaction: ImageTransaction {
    func insert(link: OCILink, used: Int64, domain: Domain) throws {
        let query = try SQLiteQuery(
            database, "INSERT OR REPLACE INTO oci_links VALUES (?, ?, ?, ?, ?, ?, ?)")
        bind(query, link.name, link.digest, link.kind, domain)
        query.bind(5, link.subject)
        query.bind(6, used)
        query.bind(7, link.encode())
        try query.run()
    }

    func use(
        link name: String, _ digest: Digest, _ kind: OCILink.Kind, at seconds: Int64, domain: Domain
    ) throws {
        let query = try SQLiteQuery(
            database,
            """
            UPDATE oci_links SET used = max(used, ?5)
            WHERE domain = ?1 AND name = ?2 AND kind = ?3 AND digest = ?4
            """)
        bind(query, name, digest, kind, domain)
        query.bind(5, seconds)
        try query.run()
    }

    func removeLink(
        _ name: String, _ digest: Digest, _ kind: OCILink.Kind, domain: Domain
    ) throws -> Bool {
        let query = try SQLiteQuery(
            database,
            "DELETE FROM oci_links WHERE domain = ? AND name = ? AND kind = ? AND digest = ?")
        bind(query, name, digest, kind, domain)
        return try query.run() == 1
    }

    func insert(alias sha512: [UInt8], _ digest: Digest, domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(database, "INSERT OR IGNORE INTO oci_aliases VALUES (?, ?)")
        query.bind(1, sha512)
        query.bind(2, digest)
        try query.run()
    }

    func remove(aliasesAndImagesOf digests: [Digest], domain: Domain) throws {
        try domain.requireStandard()
        let aliases = try SQLiteQuery(database, "DELETE FROM oci_aliases WHERE digest = ?")
        for digest in digests {
            aliases.bind(1, digest)
            try aliases.run()
            for image in try derivedImages(naming: digest, limit: .max, domain: domain)
            where image.manifest == digest || image.config == digest {
                try removeDerivedImage(tree: image.tree, options: image.options, domain: domain)
            }
        }
    }

    func insert(derivedImage image: DerivedImage, domain: Domain) throws {
        try removeDerivedImage(tree: image.tree, options: image.options, domain: domain)
        let query = try SQLiteQuery(database, "INSERT INTO derived_images VALUES (?, ?, ?)")
        query.bind(1, image.tree)
        query.bind(2, image.options)
        query.bind(3, image.encode())
        try query.run()
        let parts = try SQLiteQuery(
            database, "INSERT OR IGNORE INTO derived_parts VALUES (?, ?, ?)")
        for digest in Set(image.names) {
            parts.bind(1, digest)
            parts.bind(2, image.tree)
            parts.bind(3, image.options)
            try parts.run()
        }
    }

    func removeDerivedImage(tree: Digest, options: [UInt8], domain: Domain) throws {
        guard let image = try derivedImage(tree: tree, options: options, domain: domain) else {
            return
        }
        let parts = try SQLiteQuery(
            database, "DELETE FROM derived_parts WHERE digest = ? AND tree = ? AND options = ?")
        for digest in Set(image.names) {
            parts.bind(1, digest)
            parts.bind(2, tree)
            parts.bind(3, options)
            try parts.run()
        }
        let query = try SQLiteQuery(
            database, "DELETE FROM derived_images WHERE tree = ? AND options = ?")
        query.bind(1, tree)
        query.bind(2, options)
        try query.run()
    }

    func insert(upload: UploadEntry, domain: Domain) throws {
        try domain.requireStandard()
        let query = try SQLiteQuery(
            database, "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?)")
        query.bind(1, upload.identifier.bytes)
        query.bind(2, upload.name)
        query.bind(3, upload.size)
        query.bind(4, upload.used)
        query.bind(5, upload.tail)
        try query.run()
    }

    func append(
        parts: [ChunkList], toUpload identifier: Identifier, domain: Domain
    ) throws {
        try domain.requireStandard()
        guard try upload(identifier, domain: domain) != nil else { return }
        let count = try SQLiteQuery(
            database,
            "SELECT coalesce(max(number) + 1, 0) FROM upload_parts WHERE identifier = ?")
        count.bind(1, identifier.bytes)
        var number = try count.first { $0.integer(0) } ?? 0
        let query = try SQLiteQuery(database, "INSERT INTO upload_parts VALUES (?, ?, ?)")
        for part in parts {
            query.bind(1, identifier.bytes)
            query.bind(2, number)
            query.bind(3, part.encode())
            try query.run()
            number += 1
        }
    }

    func removeUpload(_ identifier: Identifier, domain: Domain) throws -> Bool {
        try domain.requireStandard()
        let parts = try SQLiteQuery(database, "DELETE FROM upload_parts WHERE identifier = ?")
        parts.bind(1, identifier.bytes)
        try parts.run()
        let query = try SQLiteQuery(database, "DELETE FROM uploads WHERE identifier = ?")
        query.bind(1, identifier.bytes)
        return try query.run() == 1
    }
}
