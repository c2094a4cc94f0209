import CASCatalog
import CASCore
import CASPack
import CASWire

/// The end of a scrub of a pack.
extension PackScrub {
    private static let footerPieceBytes = 1 << 20

    /// Checks the footer, and that each location in this pack is one of a record; true to go on.
    func finish(_ log: inout ScrubLog) throws -> Bool {
        let number = entry.number
        let (now, expected) = try repository.catalog.read {
            (try $0.pack(number), try $0.records(in: number))
        }
        guard let now else { return false }
        guard now.committedBytes <= offset else { return true }
        if now.isSealed, actualEnd == nil {
            entry = now
            try checkFooter(&log)
        }
        // Fewer records than locations: some point where no record begins, or one of another key.
        if confirmed < expected { try checkLocations(&log) }
        log.add("packs")
        return false
    }

    private func checkFooter(_ log: inout ScrubLog) throws {
        do {
            guard let entries = try loadFooter() else { return }
            try footer.compare(entries)
        } catch let error as CASError where error.isOfContent {
            log.add(
                MaintenanceState.Finding(
                    "footer", text: "\(place): the pack's footer is damaged (\(error.message))"),
                frameOf: entry.number)
        }
    }

    /// The footer's entries; nil for a pack without one that can be read.
    func footerEntries() throws -> [PackFooter.Entry]? {
        guard entry.isSealed, actualEnd == nil else { return nil }
        do { return try loadFooter() } catch let error as CASError where error.isOfContent {
            return nil
        }
    }

    private func loadFooter() throws -> [PackFooter.Entry]? {
        let start = entry.committedBytes
        // No pack has more records than there is room for.
        let most = Int(start) / (RecordHeader.byteCount + RecordHeader.trailerByteCount)
        let limit = most * PackFooter.entryByteCount + PackTrailer.byteCount
        let bytes = ReusableBuffer(capacity: 0)
        var isAtEnd = false
        while !isAtEnd, bytes.count <= limit {
            var isGone = false
            let count = try bytes.append(maximum: PackScrub.footerPieceBytes) { target in
                let count = try read(start + UInt64(bytes.count), into: target)
                isGone = count == nil
                return count ?? 0
            }
            if isGone { return nil }
            isAtEnd = count < PackScrub.footerPieceBytes
        }
        guard bytes.count >= PackTrailer.byteCount, bytes.count <= limit else {
            throw CASError(.dataLoss, "it is not there")
        }
        let trailer = try PackTrailer(
            decoding: UnsafeRawBufferPointer(rebasing: bytes.bytes.suffix(PackTrailer.byteCount)),
            packBytes: start + UInt64(bytes.count))
        guard trailer.footerOffset == start else {
            throw CASError(.dataLoss, "it begins elsewhere")
        }
        return try PackFooter(
            decoding: UnsafeRawBufferPointer(
                rebasing: bytes.bytes.dropLast(PackTrailer.byteCount)),
            trailer: trailer
        ).entries
    }

    /// Reads what each location of this pack points at: slow, and only where one must be wrong.
    private func checkLocations(_ log: inout ScrubLog) throws {
        let number = entry.number
        let found = try repository.catalog.read { reader in
            let digests = try reader.digests(in: number, from: 0)
            return zip(digests, try reader.locations(of: digests, domain: domain)).compactMap {
                digest, place in place.map { DamagedRecord(digest: digest, location: $0) }
            }
        }
        var lost: [DamagedRecord] = []
        for record in found where record.location.pack == number {
            do {
                guard let bytes = try read(record.location.offset, RecordHeader.byteCount) else {
                    return
                }
                let header = try RecordHeader(decoding: bytes, limits: repository.limits)
                let place = BlobLocation(header, pack: number, offset: record.location.offset)
                guard header.digest != record.digest || place != record.location else { continue }
            } catch let error as CASError where error.isOfContent {
                // No record begins there.
            }
            lost.append(record)
            let text = "\(place), byte \(record.location.offset): the record is not there"
            log.add(MaintenanceState.Finding("location", digest: record.digest, text: text))
        }
        try repository.quarantine(lost, domain: domain)
    }
}

/// Compares the records of a pack with its footer, without keeping them.
struct FooterCheck {
    private var count = 0
    private var sum: UInt64 = 0
    /// Whether every record of the pack was added.
    var isComplete = true

    mutating func add(_ entry: PackFooter.Entry) {
        count += 1
        sum &+= FooterCheck.mark(entry)
    }

    /// Throws `dataLoss` unless these are the records that were added.
    func compare(_ entries: [PackFooter.Entry]) throws {
        guard isComplete else { return }
        let other = entries.reduce(UInt64(0)) { $0 &+ FooterCheck.mark($1) }
        guard entries.count == count, other == sum else {
            throw CASError(.dataLoss, "it names other records than there are")
        }
    }

    private static func mark(_ entry: PackFooter.Entry) -> UInt64 {
        var bytes = entry.digest.bytes
        bytes += [entry.kind.rawValue, entry.codec.rawValue]
        bytes.append(littleEndian: entry.offset)
        bytes.append(littleEndian: entry.storedLength)
        bytes.append(littleEndian: entry.rawLength)
        let low = bytes.withUnsafeBytes { Checksum.crc32c($0) }
        bytes.append(0)
        let high = bytes.withUnsafeBytes { Checksum.crc32c($0) }
        return UInt64(high) << 32 | UInt64(low)
    }
}

extension CASError {
    /// Whether it says that bytes are not what they should be, and not that they can not be reached.
    var isOfContent: Bool {
        code == .dataLoss || code == .unimplemented || code == .resourceExhausted && path == nil
    }
}
