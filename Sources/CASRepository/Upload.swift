import CASCatalog
import CASCompression
import CASCore
import CASPack
import Synchronization

/// Takes the records of one request apart, checks them, and appends them to packs in runs of one class.
///
/// Lives for one request; holds the stream's state, so that nobody else works on the stream meanwhile.
struct RecordIngest: ~Copyable {
    /// Records up to this expand in any number of threads at once.
    private static let plainBytes = 4 << 20

    private let repository: Repository
    private let session: PushSession
    private let isTrusted: Bool
    private let decompressor: Decompressor
    private var hasher = DigestHasher()
    private let raw = ReusableBuffer(capacity: 256 << 10)
    private var run = Run()
    private let scratch = ReusableBuffer(capacity: 64)
    private var takenBytes: UInt64 = 0
    /// Bytes of chunks that were read and hashed since a record referred to them.
    private var referredBytes: UInt64 = 0
    /// The request that came first in the body of a commit.
    private(set) var pushRequest: [UInt8]?

    /// Records of one class that lie side by side in the request and go to a pack in one write.
    private struct Run {
        var packClass = PackClass.metadata
        var start = 0
        var end = 0
        var headers: [RecordHeader] = []
    }

    init(repository: Repository, session: PushSession, isTrusted: Bool) throws {
        self.repository = repository
        self.session = session
        self.isTrusted = isTrusted
        decompressor = try Decompressor()
    }

    /// Takes all records of a body, in order; returns whether the push should make a checkpoint.
    ///
    /// Throws `dataLoss` for a record whose content is not what its key says. What was appended before
    /// stays, unreferenced unless it is complete in itself.
    mutating func take(
        _ body: UnsafeRawBufferPointer, _ stream: inout UploadStream.State
    ) throws -> Bool {
        var offset = 0
        var count: UInt64 = 0
        do {
            while offset < body.count {
                let rest = UnsafeRawBufferPointer(rebasing: body[offset...])
                let record = try RecordCoding.decode(rest, limits: repository.limits)
                try take(record, at: offset, body, &stream)
                offset += record.record.count
                count += 1
            }
            try flush(body)
        } catch {
            // The hash of a file that chunks were composing no longer covers what its terms say.
            stream.isExact = false
            throw error
        }
        repository.counters.add(receivedRecords: count, bytes: UInt64(body.count))
        return session.insert(
            [], bytes: takenBytes, checkpointBytes: repository.configuration.checkpointBytes)
    }

    private mutating func take(
        _ record: RecordView, at offset: Int, _ body: UnsafeRawBufferPointer,
        _ stream: inout UploadStream.State
    ) throws {
        let header = record.header
        switch header.kind {
        case .fileStart:
            stream.isInRun = true
            stream.isExact = true
            stream.terms = []
            _ = stream.hasher.finish()
        case .chunkReference:
            // What it refers to may have come in this very request.
            if !isTrusted { try flush(body) }
            try takeReference(header, &stream)
        case .chunk, .directory, .attributes, .snapshot:
            try check(record, &stream)
            let isLarge = header.kind == .chunk && stream.isInRun
            try append(
                header, offset, header.kind == .chunk ? (isLarge ? .large : .small) : .metadata,
                body)
        case .chunkList:
            // Chunks of this very request must be found when the list is checked.
            try flush(body)
            if try checkList(record, &stream) { try append(header, offset, .metadata, body) }
            stream.isInRun = false
            stream.terms = []
        case .pushRequest:
            pushRequest = Array(record.payload)
        case .event, .end, .failure:
            throw CASError(
                .invalidArgument, "a record of kind \(header.kind) can not be uploaded")
        }
    }

    /// Checks that a payload is what its key says, and adds a chunk to the file being composed.
    private mutating func check(_ record: RecordView, _ stream: inout UploadStream.State) throws {
        let header = record.header
        let isPiece = header.kind == .chunk && stream.isInRun
        if isPiece {
            guard stream.terms.count < repository.limits.chunkListTerms else {
                throw CASError(.resourceExhausted, "a file has too many chunks")
            }
            stream.terms.append(.chunk(header.digest, length: UInt32(header.rawLength)))
        }
        guard !isTrusted else { return }
        guard header.rawLength > RecordIngest.plainBytes else {
            return try check(record, isPiece: isPiece, in: raw, &stream)
        }
        // A few hundred bytes can stand for very many: only one thread at a time makes room for that.
        let repository = repository
        try repository.expansion.withLock { _ in
            try check(record, isPiece: isPiece, in: ReusableBuffer(capacity: 0), &stream)
        }
    }

    private mutating func check(
        _ record: RecordView, isPiece: Bool, in room: ReusableBuffer,
        _ stream: inout UploadStream.State
    ) throws {
        let header = record.header
        let content: UnsafeRawBufferPointer
        if header.codec == .raw {
            content = record.payload
        } else {
            room.resize(to: header.rawLength)
            try decompressor.decode(
                record.payload, codec: header.codec, rawLength: header.rawLength,
                into: room.mutableBytes)
            content = room.bytes
        }
        hasher.update(content)
        guard hasher.finish() == header.digest else {
            throw CASError(
                .dataLoss, "an uploaded record is not what its digest says", digest: header.digest)
        }
        if isPiece, stream.isExact { stream.hasher.update(content) }
    }

    private mutating func takeReference(
        _ header: RecordHeader, _ stream: inout UploadStream.State
    ) throws {
        // The file began in a body that a server took before it was started anew: its list is hashed
        // as a whole instead.
        guard stream.isInRun else { return }
        guard stream.terms.count < repository.limits.chunkListTerms else {
            throw CASError(.resourceExhausted, "a file has too many chunks")
        }
        stream.terms.append(.chunk(header.digest, length: UInt32(header.rawLength)))
        guard !isTrusted, stream.isExact else { return }
        try refer(to: UInt64(header.rawLength))
        let isHashed = try repository.withContent(header.digest, session) { content in
            guard content.count == header.rawLength else { return false }
            stream.hasher.update(content)
            return true
        }
        if isHashed != true { stream.isExact = false }
    }

    /// Counts bytes to be hashed for a few bytes of a request; throws beyond the limit.
    private mutating func refer(to bytes: UInt64) throws {
        referredBytes += bytes
        guard referredBytes <= repository.limits.referredBytesPerRequest else {
            throw CASError(
                .resourceExhausted,
                "a request refers to more than "
                    + "\(ByteCount.text(repository.limits.referredBytesPerRequest)) of chunks",
                hint: "send the references in several requests")
        }
    }

    /// Whether a list may be recorded: it composes exactly the blob that it is stored under.
    ///
    /// A list with chunks that are not here is left out without an error: the commit will ask for the
    /// blob. That happens where a server restarted in the middle of a push.
    private mutating func checkList(
        _ record: RecordView, _ stream: inout UploadStream.State
    ) throws -> Bool {
        let digest = record.header.digest
        raw.resize(to: record.header.rawLength)
        try decompressor.decode(
            record.payload, codec: record.header.codec, rawLength: record.header.rawLength,
            into: raw.mutableBytes)
        let list = try ChunkList(decoding: raw.bytes, limits: repository.limits)
        let actual: Digest?
        if isTrusted {
            actual = digest
        } else if stream.isInRun, stream.isExact, stream.terms == list.terms {
            actual = stream.hasher.finish()
        } else {
            actual = try hash(list)
        }
        guard let actual else { return false }
        guard actual == digest else {
            throw CASError(
                .dataLoss, "an uploaded chunk list composes another blob than it says",
                digest: digest)
        }
        session.insert(digest, list)
        return true
    }

    /// The SHA-256 of the blob that a list composes; nil if a chunk is not here, or if that is too much
    /// for one request: asked for the blob, its sender refers to the chunks in several.
    private mutating func hash(_ list: ChunkList) throws -> Digest? {
        guard referredBytes + list.size <= repository.limits.referredBytesPerRequest else {
            return nil
        }
        referredBytes += list.size
        for term in list.terms {
            switch term {
            case .inline(let bytes): bytes.withUnsafeBytes { hasher.update($0) }
            case .chunk(let digest, let length):
                let content = scratch
                content.removeAll()
                let isWhole = try repository.withContent(digest, session) { bytes in
                    content.append(bytes)
                    return bytes.count == Int(length)
                }
                hasher.update(content.bytes)
                guard isWhole == true else {
                    _ = hasher.finish()
                    return nil
                }
            }
        }
        return hasher.finish()
    }

    /// Adds a record to the run that is written next.
    private mutating func append(
        _ header: RecordHeader, _ offset: Int, _ packClass: PackClass,
        _ body: UnsafeRawBufferPointer
    ) throws {
        if run.headers.isEmpty || run.packClass != packClass || run.end != offset {
            try flush(body)
            run.packClass = packClass
            run.start = offset
        }
        run.headers.append(header)
        run.end = offset + header.recordByteCount
    }

    private mutating func flush(_ body: UnsafeRawBufferPointer) throws {
        guard !run.headers.isEmpty else { return }
        try repository.refusePurged(run.headers.map(\.digest), domain: session.domain)
        let bytes = UnsafeRawBufferPointer(rebasing: body[run.start..<run.end])
        let place = try repository.writer.append(bytes, run.headers, run.packClass)
        var offset = place.offset
        var taken: [(Digest, BlobLocation)] = []
        taken.reserveCapacity(run.headers.count)
        for header in run.headers {
            taken.append(
                (header.digest, BlobLocation(header, pack: place.pack, offset: offset)))
            offset += UInt64(header.recordByteCount)
        }
        takenBytes += UInt64(bytes.count)
        // Known at once: a chunk list later in this request may name them.
        _ = session.insert(taken, bytes: 0, checkpointBytes: .max)
        run.headers.removeAll(keepingCapacity: true)
    }
}
