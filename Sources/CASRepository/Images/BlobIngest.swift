import CASCatalog
import CASCore
import CASPack
import Synchronization

/// Turns the bytes of an upload into chunks of the store: hashes, cuts, and writes what is new.
///
/// Memory is bounded whatever the size: a few chunks, and a term for each chunk. One thread at a time.
final class BlobIngest: ChunkSink {
    /// Chunks that are looked up and written at once at most.
    private static let batchChunks = 512

    private let repository: Repository
    private let session: PushSession
    private let cutter: LayerCutter
    /// The hash of the whole, which may run ahead of what is cut.
    let digester = BlobDigester()
    private var chunkHasher = DigestHasher()
    private var records = ReusableBuffer(capacity: 64 << 10)
    /// Chunks that were not looked up yet, and where they lie in the cutter's buffer.
    private var chunks: [(digest: Digest, range: Range<Int>)] = []
    private var content = CompressedContent()
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
        cutter = LayerCutter(repository.chunker, limits: repository.limits)
    }

    /// Takes the next bytes.
    func write(_ bytes: UnsafeRawBufferPointer) throws {
        digester.update(bytes)
        try writeHashed(bytes)
    }

    /// Takes the next bytes, which the digester has or gets meanwhile.
    func writeHashed(_ bytes: UnsafeRawBufferPointer) throws {
        guard size + UInt64(bytes.count) <= repository.limits.imageBlobBytes else {
            throw CASError(
                .resourceExhausted,
                "a blob has at most \(ByteCount.text(repository.limits.imageBlobBytes))")
        }
        content.take(bytes)
        size += UInt64(bytes.count)
        try cutter.append(bytes, to: self)
    }

    /// What was not cut yet.
    var tail: [UInt8] { cutter.tail }

    /// Bytes of memory that it keeps beside the terms.
    var heldBytes: Int { cutter.heldBytes + records.capacity }

    /// Gives memory up until more bytes come; everything was written.
    func rest() {
        cutter.rest()
        records = ReusableBuffer(capacity: 0)
    }

    /// Ends it: cuts the rest, writes it, and says what the digest is.
    func finish() throws -> Digest {
        try cutter.finish(to: self)
        try flush()
        return try digester.finish(size)
    }

    /// Takes note that all that was written is durable.
    func noteDurable() { writtenBytes = 0 }

    func take(chunk: Range<Int>, of buffer: ReusableBuffer, isPiece: Bool) throws {
        let wanted: PackClass = isPiece ? .large : .small
        let isFull = chunks.count >= BlobIngest.batchChunks
        if !chunks.isEmpty, wanted != packClass || isFull { try flush() }
        packClass = wanted
        chunkHasher.update(UnsafeRawBufferPointer(rebasing: buffer.bytes[chunk]))
        chunks.append((chunkHasher.finish(), chunk))
    }

    func release() throws { try flush() }

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
        for (chunk, isHere) in zip(chunks, isHere)
        where !isHere && seen.insert(chunk.digest).inserted {
            new.append(chunk)
        }
        try write(new)
        for chunk in chunks {
            terms.append(.chunk(chunk.digest, length: UInt32(chunk.range.count)))
            cutBytes += UInt64(chunk.range.count)
        }
        chunks.removeAll(keepingCapacity: true)
    }

    private func write(_ new: [(digest: Digest, range: Range<Int>)]) throws {
        guard !new.isEmpty else { return }
        try repository.refusePurged(new.map(\.digest), domain: session.domain)
        records.removeAll()
        var headers: [RecordHeader] = []
        for (digest, range) in new {
            let bytes = cutter.held(range)
            if content.isCompressed {
                let header = RecordHeader(
                    kind: .chunk, codec: .raw, rawLength: bytes.count, storedLength: bytes.count,
                    digest: digest)
                RecordCoding.append(header, payload: bytes, to: records)
                headers.append(header)
            } else {
                headers.append(try repository.appendRecord(.chunk, digest, bytes, to: records))
            }
        }
        try repository.append(records.bytes, headers, packClass, session)
        writtenBytes += UInt64(records.count)
    }
}

/// Hashes a blob from its first byte on, beside the thread that cuts it: each takes all bytes, in order.
final class BlobDigester: Sendable {
    /// One thread at a time has it; `@unchecked Sendable` since the mutex of its owner guards it.
    private final class State: @unchecked Sendable {
        var hasher = DigestHasher()
        var size: UInt64 = 0
    }
    private let state = Mutex(State())

    /// Bytes that it took.
    var size: UInt64 { state.withLock { $0.size } }

    /// Takes the next bytes.
    func update(_ bytes: UnsafeRawBufferPointer) {
        state.withLock { state in
            state.hasher.update(bytes)
            state.size += UInt64(bytes.count)
        }
    }

    /// The digest of a blob of `size` bytes; throws `internalError` where it took others than were cut.
    func finish(_ size: UInt64) throws -> Digest {
        try state.withLock { state in
            guard state.size == size else {
                throw CASError(
                    .internalError, "\(state.size) bytes of an upload were hashed, and \(size) cut")
            }
            return state.hasher.finish()
        }
    }
}

/// Says from its first bytes whether a blob was compressed already, so that trying again is a waste.
struct CompressedContent {
    /// gzip, zstd and xz (RFC 1952, 2.3.1; RFC 8878, 3.1.1).
    private static let magics: [[UInt8]] = [
        [0x1f, 0x8b, 0x08], [0x28, 0xb5, 0x2f, 0xfd], [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00],
    ]
    private static let magicBytes = 6
    private var first: [UInt8] = []
    private(set) var isCompressed = false

    /// Takes the next bytes.
    mutating func take(_ bytes: UnsafeRawBufferPointer) {
        guard first.count < CompressedContent.magicBytes, !bytes.isEmpty else { return }
        first += bytes.prefix(CompressedContent.magicBytes - first.count)
        isCompressed = CompressedContent.magics.contains { first.starts(with: $0) }
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
