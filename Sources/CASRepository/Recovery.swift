package import CASCatalog
import CASChunking
package import CASCore
package import CASFileSystem
import CASPack
package import CASStorage
import CASWire
import Synchronization

/// Opening a store, and putting right what a crash left.
extension Repository {
    /// Opens the store behind a catalog; a catalog without settings is made that of a new store.
    ///
    /// Touches only packs whose owner is gone: cuts what was never committed, writes the footer that is
    /// missing, takes damaged records out of use, and hands sealed packs to the object backend.
    package static func open(
        _ configuration: RepositoryConfiguration, fileSystem: any FileSystem,
        objects: any ObjectBackend, catalog: any Catalog, clock: any WallClock
    ) throws -> Repository {
        try fileSystem.createDirectory(configuration.activeDirectory)
        let known = try catalog.read { reader in
            (
                try reader.setting(SettingName.incarnation),
                try reader.setting(SettingName.chunker),
                try reader.hasPurges()
            )
        }
        let incarnation = known.0.flatMap { Identifier(bytes: $0) }
        let chunker = try known.1.map { try decodeChunker($0) }
        let repository = Repository(
            configuration, fileSystem: fileSystem, objects: objects, catalog: catalog, clock: clock,
            incarnation: incarnation ?? .random(), chunker: chunker ?? configuration.chunker)
        repository.hasPurges.store(known.2, ordering: .releasing)
        if incarnation == nil || chunker == nil { try repository.initialize() }
        try repository.recover()
        return repository
    }

    static func encodeChunker(_ chunker: ChunkerParameters) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: UInt32(chunker.averageBytes))
        bytes.append(littleEndian: chunker.seed)
        return bytes
    }

    private static func decodeChunker(_ bytes: [UInt8]) throws -> ChunkerParameters {
        try bytes.withUnsafeBytes { buffer in
            var reader = ByteReader(buffer)
            return try ChunkerParameters(
                averageBytes: Int(try reader.uint32()), seed: try reader.uint32())
        }
    }

    /// Records the settings of a new store, in the catalog and as an event.
    func initialize() throws {
        let chunker = chunker
        let incarnation = incarnation
        let now = clock.now()
        try commit(session: nil, isEvent: true) { context in
            let transaction = context.transaction
            try transaction.set(setting: SettingName.incarnation, incarnation.bytes)
            try transaction.set(setting: SettingName.chunker, Repository.encodeChunker(chunker))
            context.record(
                .storeCreated(
                    incarnation: incarnation, averageBytes: UInt64(chunker.averageBytes),
                    seed: UInt64(chunker.seed), time: now,
                    sequence: try transaction.nextSequence()))
        }
    }

    private func recover() throws {
        let packs = try catalog.read { try $0.packs() }
        // In this order: a pack of another process is an object before its file goes.
        let present = try localPacks()
        var stored: Set<Identifier> = []
        try objects.forEach { stored.insert($0.name) }
        try checkPresence(packs.filter(\.isStored), stored)
        for pack in packs {
            let isPresent = present.contains(pack.identifier)
            if !pack.isSealed, !isPresent, stored.contains(pack.identifier) {
                // A rebuild handed it over and did not live to put its catalog in the place of this one.
                try catalog.write { transaction in
                    guard try transaction.pack(pack.number) != nil else { return }
                    try transaction.update(
                        pack: pack.number, isSealed: true, committedBytes: nil)
                    try transaction.markStored(pack: pack.number)
                }
            } else if !pack.isSealed {
                try recover(pack)
            } else if pack.isStored, stored.contains(pack.identifier) {
                // The crash came between the catalog's note and the removal.
                if isPresent { try files.remove(pack.identifier) }
            } else if !pack.isStored, isPresent {
                try takeOver(pack)
            } else if stored.contains(pack.identifier) {
                try catalog.write { transaction in
                    guard try transaction.pack(pack.number) != nil else { return }
                    try transaction.markStored(pack: pack.number)
                }
            } else {
                try forgetRecords(of: pack.number, from: 0)
            }
        }
        try removeStrays(Set(packs.map(\.identifier)))
    }

    /// Throws `failedPrecondition` where no object at all is there: a volume that is not mounted must not
    /// take every record of the store out of use.
    private func checkPresence(_ known: [PackEntry], _ stored: Set<Identifier>) throws {
        guard let first = known.first else { return }
        guard known.contains(where: { stored.contains($0.identifier) }) else {
            throw CASError(
                .failedPrecondition, "none of the store's sealed packs is there",
                hint: "mount the volume that holds them; are they lost, then cas rebuild-index",
                path: objects.place(of: first.identifier))
        }
    }

    private func localPacks() throws -> Set<Identifier> {
        Set(
            try fileSystem.list(configuration.activeDirectory)
                .compactMap(PackFiles.identifier(ofFile:)))
    }

    /// Hands over a sealed pack that its owner did not live to hand over.
    private func takeOver(_ pack: PackEntry) throws {
        do {
            let file = try fileSystem.open(files.path(pack.identifier), .readWrite)
            defer { file.close() }
            // A living owner has the lock and does it itself.
            if try file.lock() { transfer.add([pack.number]) }
        } catch let error as CASError where error.code == .notFound {
            // The owner did it a moment ago.
        }
    }

    /// Removes files of packs that a crash left before the catalog knew them: nothing is in them.
    private func removeStrays(_ known: Set<Identifier>) throws {
        for identifier in try localPacks().sorted() where !known.contains(identifier) {
            let path = files.path(identifier)
            guard let size = try fileSystem.size(path), size <= UInt64(PackHeader.byteCount) else {
                continue
            }
            let file: any StoreFile
            do {
                file = try fileSystem.open(path, .readWrite)
            } catch let error as CASError where error.code == .notFound {
                // Its owner, or another process that opens the store, was faster.
                continue
            }
            defer { file.close() }
            // Another process may have created it a moment ago and be about to tell the catalog.
            guard try file.lock(),
                try catalog.read({ try !$0.packs().contains { $0.identifier == identifier } })
            else { continue }
            try files.remove(identifier)
        }
    }

    private func recover(_ pack: PackEntry) throws {
        let path = files.path(pack.identifier)
        let file: any StoreFile
        do {
            file = try fileSystem.open(path, .readWrite)
        } catch let error as CASError where error.code == .notFound {
            // Its owner may have sealed it and handed it over since our look at the catalog.
            guard try catalog.read({ try $0.pack(pack.number) })?.isSealed == false else { return }
            if pack.committedBytes <= UInt64(PackHeader.byteCount) {
                return try catalog.write { try $0.removePack(pack.number) }
            }
            return try forgetRecords(of: pack.number, from: 0)
        }
        defer { file.close() }
        guard try file.lock() else { return }
        // Its owner may have sealed it between our look at the catalog and the lock.
        guard let pack = try catalog.read({ try $0.pack(pack.number) }), !pack.isSealed else {
            return
        }
        if pack.committedBytes <= UInt64(PackHeader.byteCount) {
            // In this order, and durably: a file that came back would have records that nobody committed.
            try files.remove(pack.identifier)
            try fileSystem.synchronizeDirectory(configuration.activeDirectory)
            try catalog.write { try $0.removePack(pack.number) }
            return
        }
        let size = try file.size()
        if size > pack.committedBytes { try file.truncate(to: pack.committedBytes) }
        let end = min(size, pack.committedBytes)
        let (entries, damaged, validEnd) = try scan(file, end, pack.number)
        if validEnd < end { try file.truncate(to: validEnd) }
        let footer = PackFooter(entries: entries).encode(at: validEnd)
        try footer.withUnsafeBytes { try file.append($0) }
        try file.synchronizeData()
        counters.add(synchronizations: 1)
        if validEnd < pack.committedBytes { try forgetRecords(of: pack.number, from: validEnd) }
        try quarantine(damaged, domain: .standard)
        try catalog.write {
            try $0.update(pack: pack.number, isSealed: true, committedBytes: validEnd)
        }
        transfer.add([pack.number])
    }

    private func scan(
        _ file: any StoreFile, _ end: UInt64, _ pack: Int64
    ) throws -> (entries: [PackFooter.Entry], damaged: [DamagedRecord], validEnd: UInt64) {
        var entries: [PackFooter.Entry] = []
        var damaged: [DamagedRecord] = []
        var scanner = PackScanner(to: end, limits: limits, skipsDamage: true) {
            try file.read(at: $0, into: $1)
        }
        let outcome = try scanner.run { item in
            switch item {
            case .record(let record, let offset):
                entries.append(PackFooter.Entry(record.header, offset: offset))
            case .damaged(let header, let offset, _):
                damaged.append(
                    DamagedRecord(
                        digest: header.digest,
                        location: BlobLocation(header, pack: pack, offset: offset)))
            }
        }
        return (entries, damaged, outcome.validEnd)
    }
}
