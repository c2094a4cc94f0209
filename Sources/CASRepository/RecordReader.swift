import CASFileSystem
import CASCatalog
import CASCompression
import CASCore
import CASPack
import Synchronization

/// Reads single records of packs and checks them.
///
/// One thread at a time: it keeps buffers.
final class RecordReader {
    private let files: PackFiles
    private let catalog: any CatalogReader
    private let limits: Limits
    private let stored = ReusableBuffer(capacity: 64 << 10)
    private let raw = ReusableBuffer(capacity: 64 << 10)
    private let decompressor: Decompressor
    /// Where the pack of the last record ends, if that is too early.
    private var packEnd: UInt64?

    init(files: PackFiles, catalog: any CatalogReader, limits: Limits) throws {
        self.files = files
        self.catalog = catalog
        self.limits = limits
        decompressor = try Decompressor()
    }

    /// The decoded payload of a record, lent until the next call; throws `dataLoss` and reports the
    /// record if it is damaged.
    func payload(_ digest: Digest, _ location: BlobLocation) throws -> UnsafeRawBufferPointer {
        packEnd = nil
        do {
            return try decoded(digest, location)
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
        raw.resize(to: header.rawLength)
        try decompressor.decode(
            record.payload, codec: header.codec, rawLength: header.rawLength,
            into: raw.mutableBytes)
        return raw.bytes
    }

    /// The whole record, lent until the next call; throws `dataLoss` if it is damaged.
    private func record(_ digest: Digest, _ location: BlobLocation) throws -> RecordView {
        let length =
            RecordHeader.byteCount + Int(location.storedLength) + RecordHeader.trailerByteCount
        stored.resize(to: length)
        let count = try files.read(
            location.pack, at: location.offset, into: stored.mutableBytes
        ) { try catalog.pack(location.pack) }
        guard let count else {
            throw CASError(.dataLoss, "a pack of the store is gone", digest: digest)
        }
        guard count == length else {
            packEnd = location.offset + UInt64(count)
            throw CASError(.dataLoss, "a pack of the store is cut short", digest: digest)
        }
        let record = try RecordCoding.decode(stored.bytes, limits: limits)
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
