import CASCore
import CASPack
import Synchronization

/// Reads a range of a blob, one chunk at a time; one thread at a time.
package final class BlobCursor: Sendable {
    private struct State {
        var index = 0
        /// Where in the blob the term at `index` begins.
        var position: UInt64 = 0
    }
    private let repository: Repository
    private let terms: [ChunkList.Term]
    private let range: Range<UInt64>
    private let state = Mutex(State())

    init(_ repository: Repository, terms: [ChunkList.Term], range: Range<UInt64>) {
        self.repository = repository
        self.terms = terms
        self.range = range
    }

    /// Bytes of the largest piece.
    package var pieceBytes: Int {
        terms.reduce(0) { max($0, $1.length) }
    }

    /// Calls `body` with the next piece, which was checked against its digest; false at the end.
    package func next(_ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Bool {
        guard let (term, part) = advance() else { return false }
        switch term {
        case .inline(let bytes): try bytes[part].withUnsafeBytes { try body($0) }
        case .chunk(let chunk, let length):
            let found: Void? = try repository.withContent(chunk, nil) { content in
                guard content.count == Int(length), Digest.of(content) == chunk else {
                    throw CASError(
                        .dataLoss, "a record of the store is not what it should be", digest: chunk)
                }
                try body(UnsafeRawBufferPointer(rebasing: content[part]))
            }
            guard found != nil else {
                throw CASError(.dataLoss, "a chunk of a blob is missing", digest: chunk)
            }
        }
        return true
    }

    /// The next term that has something of the range, and which part of it.
    private func advance() -> (ChunkList.Term, Range<Int>)? {
        state.withLock { state in
            while state.index < terms.count, state.position < range.upperBound {
                let term = terms[state.index]
                let start = state.position
                let end = start + UInt64(term.length)
                state.index += 1
                state.position = end
                guard end > range.lowerBound else { continue }
                let low = Int(max(range.lowerBound, start) - start)
                let high = Int(min(range.upperBound, end) - start)
                return (term, low..<high)
            }
            return nil
        }
    }
}
