import CASCatalog
import CASCore
import CASPack
import Synchronization

/// Reads a range of a stored blob: some chunks are looked up and read at once, each is checked by its checksum.
///
/// Clients of images compare the digest of what they got, so that the chunks are not hashed here.
final class StoredPieces: PieceSource {
    /// Bytes of chunks that are read at once, and how many.
    private static let batchBytes = 512 << 10
    private static let batchTerms = 512

    /// One thread at a time has it; `@unchecked Sendable` since the mutex of its owner guards it.
    private final class State: @unchecked Sendable {
        let reader: ContentReader
        var index = 0
        /// Where in the blob the term at `index` begins.
        var position: UInt64 = 0

        init(_ reader: ContentReader) { self.reader = reader }
    }
    /// Some bytes of a term.
    private struct Part {
        let term: ChunkList.Term
        let range: Range<Int>
    }
    private let repository: Repository
    private let domain: Domain
    private let terms: [ChunkList.Term]
    private let range: Range<UInt64>
    private let state: Mutex<State>

    init(
        _ repository: Repository, terms: [ChunkList.Term], range: Range<UInt64>, domain: Domain
    ) throws {
        self.repository = repository
        self.terms = terms
        self.range = range
        self.domain = domain
        state = Mutex(State(try ContentReader(repository, domain: domain)))
    }

    func next(_ body: (UnsafeRawBufferPointer) throws -> Void) throws -> Bool {
        try state.withLock { state in
            let parts = advance(state)
            guard !parts.isEmpty else { return false }
            try give(parts, state.reader, body)
            return true
        }
    }

    private func give(
        _ parts: [Part], _ reader: ContentReader,
        _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let digests = parts.compactMap { part -> Digest? in
            if case .chunk(let digest, _) = part.term { digest } else { nil }
        }
        let places = try repository.catalog.read {
            try $0.locations(of: digests, domain: domain)
        }
        let items = try zip(digests, places).map { digest, place -> ContentReader.Item in
            guard let place, place.kind.isKeyedByPayload else {
                throw CASError(.dataLoss, "a chunk of a blob is missing", digest: digest)
            }
            return (digest, place)
        }
        var next = parts.startIndex
        func giveInline() throws {
            while next < parts.count, case .inline(let bytes) = parts[next].term {
                try bytes[parts[next].range].withUnsafeBytes(body)
                next += 1
            }
        }
        try giveInline()
        try reader.read(items) { _, record in
            let part = parts[next]
            guard record.header.rawLength == part.term.length else {
                throw CASError(
                    .dataLoss, "a record of the store is not as long as its blob says",
                    digest: record.header.digest)
            }
            let content = try reader.decode(record)
            try body(UnsafeRawBufferPointer(rebasing: content[part.range]))
            next += 1
            try giveInline()
        }
    }

    /// The next terms that have something of the range, and which part of each.
    private func advance(_ state: State) -> [Part] {
        var parts: [Part] = []
        var bytes = 0
        while state.index < terms.count, state.position < range.upperBound,
            bytes < StoredPieces.batchBytes, parts.count < StoredPieces.batchTerms
        {
            let term = terms[state.index]
            let start = state.position
            let end = start + UInt64(term.length)
            state.index += 1
            state.position = end
            guard end > range.lowerBound, end > start else { continue }
            let low = Int(max(range.lowerBound, start) - start)
            let high = Int(min(range.upperBound, end) - start)
            parts.append(Part(term: term, range: low..<high))
            bytes += term.length
        }
        return parts
    }
}
