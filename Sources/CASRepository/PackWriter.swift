import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import Synchronization

/// The packs that this process appends to, one of each class, and those that wait for their last sync.
///
/// Any thread may append. Creating a pack and everything about durability goes through `lock`ed state;
/// the order of locks is: writer, then pack.
final class PackWriter: Sendable {
    private static let creationAttempts = 5
    private let fileSystem: any FileSystem
    private let catalog: any Catalog
    private let clock: any WallClock
    private let files: PackFiles
    private let transfer: PackTransfer
    private let configuration: RepositoryConfiguration
    private let incarnation: Identifier
    let counters: StoreCounters

    /// What goes into one pack: records of one class, and what is copied forward apart from what is new, so
    /// that what a push brings stays side by side.
    struct Slot: Hashable {
        let packClass: PackClass
        var isForward = false
        /// The level of its records, where that is one for cold data.
        var level = 0
    }

    private struct State {
        var active: [Slot: ActivePack] = [:]
        /// Full ones whose seal the catalog does not know yet, and failed ones: the next round has to
        /// come across these, so that what is pending in them is given up.
        var full: [ActivePack] = []
        /// Bytes of each that the catalog knows to be durable.
        var committed: [Int64: UInt64] = [:]
    }
    private let state = Mutex(State())

    init(
        fileSystem: any FileSystem, catalog: any Catalog, clock: any WallClock, files: PackFiles,
        transfer: PackTransfer, configuration: RepositoryConfiguration, incarnation: Identifier,
        counters: StoreCounters
    ) {
        self.fileSystem = fileSystem
        self.catalog = catalog
        self.clock = clock
        self.files = files
        self.transfer = transfer
        self.configuration = configuration
        self.incarnation = incarnation
        self.counters = counters
    }

    /// Appends whole records of one class; the pack and where in it they begin.
    func append(
        _ records: UnsafeRawBufferPointer, _ headers: [RecordHeader], _ packClass: PackClass,
        isForward: Bool = false, level: Int = 0
    ) throws -> (pack: Int64, offset: UInt64) {
        let slot = Slot(packClass: packClass, isForward: isForward, level: level)
        while true {
            let pack = try active(slot)
            if let offset = try pack.append(records, headers) {
                counters.add(packBytes: UInt64(records.count))
                return (pack.number, offset)
            }
            state.withLock { state in
                guard state.active[slot] === pack else { return }
                state.active[slot] = nil
                if pack.failure != nil { state.full.append(pack) }
            }
        }
    }

    /// The pack of a class that takes records, a new one if there is none or the last one is full.
    func active(_ packClass: PackClass) throws -> ActivePack {
        try active(Slot(packClass: packClass))
    }

    private func active(_ slot: Slot) throws -> ActivePack {
        try state.withLock { state in
            if let pack = state.active[slot] {
                if pack.failure == nil {
                    if pack.length < configuration.packBytes { return pack }
                    try pack.seal()
                }
                state.full.append(pack)
            }
            state.active[slot] = nil
            let pack = try create(slot)
            state.active[slot] = pack
            state.committed[pack.number] = UInt64(PackHeader.byteCount)
            return pack
        }
    }

    /// Seals those packs that `isWanted` says, so that the next round hands them over; empty ones stay.
    func seal(where isWanted: (ActivePack) -> Bool) throws {
        try state.withLock { state in
            for (slot, pack) in state.active
            where pack.failure == nil && !pack.isEmpty && isWanted(pack) {
                try pack.seal()
                state.full.append(pack)
                state.active[slot] = nil
            }
        }
    }

    /// A new file that this process has locked.
    private func createFile() throws -> (Identifier, any StoreFile) {
        for _ in 0..<PackWriter.creationAttempts {
            let identifier = Identifier.random()
            let path = files.path(identifier)
            let file = try fileSystem.open(path, .create)
            do {
                // A lock on a file without a name is worth nothing: it may have been removed meanwhile.
                if try file.lock(), try fileSystem.size(path) != nil { return (identifier, file) }
            } catch {
                file.close()
                throw error
            }
            // Another process that opens the store saw it without a lock, took it for what a crash left,
            // and removes it.
            file.close()
        }
        throw CASError(.unavailable, "new packs are locked by somebody else", hint: "try again")
    }

    /// Creates a pack: file, lock, header, name made durable, and only then the catalog's entry.
    private func create(_ slot: Slot) throws -> ActivePack {
        let (identifier, file) = try createFile()
        let path = files.path(identifier)
        do {
            let header = PackHeader(
                packClass: slot.packClass, identifier: identifier, incarnation: incarnation,
                created: clock.now())
            try header.encode().withUnsafeBytes { try file.append($0) }
            try file.synchronizeData()
            try fileSystem.synchronizeDirectory(configuration.activeDirectory)
            counters.add(synchronizations: 2)
            let length = UInt64(PackHeader.byteCount)
            var entry = PackEntry(
                identifier: identifier, packClass: slot.packClass, committedBytes: length,
                created: header.created)
            entry.level = slot.level
            let number = try catalog.write { [entry] in try $0.insert(pack: entry) }
            files.insert(file, number)
            return ActivePack(
                number: number, identifier: identifier, packClass: slot.packClass, file: file,
                length: length)
        } catch {
            file.close()
            // The failure above is what matters; recovery removes empty packs that nobody knows.
            try? fileSystem.remove(path)
            throw error
        }
    }

    /// What a round of syncs achieved, to be written into the catalog.
    struct Progress {
        struct Pack {
            let pack: ActivePack
            let durableBytes: UInt64
            /// Whether it had its footer before the sync.
            let isSealed: Bool
        }
        var packs: [Pack] = []
        /// Packs whose sync failed: what was pending in them is gone.
        var failed: [(pack: ActivePack, error: any Error)] = []
    }

    /// Makes everything appended so far durable, one sync for each pack that has something new.
    func synchronize() -> Progress {
        let packs = state.withLock { state in
            (state.full + state.active.values.sorted { $0.number < $1.number }).filter { pack in
                pack.isSealed || pack.failure != nil
                    || pack.length > state.committed[pack.number, default: 0]
            }
        }
        var progress = Progress()
        for pack in packs {
            do {
                let isSealed = pack.isSealed
                let durableBytes = try pack.synchronize()
                progress.packs.append(
                    Progress.Pack(pack: pack, durableBytes: durableBytes, isSealed: isSealed))
                counters.add(synchronizations: 1)
            } catch {
                progress.failed.append((pack, error))
            }
        }
        let failed = Set(progress.failed.map(\.pack.number))
        if !failed.isEmpty {
            state.withLock { state in
                state.full.removeAll { failed.contains($0.number) }
                for (slot, pack) in state.active where failed.contains(pack.number) {
                    state.active[slot] = nil
                }
                for number in failed { state.committed[number] = nil }
            }
        }
        return progress
    }

    /// Packs that this process writes to, or wrote to and did not hand on.
    func ownPacks() -> Set<Int64> {
        state.withLock { Set(($0.active.values + $0.full).map(\.number)) }
    }

    /// How many bytes of each pack of this process are durable after a round; failed packs are left out.
    func durableBytes(_ progress: Progress) -> [Int64: UInt64] {
        var bytes = state.withLock { $0.committed }
        for item in progress.packs { bytes[item.pack.number] = item.durableBytes }
        for (pack, _) in progress.failed { bytes[pack.number] = nil }
        return bytes
    }

    /// Writes the outcome of a round into the catalog's transaction.
    func record(_ progress: Progress, _ transaction: any CatalogTransaction) throws {
        for item in progress.packs {
            try transaction.update(
                pack: item.pack.number, isSealed: item.isSealed ? true : nil,
                committedBytes: item.durableBytes)
        }
    }

    /// Takes note that the transaction with that outcome was committed.
    func committed(_ progress: Progress) {
        let sealed = Set(progress.packs.filter(\.isSealed).map(\.pack.number))
        state.withLock { state in
            for item in progress.packs {
                state.committed[item.pack.number] = item.durableBytes
            }
            state.full.removeAll { sealed.contains($0.number) }
        }
        transfer.add(sealed.sorted())
    }

    /// Seals all packs; a pack without records is removed.
    func close() throws {
        let packs = state.withLock { state in
            defer { state.active = [:] }
            return state.active.values.sorted { $0.number < $1.number }
        }
        var empty: [ActivePack] = []
        for pack in packs where pack.failure == nil {
            if pack.isEmpty {
                empty.append(pack)
            } else {
                try pack.seal()
                state.withLock { $0.full.append(pack) }
            }
        }
        let progress = synchronize()
        if !progress.packs.isEmpty || !empty.isEmpty {
            try catalog.write { transaction in
                try record(progress, transaction)
                for pack in empty { try transaction.removePack(pack.number) }
            }
            committed(progress)
        }
        for pack in empty {
            files.forget(pack.number)
            try files.remove(pack.identifier)
        }
        if let failure = progress.failed.first { throw failure.error }
    }
}
