import CASCatalog
import CASCore
import CASPack

/// Turns the bytes of an upload into chunks of the store: hashes, cuts, and writes what is new.
///
/// Memory is bounded whatever the size: a few chunks, and a term for each chunk. One thread at a time.
final class BlobIngest: ChunkSink {
    /// Bytes of chunks that are looked up and written at once.
    private static let batchBytes = 4 << 20
    private static let batchChunks = 512

    private let repository: Repository
    private let session: PushSession
    private let cutter: LayerCutter
    private var hasher = DigestHasher()
    private var chunkHasher = DigestHasher()
    private let batch = ReusableBuffer(capacity: 64 << 10)
    private let records = ReusableBuffer(capacity: 64 << 10)
    private var chunks: [(digest: Digest, length: Int)] = []
    private var packClass = PackClass.small
    /// Bytes so far.
    private(set) var size: UInt64 = 0
    /// Bytes of `terms`.
    private(set) var cutBytes: UInt64 = 0
    /// What it is composed of, as far as that is sure and written.
    private(set) var terms: [ChunkList.Term] = []
    /// Bytes written to packs since they were durable last.
    private(set) var writtenBytes: UInt64 = 0

    init(_ repository: Repository, _ session: PushSession) {
        self.repository = repository
        self.session = session
        cutter = LayerCutter(repository.chunker)
    }

    /// Takes the next bytes.
    func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard size + UInt64(bytes.count) <= repository.limits.imageBlobBytes else {
            throw CASError(
                .resourceExhausted,
                "a blob has at most \(ByteCount.text(repository.limits.imageBlobBytes))")
        }
        hasher.update(bytes)
        size += UInt64(bytes.count)
        try cutter.append(bytes, to: self)
    }

    /// What was not cut yet.
    var tail: [UInt8] { cutter.tail }

    /// Ends it: cuts the rest, writes it, and says what the digest is.
    func finish() throws -> Digest {
        try cutter.finish(to: self)
        try flush()
        return hasher.finish()
    }

    /// Takes note that all that was written is durable.
    func noteDurable() { writtenBytes = 0 }

    func take(chunk: UnsafeRawBufferPointer, isPiece: Bool) throws {
        let wanted: PackClass = isPiece ? .large : .small
        let isFull =
            batch.count + chunk.count > BlobIngest.batchBytes
            || chunks.count >= BlobIngest.batchChunks
        if !chunks.isEmpty, wanted != packClass || isFull { try flush() }
        packClass = wanted
        chunkHasher.update(chunk)
        chunks.append((chunkHasher.finish(), chunk.count))
        batch.append(chunk)
    }

    /// Writes the chunks at hand that the store does not have.
    func flush() throws {
        guard !chunks.isEmpty else { return }
        let count = terms.count + chunks.count
        guard count <= repository.limits.imageBlobTerms else {
            throw CASError(.resourceExhausted, "a blob has too many chunks")
        }
        let digests = chunks.map(\.digest)
        let isHere = try repository.present(digests, session)
        var seen: Set<Digest> = []
        var new: [(digest: Digest, range: Range<Int>)] = []
        var offset = 0
        for (chunk, isHere) in zip(chunks, isHere) {
            if !isHere, seen.insert(chunk.digest).inserted {
                new.append((chunk.digest, offset..<offset + chunk.length))
            }
            offset += chunk.length
        }
        try write(new)
        for chunk in chunks {
            terms.append(.chunk(chunk.digest, length: UInt32(chunk.length)))
            cutBytes += UInt64(chunk.length)
        }
        chunks.removeAll(keepingCapacity: true)
        batch.removeAll()
    }

    private func write(_ new: [(digest: Digest, range: Range<Int>)]) throws {
        guard !new.isEmpty else { return }
        try repository.refusePurged(new.map(\.digest), domain: session.domain)
        records.removeAll()
        var headers: [RecordHeader] = []
        for (digest, range) in new {
            headers.append(
                try repository.appendRecord(
                    .chunk, digest, UnsafeRawBufferPointer(rebasing: batch.bytes[range]),
                    to: records))
        }
        try repository.append(records.bytes, headers, packClass, session)
        writtenBytes += UInt64(records.count)
    }
}

extension Repository {
    /// Which of these chunks are here or pending in a session; they stay until it ends.
    func present(_ digests: [Digest], _ session: PushSession) throws -> [Bool] {
        // Before the look, as for pushes.
        try holdLease(session)
        let present = try catalog.read { try $0.locations(of: digests, domain: session.domain) }
        try protect(
            zip(digests, present).filter { $0.1 != nil }.map(\.0), domain: session.domain)
        return zip(present, session.locations(digests)).map { $0 != nil || $1 != nil }
    }

    /// Appends records of one class to a pack and has a session know where they lie.
    func append(
        _ records: UnsafeRawBufferPointer, _ headers: [RecordHeader], _ packClass: PackClass,
        _ session: PushSession
    ) throws {
        let place = try writing { try writer.append(records, headers, packClass) }
        var offset = place.offset
        var taken: [(Digest, BlobLocation)] = []
        taken.reserveCapacity(headers.count)
        for header in headers {
            taken.append((header.digest, BlobLocation(header, pack: place.pack, offset: offset)))
            offset += UInt64(header.recordByteCount)
        }
        _ = session.insert(taken, bytes: 0, checkpointBytes: .max)
        counters.add(receivedRecords: UInt64(headers.count), bytes: UInt64(records.count))
    }
}
