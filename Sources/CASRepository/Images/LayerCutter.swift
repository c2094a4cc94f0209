import CASChunking
import CASCore
import CASOCI

/// Takes the chunks of a blob, in order.
protocol ChunkSink: AnyObject {
    /// Takes a chunk, lent for the call, and whether it is one of several of its segment.
    func take(chunk: UnsafeRawBufferPointer, isPiece: Bool) throws
}

/// Cuts bytes as they come into the chunks of a blob.
///
/// In a tar archive each file's content is a segment of its own, as is what lies between two; what is no archive is
/// one segment. A segment is one chunk up to the chunker's maximum, and else cut from its first byte, exactly as a
/// file of a workspace is. One thread at a time.
final class LayerCutter {
    private let chunker: Chunker
    private let maximum: Int
    private var splitter = TarSplitter()
    /// Bytes of the segment at hand that were not cut yet, from `start` on.
    private let waiting = ReusableBuffer(capacity: 64 << 10)
    private var start = 0
    /// Whether something of the segment was cut.
    private var isCut = false
    private var isPlain = false

    init(_ parameters: ChunkerParameters) {
        chunker = Chunker(parameters)
        maximum = parameters.maximumBytes
    }

    /// What was not cut yet.
    var tail: [UInt8] { Array(uncut) + splitter.pending }

    private var uncut: UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: waiting.bytes[start...])
    }

    /// Takes the next bytes.
    func append(_ bytes: UnsafeRawBufferPointer, to sink: any ChunkSink) throws {
        var segments = Segments(cutter: self, sink: sink)
        try splitter.push(bytes, to: &segments)
    }

    /// Ends the blob.
    func finish(to sink: any ChunkSink) throws {
        var segments = Segments(cutter: self, sink: sink)
        try splitter.finish(to: &segments)
        try endSegment(sink)
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
            compact()
        }
    }

    private func endSegment(_ sink: any ChunkSink) throws {
        if !isCut, uncut.count > 0 {
            try sink.take(chunk: uncut, isPiece: false)
            start = waiting.count
        }
        while uncut.count > 0 { try cut(sink) }
        compact()
        isCut = false
    }

    private func cut(_ sink: any ChunkSink) throws {
        let length = chunker.nextCut(uncut)
        try sink.take(chunk: UnsafeRawBufferPointer(rebasing: uncut[..<length]), isPiece: true)
        start += length
        isCut = true
    }

    /// Moves what is left to the front, once that is little for what is gained.
    private func compact() {
        guard start >= maximum || start == waiting.count else { return }
        waiting.removeFirst(start)
        start = 0
    }
}
