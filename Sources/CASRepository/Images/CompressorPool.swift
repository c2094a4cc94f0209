import CASCompression
import CASCore
import CASPack
import Synchronization

/// Compressors at the fast level, kept from upload to upload: what is stored for good is compressed again when
/// it is packed.
final class CompressorPool: Sendable {
    private static let kept = 4
    private static let level: Int32 = 1
    private let free = Mutex<[Compressor]>([])

    /// Lends a compressor to `body`.
    func with<Result>(_ body: (Compressor) throws -> Result) throws -> Result {
        let kept = free.withLock { $0.popLast() }
        let compressor =
            try kept ?? Compressor(level: CompressorPool.level, shortLevel: CompressorPool.level)
        defer {
            free.withLock { free in
                if free.count < CompressorPool.kept { free.append(compressor) }
            }
        }
        return try body(compressor)
    }
}

extension Repository {
    /// Appends a record of some bytes to `output`, compressed where that pays.
    func appendRecord(
        _ kind: RecordKind, _ digest: Digest, _ bytes: UnsafeRawBufferPointer,
        to output: ReusableBuffer
    ) throws -> RecordHeader {
        try compressors.with { compressor in
            try RecordCoding.appendFrame(
                kind: kind, digest: digest, rawLength: bytes.count, to: output
            ) { try compressor.encode(bytes, into: $0) }
        }
    }
}
