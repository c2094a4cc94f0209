import CASCatalog
import CASCore
import CASPack
import CASStorage
import CASWire

/// Reads one pack to its committed end and compares each record with itself, its key and the catalog.
///
/// One thread at a time.
final class PackScrub {
    /// Bytes that are read in one step, unless a single record is longer.
    private static let windowBytes = 8 << 20
    /// Places of one pack that the disk may be unable to read.
    private static let toleratedFailures = 100

    /// A record of this pack that reads well.
    struct Sound {
        let digest: Digest
        let location: BlobLocation
        let list: ChunkList?
    }
    /// One whose header reads well and whose payload does not.
    struct Damaged {
        let header: RecordHeader
        let location: BlobLocation
        let error: CASError
    }

    let repository: Repository
    let domain: Domain
    var entry: PackEntry
    let buffer = ReusableBuffer(capacity: 0)
    private let contents: RecordContents
    private var hasBegun = false
    var offset = UInt64(PackHeader.byteCount)
    private var window = PackScrub.windowBytes
    /// Where the bytes end that the pack has, if that is too early.
    var actualEnd: UInt64?
    /// Records that the catalog's locations point at.
    var confirmed: UInt64 = 0
    /// What the footer has to say.
    var footer = FooterCheck()
    /// Times that the disk could not read something.
    private var failures = 0

    /// A scrub of a pack that the catalog knew a moment ago.
    init(_ repository: Repository, _ entry: PackEntry, domain: Domain) throws {
        self.repository = repository
        self.entry = entry
        self.domain = domain
        contents = try RecordContents()
    }

    /// Where it lies, for a person.
    var place: String {
        entry.isStored
            ? repository.objects.place(of: entry.identifier)
            : repository.files.path(entry.identifier)
    }

    /// Reads some more of it; false once the end was reached.
    func step(_ log: inout ScrubLog) throws -> Bool {
        // It may be sealed, longer, or gone by now.
        guard let now = try repository.catalog.read({ try $0.pack(entry.number) }) else {
            return false
        }
        entry = now
        if !hasBegun {
            hasBegun = true
            guard try checkHeader(&log) else { return false }
        }
        if offset < entry.committedBytes {
            guard try scan(&log) else { return false }
            if offset < entry.committedBytes { return true }
        }
        return try finish(&log)
    }

    // MARK: - Reading

    /// Bytes of the pack, fewer at its end; nil if it is gone.
    ///
    /// Throws `dataLoss` only where the disk can not read them; too many of these end the scrub.
    func read(_ offset: UInt64, _ count: Int) throws -> UnsafeRawBufferPointer? {
        buffer.resize(to: count)
        return try read(offset, into: buffer.mutableBytes).map {
            UnsafeRawBufferPointer(rebasing: buffer.bytes[..<$0])
        }
    }

    /// The same into bytes of somebody else's.
    func read(_ offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws -> Int? {
        let number = entry.number
        do {
            return try repository.files.read(number, at: offset, into: target) {
                try repository.catalog.read { try $0.pack(number) }
            }
        } catch let error as CASError {
            failures += 1
            // A disk that is going away must not take everything out of use that lies on it.
            guard error.code == .dataLoss, failures < PackScrub.toleratedFailures else {
                throw CASError(
                    .unavailable, "a pack can not be read",
                    hint: "see to its disk, then scrub again", cause: error, path: place)
            }
            throw error
        }
    }

    private func checkHeader(_ log: inout ScrubLog) throws -> Bool {
        do {
            guard let bytes = try read(0, PackHeader.byteCount) else {
                try loseAll(&log)
                return false
            }
            let header = try PackHeader(decoding: bytes)
            guard header.identifier == entry.identifier, header.packClass == entry.packClass else {
                throw CASError(.dataLoss, "it is that of another pack")
            }
        } catch let error as CASError where error.isOfContent {
            log.add(
                MaintenanceState.Finding(
                    "header", text: "\(place): the pack's header is damaged (\(error.message))"),
                frameOf: entry.number)
        }
        return true
    }

    /// Reads a window of records; false if there is nothing more to be done with this pack.
    private func scan(_ log: inout ScrubLog) throws -> Bool {
        let count = Int(min(UInt64(window), entry.committedBytes - offset))
        let bytes: UnsafeRawBufferPointer
        do {
            guard let found = try read(offset, count) else {
                try loseAll(&log)
                return false
            }
            bytes = found
        } catch let error as CASError where error.isOfContent {
            // The disk can not read some of it: record by record until the bad place is passed.
            return try scanSingly(error, &log)
        }
        if bytes.count < count { actualEnd = offset + UInt64(bytes.count) }
        window = PackScrub.windowBytes
        var sound: [Sound] = []
        var damaged: [Damaged] = []
        var used = 0
        var bad: CASError?
        while offset < entry.committedBytes {
            let rest = UnsafeRawBufferPointer(rebasing: bytes[used...])
            do {
                guard let size = try take(rest, &sound, &damaged) else { break }
                used += size
                offset += UInt64(size)
            } catch let error as CASError where error.isOfContent {
                bad = error
                break
            }
        }
        log.add(read: used)
        try settle(sound, damaged, &log)
        if let bad { try skip(bad, &log) }
        return true
    }

    /// Takes the record at the front of some bytes; nil if more have to be read for it.
    ///
    /// Throws where no record begins.
    private func take(
        _ bytes: UnsafeRawBufferPointer, _ sound: inout [Sound], _ damaged: inout [Damaged]
    ) throws -> Int? {
        let left = entry.committedBytes - offset
        let isCut = actualEnd.map { offset + UInt64(bytes.count) >= $0 } ?? false
        guard bytes.count >= RecordHeader.byteCount else {
            if isCut || left < UInt64(RecordHeader.byteCount) { throw PackScrub.cutShort }
            return nil
        }
        let header = try RecordHeader(decoding: bytes, limits: repository.limits)
        guard header.kind.isStored, UInt64(header.recordByteCount) <= left else {
            throw CASError(.dataLoss, "what is there is no record of a pack")
        }
        guard bytes.count >= header.recordByteCount else {
            if isCut { throw PackScrub.cutShort }
            window = max(window, header.recordByteCount)
            return nil
        }
        let location = BlobLocation(header, pack: entry.number, offset: offset)
        footer.add(PackFooter.Entry(header, offset: offset))
        do {
            let list = try check(try RecordCoding.decode(bytes, limits: repository.limits))
            sound.append(Sound(digest: header.digest, location: location, list: list))
        } catch let error as CASError where error.isOfContent {
            damaged.append(Damaged(header: header, location: location, error: error))
        }
        return header.recordByteCount
    }

    static var cutShort: CASError { CASError(.dataLoss, "the pack is cut short") }

    /// Checks the payload of a record that agrees with its checksum; the list, if it is one.
    private func check(_ record: RecordView) throws -> ChunkList? {
        let content = try contents.decode(record)
        let header = record.header
        if header.kind.isKeyedByPayload, Digest.of(content) != header.digest {
            throw CASError(
                .dataLoss, "its content is not what its key says", digest: header.digest)
        }
        switch header.kind {
        case .chunkList: return try ChunkList(decoding: content, limits: repository.limits)
        case .event: _ = try StoreEvent(decoding: content, limits: repository.limits)
        default: break
        }
        return nil
    }

    /// Reads a single record where a window can not be read.
    private func scanSingly(_ error: CASError, _ log: inout ScrubLog) throws -> Bool {
        var sound: [Sound] = []
        var damaged: [Damaged] = []
        do {
            guard let head = try read(offset, RecordHeader.byteCount) else {
                try loseAll(&log)
                return false
            }
            let header = try RecordHeader(decoding: head, limits: repository.limits)
            do {
                if let bytes = try read(offset, header.recordByteCount),
                    let size = try take(bytes, &sound, &damaged)
                {
                    log.add(read: size)
                }
            } catch let error as CASError where error.isOfContent {
                let location = BlobLocation(header, pack: entry.number, offset: offset)
                footer.add(PackFooter.Entry(header, offset: offset))
                damaged.append(Damaged(header: header, location: location, error: error))
            }
            offset += UInt64(header.recordByteCount)
            try settle(sound, damaged, &log)
        } catch let error as CASError where error.isOfContent {
            try skip(error, &log)
        }
        return true
    }
}
