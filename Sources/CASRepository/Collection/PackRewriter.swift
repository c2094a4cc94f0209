import CASCatalog
import CASCore
import CASPack

/// Thrown for a record of recorded state that can not be read.
struct DamagedEvent: Error {}

/// Copies what is alive in one sealed pack forward, piece by piece.
///
/// Bytes are copied as they are, or compressed anew where the pack is old, and checked on the way; a damaged
/// record is taken out of use. One thread at a time.
final class PackRewriter {
    let pack: PackEntry
    private let repository: Repository
    private let pace: CollectionPace
    private let domain: Domain
    /// What lies in it, in its order.
    private let entries: [PackFooter.Entry]
    private var next = 0
    private var copiedBytes: UInt64 = 0
    private let buffer = ReusableBuffer(capacity: 1 << 20)
    private let checkpoint: EventCheckpoint.Mark?
    private let begun: EventCheckpoint.Begun?
    /// Set where the pack is old enough and was not compressed anew before.
    private let recompression: Recompression?

    init(
        _ repository: Repository, _ pack: PackEntry, pace: CollectionPace, domain: Domain
    ) throws {
        self.repository = repository
        self.pack = pack
        self.pace = pace
        self.domain = domain
        entries = try repository.entries(of: pack)
        recompression =
            repository.isCold(pack) && pack.level < Recompression.level ? try Recompression() : nil
        (checkpoint, begun) = try repository.catalog.read {
            (try EventCheckpoint.Mark.last($0), try EventCheckpoint.Begun($0))
        }
    }

    /// Bytes copied since the last call.
    func takeCopiedBytes() -> UInt64 {
        defer { copiedBytes = 0 }
        return copiedBytes
    }

    /// Copies a piece; false once everything alive was copied.
    func step() throws -> Bool {
        guard next < entries.count else { return false }
        var end = next
        var size = 0
        let most = recompression == nil ? pace.copiedBytes : pace.recompressedBytes
        while end < entries.count, end - next < pace.rows, size < most {
            size += Int(entries[end].location(in: pack.number).recordBytes)
            end += 1
        }
        let piece = entries[next..<end]
        let places = try repository.catalog.read {
            try $0.locations(of: piece.map(\.digest), domain: domain)
        }
        let isCovered = checkpoint?.covers(pack) ?? false
        var live: [PackFooter.Entry] = []
        for (entry, place) in zip(piece, places) {
            let isEvent = entry.kind == .event
            if isEvent
                ? !isCovered
                : place.map({ $0.pack == pack.number && $0.offset == entry.offset }) ?? false
            {
                live.append(entry)
            }
        }
        if !live.isEmpty { try copy(live) }
        // Only now: a step that failed for lack of space is made again.
        next = end
        return next < entries.count
    }

    private func copy(_ live: [PackFooter.Entry]) throws {
        buffer.removeAll()
        var headers: [RecordHeader] = []
        var copied: [PackFooter.Entry] = []
        var lastEvent: UInt64 = 0
        var eventBytes: UInt64 = 0
        for entry in live {
            let start = buffer.count
            guard let record = try read(entry) else {
                buffer.resize(to: start)
                continue
            }
            if entry.kind == .event {
                guard let sequence = try repository.liveEvent(record, checkpoint, begun) else {
                    buffer.resize(to: start)
                    continue
                }
                lastEvent = max(lastEvent, sequence)
                eventBytes += UInt64(record.record.count)
            }
            headers.append(try shrink(record, at: start))
            copied.append(entry)
        }
        guard !headers.isEmpty else { return }
        let place = try repository.writer.append(
            buffer.bytes, headers, pack.packClass, isForward: true,
            level: recompression == nil ? pack.level : Recompression.level)
        var offset = place.offset
        var items: [Relocation] = []
        for (entry, header) in zip(copied, headers) {
            if entry.kind != .event {
                items.append(
                    Relocation(
                        digest: entry.digest, old: entry.location(in: pack.number),
                        new: BlobLocation(header, pack: place.pack, offset: offset)))
            }
            offset += UInt64(header.recordByteCount)
        }
        copiedBytes += UInt64(buffer.count)
        try relocate(items, end: offset, place.pack, eventBytes, lastEvent)
    }

    /// Puts a smaller form of a record that ends the buffer in its place, where there is one; its header.
    private func shrink(_ record: RecordView, at start: Int) throws -> RecordHeader {
        guard let recompression else { return record.header }
        let smaller: RecordView?
        do {
            smaller = try recompression.smaller(record)
        } catch let error as CASError where error.code == .dataLoss {
            // Its bytes are what they were when they came; a scrub tells what is wrong with them.
            return record.header
        }
        guard let smaller else { return record.header }
        buffer.resize(to: start)
        buffer.append(smaller.record)
        return smaller.header
    }

    /// The record of an entry, whose bytes are appended to the buffer; nil, and out of use, if it is damaged.
    private func read(_ entry: PackFooter.Entry) throws -> RecordView? {
        let location = entry.location(in: pack.number)
        let start = buffer.count
        let length = Int(location.recordBytes)
        var isGone = false
        let count = try buffer.append(maximum: length) { target in
            let count = try repository.files.read(pack.number, at: entry.offset, into: target) {
                try repository.catalog.read { try $0.pack(pack.number) }
            }
            isGone = count == nil
            return count ?? 0
        }
        do {
            guard !isGone, count == length else {
                throw CASError(.dataLoss, "a pack of the store is cut short", digest: entry.digest)
            }
            let record = try RecordCoding.decode(
                UnsafeRawBufferPointer(rebasing: buffer.bytes[start...]), limits: repository.limits)
            guard record.header.digest == entry.digest else {
                throw CASError(.dataLoss, "a record is not where it should be")
            }
            return record
        } catch let error as CASError where error.code == .dataLoss {
            guard entry.kind != .event else { throw DamagedEvent() }
            try repository.quarantine(
                [DamagedRecord(digest: entry.digest, location: location)], domain: domain)
            return nil
        }
    }

    /// Says where the copies lie, in one transaction with the sync that makes them durable.
    private func relocate(
        _ items: [Relocation], end: UInt64, _ number: Int64, _ eventBytes: UInt64,
        _ lastEvent: UInt64
    ) throws {
        try repository.commit(session: nil, isEvent: false) { [domain] context in
            guard context.durableBytes[number, default: 0] >= end else {
                throw CASError(
                    .unavailable, "what was copied forward is not durable", hint: "try again")
            }
            _ = try context.transaction.relocate(items, domain: domain)
            if eventBytes > 0 {
                try context.transaction.addEvents(
                    pack: number, bytes: eventBytes, lastSequence: lastEvent)
            }
        }
        repository.counters.add(movedRecords: UInt64(items.count))
    }
}

extension PackFooter.Entry {
    /// Where the record of an entry lies.
    func location(in pack: Int64) -> BlobLocation {
        BlobLocation(
            pack: pack, offset: offset, storedLength: storedLength, rawLength: rawLength,
            kind: kind, codec: codec)
    }
}

extension Repository {
    /// Whether a pack is so old that a stronger compression of its records pays.
    func isCold(_ pack: PackEntry) -> Bool {
        pack.created.seconds + configuration.recompressedAfterSeconds <= clock.now().seconds
    }

    /// What lies in a sealed pack, in its order: from its footer or, where that is damaged, by reading it.
    func entries(of pack: PackEntry) throws -> [PackFooter.Entry] {
        do {
            return try footer(of: pack).entries.sorted { $0.offset < $1.offset }
        } catch let error as CASError where error.code == .dataLoss {
            var entries: [PackFooter.Entry] = []
            var scanner = PackScanner(
                to: pack.committedBytes, limits: limits, skipsDamage: true
            ) { offset, target in
                try self.read(pack, offset, target) ?? 0
            }
            _ = try scanner.run { item in
                switch item {
                case .record(let record, let offset):
                    entries.append(PackFooter.Entry(record.header, offset: offset))
                case .damaged(let header, let offset, _):
                    entries.append(PackFooter.Entry(header, offset: offset))
                }
            }
            return entries
        }
    }

    private func read(
        _ pack: PackEntry, _ offset: UInt64, _ target: UnsafeMutableRawBufferPointer
    ) throws -> Int? {
        try files.read(pack.number, at: offset, into: target) {
            try self.catalog.read { try $0.pack(pack.number) }
        }
    }

    private func footer(of pack: PackEntry) throws -> PackFooter {
        let tail = ReusableBuffer(capacity: 1 << 20)
        var offset = pack.committedBytes
        while true {
            let count = try tail.append(maximum: 1 << 20) { try read(pack, offset, $0) ?? 0 }
            guard count > 0 else { break }
            offset += UInt64(count)
        }
        let bytes = tail.bytes
        guard bytes.count >= PackTrailer.byteCount else {
            throw CASError(.dataLoss, "a pack has no footer")
        }
        let trailer = try PackTrailer(
            decoding: UnsafeRawBufferPointer(
                rebasing: bytes[(bytes.count - PackTrailer.byteCount)...]), packBytes: offset)
        guard trailer.footerOffset == pack.committedBytes else {
            throw CASError(.dataLoss, "the footer of a pack contradicts the catalog")
        }
        return try PackFooter(
            decoding: UnsafeRawBufferPointer(rebasing: bytes[..<trailer.entriesByteCount]),
            trailer: trailer)
    }
}
