import CASCore
internal import CZlib
internal import CZstd

/// Reads what `StreamCompressor`, gzip or zstd wrote: members or frames one after the other.
///
/// Memory does not grow with what comes out; how much may come out is for the caller to say. Owned by one
/// thread.
package final class StreamDecompressor {
    /// 15 bits of window, and 16 for gzip's header and trailer.
    private static let gzipWindow: Int32 = 31
    private static let pieceBytes = 256 << 10

    private enum Context {
        case gzip(UnsafeMutablePointer<z_stream>)
        case zstd(OpaquePointer)
    }
    private let context: Context
    private let output: UnsafeMutableRawBufferPointer
    /// Whether the input ends here as far as its format goes.
    private var isBetween = false

    /// A decompressor; throws `resourceExhausted` without memory.
    package init(_ format: StreamCompressor.Format) throws {
        switch format {
        case .gzip:
            let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
            stream.initialize(to: z_stream())
            let status = inflateInit2_(
                stream, StreamDecompressor.gzipWindow, ZLIB_VERSION,
                Int32(MemoryLayout<z_stream>.size))
            guard status == Z_OK else {
                stream.deallocate()
                throw StreamDecompressor.noMemory
            }
            context = .gzip(stream)
        case .zstd:
            guard let pointer = ZSTD_createDCtx() else { throw StreamDecompressor.noMemory }
            context = .zstd(pointer)
        }
        output = .allocate(byteCount: StreamDecompressor.pieceBytes, alignment: 16)
    }

    deinit {
        switch context {
        case .gzip(let stream):
            inflateEnd(stream)
            stream.deallocate()
        case .zstd(let pointer): ZSTD_freeDCtx(pointer)
        }
        output.deallocate()
    }

    private static var noMemory: CASError {
        CASError(.resourceExhausted, "no memory for a decompressor")
    }

    private static func damaged(_ why: String) -> CASError {
        CASError(.dataLoss, "compressed bytes are damaged: \(why)")
    }

    /// Takes bytes and hands on what comes out; throws `dataLoss` for what is not compressed so.
    package func decompress(
        _ bytes: UnsafeRawBufferPointer, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        guard !bytes.isEmpty else { return }
        switch context {
        case .gzip(let stream): try inflate(stream, bytes, sink)
        case .zstd(let pointer): try decompress(pointer, bytes, sink)
        }
    }

    /// Says that no more comes; throws `dataLoss` in the middle of a member or frame.
    package func finish() throws {
        guard isBetween else { throw StreamDecompressor.damaged("they end too early") }
    }

    private func emit(_ count: Int, _ sink: (UnsafeRawBufferPointer) throws -> Void) throws {
        if count > 0 { try sink(UnsafeRawBufferPointer(rebasing: output[..<count])) }
    }

    private func inflate(
        _ stream: UnsafeMutablePointer<z_stream>, _ bytes: UnsafeRawBufferPointer,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var rest = bytes
        while !rest.isEmpty {
            if isBetween {
                guard inflateReset(stream) == Z_OK else { throw StreamDecompressor.noMemory }
                isBetween = false
            }
            // zlib counts in 32 bits.
            let piece = UnsafeRawBufferPointer(rebasing: rest.prefix(1 << 30))
            // It reads there and writes nothing, though its type says otherwise.
            stream.pointee.next_in = UnsafeMutablePointer(
                mutating: piece.bindMemory(to: UInt8.self).baseAddress)
            stream.pointee.avail_in = UInt32(piece.count)
            repeat {
                stream.pointee.next_out = output.bindMemory(to: UInt8.self).baseAddress
                stream.pointee.avail_out = UInt32(output.count)
                let status = CZlib.inflate(stream, Z_NO_FLUSH)
                guard status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR else {
                    throw StreamDecompressor.damaged("zlib says \(status)")
                }
                isBetween = status == Z_STREAM_END
                try emit(output.count - Int(stream.pointee.avail_out), sink)
            } while !isBetween && stream.pointee.avail_out == 0
            let left = Int(stream.pointee.avail_in)
            guard isBetween || left == 0 else {
                throw StreamDecompressor.damaged("zlib stopped")
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[(piece.count - left)...])
        }
    }

    private func decompress(
        _ pointer: OpaquePointer, _ bytes: UnsafeRawBufferPointer,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        var isFull = false
        while input.pos < input.size || isFull {
            var target = ZSTD_outBuffer(dst: output.baseAddress, size: output.count, pos: 0)
            let remaining = ZSTD_decompressStream(pointer, &target, &input)
            guard ZSTD_isError(remaining) == 0 else {
                throw StreamDecompressor.damaged(String(cString: ZSTD_getErrorName(remaining)))
            }
            isBetween = remaining == 0
            isFull = target.pos == target.size && !isBetween
            try emit(target.pos, sink)
        }
    }
}
