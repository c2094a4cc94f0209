import CASCatalog
import CASCore
import CASPack
import CASWire

/// What a scrub of a pack found.
extension PackScrub {
    /// Compares what was read with the catalog, and takes what is bad out of use.
    func settle(
        _ sound: [Sound], _ damaged: [Damaged], _ log: inout ScrubLog
    ) throws {
        log.add("records", UInt64(sound.count + damaged.count))
        let digests = sound.map(\.digest) + damaged.map(\.header.digest)
        let places = try repository.catalog.read {
            try $0.locations(of: digests, domain: domain)
        }
        var lists: [(Digest, ChunkList)] = []
        for (record, place) in zip(sound, places) where place == record.location {
            confirmed += 1
            if let list = record.list { lists.append((record.digest, list)) }
        }
        try check(lists, &log)
        var lost: [DamagedRecord] = []
        for (record, place) in zip(damaged, places.dropFirst(sound.count)) {
            let digest = record.header.digest
            if record.header.kind == .event {
                if try hasLiveEvents() {
                    log.add(lostEvents: text(record.location.offset, record.error))
                }
            } else if place == record.location {
                lost.append(DamagedRecord(digest: digest, location: record.location))
                log.add(
                    MaintenanceState.Finding(
                        "record", digest: digest, text: text(record.location.offset, record.error)))
            }
            // Else the store has the blob elsewhere by now, or nobody has pushed it since.
        }
        try repository.quarantine(lost, domain: domain)
    }

    /// Whether an event of this pack may count: a checkpoint does not repeat what it says.
    private func hasLiveEvents() throws -> Bool {
        guard let last = try repository.catalog.read({ try EventCheckpoint.Mark.last($0) }) else {
            return true
        }
        return !last.covers(entry)
    }

    func text(_ offset: UInt64, _ error: CASError) -> String {
        "\(place), byte \(offset): \(error.message)"
    }

    /// Finds out whether blobs with these lists are here: chunks with the lengths that they say.
    private func check(_ lists: [(Digest, ChunkList)], _ log: inout ScrubLog) throws {
        guard !lists.isEmpty else { return }
        let doubtful = try repository.catalog.read { reader in
            try lists.filter { try !isWhole($0, $1, reader) }
        }
        guard !doubtful.isEmpty else { return }
        let lost = try repository.catalog.write { transaction in
            let lost = try doubtful.filter { try !isWhole($0, $1, transaction) }.map(\.0)
            // While a list is here, whoever asks about the blob is told that it is not missing.
            try repository.remove(lost, transaction, domain: domain)
            return lost
        }
        for digest in lost {
            log.add(
                MaintenanceState.Finding(
                    "chunks", digest: digest, text: "\(place): chunks of this blob are missing"))
        }
    }

    private func isWhole(
        _ digest: Digest, _ list: ChunkList, _ reader: any CatalogReader
    ) throws -> Bool {
        // What fetches go by is the catalog's copy.
        guard try reader.chunkList(of: digest, domain: domain) == list else { return false }
        let chunks = try reader.locations(of: list.chunks, domain: domain)
        let lengths = list.terms.compactMap { term -> UInt32? in
            if case .chunk(_, let length) = term { length } else { nil }
        }
        return zip(chunks, lengths).allSatisfy { place, length in
            place.map { $0.kind != .chunkList && $0.rawLength == length } ?? false
        }
    }

    /// Goes on where the next record begins, and takes out of use what lay before it.
    func skip(_ error: CASError, _ log: inout ScrubLog) throws {
        let start = offset
        let entries = try footerEntries()
        let known = try repository.catalog.read { reader in
            let digests = try reader.digests(in: entry.number, from: start)
            return zip(digests, try reader.locations(of: digests, domain: domain)).compactMap {
                digest, place in
                place.flatMap {
                    $0.pack == entry.number && $0.offset >= start
                        ? DamagedRecord(digest: digest, location: $0) : nil
                }
            }
        }
        offset = try nextRecord(
            Set(known.map(\.location.offset) + (entries ?? []).map(\.offset)), behind: start)
        footer.isComplete = false
        let lost = known.filter { $0.location.offset < offset }
        for record in lost.sorted(by: { $0.location.offset < $1.location.offset }) {
            log.add(
                MaintenanceState.Finding(
                    "record", digest: record.digest, text: text(record.location.offset, error)))
        }
        try repository.quarantine(lost, domain: domain)
        let events = entries.map { entries in
            entries.count { $0.kind == .event && $0.offset >= start && $0.offset < offset }
        }
        // Without a footer nobody knows what lay there.
        let mayHaveEvents = events.map { $0 > 0 } ?? (entry.packClass == .metadata)
        if try mayHaveEvents && hasLiveEvents() {
            log.add(lostEvents: text(start, error))
        }
    }

    /// The first of these places behind another at which a record's header can be read; the end if none.
    private func nextRecord(_ places: Set<UInt64>, behind start: UInt64) throws -> UInt64 {
        for place in places.sorted()
        where place > start && place < min(entry.committedBytes, actualEnd ?? .max) {
            do {
                guard let bytes = try read(place, RecordHeader.byteCount) else { break }
                _ = try RecordHeader(decoding: bytes, limits: repository.limits)
                return place
            } catch let error as CASError where error.isOfContent {
                continue
            }
        }
        return entry.committedBytes
    }

    /// Forgets a pack that is gone.
    func loseAll(_ log: inout ScrubLog) throws {
        let number = entry.number
        let now = try repository.catalog.read { try $0.pack(number) }
        // Collected since.
        guard let now else { return }
        entry = now
        guard now.isSealed else {
            log.add(MaintenanceState.Finding("pack", text: "\(place) is gone, and in use"))
            return
        }
        let records = try repository.catalog.read { try $0.records(in: number) }
        log.add(
            MaintenanceState.Finding("pack", text: "\(place) is gone, with \(records) records"))
        if now.packClass == .metadata, try hasLiveEvents() {
            log.add(lostEvents: "\(place) is gone")
        }
        try repository.forgetRecords(of: number, from: 0)
    }
}
