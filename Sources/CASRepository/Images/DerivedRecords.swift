import CASCatalog
import CASCore
import CASPack
import CASWire
import Synchronization

/// Serves derived layers as other blobs are: each as a chunk list and its chunks, which are made of headers that
/// stand between files, or are those of files.
///
/// No `end` follows: something else does.
final class DerivedRecordSource: RecordSource {
    /// One record of the stream.
    private enum Item {
        case made([UInt8])
        /// A part of the computed bytes of a layer.
        case computed(layer: Int, Range<Int>)
        case stored(ContentReader.Item)
    }
    /// What one computed chunk has at most: what stands between two files is mostly one.
    private static let computedBytes = 256 << 10

    private let repository: Repository
    private let domain: Domain
    private let layouts: [LayerLayout]
    private let items: [Item]
    private let position = Mutex(0)

    /// A source of these layers; throws where the tree of one is not whole.
    init(_ repository: Repository, _ layers: [DerivedContent], domain: Domain) throws {
        self.repository = repository
        self.domain = domain
        let layouts = try layers.map { try $0.layout() }
        var items: [Item] = []
        for (index, layer) in layers.enumerated() {
            items += try repository.view(domain) { reader in
                try DerivedRecordSource.items(
                    layouts[index], index, layer.layer.digest, repository, reader, domain)
            }
        }
        self.layouts = layouts
        self.items = items
    }

    private static func items(
        _ layout: LayerLayout, _ index: Int, _ digest: Digest, _ repository: Repository,
        _ reader: any CatalogReader, _ domain: Domain
    ) throws -> [Item] {
        var terms: [ChunkList.Term] = []
        var items: [Item] = []
        var position: UInt64 = 0
        while position < layout.size {
            switch layout.place(at: position) {
            case .computed(let range):
                for start in stride(from: range.lowerBound, to: range.upperBound, by: computedBytes)
                {
                    let part = start..<min(start + computedBytes, range.upperBound)
                    let chunk = layout.computed[part].withUnsafeBytes { Digest.of($0) }
                    terms.append(.chunk(chunk, length: UInt32(part.count)))
                    items.append(.computed(layer: index, part))
                }
                position += UInt64(range.count)
            case .file(let number, _):
                let file = layout.files[number]
                let units = try PlanBuilder.units([file.digest], reader: reader, domain: domain)
                guard let unit = units.units.first, unit.rawBytes == file.size else {
                    throw PlanBuilder.incomplete(file.digest)
                }
                let parts = units.chunks.isEmpty ? [(file.digest, unit.first)] : units.chunks
                for part in parts {
                    terms.append(.chunk(part.0, length: part.1.rawLength))
                    items.append(.stored(part))
                }
                position = file.end
            }
        }
        // A blob of one chunk is that chunk.
        guard terms.count > 1 else { return items }
        let list = ChunkList(terms: terms).encode()
        guard list.count <= repository.limits.recordRawBytes else {
            throw CASError(
                .resourceExhausted, "a layer of an image has too many files to be sent as a blob",
                digest: digest)
        }
        let record = ReusableBuffer(capacity: list.count / 2)
        _ = try list.withUnsafeBytes {
            try repository.appendRecord(.chunkList, digest, $0, to: record)
        }
        return [.made(Array(record.bytes))] + items
    }

    var isWithinRecord: Bool { false }

    /// What a record takes at most.
    private static func size(of item: Item) -> Int {
        switch item {
        case .made(let bytes): bytes.count
        case .computed(_, let range):
            RecordHeader.byteCount + RecordHeader.trailerByteCount + range.count
        case .stored(let item): Int(item.location.recordBytes)
        }
    }

    /// The items of the next piece.
    private func piece(from start: Int, about bytes: Int) -> (items: Range<Int>, size: Int) {
        var end = start
        var sum = 0
        while end < items.count {
            let size = DerivedRecordSource.size(of: items[end])
            guard sum == 0 || sum + size <= bytes else { break }
            sum += size
            end += 1
        }
        return (start..<end, sum)
    }

    func size(ofNext bytes: Int) -> Int? {
        position.withLock { start in
            start < items.count ? piece(from: start, about: bytes).size : nil
        }
    }

    func next(into buffer: ReusableBuffer, about bytes: Int) throws -> Bool {
        buffer.removeAll()
        return try position.withLock { start in
            guard start < items.count else { return false }
            let piece = piece(from: start, about: bytes).items
            try append(items[piece], to: buffer)
            start = piece.upperBound
            repository.counters.add(servedBytes: UInt64(buffer.count))
            return true
        }
    }

    private func append(_ items: ArraySlice<Item>, to buffer: ReusableBuffer) throws {
        var rest = items
        func appendMade() throws {
            while let item = rest.first {
                switch item {
                case .made(let bytes): buffer.append(bytes)
                case .computed(let layer, let range):
                    try layouts[layer].computed[range].withUnsafeBytes {
                        _ = try repository.appendRecord(.chunk, Digest.of($0), $0, to: buffer)
                    }
                case .stored: return
                }
                rest.removeFirst()
            }
        }
        let stored = items.compactMap { item in
            if case .stored(let item) = item { item } else { nil }
        }
        try appendMade()
        guard !stored.isEmpty else { return }
        try ContentReader(repository, domain: domain).read(stored) { _, record in
            buffer.append(record.record)
            rest.removeFirst()
            try appendMade()
        }
    }
}

/// Some sources one after the other; only the last one ends with an `end`.
final class JoinedRecordSource: RecordSource {
    private let sources: [any RecordSource]

    init(_ sources: [any RecordSource]) { self.sources = sources }

    var isWithinRecord: Bool { sources.contains { $0.isWithinRecord } }

    func size(ofNext bytes: Int) -> Int? {
        for source in sources {
            if let size = source.size(ofNext: bytes) { return size }
        }
        return nil
    }

    func next(into buffer: ReusableBuffer, about bytes: Int) throws -> Bool {
        for source in sources where try source.next(into: buffer, about: bytes) { return true }
        return false
    }
}

extension Repository {
    /// Those of some digests whose bytes are not stored but made.
    func derivedContents(
        _ digests: [Digest], domain: Domain
    ) throws -> [DerivedContent] {
        let places = try catalog.read { try $0.locations(of: digests, domain: domain) }
        return try zip(digests, places).filter { $0.1 == nil }.compactMap {
            try derivedContent($0.0, domain: domain)
        }
    }
}
