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
