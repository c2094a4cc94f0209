import CASCatalog
package import CASCore
import CASFileSystem
import CASPack
import Synchronization

/// A stream of records in pieces; the last record is an `end`, or a `failure` that says why not.
///
/// One thread at a time takes pieces from it. Between two pieces it holds no bytes of them.
package protocol RecordSource: AnyObject, Sendable {
    /// Bytes of the next piece where it is to be about so large; nil once nothing is left.
    func size(ofNext bytes: Int) -> Int?
    /// Empties `buffer` and fills it with whole records, about so many bytes, or with so many bytes of
    /// a larger record; false once nothing is left.
    func next(into buffer: ReusableBuffer, about bytes: Int) throws -> Bool
    /// Whether the last piece ended in the middle of a record, so that nothing else can follow.
    var isWithinRecord: Bool { get }
}

extension RecordSource {
    /// The same with about 1 MiB.
    package func next(into buffer: ReusableBuffer) throws -> Bool {
        try next(into: buffer, about: 1 << 20)
    }
}

/// Serves records of packs as they are stored, neighbours in one read, each checked on the way.
final class PackRecordSource: RecordSource {
    private struct State {
        var position: RecordSequence.Position
        /// How much of the record there was given out.
        var offset = 0
        var hasBegun = false
        var isEnded = false
    }
    private let repository: Repository
    private let prefix: [UInt8]
    private let records: RecordSequence
    private let domain: Domain
    private let state: Mutex<State>

    /// A source of `prefix`, which holds whole records, and then of these stored records.
    init(
        _ repository: Repository, prefix: [UInt8] = [], records: RecordSequence, domain: Domain
    ) {
        self.repository = repository
        self.prefix = prefix
        self.records = records
        self.domain = domain
        state = Mutex(State(position: records.start))
    }

    var isWithinRecord: Bool { state.withLock { $0.offset > 0 } }

    func size(ofNext bytes: Int) -> Int? {
        state.withLock { state in
            guard !state.isEnded else { return nil }
            let piece = piece(state, bytes)
            let size =
                piece.part?.count
                ?? piece.items.reduce(0) { $0 + Int($1.location.recordBytes) }
            let end = piece.isEnd ? RecordHeader.byteCount + RecordHeader.trailerByteCount : 0
            return size + end + (state.hasBegun ? 0 : prefix.count)
        }
    }

    func next(into buffer: ReusableBuffer, about bytes: Int) throws -> Bool {
        buffer.removeAll()
        return try state.withLock { state in
            guard !state.isEnded else { return false }
            if !state.hasBegun { buffer.append(prefix) }
            let piece = piece(state, bytes)
            if let part = piece.part, let item = piece.items.first {
                try read(part, of: item, into: buffer)
            } else {
                try read(piece.items, into: buffer)
            }
            state.position = piece.position
            state.offset = piece.offset
            state.hasBegun = true
            if piece.isEnd {
                RecordCoding.appendMark(kind: .end, to: buffer)
                state.isEnded = true
            }
            repository.counters.add(servedBytes: UInt64(buffer.count))
            return true
        }
    }

    /// What the next piece is, and where the one after it begins.
    private struct Piece {
        var items: [RecordSequence.Item] = []
        /// Which bytes of the only record, where that is too large for one piece.
        var part: Range<Int>?
        var position: RecordSequence.Position
        var offset = 0
        var isEnd = false
    }

    private func piece(_ state: State, _ bytes: Int) -> Piece {
        let bytes = max(1, bytes)
        var piece = Piece(position: state.position)
        var sum = 0
        while true {
            var following = piece.position
            guard let item = records.next(&following) else {
                piece.isEnd = true
                return piece
            }
            let size = Int(item.location.recordBytes)
            guard state.offset == 0, sum + size <= bytes else {
                guard sum == 0 else { return piece }
                // Larger than a piece, or what is left of such a one.
                let part = state.offset..<min(size, state.offset + bytes)
                piece.items = [item]
                piece.part = part
                guard part.upperBound == size else {
                    piece.offset = part.upperBound
                    return piece
                }
                piece.position = following
                piece.isEnd = records.next(&following) == nil
                return piece
            }
            piece.items.append(item)
            sum += size
            piece.position = following
        }
    }

    /// Reads a part of a record; the whole of it is checked before its first part is given out.
    private func read(
        _ part: Range<Int>, of item: RecordSequence.Item, into buffer: ReusableBuffer
    ) throws {
        let start = buffer.count
        if part.lowerBound == 0 {
            try read([item], into: buffer)
            guard buffer.count - start == Int(item.location.recordBytes) else {
                throw PackRecordSource.restored(item.digest)
            }
            buffer.resize(to: start + part.count)
            return
        }
        var count = 0
        do {
            count = try append(
                item, from: item.location.offset + UInt64(part.lowerBound), length: part.count,
                to: buffer)
        } catch is RecordMoved {
            guard let now = try located([item]).first,
                now.location.storedLength == item.location.storedLength,
                now.location.codec == item.location.codec
            else {
                throw PackRecordSource.restored(item.digest)
            }
            count = try append(
                now, from: now.location.offset + UInt64(part.lowerBound), length: part.count,
                to: buffer)
        }
        guard count == part.count else {
            throw CASError(.dataLoss, "a pack of the store is cut short", digest: item.digest)
        }
    }

    private func read(_ items: [RecordSequence.Item], into buffer: ReusableBuffer) throws {
        let start = buffer.count
        do {
            try readRuns(items, into: buffer)
        } catch is RecordMoved {
            buffer.resize(to: start)
            do {
                try readRuns(try located(items), into: buffer)
            } catch let moved as RecordMoved {
                throw try repository.gone(moved.location.pack, moved.digest)
            }
        }
    }

    private func readRuns(_ items: [RecordSequence.Item], into buffer: ReusableBuffer) throws {
        var first = 0
        while first < items.count {
            let start = items[first].location
            var end = first + 1
            var length = start.recordBytes
            while end < items.count, items[end].location.pack == start.pack,
                items[end].location.offset == start.offset + length
            {
                length += items[end].location.recordBytes
                end += 1
            }
            try readRun(items[first..<end], length: Int(length), into: buffer)
            first = end
        }
    }

    /// Appends bytes of the pack that a record lies in, and says how many there are.
    private func append(
        _ item: RecordSequence.Item, from offset: UInt64, length: Int, to buffer: ReusableBuffer
    ) throws -> Int {
        let pack = item.location.pack
        var isGone = false
        let count = try buffer.append(maximum: length) { target in
            let count = try repository.files.read(pack, at: offset, into: target) {
                try repository.catalog.read { try $0.pack(pack) }
            }
            isGone = count == nil
            return count ?? 0
        }
        guard isGone else { return count }
        throw RecordMoved(digest: item.digest, location: item.location)
    }

    private static func restored(_ digest: Digest) -> CASError {
        CASError(
            .unavailable, "a record was stored anew while it was read", hint: "try again",
            digest: digest)
    }

    /// Where records lie now whose pack went after the plan was made; throws where one is not here any more.
    private func located(_ items: [RecordSequence.Item]) throws -> [RecordSequence.Item] {
        let places = try repository.catalog.read {
            try $0.locations(of: items.map(\.digest), domain: domain)
        }
        return try zip(items, places).map { item, place in
            guard let place else { throw PlanBuilder.incomplete(item.digest) }
            return (item.digest, place)
        }
    }

    private func readRun(
        _ run: ArraySlice<RecordSequence.Item>, length: Int, into buffer: ReusableBuffer
    ) throws {
        guard let first = run.first else { return }
        let start = buffer.count
        let count = try append(first, from: first.location.offset, length: length, to: buffer)
        if count < length { throw try cutShort(run, at: first.location.offset + UInt64(count)) }
        var offset = start
        for item in run {
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
    private func cutShort(
        _ run: ArraySlice<RecordSequence.Item>, at offset: UInt64
    ) throws -> CASError {
        let pack = run.first?.location.pack ?? 0
        let end = try repository.files.end(pack, before: offset) {
            try repository.catalog.read { try $0.pack(pack) }
        }
        let lost = run.first { $0.location.offset + $0.location.recordBytes > end } ?? run.first
        guard let item = lost else { return CASError(.internalError, "nothing was to be read") }
        try repository.quarantine(
            [DamagedRecord(digest: item.digest, location: item.location, packEnd: end)],
            domain: domain)
        var failure = PlanBuilder.incomplete(item.digest)
        failure.cause = CASError(.dataLoss, "a pack of the store is cut short")
        return failure
    }
}
