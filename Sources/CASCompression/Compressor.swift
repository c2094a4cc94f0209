package import CASCore
internal import CZstd

/// Turns raw bytes into the stored form of a record: one zstd frame, or the bytes themselves.
///
/// Owned by one thread at a time; keeps its working memory between calls. `@unchecked Sendable` so
/// that a pool can hand it from one thread to the next.
package final class Compressor: @unchecked Sendable {
    /// The level of new data; chosen by measurement (ops/decisions/0001-chunk-size-and-level.md).
    package static let standardLevel: Int32 = 1
    /// The level of short inputs, where a higher one gains more and costs less.
    package static let shortLevel: Int32 = 3
    /// Bytes up to which an input is short.
    package static let shortBytes = 128 << 10
    /// A frame must save one part in this many, or the bytes are stored raw: reading them back is
    /// then a copy instead of a decompression.
    private static let leastGain = 32
    /// Shorter inputs never shrink enough to pay for a frame's header.
    private static let leastBytes = 64

    private let long: CompressionContext
    private let short: CompressionContext

    /// A compressor of the given zstd levels; throws `resourceExhausted` without memory.
    package init(
        level: Int32 = Compressor.standardLevel, shortLevel: Int32 = Compressor.shortLevel
    ) throws {
        long = try CompressionContext(level)
        short = try CompressionContext(shortLevel)
    }

    /// Appends the stored form of `raw` to `output` and says which form it is.
    package func encode(
        _ raw: UnsafeRawBufferPointer, into output: ReusableBuffer
    ) throws -> FrameCodec {
        if raw.count >= Compressor.leastBytes {
            // A frame that would not gain enough is cut short by the room it is given.
            let room = raw.count - raw.count / Compressor.leastGain
            let context = raw.count > Compressor.shortBytes ? long : short
            let written = output.append(maximum: room) { target in
                let size = ZSTD_compress2(
                    context.pointer, target.baseAddress, target.count, raw.baseAddress, raw.count)
                return ZSTD_isError(size) == 0 ? size : 0
            }
            if written > 0 { return .zstd }
        }
        output.append(raw)
        return .raw
    }
}

/// Working memory of zstd for one level: changing the level of one would clear its tables each time.
private final class CompressionContext {
    let pointer: OpaquePointer

    init(_ level: Int32) throws {
        guard let pointer = ZSTD_createCCtx() else {
            throw CASError(.resourceExhausted, "no memory for a compressor")
        }
        self.pointer = pointer
        guard ZSTD_isError(ZSTD_CCtx_setParameter(pointer, ZSTD_c_compressionLevel, level)) == 0
        else { throw CASError(.invalidArgument, "zstd has no level \(level)") }
    }

    deinit { ZSTD_freeCCtx(pointer) }
}

/// Turns the stored form of a record back into its raw bytes.
///
/// Owned by one thread at a time, as `Compressor` is.
package final class Decompressor: @unchecked Sendable {
    private let context: OpaquePointer

    /// A decompressor; throws `resourceExhausted` without memory.
    package init() throws {
        guard let context = ZSTD_createDCtx() else {
            throw CASError(.resourceExhausted, "no memory for a decompressor")
        }
        self.context = context
    }

    deinit {
        ZSTD_freeDCtx(context)
    }

    /// Fills the first `rawLength` bytes of `output`; throws `dataLoss` unless exactly as many come out.
    package func decode(
        _ stored: UnsafeRawBufferPointer, codec: FrameCodec, rawLength: Int,
        into output: UnsafeMutableRawBufferPointer
    ) throws {
        guard output.count >= rawLength else {
            throw CASError(.internalError, "the output buffer is too small for \(rawLength) bytes")
        }
        switch codec {
        case .raw:
            guard stored.count == rawLength else { throw wrongLength(stored.count, rawLength) }
            if rawLength > 0 { output.copyMemory(from: stored) }
        case .zstd:
            let size = ZSTD_decompressDCtx(
                context, output.baseAddress, rawLength, stored.baseAddress, stored.count)
            guard ZSTD_isError(size) == 0 else {
                let reason = String(cString: ZSTD_getErrorName(size))
                throw CASError(.dataLoss, "a frame can not be decompressed: \(reason)")
            }
            guard size == rawLength else { throw wrongLength(size, rawLength) }
        }
    }

    private func wrongLength(_ actual: Int, _ expected: Int) -> CASError {
        CASError(.dataLoss, "a frame holds \(actual) bytes where \(expected) were declared")
    }
}
