import CASCatalog
package import CASChunking
package import CASCore
import CASFileSystem
import CASPack
import CASStorage
import CASWire
import Synchronization

/// The store: takes records in, commits pushes, serves fetches, keeps refs and tokens.
///
/// Plain synchronous code over an injected file system, catalog and clock; any thread may call it.
/// Nothing is acknowledged before it is durable, and an unacknowledged push is whole or absent.
package final class Repository: Sendable {
    /// What it was opened with.
    package let configuration: RepositoryConfiguration
    /// The random name of this life of the store; new after a rebuild.
    package let incarnation: Identifier
    /// How large blobs are cut.
    package let chunker: ChunkerParameters
    /// What happened so far.
    package let counters: StoreCounters

    let fileSystem: any FileSystem
    let objects: any ObjectBackend
    let catalog: any Catalog
    let clock: any WallClock
    let files: PackFiles
    let transfer: PackTransfer
    let writer: PackWriter
    let plans: PlanCache
    let derivations = ImageDerivations()
    let looks = RenewalLooks()
    let uses = RecentUses()
    /// Set where recorded state proved damaged in its pack, so that the next collection repeats all of it.
    let needsCheckpoint = Atomic(false)
    /// Numbers up to this may be in packs without having been committed.
    let skippedSequence = Mutex<UInt64>(0)
    /// Packs that proved too short, and where they end: what reaches beyond has still to be taken out of use.
    let shortPacks = Mutex<[Int64: UInt64]>([:])
    /// Space for collection on a full disk.
    let reserve: SpaceReserve
    /// Set by a push that found the disk full.
    let spaceAlarm = Atomic(false)
    /// Whether anything was ever removed for good, so that pushes are looked at.
    let hasPurges = Atomic(false)
    /// How far the scrub is that goes on by itself; nil where this process does none.
    let scrubPosition = Mutex<ScrubPosition?>(nil)
    /// Long work that is being done.
    package let maintenance: MaintenanceJobs
    /// Says that somebody uses the store's directory, as long as it is held.
    let use = Mutex<FileLock?>(nil)
    /// Lent to whoever reads a record.
    let recordBuffers = RecordBuffersPool()
    /// Lent to whoever takes uploads and manifests of images.
    let compressors = CompressorPool()
    /// Uploads to repositories of images that this process has in memory.
    let uploads = OpenUploads()
    /// Held by the one thread that decompresses an uncommonly large record.
    let expansion = Mutex<Void>(())
    private let sessions = Mutex<[Identifier: PushSession]>([:])
    private let queue = Mutex<CommitQueue?>(nil)

    var limits: Limits { configuration.limits }

    init(
        _ configuration: RepositoryConfiguration, fileSystem: any FileSystem,
        objects: any ObjectBackend, catalog: any Catalog, clock: any WallClock,
        incarnation: Identifier, chunker: ChunkerParameters
    ) {
        self.configuration = configuration
        self.fileSystem = fileSystem
        self.catalog = catalog
        self.clock = clock
        self.incarnation = incarnation
        self.chunker = chunker
        counters = StoreCounters()
        maintenance = MaintenanceJobs(findings: configuration.limits.findings)
        self.objects = CountingBackend(objects, counters.objects)
        files = PackFiles(
            fileSystem: fileSystem, directory: configuration.activeDirectory,
            objects: self.objects)
        reserve = SpaceReserve(
            fileSystem: fileSystem,
            path: FilePaths.parent(configuration.activeDirectory) + "/reserve",
            bytes: configuration.reserveBytes)
        transfer = PackTransfer(
            catalog: catalog, files: files, objects: self.objects, counters: counters,
            isInBackground: configuration.storesInBackground)
        plans = PlanCache(capacity: configuration.plannedFiles)
        writer = PackWriter(
            fileSystem: fileSystem, catalog: catalog, clock: clock, files: files,
            transfer: transfer, configuration: configuration, incarnation: incarnation,
            counters: counters)
        queue.withLock { $0 = CommitQueue { [unowned self] in try process($0) } }
    }

    /// Changes that wait for a commit, for metrics.
    package var waitingCommits: Int { queue.withLock { $0?.depth ?? 0 } }
    /// Pushes in progress, for metrics.
    package var activePushes: Int { sessions.withLock { $0.count } }

    /// Sealed packs that the object backend does not have yet, for metrics.
    package var waitingPacks: Int { transfer.waitingCount }

    /// Hands the sealed packs that are waiting to the object backend, on this thread.
    ///
    /// Throws what the last one failed with; those that failed go on waiting.
    package func storeSealedPacks() throws {
        try transfer.run()
    }

    /// Ends the use of the store: seals this process's packs, hands them over and closes the catalog.
    package func close() throws {
        maintenance.close()
        let result = Result { try writer.close() }
        transfer.finish()
        files.close()
        try catalog.close()
        use.withLock { $0 = nil }
        try result.get()
    }

    // MARK: - Pushes in progress

    /// The session of a push, new if need be; throws `resourceExhausted` for too many at once.
    func session(_ identifier: Identifier, _ domain: Domain) throws -> PushSession {
        let now = clock.monotonicNanoseconds()
        return try sessions.withLock { sessions in
            if let session = sessions[identifier] {
                session.touch(now)
                return session
            }
            let idle = limits.pushIdleNanoseconds
            for (key, session) in sessions where session.lastUsed + idle < now {
                sessions[key] = nil
            }
            if sessions.count >= limits.concurrentPushes {
                // Gives up the one that rests longest, if nothing is lost with it: a client that went
                // away says so to nobody.
                let resting = sessions.filter { $0.value.isIdle }
                guard let oldest = resting.min(by: { $0.value.lastUsed < $1.value.lastUsed }) else {
                    throw CASError(
                        .unavailable, "too many pushes are in progress",
                        hint: "try again in a quarter of an hour")
                }
                sessions[oldest.key] = nil
            }
            let session = PushSession(identifier: identifier, domain: domain, now: now)
            sessions[identifier] = session
            return session
        }
    }

    /// Forgets a push in progress; what it uploaded and nobody else uses is left to collection.
    package func abandon(push: Identifier) {
        let session = sessions.withLock { $0.removeValue(forKey: push) }
        if let session, session.lease.end > 0 { endLease(push) }
    }

    func allSessions() -> [PushSession] {
        sessions.withLock { Array($0.values) } + uploads.sessions
    }

    // MARK: - Commits

    /// Runs `body` in the next round of commits and returns what it returned, durable.
    ///
    /// With `session`, everything uploaded to it so far is committed along and visible to `body`.
    func commit<Output: Sendable>(
        session: PushSession?, isEvent: Bool,
        _ body: @escaping @Sendable (CommitContext) throws -> Output
    ) throws -> Output {
        let box = OutputBox<Output>()
        let job = CommitQueue.Job(session: session, isEvent: isEvent) { context in
            let value = try body(context)
            box.set(value)
        }
        guard let queue = queue.withLock({ $0 }) else {
            throw CASError(.failedPrecondition, "the store is closed")
        }
        let result = Result { try queue.perform(job) }
        if !shortPacks.withLock({ $0.isEmpty }) {
            // What was committed is so in any case; where this fails, the next commit does it.
            do { try forgetBeyondEnds(domain: .standard) } catch is CASError {}
        }
        try result.get()
        guard let value = box.get() else {
            throw CASError(.internalError, "a commit ended without an outcome")
        }
        return value
    }
}

/// Carries the outcome of a job from the thread that led its round.
final class OutputBox<Output: Sendable>: Sendable {
    private let value: Mutex<Output?>
    init() { value = Mutex(nil) }
    func set(_ new: Output) { value.withLock { $0 = new } }
    func get() -> Output? { value.withLock { $0 } }
}
