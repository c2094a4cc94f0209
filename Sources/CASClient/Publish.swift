package import CASCore
import CASFileSystem
import CASTree
package import CASWire
package import CASWorkspace

/// What `cas publish` is asked for.
package struct PublishOptions: Sendable {
    /// A ref or digest, without a host.
    package var want: String
    /// The volume, or where it is to be.
    package var directory: String
    /// Seconds that a version stays after it is not current any more.
    package var graceSeconds: Int64 = 14 * 86_400
    /// Where whole files are kept on this machine; nil for nowhere.
    package var cacheDirectory: String?
    /// Bytes that the cache may hold.
    package var cacheLimit: UInt64 = 20 << 30
    /// Threads, and connections at once.
    package var workers: Int
    /// Whether to say what would be done and do nothing.
    package var isDryRun = false
    /// Limits on what is accepted.
    package var limits = Limits.standard

    /// A publication of a ref or digest in a directory, everything else as usual.
    package init(want: String, directory: String, workers: Int) {
        self.want = want
        self.directory = directory
        self.workers = max(1, min(workers, 16))
    }
}

/// What became of a version that is not current.
package struct OldVersion: Sendable {
    /// Why it is still there.
    package enum Fate: Sendable, Equatable {
        /// It went.
        case retired
        /// Its time is not over yet; seconds that are left.
        case inGrace(Int64)
        /// A ref names it.
        case named(RefName)
        /// Somebody wants it kept: `.cas/keep` names it.
        case kept
    }
    /// Its snapshot.
    package let digest: Digest
    /// What became of it.
    package let fate: Fate
}

/// What a publication did.
package struct PublishSummary: Sendable {
    /// What the store planned: which snapshot, under which ref.
    package var plan: PlanResponse
    /// The tree of the snapshot.
    package var tree: Digest
    /// Sums over the tree.
    package var files: UInt64
    /// Bytes of its files.
    package var bytes: UInt64
    /// Whether the version was there already, whole.
    package var wasPresent = false
    /// What `current` named before, if that is another version.
    package var previous: Digest?
    /// Files that came from older versions.
    package var shared = SharedFiles()
    /// Files and bytes that were fetched, or would be.
    package var fetched: (files: Int, bytes: UInt64) = (0, 0)
    /// Bytes received.
    package var receivedBytes: UInt64 = 0
    /// The versions that were not current afterwards.
    package var old: [OldVersion] = []
}

/// Puts snapshots side by side on a shared volume.
package enum Publish {
    private static let lockMilliseconds: UInt64 = 100

    /// Publishes a snapshot and lets `current` name it; retires what is old.
    ///
    /// Waits for another publisher; `onWait` is called once if there is one, `onStep` before each step.
    /// Throws as `Fetch` does, and `failedPrecondition` for a directory that is not a volume and not empty.
    /// Whatever fails, a version is whole or not there.
    package static func run(
        _ options: PublishOptions, connection: any StoreConnection, counters: ProgressCounters,
        onStep: @escaping (PublishedVolume.Step) throws -> Void = { _ in },
        onWait: () -> Void = {}
    ) throws -> PublishSummary {
        var (plan, snapshot, contents) = try ask(options, connection, counters)
        var summary = PublishSummary(
            plan: plan, tree: snapshot.tree.digest, files: snapshot.totals.files,
            bytes: snapshot.totals.bytes)
        let isThere = try PublishedVolume.isVolume(options.directory)
        if options.isDryRun, !isThere {
            summary.fetched = (Int(clamping: plan.files), snapshot.totals.bytes)
            return summary
        }
        var hasWaited = false
        let volume = try open(options.directory) {
            hasWaited = true
            onWait()
        }
        volume.onStep = onStep
        if hasWaited {
            // The ref may have moved meanwhile, and who waited longer must not put an older version back.
            (plan, snapshot, contents) = try ask(options, connection, counters)
            summary = PublishSummary(
                plan: plan, tree: snapshot.tree.digest, files: snapshot.totals.files,
                bytes: snapshot.totals.bytes)
        }
        if options.isDryRun {
            try look(plan.snapshot, snapshot, contents, volume, options, &summary)
        } else {
            try volume.clean()
            summary.wasPresent = try volume.isWhole(plan.snapshot, limits: options.limits)
            if !summary.wasPresent {
                try build(plan, snapshot, contents, volume, options, connection, counters, &summary)
            }
            summary.previous = try volume.setCurrent(plan.snapshot)
        }
        summary.receivedBytes = counters.transferred
        summary.old = try retire(volume, plan, options, connection)
        return summary
    }

    private static func ask(
        _ options: PublishOptions, _ connection: any StoreConnection, _ counters: ProgressCounters
    ) throws -> (PlanResponse, Snapshot, TreeContents) {
        let plan = try connection.plan(PlanRequest(want: options.want, have: nil))
        let (snapshot, contents) = try Fetch.messages(
            plan, have: nil, connection, counters, options.limits)
        try Fetch.check(options.want, plan.snapshot, snapshot)
        return (plan, snapshot, contents)
    }

    private static func open(_ directory: String, _ onWait: () -> Void) throws -> PublishedVolume {
        var isTold = false
        while true {
            if let volume = try PublishedVolume(directory) { return volume }
            if !isTold { onWait() }
            isTold = true
            Sleep.milliseconds(lockMilliseconds)
        }
    }

    private static func build(
        _ plan: PlanResponse, _ snapshot: Snapshot, _ contents: TreeContents,
        _ volume: PublishedVolume, _ options: PublishOptions, _ connection: any StoreConnection,
        _ counters: ProgressCounters, _ summary: inout PublishSummary
    ) throws {
        let older = try volume.older(limits: options.limits)
        var fetch = FetchOptions(want: options.want, destination: "", workers: options.workers)
        fetch.restore.isSealed = true
        fetch.restore.older = older
        fetch.restore.cacheDirectory = options.cacheDirectory
        fetch.restore.cacheLimit = options.cacheLimit
        fetch.restore.limits = options.limits
        var fetched: (files: Int, bytes: UInt64) = (0, 0)
        try volume.build(plan.snapshot) { building in
            fetch.destination = building
            let restore = try Restore(
                destination: building, snapshot: snapshot, snapshotDigest: plan.snapshot,
                contents: contents,
                state: DestinationState.load(building, limits: options.limits),
                options: fetch.restore)
            let needed = try restore.prepare()
            fetched = (needed.files, needed.bytes)
            try Fetch.transfer(needed, plan, restore, fetch, connection, counters)
            return try restore.finishVersion().state
        }
        summary.fetched = fetched
        summary.shared = older.taken
    }

    /// Finds out what would be fetched.
    private static func look(
        _ digest: Digest, _ snapshot: Snapshot, _ contents: TreeContents,
        _ volume: PublishedVolume, _ options: PublishOptions, _ summary: inout PublishSummary
    ) throws {
        summary.wasPresent = try volume.isWhole(digest, limits: options.limits)
        guard !summary.wasPresent else { return }
        let older = try volume.older(limits: options.limits, isDryRun: true)
        var fetched: (files: Int, bytes: UInt64) = (0, 0)
        var shared = SharedFiles()
        try TreeWalk.run(
            root: snapshot.tree.digest, attributes: nil, source: contents, limits: options.limits
        ) { step in
            for file in step.directory.files where file.size > 0 {
                if older.has(file.digest) {
                    shared.linked += 1
                    shared.bytes += file.size
                } else {
                    fetched.files += 1
                    fetched.bytes += file.size
                }
            }
            return true
        }
        (summary.fetched, summary.shared) = (fetched, shared)
        let current = try volume.current()
        summary.previous = current == digest ? nil : current
    }

    // MARK: - What is old

    private static func retire(
        _ volume: PublishedVolume, _ plan: PlanResponse, _ options: PublishOptions,
        _ connection: any StoreConnection
    ) throws -> [OldVersion] {
        let (versions, now) = try volume.old(isDryRun: options.isDryRun)
        let due = versions.filter { $0.digest != plan.snapshot }
        guard !due.isEmpty else { return [] }
        // Asked only where something could go.
        let mayGo = due.contains {
            !$0.isKept && now.seconds - $0.since.seconds >= options.graceSeconds
        }
        let named = mayGo ? try names(options, connection) : [:]
        return try due.map { version in
            let age = now.seconds - version.since.seconds
            let fate: OldVersion.Fate
            if version.isKept {
                fate = .kept
            } else if age < options.graceSeconds {
                fate = .inGrace(options.graceSeconds - age)
            } else if let name = named[version.digest] {
                fate = .named(name)
            } else {
                if !options.isDryRun { try volume.retire(version.digest) }
                fate = .retired
            }
            return OldVersion(digest: version.digest, fate: fate)
        }
    }

    /// The snapshots that refs still name, of whatever name: a volume may hold versions of several projects.
    private static func names(
        _ options: PublishOptions, _ connection: any StoreConnection
    ) throws -> [Digest: RefName] {
        let now = SystemClock().now()
        var named: [Digest: RefName] = [:]
        var after = ""
        repeat {
            let page = try connection.refs(
                prefix: "", after: after, limit: options.limits.listingEntries)
            for entry in page.entries where entry.expires.map({ now < $0 }) ?? true {
                named[entry.target.digest] = entry.name
            }
            guard page.next != after else { break }
            after = page.next
        } while !after.isEmpty
        return named
    }
}
