import CASCatalog
package import CASCore
import CASFileSystem
import CASPack
import CASTree
import CASWire
import Synchronization

/// A stream of records in pieces; the last record is an `end`, or a `failure` that says why not.
///
/// One thread at a time takes pieces from it.
package protocol RecordSource: AnyObject, Sendable {
    /// Empties `buffer` and fills it with whole records, about 512 KiB; false once nothing is left.
    func next(into buffer: ReusableBuffer) throws -> Bool
}

/// Serves records of packs as they are stored, neighbours in one read, each checked on the way.
final class PackRecordSource: RecordSource {
    private static let pieceBytes: UInt64 = 1 << 19

    private struct State {
        var next = 0
        var isEnded = false
    }
    private let repository: Repository
    private let prefix: [UInt8]
    private let items: [(digest: Digest, location: BlobLocation)]
    private let domain: Domain
    private let state = Mutex(State())

    /// A source of `prefix`, which holds whole records, and then of these stored records.
    init(
        _ repository: Repository, prefix: [UInt8] = [],
        items: [(digest: Digest, location: BlobLocation)], domain: Domain
    ) {
        self.repository = repository
        self.prefix = prefix
        self.items = items
        self.domain = domain
    }

    func next(into buffer: ReusableBuffer) throws -> Bool {
        buffer.removeAll()
        return try state.withLock { state in
            guard !state.isEnded else { return false }
            if state.next == 0 { buffer.append(prefix) }
            var end = state.next
            var bytes: UInt64 = 0
            while end < items.count,
                end == state.next
                    || bytes + items[end].location.recordBytes <= PackRecordSource.pieceBytes
            {
                bytes += items[end].location.recordBytes
                end += 1
            }
            if end > state.next { try read(state.next..<end, into: buffer) }
            state.next = end
            if end == items.count {
                RecordCoding.appendMark(kind: .end, to: buffer)
                state.isEnded = true
            }
            repository.counters.add(servedBytes: UInt64(buffer.count))
            return true
        }
    }

    private func read(_ range: Range<Int>, into buffer: ReusableBuffer) throws {
        var first = range.lowerBound
        while first < range.upperBound {
            let start = items[first].location
            var end = first + 1
            var length = start.recordBytes
            while end < range.upperBound, items[end].location.pack == start.pack,
                items[end].location.offset == start.offset + length
            {
                length += items[end].location.recordBytes
                end += 1
            }
            try readRun(first..<end, length: Int(length), into: buffer)
            first = end
        }
    }

    private func readRun(_ range: Range<Int>, length: Int, into buffer: ReusableBuffer) throws {
        let location = items[range.lowerBound].location
        let start = buffer.count
        var isGone = false
        let count = try buffer.append(maximum: length) { target in
            let count = try repository.files.read(
                location.pack, at: location.offset, into: target
            ) { try repository.catalog.read { try $0.pack(location.pack) } }
            isGone = count == nil
            return count ?? 0
        }
        guard !isGone else {
            try repository.forgetRecords(of: location.pack, from: 0)
            throw CASError(
                .dataLoss, "a pack of the store is gone", digest: items[range.lowerBound].digest)
        }
        if count < length { throw try cutShort(range, at: location.offset + UInt64(count)) }
        var offset = start
        for index in range {
            let item = items[index]
            do {
                let record = try RecordCoding.decode(
                    UnsafeRawBufferPointer(rebasing: buffer.bytes[offset...]),
                    limits: repository.limits)
                guard record.header.digest == item.digest else {
                    throw CASError(.dataLoss, "a record is not where it should be")
                }
                offset += record.record.count
            } catch {
                try repository.quarantine(
                    [DamagedRecord(digest: item.digest, location: item.location)], domain: domain)
                var failure = PlanBuilder.incomplete(item.digest)
                failure.cause = error
                throw failure
            }
        }
    }
}

extension PackRecordSource {
    /// Forgets everything behind the end of a pack that is shorter than it was, so that one push heals
    /// it all; the error that says so.
    private func cutShort(_ range: Range<Int>, at end: UInt64) throws -> CASError {
        let lost = items[range].first { $0.location.offset + $0.location.recordBytes > end }
        let item = lost ?? items[range.lowerBound]
        try repository.quarantine(
            [DamagedRecord(digest: item.digest, location: item.location, packEnd: end)],
            domain: domain)
        var failure = PlanBuilder.incomplete(item.digest)
        failure.cause = CASError(.dataLoss, "a pack of the store is cut short")
        return failure
    }
}

extension Repository {
    /// The snapshot and the messages that a plan's reader lacks, parents first.
    package func treeRecords(plan name: String, domain: Domain) throws -> any RecordSource {
        let plan = try plan(named: name, domain: domain)
        let prefix = ReusableBuffer(capacity: 512)
        let message = plan.snapshot.encode()
        RecordCoding.append(
            kind: .snapshot, digest: Digest.of(message), payload: message, to: prefix)
        return PackRecordSource(
            self, prefix: Array(prefix.bytes), items: plan.metadata, domain: domain)
    }

    /// One share of a plan's files, in the order of packs: a chunk, or a chunk list and its chunks.
    package func dataRecords(
        plan name: String, share: Int, of count: Int, domain: Domain
    ) throws -> any RecordSource {
        guard count > 0, count <= limits.streamsPerPush, share >= 0, share < count else {
            throw CASError(.invalidArgument, "there is no share \(share) of \(count)")
        }
        let plan = try plan(named: name, domain: domain)
        return source(plan.share(share, of: count), plan.chunks, domain)
    }

    /// These blobs, each as a chunk, or as a chunk list and its chunks; throws `notFound`.
    package func blobRecords(_ digests: [Digest], domain: Domain) throws -> any RecordSource {
        guard digests.count <= limits.digestsPerRequest else {
            throw CASError(
                .resourceExhausted, "\(digests.count) digests in one request are too many")
        }
        let distinct = Array(Set(digests)).filter { $0 != .empty }
        let found = try catalog.read {
            try PlanBuilder.units(distinct, reader: $0, domain: domain)
        }
        return source(found.units[...], found.chunks, domain)
    }

    private func source(
        _ units: ArraySlice<FetchPlan.Unit>, _ chunks: [(digest: Digest, location: BlobLocation)],
        _ domain: Domain
    ) -> any RecordSource {
        var items: [(digest: Digest, location: BlobLocation)] = []
        items.reserveCapacity(units.count)
        for unit in units {
            items.append((unit.digest, unit.first))
            items.append(contentsOf: chunks[unit.chunks])
        }
        return PackRecordSource(self, items: items, domain: domain)
    }
}
