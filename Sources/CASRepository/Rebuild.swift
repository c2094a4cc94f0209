package import CASCatalog
import CASChunking
package import CASCore
package import CASFileSystem
import CASPack
package import CASStorage
import CASTree
import CASWire

/// What a rebuild of the index found.
package struct RebuildReport: Sendable {
    /// Packs that were read.
    package var packs = 0
    /// Records that are in use again.
    package var records = 0
    /// Refs that name what they named.
    package var refs = 0
    /// Records that are damaged and left out.
    package var damaged = 0
    /// Refs whose snapshot or image is not whole any more.
    package var incompleteRefs: [RefName] = []
    /// Packs that can not be read at all, with the reason.
    package var unreadable: [(path: String, reason: String)] = []
}

extension Repository {
    /// Fills an empty catalog from the packs: locations, chunk lists, refs with their history, tokens.
    ///
    /// Nobody else may use the store meanwhile. Removed refs and revoked tokens stay so, as their removal
    /// is recorded too; of two moves of a ref the one with the higher sequence counts. The store gets
    /// a new incarnation, so that no client believes what it remembers of the old one.
    package static func rebuildIndex(
        _ configuration: RepositoryConfiguration, fileSystem: any FileSystem,
        objects: any ObjectBackend, catalog: any Catalog, clock: any WallClock
    ) throws -> (repository: Repository, report: RebuildReport) {
        let incarnation = Identifier.random()
        try catalog.write { try $0.removeEverything() }
        var rebuild = IndexRebuild(
            configuration, fileSystem: fileSystem, objects: objects, catalog: catalog)
        try rebuild.readPacks()
        try rebuild.applyEvents(
            incarnation: incarnation, fallback: configuration.chunker, now: clock.now())
        let repository = try open(
            configuration, fileSystem: fileSystem, objects: objects, catalog: catalog,
            clock: clock)
        try repository.checkRefs(&rebuild.report)
        try repository.initialize()
        if rebuild.isPatched { try repository.makeCheckpoint(domain: .standard) }
        return (repository, rebuild.report)
    }

    /// Records which refs' snapshots are whole, and looks for what images lack.
    private func checkRefs(_ report: inout RebuildReport) throws {
        var after: RefName?
        while true {
            let page = try refs(
                prefix: "", after: after, limit: limits.listingEntries, domain: .standard)
            for entry in page {
                report.refs += 1
                if try !isWhole(entry.target) { report.incompleteRefs.append(entry.name) }
            }
            guard page.count == limits.listingEntries, let last = page.last else { return }
            after = last.name
        }
    }
}

extension Repository {
    private func isWhole(_ target: RefTarget) throws -> Bool {
        switch target.kind {
        case .snapshot:
            try commit(session: nil, isEvent: false) { [self] context in
                var completeness = Completeness(context, domain: .standard, limits: limits)
                return try completeness.check(target.digest).missing.count == 0
            }
        case .manifest:
            try catalog.read { try lacking(inImage: target.digest, $0, .standard).isEmpty }
        }
    }
}

/// Reads all packs of a store into an empty catalog.
struct IndexRebuild {
    /// A pack that is being read.
    private struct Source {
        /// What its name says, under which it is read later.
        let name: Identifier
        let size: UInt64
        /// Whether it is an object and nothing else.
        let isStored: Bool
        let read: PackScanner.Read
    }
    private let configuration: RepositoryConfiguration
    private let fileSystem: any FileSystem
    private let objects: any ObjectBackend
    private let catalog: any Catalog
    private var events = FoundEvents()
    /// Whether recorded state was put together from pieces.
    var isPatched: Bool { events.isPatched }
    var report = RebuildReport()

    init(
        _ configuration: RepositoryConfiguration, fileSystem: any FileSystem,
        objects: any ObjectBackend, catalog: any Catalog
    ) {
        self.configuration = configuration
        self.fileSystem = fileSystem
        self.objects = objects
        self.catalog = catalog
    }

    /// Snapshots that there are: nobody knows any more which of them, and of the images, were fetched lately.
    private var snapshots: [Digest] = []

    mutating func readPacks() throws {
        // Absent in a copy of the packs alone.
        try fileSystem.createDirectory(configuration.activeDirectory)
        try fileSystem.synchronizeDirectory(configuration.activeDirectory)
        let local = Set(
            try fileSystem.list(configuration.activeDirectory)
                .compactMap(PackFiles.identifier(ofFile:)))
        var stored: [ObjectEntry] = []
        try objects.forEach { stored.append($0) }
        for object in stored {
            // An object beside its file may be what a put left that failed before it was durable: opening
            // the store puts it once more and then removes the file.
            let isStored = !local.contains(object.name)
            try readPack(objects.place(of: object.name)) { rebuild in
                try rebuild.readObject(object, isStored: isStored)
            }
        }
        let names = Set(stored.map(\.name))
        for name in try fileSystem.list(configuration.activeDirectory) {
            guard let identifier = PackFiles.identifier(ofFile: name) else { continue }
            let path = "\(configuration.activeDirectory)/\(name)"
            guard !names.contains(identifier) else { continue }
            try readPack(path) { rebuild in try rebuild.readFile(identifier, path) }
        }
    }

    private mutating func readPack(
        _ place: String, _ body: (inout IndexRebuild) throws -> Void
    ) throws {
        do {
            try body(&self)
            report.packs += 1
        } catch let error as CASError
            where error.code == .dataLoss || error.code == .unimplemented
        {
            report.unreadable.append((place, error.description))
        }
    }

    private mutating func readObject(_ object: ObjectEntry, isStored: Bool) throws {
        let objects = objects
        try read(
            Source(name: object.name, size: object.size, isStored: isStored) { offset, target in
                guard let count = try objects.read(object.name, at: offset, into: target) else {
                    throw CASError(.dataLoss, "the pack is gone")
                }
                return count
            })
    }

    private mutating func readFile(_ identifier: Identifier, _ path: String) throws {
        let file = try fileSystem.open(path, .readWrite)
        defer { file.close() }
        guard try file.lock() else {
            throw CASError(
                .failedPrecondition, "somebody is writing to the store",
                hint: "stop cas serve and every push first", path: path)
        }
        // What its owner did not live to sync counts from now on.
        try file.synchronizeData()
        try read(
            Source(name: identifier, size: try file.size(), isStored: false) {
                try file.read(at: $0, into: $1)
            })
    }

    private mutating func read(_ source: Source) throws {
        let header = try withBytes(source, 0, PackHeader.byteCount) {
            try PackHeader(decoding: $0)
        }
        guard header.identifier == source.name else {
            throw CASError(.dataLoss, "the pack has the name of another")
        }
        let footerOffset = try sealedEnd(source)
        let end = footerOffset ?? source.size
        var locations: [(Digest, BlobLocation)] = []
        var lists: [(Digest, ChunkList)] = []
        let number = try catalog.write {
            try $0.insert(
                pack: PackEntry(
                    identifier: header.identifier, packClass: header.packClass,
                    isSealed: source.isStored, isStored: source.isStored, committedBytes: end,
                    created: header.created))
        }
        var scanner = PackScanner(
            to: end, limits: configuration.limits, skipsDamage: true,
            read: source.read)
        let contents = try RecordContents()
        var eventBytes: UInt64 = 0
        var lastEvent: UInt64 = 0
        events.beginPack()
        let outcome = try scanner.run { item in
            guard case .record(let record, let offset) = item else {
                report.damaged += 1
                return
            }
            let header = record.header
            if header.kind == .event {
                let event = try StoreEvent(decoding: try contents.decode(record))
                eventBytes += UInt64(record.record.count)
                lastEvent = max(lastEvent, event.sequence)
                events.insert(event)
                return
            }
            if header.kind == .chunkList {
                lists.append(
                    (
                        header.digest,
                        try ChunkList(
                            decoding: try contents.decode(record), limits: configuration.limits)
                    ))
            }
            if header.kind == .snapshot { snapshots.append(header.digest) }
            locations.append(
                (
                    header.digest,
                    BlobLocation(header, pack: number, offset: offset)
                ))
        }
        if !source.isStored, footerOffset == nil { events.endsUnsealed() }
        report.records += locations.count
        try catalog.write { transaction in
            try transaction.insert(locations: locations, domain: .standard)
            try transaction.insert(chunkLists: lists, domain: .standard)
            try transaction.update(
                pack: number, isSealed: source.isStored || footerOffset != nil,
                committedBytes: outcome.validEnd)
            try transaction.addEvents(pack: number, bytes: eventBytes, lastSequence: lastEvent)
        }
    }

    /// Where the footer of a sealed pack begins; nil for one that has none.
    private func sealedEnd(_ source: Source) throws -> UInt64? {
        let size = source.size
        guard size >= UInt64(PackHeader.byteCount + PackTrailer.byteCount) else { return nil }
        return try withBytes(source, size - UInt64(PackTrailer.byteCount), PackTrailer.byteCount) {
            guard PackTrailer.isPresent($0) else { return nil }
            // A trailer that is damaged or lies is no trailer; the scan finds what is whole.
            return (try? PackTrailer(decoding: $0, packBytes: size))?.footerOffset
        }
    }

    private func withBytes<Result>(
        _ source: Source, _ offset: UInt64, _ count: Int,
        _ body: (UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
        let buffer = ReusableBuffer(capacity: count)
        buffer.resize(to: count)
        let read = try source.read(offset, buffer.mutableBytes)
        return try body(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<read]))
    }

    /// What the push behind a move was answered, so that repeating it moves nothing back.
    private func recordAnswer(
        _ move: HistoryEntry, _ entry: RefEntry?, _ domain: Domain,
        _ transaction: any CatalogTransaction
    ) throws {
        guard let push = move.pushID, let target = move.target else { return }
        let answer = PushResponse(
            outcome: .done, snapshot: target.digest, tree: entry?.tree ?? .zero,
            previous: move.previous?.digest, sequence: move.sequence, missing: [],
            missingCount: 0)
        try transaction.insert(push: push, answer, domain: domain)
    }

    /// Takes out of use what was removed for good.
    private func purge(_ event: StoreEvent, _ transaction: any CatalogTransaction) throws {
        guard case .purged(let record, _) = event else { return }
        let domain = record.domain
        try transaction.insert(purged: record.digests, reason: record.reason, domain: domain)
        try transaction.remove(locations: record.digests, domain: domain)
        try transaction.remove(chunkLists: record.digests, domain: domain)
    }

    /// Applies all recorded state in the order in which it came about.
    func applyEvents(
        incarnation: Identifier, fallback: ChunkerParameters, now: Timestamp
    ) throws {
        let ordered = events.counted()
        try catalog.write { transaction in
            var chunker = fallback
            for event in ordered { try purge(event, transaction) }
            for event in ordered {
                try transaction.raiseSequence(to: event.sequence)
                switch event {
                case .storeCreated(_, let average, let seed, _, _):
                    chunker = try ChunkerParameters(
                        averageBytes: Int(clamping: average), seed: UInt32(truncatingIfNeeded: seed)
                    )
                case .refMoved(let move, let entry, let domain):
                    try transaction.move(move, entry, domain: domain)
                    try recordAnswer(move, entry, domain, transaction)
                case .refRenewed(let renewal, _):
                    guard var entry = try transaction.ref(renewal.name, domain: renewal.domain),
                        entry.sequence == renewal.move
                    else { continue }
                    entry.expires = renewal.expires
                    entry.lifetime = renewal.lifetime
                    entry.imageOptions = renewal.imageOptions ?? entry.imageOptions
                    try transaction.update(ref: entry, domain: renewal.domain)
                case .tokenCreated(let record, _):
                    if try transaction.token(record.id) == nil {
                        try transaction.insert(token: record)
                    }
                case .tokenRevoked(let identifier, let time, _):
                    _ = try transaction.revoke(token: identifier, at: time)
                case .ruleSet(let rule, _): try transaction.insert(rule: rule, domain: .standard)
                case .ruleRemoved(let pattern, _, _):
                    _ = try transaction.removeRule(pattern: pattern, domain: .standard)
                case .pinned(let pin, let domain, _):
                    try transaction.insert(pin: pin, domain: domain)
                case .unpinned(let name, let digest, _, let domain, _):
                    _ = try transaction.removePin(name: name, digest: digest, domain: domain)
                case .ociLinked, .ociUnlinked, .digestAlias, .imageDerived:
                    try RecordedImages.apply(event, now: now, transaction)
                case .purged, .checkpointed, .checkpointEnded: continue
                }
            }
            try RecordedImages.removeImagesWithoutBytes(transaction)
            for digest in try snapshots + RecordedImages.manifests(transaction) {
                try transaction.insert(
                    touch: Touch(digest: digest, byDigest: now.seconds), domain: .standard)
            }
            try events.mark(transaction)
            try transaction.set(setting: SettingName.incarnation, incarnation.bytes)
            try transaction.set(setting: SettingName.chunker, Repository.encodeChunker(chunker))
        }
    }
}
