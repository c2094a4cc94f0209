import CASCatalog
import CASCore
import CASPack

/// Makes the bytes of a range of a derived layer, in order, some hundred kilobytes at a time.
///
/// One thread at a time.
final class LayerStream {
    /// A piece of the layer, lent for the call.
    enum Piece {
        /// Bytes that are stored nowhere.
        case computed(UnsafeRawBufferPointer)
        /// A part of the content of a record, or all of it.
        case record(RecordView, Range<Int>)

        var count: Int {
            switch self {
            case .computed(let bytes): bytes.count
            case .record(_, let range): range.count
            }
        }
    }
    /// What a piece is made of.
    private enum Part {
        case computed(Range<Int>)
        case inline([UInt8])
        /// Some bytes of a record, by its index among those that are read together.
        case record(Int, Range<Int>)
    }
    /// Some bytes of a file.
    private struct Span {
        let file: Int
        let range: Range<UInt64>
    }
    private static let batchBytes: UInt64 = 1 << 20
    private static let batchFiles = 1_024

    private let repository: Repository
    private let layout: LayerLayout
    private let domain: Domain
    private let end: UInt64
    private let reader: ContentReader
    private var position: UInt64
    /// What the last large file is composed of.
    private var large: (file: Int, terms: [ChunkList.Term])?
    /// Where in it the term begins at which the last batch ended.
    private var largePlace: (term: Int, start: UInt64) = (0, 0)

    init(
        _ repository: Repository, _ layout: LayerLayout, _ range: Range<UInt64>, domain: Domain
    ) throws {
        self.repository = repository
        self.layout = layout
        self.domain = domain
        position = range.lowerBound
        end = min(range.upperBound, layout.size)
        reader = try ContentReader(repository, domain: domain)
    }

    /// The content of a record, lent until the next call.
    func decode(_ record: RecordView) throws -> UnsafeRawBufferPointer {
        try reader.decode(record)
    }

    /// Calls `body` with the next pieces; false at the end.
    func next(_ body: (Piece) throws -> Void) throws -> Bool {
        guard position < end else { return false }
        var parts: [Part] = []
        var items: [ContentReader.Item] = []
        if case .file(let index, let start) = layout.place(at: position),
            layout.files[index].size > LayerStream.batchBytes
        {
            try takeLarge(index, start, &parts, &items)
        } else {
            try takeBatch(&parts, &items)
        }
        try give(parts, items, body)
        return true
    }

    private func give(
        _ parts: [Part], _ items: [ContentReader.Item], _ body: (Piece) throws -> Void
    ) throws {
        try layout.computed.withUnsafeBytes { computed in
            var next = parts.startIndex
            /// Everything up to the next part that needs a record.
            func giveComputed() throws {
                while next < parts.count {
                    switch parts[next] {
                    case .computed(let range):
                        try body(.computed(UnsafeRawBufferPointer(rebasing: computed[range])))
                    case .inline(let bytes):
                        try bytes.withUnsafeBytes { try body(.computed($0)) }
                    case .record: return
                    }
                    next += 1
                }
            }
            try giveComputed()
            try reader.read(items) { index, record in
                guard next < parts.count, case .record(index, let range) = parts[next],
                    range.upperBound <= record.header.rawLength
                else {
                    throw CASError(
                        .dataLoss, "a record of the store is not as long as its blob says",
                        digest: record.header.digest)
                }
                try body(.record(record, range))
                next += 1
                try giveComputed()
            }
        }
    }

    /// Headers and files that are not large, up to the next one that is.
    private func takeBatch(_ parts: inout [Part], _ items: inout [ContentReader.Item]) throws {
        var spans: [Span?] = []
        var ranges: [Range<Int>] = []
        var bytes: UInt64 = 0
        while position < end, bytes < LayerStream.batchBytes, spans.count < LayerStream.batchFiles {
            switch layout.place(at: position) {
            case .computed(let range):
                let limit = min(
                    UInt64(range.count), end - position, LayerStream.batchBytes - bytes)
                spans.append(nil)
                ranges.append(range.lowerBound..<range.lowerBound + Int(limit))
                position += limit
                bytes += limit
            case .file(let index, let start):
                let file = layout.files[index]
                guard file.size <= LayerStream.batchBytes else {
                    return try expand(spans, ranges, &parts, &items)
                }
                let stop = min(file.size, start + (end - position))
                spans.append(Span(file: index, range: start..<stop))
                ranges.append(0..<0)
                position += stop - start
                bytes += stop - start
            }
        }
        try expand(spans, ranges, &parts, &items)
    }

    /// Looks up of which records these files are made, in one view of the catalog.
    private func expand(
        _ spans: [Span?], _ ranges: [Range<Int>], _ parts: inout [Part],
        _ items: inout [ContentReader.Item]
    ) throws {
        try repository.catalog.read { reader in
            let digests = spans.compactMap { $0.map { layout.files[$0.file].digest } }
            let places = try reader.locations(of: digests, domain: domain)
            var number = 0
            for (span, computed) in zip(spans, ranges) {
                guard let span else {
                    parts.append(.computed(computed))
                    continue
                }
                let file = layout.files[span.file]
                guard let place = places[number] else { throw PlanBuilder.incomplete(file.digest) }
                number += 1
                guard place.kind == .chunkList else {
                    parts.append(
                        .record(
                            items.count, Int(span.range.lowerBound)..<Int(span.range.upperBound)))
                    items.append((file.digest, place))
                    continue
                }
                let terms = try terms(of: file, reader)
                var start: UInt64 = 0
                for term in terms {
                    try add(term, start, span.range, reader, &parts, &items)
                    start += UInt64(term.length)
                }
            }
        }
    }

    private func terms(
        of file: LayerLayout.File, _ reader: any CatalogReader
    ) throws -> [ChunkList.Term] {
        guard let list = try reader.chunkList(of: file.digest, domain: domain) else {
            throw PlanBuilder.incomplete(file.digest)
        }
        guard list.size == file.size else {
            throw CASError(
                .dataLoss, "a file of the store is not as long as its tree says",
                digest: file.digest)
        }
        return list.terms
    }

    /// Adds what a term that begins at `start` has of a range of its file.
    private func add(
        _ term: ChunkList.Term, _ start: UInt64, _ range: Range<UInt64>,
        _ reader: any CatalogReader, _ parts: inout [Part], _ items: inout [ContentReader.Item]
    ) throws {
        let low = max(range.lowerBound, start)
        let high = min(range.upperBound, start + UInt64(term.length))
        guard low < high else { return }
        let part = Int(low - start)..<Int(high - start)
        switch term {
        case .inline(let bytes): parts.append(.inline(Array(bytes[part])))
        case .chunk(let digest, _):
            guard let place = try reader.location(of: digest, domain: domain) else {
                throw PlanBuilder.incomplete(digest)
            }
            parts.append(.record(items.count, part))
            items.append((digest, place))
        }
    }

    /// Some whole chunks of a large file.
    private func takeLarge(
        _ index: Int, _ start: UInt64, _ parts: inout [Part],
        _ items: inout [ContentReader.Item]
    ) throws {
        let file = layout.files[index]
        try repository.catalog.read { reader in
            if large?.file != index {
                let place = try reader.location(of: file.digest, domain: domain)
                guard let place else { throw PlanBuilder.incomplete(file.digest) }
                large = (
                    index,
                    place.kind == .chunkList
                        ? try terms(of: file, reader)
                        : [.chunk(file.digest, length: place.rawLength)]
                )
                largePlace = (0, 0)
            }
            let terms = large?.terms ?? []
            let stop = min(file.size, start + (end - position))
            var taken = start
            while largePlace.term < terms.count, taken < stop,
                taken - start < LayerStream.batchBytes
            {
                let term = terms[largePlace.term]
                let next = largePlace.start + UInt64(term.length)
                try add(term, largePlace.start, taken..<stop, reader, &parts, &items)
                taken = min(max(taken, next), stop)
                largePlace = (largePlace.term + 1, next)
            }
            guard taken > start else {
                throw CASError(
                    .dataLoss, "a file of the store is not as long as its tree says",
                    digest: file.digest)
            }
            position += taken - start
        }
    }
}
