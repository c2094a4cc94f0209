import CASFileSystem
import CASCatalog
import CASCompression
import CASCore
import CASPack
import Synchronization

/// Thrown where a pack is gone of which a view of the catalog, which may be old, still says that records lie in it.
struct RecordMoved: Error {
    let digest: Digest
    let location: BlobLocation
}

/// What reading a record takes: two buffers and a decompressor.
///
/// One thread at a time.
final class RecordBuffers: Sendable {
    let stored = ReusableBuffer(capacity: 64 << 10)
    let raw = ReusableBuffer(capacity: 64 << 10)
    let decompressor: Decompressor

    init() throws { decompressor = try Decompressor() }
}

/// Such buffers, kept from record to record.
final class RecordBuffersPool: Sendable {
    private static let kept = 8
    private static let keptBytes = 4 << 20
    private struct State {
        var free: [RecordBuffers] = []
        var made = 0
    }
    private let state = Mutex(State())

    /// How many were made so far, for tests.
    var made: Int { state.withLock { $0.made } }

    /// Lends buffers to `body`.
    func with<Result>(_ body: (RecordBuffers) throws -> Result) throws -> Result {
        let kept = state.withLock { state in
            if state.free.isEmpty { state.made += 1 }
            return state.free.popLast()
        }
        let buffers = try kept ?? RecordBuffers()
        defer {
            if buffers.stored.capacity + buffers.raw.capacity <= RecordBuffersPool.keptBytes {
                state.withLock { state in
                    if state.free.count < RecordBuffersPool.kept { state.free.append(buffers) }
                }
            }
        }
        return try body(buffers)
    }
}

/// Reads single records of packs and checks them.
///
/// One thread at a time: it keeps buffers.
final class RecordReader {
    private let files: PackFiles
    private let catalog: any CatalogReader
    private let limits: Limits
    private let buffers: RecordBuffers
    /// Whether nothing can have moved since the catalog was looked at.
    private let isCurrent: Bool
    /// Where the pack of the last record ends, if that is too early.
    private var packEnd: UInt64?

    init(
        files: PackFiles, catalog: any CatalogReader, limits: Limits, isCurrent: Bool = false,
        buffers: RecordBuffers? = nil
    ) throws {
        self.isCurrent = isCurrent
        self.files = files
        self.catalog = catalog
        self.limits = limits
        self.buffers = try buffers ?? RecordBuffers()
    }

    /// The decoded payload of a record, lent until the next call; throws `dataLoss` and reports the
    /// record if it is damaged; `RecordMoved` where its pack is gone and the catalog's view may be old.
    func payload(_ digest: Digest, _ location: BlobLocation) throws -> UnsafeRawBufferPointer {
        packEnd = nil
        do {
            return try decoded(digest, location)
        } catch let error as CASError where error.code == .dataLoss {
            files.report(DamagedRecord(digest: digest, location: location, packEnd: packEnd))
            throw error
        }
    }

    /// The payload of a record as it is stored, lent until the next call; throws as `payload` does.
    func stored(_ digest: Digest, _ location: BlobLocation) throws -> UnsafeRawBufferPointer {
        packEnd = nil
        do {
            return try record(digest, location).payload
        } catch let error as CASError where error.code == .dataLoss {
            files.report(DamagedRecord(digest: digest, location: location, packEnd: packEnd))
            throw error
        }
    }

    private func decoded(
        _ digest: Digest, _ location: BlobLocation
    ) throws -> UnsafeRawBufferPointer {
        let record = try record(digest, location)
        let header = record.header
        if header.codec == .raw { return record.payload }
        buffers.raw.resize(to: header.rawLength)
        try buffers.decompressor.decode(
            record.payload, codec: header.codec, rawLength: header.rawLength,
            into: buffers.raw.mutableBytes)
        return buffers.raw.bytes
    }

    /// The whole record, lent until the next call; throws `dataLoss` if it is damaged.
    private func record(_ digest: Digest, _ location: BlobLocation) throws -> RecordView {
        let length =
            RecordHeader.byteCount + Int(location.storedLength) + RecordHeader.trailerByteCount
        buffers.stored.resize(to: length)
        let count = try files.read(
            location.pack, at: location.offset, into: buffers.stored.mutableBytes
        ) { try catalog.pack(location.pack) }
        guard let count else {
            guard isCurrent else { throw RecordMoved(digest: digest, location: location) }
            throw CASError(.dataLoss, "a pack of the store is gone", digest: digest)
        }
        guard count == length else {
            packEnd = try files.end(
                location.pack, before: location.offset + UInt64(count)
            ) { try catalog.pack(location.pack) }
            throw CASError(.dataLoss, "a pack of the store is cut short", digest: digest)
        }
        let record = try RecordCoding.decode(buffers.stored.bytes, limits: limits)
        guard record.header.digest == digest else {
            throw CASError(
                .dataLoss, "a record of the store is not where it should be", digest: digest)
        }
        return record
    }
}

/// Decodes the payloads of records that lie in memory.
///
/// One thread at a time: it keeps a buffer.
final class RecordContents {
    private let raw = ReusableBuffer(capacity: 64 << 10)
    private let decompressor: Decompressor

    init() throws { decompressor = try Decompressor() }

    /// The decoded payload, lent until the next call.
    func decode(_ record: RecordView) throws -> UnsafeRawBufferPointer {
        if record.header.codec == .raw { return record.payload }
        raw.resize(to: record.header.rawLength)
        try decompressor.decode(
            record.payload, codec: record.header.codec, rawLength: record.header.rawLength,
            into: raw.mutableBytes)
        return raw.bytes
    }
}
