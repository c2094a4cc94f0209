import CASCompression
import CASCore
import CASPack

/// Compresses records of cold packs anew, with a level that new data has no time for.
///
/// One thread at a time. Decompression is as quick whatever the level.
final class Recompression {
    /// The level of cold data (ops/decisions/0012-scattered-files.md).
    static let level = 9
    /// A record must shrink by one part in so many, else its bytes stay as they are.
    private static let leastGain = 32
    /// Shorter records have nothing to gain.
    private static let leastBytes = 256

    private let compressor: Compressor
    private let contents: RecordContents
    private let scratch = ReusableBuffer()

    /// Throws `resourceExhausted` without memory.
    init() throws {
        compressor = try Compressor(
            level: Int32(Recompression.level), shortLevel: Int32(Recompression.level))
        contents = try RecordContents()
    }

    /// The record in a smaller form, lent until the next call; nil where there is none worth it.
    ///
    /// Throws `dataLoss` where the content is not what the record's key says: nothing is made of such a one.
    func smaller(_ record: RecordView) throws -> RecordView? {
        let header = record.header
        guard header.kind == .chunk || header.kind == .directory || header.kind == .attributes,
            header.rawLength >= Recompression.leastBytes
        else { return nil }
        let raw = try contents.decode(record)
        guard Digest.of(raw) == header.digest else {
            throw CASError(
                .dataLoss, "a record of the store is not what it should be", digest: header.digest)
        }
        scratch.removeAll()
        let new = try RecordCoding.appendFrame(
            kind: header.kind, digest: header.digest, rawLength: header.rawLength, to: scratch
        ) { try compressor.encode(raw, into: $0) }
        guard
            new.storedLength + header.storedLength / Recompression.leastGain
                <= header.storedLength
        else { return nil }
        return try RecordCoding.decode(scratch.bytes, limits: .standard)
    }
}
