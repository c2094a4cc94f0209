import CASCatalog
package import CASCore
import CASFileSystem
import CASPack
import CASTree
import CASWire

/// Reads of single blobs.
extension Repository {
    /// Calls `body` with the content of a chunk, pending in `session` or committed; nil if absent.
    func withContent<Result>(
        _ digest: Digest, _ session: PushSession?,
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result? {
        if digest == .empty { return try body(UnsafeRawBufferPointer(start: nil, count: 0)) }
        let domain = session?.domain ?? .standard
        return try view(domain) { reader in
            let pending = session?.location(digest)
            guard let location = try pending ?? reader.location(of: digest, domain: domain),
                location.kind.isKeyedByPayload
            else { return nil }
            return try recordBuffers.with { buffers in
                let records = try RecordReader(
                    files: files, catalog: reader, limits: limits, buffers: buffers)
                return try body(try records.payload(digest, location))
            }
        }
    }

    /// The whole of a small blob; nil if it is absent, `resourceExhausted` beyond `maximumBytes`.
    package func read(blob digest: Digest, maximumBytes: Int, domain: Domain) throws -> [UInt8]? {
        guard let size = try size(of: digest, domain: domain) else { return nil }
        guard size <= UInt64(maximumBytes) else {
            throw CASError(
                .resourceExhausted, "a blob of \(ByteCount.text(size)) is too large", digest: digest
            )
        }
        var content: [UInt8] = []
        content.reserveCapacity(Int(size))
        try readRange(digest, offset: 0, count: size, domain: domain) {
            content.append(contentsOf: $0)
        }
        guard Digest.of(content) == digest else {
            throw CASError(
                .dataLoss, "a blob of the store is not what it should be", digest: digest)
        }
        return content
    }

    /// Bytes of a blob; nil if it is absent.
    package func size(of digest: Digest, domain: Domain) throws -> UInt64? {
        if digest == .empty { return 0 }
        return try catalog.read { reader in
            guard let location = try reader.location(of: digest, domain: domain) else { return nil }
            guard location.kind == .chunkList else { return UInt64(location.rawLength) }
            return try reader.chunkList(of: digest, domain: domain)?.size
        }
    }

    /// Calls `body` with pieces of a range of a blob, in order; throws `notFound` if it is absent.
    ///
    /// Each piece is checked against its own digest, a piece of a chunked blob not against the blob's.
    package func readRange(
        _ digest: Digest, offset: UInt64, count: UInt64, domain: Domain,
        _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let end = offset.addingReportingOverflow(count)
        let last = end.overflow ? UInt64.max : end.partialValue
        let cursor = try blobCursor(digest, offset..<max(offset, last), domain: domain)
        while try cursor.next(body) {}
    }

    /// A range of a blob, to be read piece by piece; throws `notFound` if it is absent.
    package func blobCursor(
        _ digest: Digest, _ range: Range<UInt64>, domain: Domain
    ) throws -> BlobCursor {
        let terms = digest == .empty ? [] : try terms(of: digest, domain: domain)
        return BlobCursor(self, terms: terms, range: range)
    }

    /// What a blob is composed of; throws `notFound` if it is absent.
    func terms(of digest: Digest, domain: Domain) throws -> [ChunkList.Term] {
        try catalog.read { reader in
            guard let location = try reader.location(of: digest, domain: domain) else {
                throw CASError(.notFound, "the store has no such blob", digest: digest)
            }
            if location.kind != .chunkList {
                return [.chunk(digest, length: location.rawLength)]
            }
            guard let list = try reader.chunkList(of: digest, domain: domain) else {
                throw CASError(.dataLoss, "a chunk list is missing", digest: digest)
            }
            return list.terms
        }
    }

    /// Takes bytes out of use that proved bad: their blobs become missing and their trees incomplete, so
    /// that the next push that has them is asked for them.
    func quarantine(_ records: [DamagedRecord], domain: Domain) throws {
        guard !records.isEmpty else { return }
        try catalog.write { try quarantine(records, $0, domain: domain) }
    }

    /// The same within a transaction.
    ///
    /// A digest that was stored anew elsewhere meanwhile stays.
    func quarantine(
        _ records: [DamagedRecord], _ transaction: any CatalogTransaction, domain: Domain
    ) throws {
        let places = try transaction.locations(of: records.map(\.digest), domain: domain)
        let bad = zip(records, places).filter { $0.location == $1 }.map(\.0)
        var lost = Set(bad.map(\.digest))
        for record in bad {
            guard let end = record.packEnd else { continue }
            lost.formUnion(
                try digests(in: record.location.pack, beyond: end, transaction, domain: domain))
        }
        try remove(Array(lost), transaction, domain: domain)
    }

    /// What reaches beyond a position of a pack.
    private func digests(
        in pack: Int64, beyond end: UInt64, _ transaction: any CatalogTransaction, domain: Domain
    ) throws -> [Digest] {
        // No message is longer than this, nor any frame: what begins before can not reach that far.
        let candidates = try transaction.digests(
            in: pack, from: end - min(end, UInt64(limits.directoryBytes)))
        let places = try transaction.locations(of: candidates, domain: domain)
        return zip(candidates, places).filter { _, place in
            place.map { $0.pack == pack && $0.offset + $0.recordBytes > end } ?? false
        }.map(\.0)
    }

    /// Takes blobs out of use, whatever holds them.
    ///
    /// Nothing counts as complete afterwards. Only trees above these blobs stop being so, but to find them
    /// one would have to read every directory of the store within this transaction (children do not know
    /// their parents, and an index of that costs a row for each entry of each directory). A false
    /// `complete` would lose data, a missing one costs a walk: the next commit of a tree makes it, and a
    /// scrub makes it for all refs in the background. Fetches do not ask for completeness, but name
    /// what they can not find; collection goes by what it walks.
    func remove(
        _ lost: [Digest], _ transaction: any CatalogTransaction, domain: Domain
    ) throws {
        guard !lost.isEmpty else { return }
        counters.add(quarantined: UInt64(lost.count))
        plans.removeAll()
        try transaction.remove(locations: lost, domain: domain)
        try transaction.remove(chunkLists: lost, domain: domain)
        try transaction.forgetCompleteness(domain: domain)
    }

    /// Reads the catalog; records that prove damaged meanwhile are taken out of use.
    ///
    /// Calls `body` once more where a pack went while it looked: what lay there lies elsewhere.
    func view<Result>(
        _ domain: Domain, _ body: (any CatalogReader) throws -> Result
    ) throws -> Result {
        do {
            do {
                return try catalog.read(body)
            } catch is RecordMoved {
                return try catalog.read(body)
            }
        } catch let moved as RecordMoved {
            throw try gone(moved.location.pack, moved.digest)
        } catch {
            try quarantine(files.takeDamaged(), domain: domain)
            throw error
        }
    }
}

extension Repository {
    /// Takes a pack out of use whose bytes are gone although the catalog knows it; the error that says so.
    func gone(_ pack: Int64, _ digest: Digest) throws -> CASError {
        guard try catalog.read({ try $0.pack(pack) }) != nil else {
            return CASError(
                .unavailable, "a record moved again and again while it was read",
                hint: "try again", digest: digest)
        }
        try forgetRecords(of: pack, from: 0)
        return CASError(.dataLoss, "a pack of the store is gone", digest: digest)
    }
}

/// Messages of trees, read from a store.
final class StoredDirectories: DirectorySource {
    private let reader: any CatalogReader
    private let records: RecordReader
    private let domain: Domain
    private let limits: Limits

    init(_ repository: Repository, _ reader: any CatalogReader, domain: Domain) throws {
        self.reader = reader
        self.domain = domain
        limits = repository.limits
        records = try RecordReader(
            files: repository.files, catalog: reader, limits: repository.limits)
    }

    func directory(_ digest: Digest) throws -> Directory? {
        guard let location = try reader.location(of: digest, domain: domain) else { return nil }
        return try Directory(
            decodingCanonical: try records.payload(digest, location), limits: limits)
    }

    func attributes(_ digest: Digest) throws -> AttributesDirectory? {
        guard let location = try reader.location(of: digest, domain: domain) else { return nil }
        return try AttributesDirectory(
            decoding: try records.payload(digest, location), limits: limits)
    }

    /// Whether a digest is that of a directory, and no blob with other meaning.
    func isDirectory(_ digest: Digest) throws -> Bool {
        try reader.location(of: digest, domain: domain)?.kind == .directory
    }

    func snapshot(_ digest: Digest) throws -> Snapshot? {
        guard let location = try reader.location(of: digest, domain: domain),
            location.rawLength == Snapshot.byteCount, location.kind.isKeyedByPayload
        else { return nil }
        let content = try records.payload(digest, location)
        // A file of the same length is not a snapshot, and no error either.
        return location.kind == .snapshot
            ? try Snapshot(decoding: content) : try? Snapshot(decoding: content)
    }
}
