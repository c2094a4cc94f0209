import CASCore
internal import CZlib
internal import CZstd

/// Compresses a stream of any length for others to read: gzip, or one zstd frame after the other.
///
/// Nothing but the bytes decides what comes out: no name, no time, no number of threads. Owned by one thread.
package final class StreamCompressor {
    /// What it writes.
    package enum Format: String, Sendable, CaseIterable {
        case gzip
        case zstd

        /// The levels that there are: what takes more of a machine's memory than readers expect is not among them.
        package var levels: ClosedRange<Int> {
            switch self {
            case .gzip: 1...9
            case .zstd: 1...19
            }
        }

        /// The level that docker and buildah use.
        package var usualLevel: Int {
            switch self {
            case .gzip: 6
            case .zstd: 3
            }
        }
    }

    /// What the output depends on beside the input: whoever remembers results has to compare it.
    package static func version(_ format: Format, level: Int? = nil) -> String {
        let library =
            switch format {
            case .gzip: String(cString: zlibVersion())
            case .zstd: String(cString: ZSTD_versionString())
            }
        return "\(format)-\(level ?? format.usualLevel)-" + library
    }

    /// 15 bits of window, and 16 to say that gzip's header and trailer are wanted.
    private static let gzipWindow: Int32 = 31
    private static let gzipMemory: Int32 = 8
    private static let pieceBytes = 256 << 10

    private enum Context {
        case gzip(UnsafeMutablePointer<z_stream>)
        case zstd(OpaquePointer)
    }
    private let context: Context
    private let output: UnsafeMutableRawBufferPointer

    /// A compressor of a level that the format has, else of the nearest; throws `resourceExhausted` without memory.
    package init(_ format: Format, level: Int? = nil) throws {
        let levels = format.levels
        let level = Int32(
            min(max(level ?? format.usualLevel, levels.lowerBound), levels.upperBound))
        switch format {
        case .gzip:
            let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
            stream.initialize(to: z_stream())
            let status = deflateInit2_(
                stream, level, Z_DEFLATED, StreamCompressor.gzipWindow,
                StreamCompressor.gzipMemory, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
                Int32(MemoryLayout<z_stream>.size))
            guard status == Z_OK else {
                stream.deallocate()
                throw StreamCompressor.noMemory
            }
            context = .gzip(stream)
        case .zstd:
            guard let pointer = ZSTD_createCCtx() else { throw StreamCompressor.noMemory }
            _ = ZSTD_CCtx_setParameter(pointer, ZSTD_c_compressionLevel, level)
            _ = ZSTD_CCtx_setParameter(pointer, ZSTD_c_checksumFlag, 1)
            context = .zstd(pointer)
        }
        output = .allocate(byteCount: StreamCompressor.pieceBytes, alignment: 16)
    }

    deinit {
        switch context {
        case .gzip(let stream):
            deflateEnd(stream)
            stream.deallocate()
        case .zstd(let pointer): ZSTD_freeCCtx(pointer)
        }
        output.deallocate()
    }

    private static var noMemory: CASError {
        CASError(.resourceExhausted, "no memory for a compressor")
    }

    /// Takes bytes and hands on what comes out; with `isLast` it ends the stream.
    package func compress(
        _ bytes: UnsafeRawBufferPointer, isLast: Bool = false,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        switch context {
        case .gzip(let stream): try deflate(stream, bytes, isLast, sink)
        case .zstd(let pointer): try compress(pointer, bytes, isLast, sink)
        }
    }

    private func emit(_ count: Int, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        if count > 0 { try sink(UnsafeRawBufferPointer(rebasing: output[..<count])) }
    }

    private func deflate(
        _ stream: UnsafeMutablePointer<z_stream>, _ bytes: UnsafeRawBufferPointer, _ isLast: Bool,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var rest = bytes
        // zlib counts in 32 bits.
        repeat {
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 30))
            rest = UnsafeRawBufferPointer(rebasing: rest[piece.count...])
            // It reads there and writes nothing, though its type says otherwise.
            stream.pointee.next_in = UnsafeMutablePointer(
                mutating: piece.bindMemory(to: UInt8.self).baseAddress)
            stream.pointee.avail_in = UInt32(piece.count)
            let flush = isLast && rest.isEmpty ? Z_FINISH : Z_NO_FLUSH
            repeat {
                stream.pointee.next_out = output.bindMemory(to: UInt8.self).baseAddress
                stream.pointee.avail_out = UInt32(output.count)
                let status = CZlib.deflate(stream, flush)
                guard status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR else {
                    throw CASError(.internalError, "zlib failed with \(status)")
                }
                try emit(output.count - Int(stream.pointee.avail_out), sink)
            } while stream.pointee.avail_out == 0
        } while !rest.isEmpty
    }

    private func compress(
        _ pointer: OpaquePointer, _ bytes: UnsafeRawBufferPointer, _ isLast: Bool,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        var remaining = 0
        repeat {
            var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
            remaining = ZSTD_compressStream2(
                pointer, &target, &input, isLast ? ZSTD_e_end : ZSTD_e_continue)
            guard ZSTD_isError(remaining) == 0 else {
                throw CASError(
                    .internalError, "zstd failed: " + String(cString: ZSTD_getErrorName(remaining)))
            }
            try emit(target.pos, sink)
        } while isLast ? remaining > 0 : input.pos < input.size
    }
}
