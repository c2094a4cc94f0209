import CASCatalog
import CASCore
import CASFileSystem
import CASPack

/// Reads many records at once: neighbours in packs with one read, lent in the order asked for.
///
/// One thread at a time: it keeps buffers.
final class ContentReader {
    typealias Item = RecordSequence.Item

    private let repository: Repository
    private let domain: Domain
    private let stored = ReusableBuffer(capacity: 1 << 20)
    private let contents: RecordContents

    init(_ repository: Repository, domain: Domain) throws {
        self.repository = repository
        self.domain = domain
        contents = try RecordContents()
    }

    /// Calls `body` with the index and the checked record of each item, in their order.
    ///
    /// Throws `dataLoss` where one is missing or damaged, after it was taken out of use.
    func read(_ items: [Item], _ body: (Int, RecordView) throws -> Void) throws {
        let offsets = try load(items)
        for (index, offset) in offsets.enumerated() {
            try body(index, try record(items[index], at: offset))
        }
    }

    /// The content of a record, lent until the next call.
    func decode(_ record: RecordView) throws -> UnsafeRawBufferPointer {
        try contents.decode(record)
    }

    private func record(_ item: Item, at offset: Int) throws -> RecordView {
        do {
            let record = try RecordCoding.decode(
                UnsafeRawBufferPointer(rebasing: stored.bytes[offset...]),
                limits: repository.limits)
            guard record.header.digest == item.digest else {
                throw CASError(.dataLoss, "a record is not where it should be")
            }
            return record
        } catch {
            throw try damaged(item, packEnd: nil, error)
        }
    }

    /// Takes a record out of use; the error that says so.
    private func damaged(
        _ item: Item, packEnd: UInt64?, _ cause: any Error
    ) throws -> CASError {
        try repository.quarantine(
            [DamagedRecord(digest: item.digest, location: item.location, packEnd: packEnd)],
            domain: domain)
        var failure = PlanBuilder.incomplete(item.digest)
        failure.cause = cause
        return failure
    }

    /// Reads all records; where in the buffer each begins.
    ///
    /// What moved meanwhile is looked up again, once.
    private func load(_ items: [Item]) throws -> [Int] {
        do {
            return try loadRuns(items)
        } catch is RecordMoved {
            do {
                return try loadRuns(try located(items))
            } catch let moved as RecordMoved {
                throw try repository.gone(moved.location.pack, moved.digest)
            }
        }
    }

    private func located(_ items: [Item]) throws -> [Item] {
        let places = try repository.catalog.read {
            try $0.locations(of: items.map(\.digest), domain: domain)
        }
        return try zip(items, places).map { item, place in
            guard let place else { throw PlanBuilder.incomplete(item.digest) }
            return (item.digest, place)
        }
    }

    private func loadRuns(_ items: [Item]) throws -> [Int] {
        stored.removeAll()
        let order = items.indices.sorted {
            BlobLocation.precedes(items[$0].location, items[$1].location)
        }
        var offsets = [Int](repeating: 0, count: items.count)
        var first = 0
        while first < order.count {
            let start = items[order[first]].location
            var length: UInt64 = 0
            var last = start
            var end = first
            while end < order.count {
                let place = items[order[end]].location
                if place.pack == start.pack, place.offset == start.offset + length {
                    offsets[order[end]] = stored.count + Int(length)
                    length += place.recordBytes
                } else if end > first, place.pack == last.pack, place.offset == last.offset {
                    // The same content once more.
                    offsets[order[end]] = offsets[order[end - 1]]
                } else {
                    break
                }
                last = place
                end += 1
            }
            try read(order[first..<end].map { items[$0] }, length: Int(length))
            first = end
        }
        return offsets
    }

    /// Appends the bytes of records that lie side by side.
    private func read(_ run: [Item], length: Int) throws {
        guard let first = run.first else { return }
        let pack = first.location.pack
        func entry() throws -> PackEntry? { try repository.catalog.read { try $0.pack(pack) } }
        var isGone = false
        let count = try stored.append(maximum: length) { target in
            let count = try repository.files.read(
                pack, at: first.location.offset, into: target, entry: entry)
            isGone = count == nil
            return count ?? 0
        }
        if isGone { throw RecordMoved(digest: first.digest, location: first.location) }
        guard count < length else { return }
        let end = try repository.files.end(
            pack, before: first.location.offset + UInt64(count), entry: entry)
        let lost = run.first { $0.location.offset + $0.location.recordBytes > end } ?? first
        throw try damaged(
            lost, packEnd: end, CASError(.dataLoss, "a pack of the store is cut short"))
    }
}
