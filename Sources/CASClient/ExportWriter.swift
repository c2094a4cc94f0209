import CASCore
import CASPack
import CASWire
import CASWorkspace

/// Writes the bytes of an exported file; each record once.
///
/// One thread at a time.
final class ExportWriter {
    private static let pieceBytes = 1 << 20

    private let sink: (UnsafeRawBufferPointer) throws -> Void
    private let buffer = ReusableBuffer(capacity: ExportWriter.pieceBytes)
    private var hasher = DigestHasher()
    private var writtenBytes: UInt64 = 0
    private var written: Set<Digest> = []

    private let limits: Limits

    init(_ limits: Limits, _ sink: @escaping (UnsafeRawBufferPointer) throws -> Void) {
        self.limits = limits
        self.sink = sink
    }

    /// Whether a blob stands in the file.
    func contains(_ digest: Digest) -> Bool { written.contains(digest) }

    /// Says that a blob of several chunks stands in the file whole.
    func insert(_ digest: Digest) { written.insert(digest) }

    func begin(_ manifest: ExportManifest) throws {
        let head = ExportFormat.head(manifest)
        guard head.count <= limits.requestBytes else {
            throw CASError(
                .resourceExhausted, "the list of what goes into one file would be too long to read",
                hint: "export fewer refs at once")
        }
        buffer.append(head)
        try flush()
    }

    /// Adds a record as it is stored, unless its blob stands in the file.
    func append(_ record: RecordView) throws {
        guard written.insert(record.header.digest).inserted else { return }
        try append(record.record)
    }

    /// Adds a piece of a blob: the chunk, or, if it stands in the file, a word about it.
    func append(chunk: RecordView) throws {
        guard !written.insert(chunk.header.digest).inserted else { return try append(chunk.record) }
        RecordCoding.appendMark(
            kind: .chunkReference, digest: chunk.header.digest, rawLength: chunk.header.rawLength,
            to: buffer)
        try flush(atLeast: ExportWriter.pieceBytes)
    }

    /// Adds the bytes of a record.
    func append(_ record: UnsafeRawBufferPointer) throws {
        buffer.append(record)
        try flush(atLeast: ExportWriter.pieceBytes)
    }

    /// Adds the end; bytes of the whole file.
    func finish() throws -> UInt64 {
        RecordCoding.appendMark(kind: .end, to: buffer)
        try flush()
        buffer.append(hasher.finish().bytes)
        try flush()
        return writtenBytes
    }

    private func flush(atLeast bytes: Int = 1) throws {
        guard buffer.count >= bytes else { return }
        hasher.update(buffer.bytes)
        try sink(buffer.bytes)
        writtenBytes += UInt64(buffer.count)
        buffer.removeAll()
    }
}

/// Writes checked blobs to a file; of one that broke off in the middle, the rest.
final class ExportSink: BlobSink {
    let writer: ExportWriter
    private let counters: ProgressCounters
    private var list: [UInt8] = []
    /// Pieces of it that came, and those that are written.
    private var came = 0
    private var done = 0
    /// The blob of which a part is written.
    private(set) var openFile: Digest?

    init(_ writer: ExportWriter, _ counters: ProgressCounters) {
        self.writer = writer
        self.counters = counters
    }

    func takeSmall(
        _ digest: Digest, _ content: UnsafeRawBufferPointer, _ record: RecordView
    ) throws {
        try writer.append(record)
        counters.add(files: 1, bytes: UInt64(content.count))
    }

    func begin(_ digest: Digest, _ list: ChunkList, _ record: RecordView) throws {
        let bytes = Array(record.record)
        came = 0
        if let openFile {
            guard openFile == digest, self.list == bytes else {
                throw CASError(
                    .dataLoss, "the store composes a file in another way than a moment ago",
                    hint: "export it again", digest: digest)
            }
            return
        }
        self.list = bytes
        done = 0
        openFile = digest
        try writer.append(record.record)
    }

    func take(_ content: UnsafeRawBufferPointer, _ record: RecordView?) throws {
        came += 1
        guard came > done else { return }
        done = came
        counters.add(bytes: UInt64(content.count))
        if let record { try writer.append(chunk: record) }
    }

    func finish(_ digest: Digest) throws {
        writer.insert(digest)
        openFile = nil
        counters.add(files: 1)
    }

    func cancel() {}
}
