import CASCompression
import CASCore
import CASPack
import CASWire

/// Takes the records of an exported file and uploads those that the store lacks.
///
/// Some megabytes of records at a time: asked about in one question, then uploaded. The store checks each
/// as it does for any upload. One thread.
final class ImportRecords {
    private static let batchBytes = 8 << 20
    private static let batchRecords = 20_000

    /// A file of several chunks whose records come.
    private struct Large {
        let digest: Digest
        let record: [UInt8]
        let terms: [ChunkList.Term]
        let isWanted: Bool
        var next = 0
    }

    private let target: any StoreConnection
    private let push: Identifier
    private let forced: Set<Digest>
    private let counters: ProgressCounters
    private let limits: Limits
    private let uploader: RecordUploader
    private let decompressor: Decompressor
    private let raw = ReusableBuffer(capacity: 64 << 10)
    private let batch = ReusableBuffer(capacity: ImportRecords.batchBytes)
    private var digests: [Digest] = []
    private var missing: Set<Digest> = []
    private var large: Large?
    private var sentRecords = 0
    private var knownRecords = 0
    private var snapshots: [Digest: [UInt8]] = [:]

    init(
        _ target: any StoreConnection, _ push: Identifier, _ stream: Int, _ forced: Set<Digest>,
        _ counters: ProgressCounters, _ limits: Limits
    ) throws {
        self.target = target
        self.push = push
        self.forced = forced
        self.counters = counters
        self.limits = limits
        uploader = RecordUploader(target, push, stream: stream)
        decompressor = try Decompressor()
    }

    /// Takes the next record of the file.
    func take(_ record: RecordView) throws {
        batch.append(record.record)
        if record.header.kind == .snapshot, snapshots.count < ExportFormat.maximumRefs {
            snapshots[record.header.digest] = Array(record.record)
        }
        if record.header.kind != .chunkReference { digests.append(record.header.digest) }
        guard
            batch.count >= ImportRecords.batchBytes
                || digests.count >= ImportRecords.batchRecords
        else { return }
        try flush()
    }

    /// The records of snapshots, to go along with the commit that names them, as far as some came.
    func snapshots(_ digests: [Digest]) -> ReusableBuffer {
        let buffer = ReusableBuffer(capacity: 512)
        for digest in Set(digests).sorted() { buffer.append(snapshots[digest] ?? []) }
        return buffer
    }

    /// Says that no more come, and adds up what was done.
    func finish(_ summary: inout ImportSummary) throws {
        try flush()
        guard large == nil else { throw ImportRecords.disorder() }
        try uploader.flush()
        summary.sentBytes += uploader.sentBytes
        summary.sentRecords += sentRecords
        summary.knownRecords = knownRecords
    }

    private func flush() throws {
        missing = try target.lacking(digests, push: push, limits: limits)
        missing.formUnion(forced.intersection(digests))
        digests.removeAll(keepingCapacity: true)
        try RecordCoding.forEach(in: batch.bytes, limits: limits) { try upload($0) }
        batch.removeAll()
    }

    private func upload(_ record: RecordView) throws {
        let header = record.header
        if large != nil { return try uploadPiece(record) }
        switch header.kind {
        case .chunk, .directory, .attributes, .snapshot:
            if try send(record), header.kind == .chunk {
                counters.add(files: 1, bytes: UInt64(header.rawLength))
            }
        case .chunkList: try begin(record)
        default: throw ImportRecords.disorder()
        }
    }

    /// Uploads a record if the store lacks it.
    private func send(_ record: RecordView) throws -> Bool {
        guard missing.remove(record.header.digest) != nil else {
            knownRecords += 1
            return false
        }
        try uploader.append(record.record)
        counters.add(transferred: UInt64(record.record.count))
        sentRecords += 1
        return true
    }

    private static func disorder() -> CASError {
        CASError(.dataLoss, "the records of the export do not follow each other as they should")
    }

    // MARK: - Large files

    private func begin(_ record: RecordView) throws {
        raw.resize(to: record.header.rawLength)
        try decompressor.decode(
            record.payload, codec: record.header.codec, rawLength: record.header.rawLength,
            into: raw.mutableBytes)
        let list = try ChunkList(decoding: raw.bytes, limits: limits)
        let isWanted = missing.contains(record.header.digest)
        large = Large(
            digest: record.header.digest, record: Array(record.record), terms: list.terms,
            isWanted: isWanted)
        if isWanted { uploader.beginFile() }
        try endIfWhole()
    }

    private func uploadPiece(_ record: RecordView) throws {
        let header = record.header
        guard let current = large, current.next < current.terms.count,
            case .chunk(let digest, let length) = current.terms[current.next],
            header.kind == .chunk || header.kind == .chunkReference,
            digest == header.digest, Int(length) == header.rawLength
        else { throw ImportRecords.disorder() }
        if current.isWanted {
            counters.add(bytes: UInt64(length))
            if try header.kind == .chunkReference || !send(record) {
                try uploader.refer(to: digest, length: header.rawLength)
            }
        } else {
            knownRecords += 1
        }
        large?.next += 1
        try endIfWhole()
    }

    /// Skips what stands in the list itself, and adds the list behind the last piece.
    private func endIfWhole() throws {
        while let current = large {
            guard current.next < current.terms.count else {
                if current.isWanted {
                    try current.record.withUnsafeBytes { try uploader.append($0) }
                    sentRecords += 1
                    counters.add(files: 1)
                } else {
                    knownRecords += 1
                }
                large = nil
                return
            }
            guard case .inline = current.terms[current.next] else { return }
            large?.next += 1
        }
    }
}
