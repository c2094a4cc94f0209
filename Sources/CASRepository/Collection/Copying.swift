import CASCatalog
import CASCore
import CASFileSystem
import CASPack

extension Repository {
    /// Free bytes of the disk on which packs are written.
    func freeBytes() throws -> UInt64 { try fileSystem.freeBytes(configuration.activeDirectory) }

    /// Copies records side by side, in this order, into packs that hold nothing else, and has the catalog
    /// point there; how many were moved.
    ///
    /// One that lies elsewhere meanwhile stays there. A damaged one is taken out of use, as by a reader.
    func copyForward(_ items: [RecordSequence.Item], domain: Domain) throws -> Int {
        var copies: [PackClass: Copies] = [:]
        var classes: [Int64: PackClass] = [:]
        var damaged: [DamagedRecord] = []
        let buffer = ReusableBuffer()
        try catalog.read { reader in
            for item in items {
                let number = item.location.pack
                if classes[number] == nil { classes[number] = try reader.pack(number)?.packClass }
                // Compaction was faster: the record was copied by it.
                guard let packClass = classes[number] else { continue }
                buffer.resize(to: Int(item.location.recordBytes))
                let count = try files.read(
                    number, at: item.location.offset, into: buffer.mutableBytes
                ) { try reader.pack(number) }
                guard let count else { continue }
                do {
                    let record = try RecordCoding.decode(
                        UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]), limits: limits)
                    guard record.header.digest == item.digest else { throw Copies.misplaced() }
                    copies[packClass, default: Copies()].append(record, item)
                } catch let error as CASError where error.code == .dataLoss {
                    damaged.append(DamagedRecord(digest: item.digest, location: item.location))
                }
            }
        }
        try quarantine(damaged, domain: domain)
        var relocations: [Relocation] = []
        for (packClass, copies) in copies {
            let place = try writer.append(
                copies.records.bytes, copies.headers, packClass, isForward: true)
            relocations += copies.relocations(to: place)
        }
        guard !relocations.isEmpty else { return 0 }
        return try commit(session: nil, isEvent: false) { [relocations] context in
            guard relocations.allSatisfy({ context.isDurable($0.new) }) else {
                throw CASError(
                    .unavailable, "what was copied forward is not durable", hint: "try again")
            }
            return try context.transaction.relocate(relocations, domain: domain)
        }
    }
}

/// Copies of records of one class that go to a pack in one write.
struct Copies {
    let records = ReusableBuffer()
    private(set) var headers: [RecordHeader] = []
    private var sources: [RecordSequence.Item] = []

    mutating func append(_ record: RecordView, _ item: RecordSequence.Item) {
        records.append(record.record)
        headers.append(record.header)
        sources.append(item)
    }

    /// What the catalog has to change once the copies lie at this place.
    func relocations(to place: (pack: Int64, offset: UInt64)) -> [Relocation] {
        var offset = place.offset
        return zip(sources, headers).map { source, header in
            defer { offset += UInt64(header.recordByteCount) }
            return Relocation(
                digest: source.digest, old: source.location,
                new: BlobLocation(header, pack: place.pack, offset: offset))
        }
    }

    static func misplaced() -> CASError {
        CASError(.dataLoss, "a record of the store is not where it should be")
    }
}
