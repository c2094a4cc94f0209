import CASCatalog
import CASCore
import CASPack
import CASTree
import CASWire
import Testing

/// One value of everything that a catalog can hold.
///
/// catalog-1.sql holds a catalog of format 1 that `fill` made, catalog-2.sql one of format 2 that `fill` and
/// `fillKeeping` made, catalog-3.sql one of format 3 that `fillBounded` made before and after these two,
/// catalog-4.sql one of format 4 with `fillImages` too: change none of them.
enum CatalogSample {
    static let provenance = Provenance(
        author: "ada", host: "laptop", message: "hi", time: Sample.time)

    static func fill(_ change: any CatalogTransaction) throws {
        try change.set(setting: "incarnation", Sample.identifier(1).bytes)
        let small = try change.insert(pack: Sample.pack(1, .small, committed: 500))
        let metadata = try change.insert(pack: Sample.pack(2, .metadata, committed: 300))
        try change.update(pack: small, isSealed: true, committedBytes: nil)
        try change.insert(
            locations: [
                (Sample.digest(1), Sample.location(small, 64)),
                (Sample.digest(2), Sample.location(metadata, 64, kind: .directory, codec: .raw)),
            ], domain: .standard)
        try change.insert(chunkLists: [(Sample.digest(3), Sample.list(3))], domain: .standard)
        try change.insert(treeStates: [(Sample.digest(2), Sample.state(2))], domain: .standard)
        try change.insert(
            completeSnapshots: [
                CompleteSnapshot(
                    snapshot: Sample.digest(4), tree: Sample.digest(2), attributes: nil),
                CompleteSnapshot(
                    snapshot: Sample.digest(5), tree: Sample.digest(2),
                    attributes: Sample.digest(6)),
            ], domain: .standard)
        try change.move(
            try Sample.move("team/project:v1", 1, to: 4),
            try Sample.entry("team/project:v1", 1, target: 4, tree: 2), domain: .standard)
        try change.move(
            try Sample.move("team/project:v1", 2, to: 5),
            try Sample.entry("team/project:v1", 2, target: 5, tree: 2), domain: .standard)
        try change.move(try Sample.move("gone:x", 3, to: nil), nil, domain: .standard)
        try change.insert(push: Sample.identifier(9), Sample.response(9), domain: .standard)
        try change.insert(token: try Sample.token(1))
        _ = try change.revoke(token: Sample.identifier(1), at: Sample.later)
        try change.insert(lease: Sample.lease(1, expires: 1_000))
    }

    static func check(_ reader: any CatalogReader) throws {
        #expect(try reader.setting("incarnation") == Sample.identifier(1).bytes)
        #expect(try reader.lastSequence() == 3)
        var small = Sample.pack(1, .small, committed: 500)
        (small.number, small.isSealed) = (1, true)
        var metadata = Sample.pack(2, .metadata, committed: 300)
        metadata.number = 2
        // Columns of later formats are checked below.
        let packs = try reader.packs().filter { $0.number <= 2 }.map { pack in
            PackEntry(
                number: pack.number, identifier: pack.identifier, packClass: pack.packClass,
                isSealed: pack.isSealed, isStored: pack.isStored,
                committedBytes: pack.committedBytes, created: pack.created)
        }
        #expect(packs == [small, metadata])
        #expect(
            try reader.locations(of: [Sample.digest(2), Sample.digest(1)], domain: .standard)
                == [
                    Sample.location(2, 64, kind: .directory, codec: .raw), Sample.location(1, 64),
                ])
        #expect(try reader.chunkList(of: Sample.digest(3), domain: .standard) == Sample.list(3))
        #expect(try reader.treeState(of: Sample.digest(2), domain: .standard) == Sample.state(2))
        #expect(try reader.completeSnapshot(Sample.digest(4), domain: .standard))
        #expect(
            try reader.snapshotOf(tree: Sample.digest(2), domain: .standard) == Sample.digest(5))
        let name = try RefName("team/project:v1")
        #expect(
            try reader.ref(name, domain: .standard)
                == Sample.entry("team/project:v1", 2, target: 5, tree: 2))
        #expect(
            try reader.history(name, before: nil, limit: 9, domain: .standard)
                == [
                    Sample.move("team/project:v1", 2, to: 5),
                    Sample.move("team/project:v1", 1, to: 4),
                ])
        #expect(
            try reader.history(try RefName("gone:x"), before: nil, limit: 9, domain: .standard)
                == [Sample.move("gone:x", 3, to: nil)])
        #expect(try reader.push(Sample.identifier(9), domain: .standard) == Sample.response(9))
        var token = try Sample.token(1)
        token.revoked = Sample.later
        #expect(try reader.tokens() == [token])
        #expect(try reader.lease(Sample.identifier(1)) == Sample.lease(1, expires: 1_000))
        let counts = try reader.counts(domain: .standard)
        #expect(counts.refs == 1 && counts.snapshots == 2 && counts.packBytes == 800)
        #expect(counts.total.count == 2 && counts.total.storedBytes == 20)
    }

    /// What format 2 added.
    static func fillKeeping(_ change: any CatalogTransaction) throws {
        #expect(try change.nextGeneration() == 2)
        try change.condemn([Sample.digest(1)], generation: 2, domain: .standard)
        try change.addBarrier(Sample.digest(4), domain: .standard)
        try change.insert(
            touch: Touch(digest: Sample.digest(5), byDigest: 7, byName: 8), domain: .standard)
        try change.insert(pin: Sample.pin(5, name: "team/project"), domain: .standard)
        try change.insert(rule: RetentionRule(pattern: "team/**"), domain: .standard)
        try change.insert(purged: [Sample.digest(8)], reason: "a secret", domain: .standard)
        try change.addEvents(pack: 2, bytes: 90, lastSequence: 3)
        try change.update(pack: 1, level: 12)
        try change.set(
            measure: SnapshotMeasure(ranges: 1, readBytes: 2, restoredBytes: 3),
            of: Sample.digest(4), domain: .standard)
        let empty = try change.insert(pack: Sample.pack(3, .large, committed: 64))
        try change.update(pack: empty, isSealed: true, committedBytes: nil)
        #expect(try change.removeEmptyPack(empty))
    }

    static let link = OCILink(
        name: "team/image", digest: Sample.digest(1), kind: .manifest, size: 20, mediaType: "m",
        artifactType: "a", subject: Sample.digest(7), isRoot: true, created: Sample.time,
        parts: [Sample.digest(3)], optional: [Sample.digest(6)])
    static let image = DerivedImage(
        tree: Sample.digest(2), options: [1], manifest: Sample.digest(1), mediaType: "m",
        config: Sample.digest(3),
        layers: [DerivedLayer(digest: Sample.digest(6), size: 9, format: 1, part: [4])],
        created: Sample.time)
    static let sha512 = [UInt8](repeating: 5, count: 64)

    /// What format 4 added.
    static func fillImages(_ change: any CatalogTransaction) throws {
        try change.insert(link: link, used: 7, domain: .standard)
        try change.insert(alias: sha512, Sample.digest(1), domain: .standard)
        try change.insert(derivedImage: image, domain: .standard)
        let upload = Sample.identifier(4)
        try change.insert(
            upload: UploadEntry(
                identifier: upload, name: "team/image", size: 12, tail: [1, 2, 3], used: 8),
            domain: .standard)
        try change.append(parts: [Sample.list(3)], toUpload: upload, domain: .standard)
    }

    static func checkImages(_ reader: any CatalogReader) throws {
        #expect(
            try reader.links(after: nil, limit: 9, domain: .standard)
                == [UsedLink(link: link, used: 7)])
        #expect(
            try reader.referrers(
                "team/image", to: Sample.digest(7), after: nil, limit: 9, domain: .standard)
                == [link])
        #expect(try reader.alias(sha512, domain: .standard) == Sample.digest(1))
        #expect(
            try reader.derivedImages(naming: Sample.digest(6), limit: 9, domain: .standard)
                == [image])
        let upload = Sample.identifier(4)
        #expect(try reader.upload(upload, domain: .standard)?.tail == [1, 2, 3])
        #expect(
            try reader.uploadParts(upload, after: 0, limit: 9, domain: .standard)
                == [Sample.list(3)])
    }

    static func checkKeeping(_ reader: any CatalogReader) throws {
        #expect(try reader.generation() == 2)
        let touch = Touch(digest: Sample.digest(5), byDigest: 7, byName: 8)
        #expect(try reader.touch(of: Sample.digest(5), domain: .standard) == touch)
        #expect(
            try reader.pins(domain: .standard) == [Sample.pin(5, name: "team/project")])
        #expect(
            try reader.rules(domain: .standard) == [RetentionRule(pattern: "team/**")])
        #expect(
            try reader.purged([Sample.digest(8), Sample.digest(9)], domain: .standard)
                == ["a secret", nil])
        #expect(try reader.pack(2)?.eventBytes == 90 && reader.pack(2)?.lastEvent == 3)
        #expect(try reader.pack(1)?.level == 12)
        #expect(
            try reader.measure(of: Sample.digest(4), domain: .standard)
                == SnapshotMeasure(ranges: 1, readBytes: 2, restoredBytes: 3))
        #expect(
            try reader.doomedPacks()
                == [DoomedPack(identifier: Sample.identifier(3), isStored: false)])
    }

    /// What format 3 added, before everything else.
    static func fillBounded(before change: any CatalogTransaction) throws {
        try change.forgetCompleteness(domain: .standard)
    }

    /// What format 3 added.
    static func fillBounded(_ change: any CatalogTransaction) throws {
        try change.insert(purging: [Sample.digest(11), Sample.digest(12)], domain: .standard)
        var lease = Sample.lease(2, expires: 2_000)
        lease.began = 77
        try change.insert(lease: lease)
    }

    static func checkBounded(_ reader: any CatalogReader) throws {
        let purging = try reader.purging(after: nil, limit: 9, domain: .standard)
        #expect(Set(purging) == [Sample.digest(11), Sample.digest(12)])
        #expect(try reader.lease(Sample.identifier(2))?.began == 77)
        #expect(try reader.lease(Sample.identifier(1))?.began == 0)
    }
}
