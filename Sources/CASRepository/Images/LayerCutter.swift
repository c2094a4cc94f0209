import CASChunking
import CASCore
import CASOCI

/// Takes the chunks of a blob, in order.
protocol ChunkSink: AnyObject {
    /// Takes a chunk, which stays where it is in the cutter's buffer until `release`, and whether it is one of
    /// several of its segment.
    func take(chunk: Range<Int>, of buffer: ReusableBuffer, isPiece: Bool) throws
    /// Ends the use of all chunks so far.
    func release() throws
}

/// Cuts bytes as they come into the chunks of a blob.
///
/// In a tar archive each file's content is a segment of its own, as is what lies between two; what is no archive is
/// one segment. A segment is one chunk up to the chunker's maximum, and else cut from its first byte, exactly as a
/// file of a workspace is. Where there are too many for that, what follows is one segment of larger chunks. Only the
/// bytes decide, not how they come. One thread at a time.
final class LayerCutter {
    /// Bytes of chunks that stay in the buffer.
    private static let heldBytes = 4 << 20
    private static let restingBytes = 64

    /// How to cut from so many chunks on.
    private struct Stage {
        let firstChunk: Int
        let chunker: Chunker
    }

    /// Those to come, the next one last.
    private var stages: [Stage]
    private var chunker: Chunker
    private var splitter = TarSplitter()
    /// What was cut and not released yet, and from `start` on what was not cut yet.
    private var waiting = ReusableBuffer(capacity: 64 << 10)
    private var start = 0
    private var chunkCount = 0
    /// Whether something of the segment was cut.
    private var isCut = false
    private var isPlain = false
    /// Whether files are told apart no more.
    private var isCoarse = false

    init(_ parameters: ChunkerParameters, limits: Limits) {
        chunker = Chunker(parameters)
        // What is left of the terms is enough for the largest blob.
        let most = limits.imageBlobTerms
        stages = [(most / 4 * 3, 16), (most / 2, 4)].map { firstChunk, factor in
            Stage(
                firstChunk: firstChunk,
                chunker: Chunker(
                    parameters.coarser(by: factor, maximumBytes: limits.recordRawBytes)))
        }
    }

    /// What was not cut yet.
    var tail: [UInt8] { Array(uncut) + splitter.pending }

    /// Bytes of memory that it keeps.
    var heldBytes: Int { waiting.capacity }

    /// The bytes of a chunk that was taken and not released yet.
    func held(_ chunk: Range<Int>) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: waiting.bytes[chunk])
    }

    private var uncut: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: waiting.bytes[start...])
    }

    private var maximum: Int { chunker.parameters.maximumBytes }

    /// Takes the next bytes.
    func append(_ bytes: UnsafeRawBufferPointer, to sink: any ChunkSink) throws {
        var segments = Segments(cutter: self, sink: sink)
        try splitter.push(bytes, to: &segments)
    }

    /// Ends the blob.
    func finish(to sink: any ChunkSink) throws {
        var segments = Segments(cutter: self, sink: sink)
        try splitter.finish(to: &segments)
        try endSegment(sink, isLast: true)
    }

    /// Gives memory up until more bytes come; no chunk is in use.
    func rest() {
        let rest = ReusableBuffer(capacity: max(LayerCutter.restingBytes, uncut.count))
        rest.append(uncut)
        waiting = rest
        start = 0
    }

    /// What the parts of an archive are to the cutter.
    private struct Segments: TarConsumer {
        let cutter: LayerCutter
        let sink: any ChunkSink

        func structure(_ bytes: UnsafeRawBufferPointer) throws { try cutter.add(bytes, sink) }
        func beginFile(size: UInt64) throws { try cutter.endSegment(sink) }
        func content(_ bytes: UnsafeRawBufferPointer) throws { try cutter.add(bytes, sink) }
        func endFile() throws { try cutter.endSegment(sink) }

        func plain(_ bytes: UnsafeRawBufferPointer) throws {
            if !cutter.isPlain { try cutter.endSegment(sink) }
            cutter.isPlain = true
            try cutter.add(bytes, sink)
        }
    }

    private func add(_ bytes: UnsafeRawBufferPointer, _ sink: any ChunkSink) throws {
        var rest = bytes
        while rest.count > 0 {
            // Enough for a cut, and then some, so that what is left is moved rarely.
            let count = min(rest.count, max(0, 2 * maximum - uncut.count) + 1)
            waiting.append(UnsafeRawBufferPointer(rebasing: rest[..<count]))
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            while uncut.count > maximum { try cut(sink) }
            try compact(sink)
        }
    }

    private func endSegment(_ sink: any ChunkSink, isLast: Bool = false) throws {
        while uncut.count > 0, isLast || !isCoarse {
            if isCut || uncut.count > maximum {
                try cut(sink)
            } else {
                try take(uncut.count, isPiece: false, sink)
            }
        }
        try compact(sink)
        if !isCoarse { isCut = false }
    }

    private func cut(_ sink: any ChunkSink) throws {
        try take(chunker.nextCut(uncut), isPiece: true, sink)
        isCut = true
    }

    private func take(_ length: Int, isPiece: Bool, _ sink: any ChunkSink) throws {
        try sink.take(chunk: start..<start + length, of: waiting, isPiece: isPiece)
        start += length
        chunkCount += 1
        if let next = stages.last, chunkCount >= next.firstChunk {
            chunker = next.chunker
            stages.removeLast()
            isCoarse = true
        }
    }

    /// Moves what is left to the front, once that is little for what is gained.
    private func compact(_ sink: any ChunkSink) throws {
        guard start >= LayerCutter.heldBytes else { return }
        try sink.release()
        waiting.removeFirst(start)
        start = 0
    }
}
