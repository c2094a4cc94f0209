import CASCore
import CASPack

/// Gathers records of a push and uploads them over one stream, as they are.
///
/// `@unchecked Sendable`: used by one thread at a time, the worker whose stream it is.
final class RecordUploader: @unchecked Sendable {
    private static let uploadBytes = 4 << 20
    /// Bytes of chunks that one body refers to: the store reads and hashes them for it.
    private static let referredBytes: UInt64 = 1 << 30

    private let target: any StoreConnection
    private let push: Identifier
    private let stream: Int
    private var sequence = 0
    private var referred: UInt64 = 0
    private let records = ReusableBuffer(capacity: RecordUploader.uploadBytes)
    /// Bytes uploaded.
    private(set) var sentBytes: UInt64 = 0

    init(_ target: any StoreConnection, _ push: Identifier, stream: Int) {
        self.target = target
        self.push = push
        self.stream = stream
    }

    /// Adds a whole record, which was checked.
    func append(_ record: UnsafeRawBufferPointer) throws {
        records.append(record)
        try flush(atLeast: RecordUploader.uploadBytes)
    }

    /// Says that the chunks that follow compose one blob; what came of another one is void.
    func beginFile() { RecordCoding.appendMark(kind: .fileStart, to: records) }

    /// Names a chunk that the store has.
    func refer(to chunk: Digest, length: Int) throws {
        RecordCoding.appendMark(
            kind: .chunkReference, digest: chunk, rawLength: length, to: records)
        referred += UInt64(length)
        try flush(
            atLeast: referred < RecordUploader.referredBytes ? RecordUploader.uploadBytes : 1)
    }

    /// Uploads what was gathered if it has so many bytes.
    func flush(atLeast bytes: Int = 1) throws {
        guard records.count >= bytes else { return }
        try target.upload(push: push, stream: stream, sequence: sequence, records: records)
        sentBytes += UInt64(records.count)
        sequence += 1
        referred = 0
        records.removeAll()
    }
}

extension StoreConnection {
    /// Which of these digests the store lacks, asked in as many requests as that takes.
    func lacking(
        _ digests: [Digest], push: Identifier, limits: Limits
    ) throws -> Set<Digest> {
        var lacking: Set<Digest> = []
        for start in stride(from: 0, to: digests.count, by: limits.digestsPerRequest) {
            let batch = Array(digests[start..<min(start + limits.digestsPerRequest, digests.count)])
            for (digest, isMissing) in zip(batch, try missing(batch, push: push)) where isMissing {
                lacking.insert(digest)
            }
        }
        return lacking
    }
}
