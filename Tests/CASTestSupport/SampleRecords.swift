package import CASChunking
import CASCompression
package import CASCore
package import CASPack

/// Makes the records of blobs as a client does.
package struct SampleRecords {
    package let chunker: ChunkerParameters
    private let compressor: Compressor

    /// Records for a store that cuts large files in that way.
    package init(_ chunker: ChunkerParameters) throws {
        self.chunker = chunker
        compressor = try Compressor()
    }

    /// Appends one compressed record.
    package func append(
        _ kind: RecordKind, _ digest: Digest, _ payload: some Collection<UInt8>,
        to output: ReusableBuffer
    ) throws {
        let bytes = Array(payload)
        try RecordCoding.appendFrame(
            kind: kind, digest: digest, rawLength: bytes.count, to: output
        ) { output in
            try bytes.withUnsafeBytes { try compressor.encode($0, into: output) }
        }
    }

    /// The pieces that the chunker makes of a content.
    package func pieces(_ content: [UInt8]) -> [ArraySlice<UInt8>] {
        let chunker = Chunker(chunker)
        var pieces: [ArraySlice<UInt8>] = []
        var start = 0
        while start < content.count {
            let length = content[start...].withUnsafeBytes { chunker.nextCut($0) }
            pieces.append(content[start..<start + length])
            start += length
        }
        return pieces
    }

    /// Whether a file of that content is cut into chunks.
    package func isChunked(_ content: [UInt8]) -> Bool { content.count > chunker.maximumBytes }

    /// How a content is composed.
    package func list(_ content: [UInt8]) -> ChunkList {
        ChunkList(
            terms: pieces(content).map {
                .chunk(Digest.of(Array($0)), length: UInt32($0.count))
            })
    }

    /// Appends a file: one record, or a run of chunks and their list.
    package func append(file content: [UInt8], to output: ReusableBuffer) throws {
        guard isChunked(content) else {
            return try append(.chunk, Digest.of(content), content, to: output)
        }
        RecordCoding.appendMark(kind: .fileStart, to: output)
        for piece in pieces(content) {
            try append(.chunk, Digest.of(Array(piece)), piece, to: output)
        }
        try append(.chunkList, Digest.of(content), list(content).encode(), to: output)
    }

    /// Appends a large file whose other chunks the store has.
    package func append(delta content: [UInt8], missing: Set<Digest>, to output: ReusableBuffer)
        throws
    {
        RecordCoding.appendMark(kind: .fileStart, to: output)
        for piece in pieces(content) {
            let digest = Digest.of(Array(piece))
            if missing.contains(digest) {
                try append(.chunk, digest, piece, to: output)
            } else {
                RecordCoding.appendMark(
                    kind: .chunkReference, digest: digest, rawLength: piece.count, to: output)
            }
        }
        try append(.chunkList, Digest.of(content), list(content).encode(), to: output)
    }

    /// The files of a tree among `digests`, in a fixed order.
    package func files(_ tree: SampleTree, only digests: Set<Digest>? = nil) throws
        -> ReusableBuffer
    {
        let output = ReusableBuffer()
        for (digest, content) in tree.files.sorted(by: { $0.key < $1.key })
        where digest != .empty && digests?.contains(digest) ?? true {
            try append(file: content, to: output)
        }
        return output
    }

    /// The messages of a tree among `digests`.
    package func messages(_ tree: SampleTree, only digests: Set<Digest>? = nil) throws
        -> ReusableBuffer
    {
        let output = ReusableBuffer()
        for message in tree.messages where digests?.contains(message.digest) ?? true {
            try append(message.kind, message.digest, message.bytes, to: output)
        }
        return output
    }
}
