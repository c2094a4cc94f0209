import CASTree
import CASCore
import CASCompression
import CASFileSystem
import CASPack
import CASWire
import CASWorkspace
import Synchronization

/// Pushes a workspace: scan, hash, ask, compress, send, commit; all stages overlap.
package enum Push {
    /// Times that a push sends what the store says it lacks before it gives up.
    private static let rounds = 20
    /// Times that a store may lack the very same after it was sent.
    static let fruitlessRounds = 3

    /// Pushes a directory and moves a ref to its snapshot.
    ///
    /// Throws `resourceExhausted` where more is new than the options allow, `aborted` where the ref is
    /// not where the precondition wants it, `unavailable` where the store went away: pushing again
    /// goes on where it stopped. `onLimit` gets the summary before the first of these is thrown.
    package static func run(
        _ options: PushOptions, connection: any StoreConnection, counters: ProgressCounters,
        onLimit: (PushSummary) -> Void = { _ in }
    ) throws -> PushSummary {
        let run = try PushRun(options, connection, counters)
        do { return try run.run(onLimit: onLimit) } catch {
            throw options.isDryRun ? error : Resumption.hint(error)
        }
    }

    /// Bytes that are sent along with a commit without asking whether a quota has room for them.
    static let smallCommitBytes = 64 << 10

    static var roundLimit: Int { rounds }
}

/// One push on its way.
final class PushRun {
    private let options: PushOptions
    private let connection: any StoreConnection
    private let counters: ProgressCounters
    private let context: PushContext
    private let cache: StatCache?
    private let description: SharedResult<StoreDescription>
    private let describer: WorkerThread
    private let size: PushSize
    private var nextStream: Int

    init(
        _ options: PushOptions, _ connection: any StoreConnection, _ counters: ProgressCounters
    ) throws {
        self.options = options
        self.connection = connection
        self.counters = counters
        cache = options.cachePath.flatMap { StatCache.load(path: $0) }
        // Asked while the scan runs: on a far server the answer costs no time of its own.
        let description = SharedResult<StoreDescription>()
        describer = try WorkerThread(name: "describe") {
            description.set(Result { try connection.describe() })
        }
        self.description = description
        nextStream = options.workers
        let size = PushSize(options, cache)
        self.size = size
        let pushID = Identifier.random()
        let acknowledged = cache?.acknowledged ?? [:]
        context = PushContext(
            connection: connection, pushID: pushID, options: options, counters: counters,
            describe: { try description.get() },
            hasBase: {
                let incarnation = try description.get().incarnation
                return acknowledged[
                    StatCache.StoreKey(server: connection.location, incarnation: incarnation)]
                    != nil
            },
            ask: {
                guard try description.get().hasQuotas else { return }
                try connection.checkQuota(
                    QuotaRequest(ref: options.ref, bytes: try size.bytes()), push: pushID)
            })
    }

    func run(onLimit: (PushSummary) -> Void) throws -> PushSummary {
        do {
            return try perform(onLimit: onLimit)
        } catch let error as CASError where !error.code.isTransient {
            // It will not go on: the store need not keep room for it. A store that does not hear of it
            // forgets it by itself.
            try? connection.abandon(push: context.pushID)
            throw error
        }
    }

    private func perform(onLimit: (PushSummary) -> Void) throws -> PushSummary {
        let scanned: ScannedTree
        do {
            scanned = try scan()
        } catch {
            try? describer.join()
            throw error
        }
        let tree = try scanned.assemble()
        let store = try description.get()
        try describer.join()
        let key = StatCache.StoreKey(server: connection.location, incarnation: store.incarnation)
        let base = cache?.acknowledged[key]
        let known = knownMessages(tree, base)
        let cachedBytes = scanned.totalBytes - scanned.pendingBytes
        if base == nil {
            let missingBytes = try sendUnknownFiles(scanned)
            counters.add(known: cachedBytes - min(cachedBytes, missingBytes))
        } else {
            counters.add(known: cachedBytes)
        }
        if context.isListing {
            let summary = summary(scanned, tree, nil)
            if options.isDryRun { try? connection.abandon(push: context.pushID) }
            try save(scanned, tree, key, isAcknowledged: false)
            if options.isDryRun { return summary }
            onLimit(summary)
            throw CASError(
                .resourceExhausted,
                "\(ByteCount.text(counters.newBytes)) are new, more than the "
                    + "\(ByteCount.text(options.newBytesLimit)) that a push sends without --large",
                hint: "leave out what does not belong in (.casignore, --exclude), or add --large")
        }
        try addMessages(tree, known)
        let response = try commit(scanned, tree, base: base?.snapshot)
        try save(scanned, tree, key, isAcknowledged: true)
        return summary(scanned, tree, response)
    }

    // MARK: - Files

    /// Scans while workers hash and send what the stat cache does not know.
    private func scan() throws -> ScannedTree {
        let queue = BoundedQueue<PendingFile>(capacity: 1024)
        let result = SharedResult<ScannedTree>()
        let options = options
        let cache = cache
        let context = context
        let size = size
        let scanner = try WorkerThread(name: "scan") {
            do {
                let tree = try WorkspaceScan.run(
                    root: options.directory, options: options.scan, cache: cache
                ) { try queue.put($0) }
                size.set(tree.totalBytes)
                result.set(.success(tree))
                queue.close()
            } catch {
                result.set(.failure(error))
                queue.fail(error)
            }
        }
        let hashing = Result {
            try WorkerGroup.run(count: options.workers, name: "push") { number in
                do {
                    // Made for the first file: a push without changes needs no compressor.
                    var worker: PushWorker?
                    while let file = try queue.take() {
                        let active = try worker ?? PushWorker(context, stream: number)
                        worker = active
                        try active.take(SourceFile(file))
                    }
                    try worker?.finish()
                } catch {
                    queue.fail(error)
                    throw error
                }
            }
        }
        try scanner.join()
        try hashing.get()
        let tree = try result.get()
        counters.add(
            unreadFiles: UInt64(tree.cachedCount), bytes: tree.totalBytes - tree.pendingBytes)
        return tree
    }

    /// Asks about the files that only the stat cache knows, and sends those that are missing: the store
    /// has not acknowledged this workspace yet.
    ///
    /// The result is how many bytes those are.
    @discardableResult
    private func sendUnknownFiles(_ scanned: ScannedTree) throws -> UInt64 {
        guard scanned.cachedCount > 0 else { return 0 }
        var digests: [Digest] = []
        scanned.forEachFile { _, digest, size in if size > 0 { digests.append(digest) } }
        let distinct = Array(Set(digests))
        var missing: Set<Digest> = []
        for start in stride(from: 0, to: distinct.count, by: options.limits.digestsPerRequest) {
            let end = min(start + options.limits.digestsPerRequest, distinct.count)
            let batch = Array(distinct[start..<end])
            for (digest, isMissing) in zip(
                batch, try connection.missing(batch, push: context.pushID)) where isMissing
            {
                missing.insert(digest)
            }
        }
        return try send(missing, scanned)
    }

    /// Reads files with these digests again and sends them; the result is how many bytes they have.
    @discardableResult
    private func send(_ digests: Set<Digest>, _ scanned: ScannedTree) throws -> UInt64 {
        guard !digests.isEmpty else { return 0 }
        var rest = digests
        var paths: [([UInt8], Digest)] = []
        var bytes: UInt64 = 0
        scanned.forEachFile { path, digest, size in
            guard rest.remove(digest) != nil else { return }
            paths.append((path, digest))
            bytes += size
        }
        let queue = BoundedQueue<([UInt8], Digest)>(capacity: paths.count + 1)
        for path in paths { try queue.put(path) }
        queue.close()
        let context = context
        let root = try DirectoryHandle(path: scanned.root)
        let count = min(options.workers, max(1, paths.count))
        let firstStream = nextStream
        nextStream += count
        try WorkerGroup.run(count: count, name: "push") { number in
            let worker = try PushWorker(context, stream: firstStream + number)
            while let (path, digest) = try queue.take() {
                try worker.take(SourceFile(path, digest, root))
            }
            try worker.finish()
        }
        return bytes
    }

    // MARK: - Messages and the commit

    private func knownMessages(
        _ tree: AssembledTree, _ base: StatCache.Acknowledged?
    ) -> KnownMessages? {
        guard let base, base.snapshot != tree.snapshotDigest, let path = options.cachePath else {
            return nil
        }
        return KnownMessages(path: "\(path).messages", snapshot: base.snapshot)
    }

    /// Adds the messages that the store does not have, and the snapshot, to what will be committed.
    private func addMessages(_ tree: AssembledTree, _ known: KnownMessages?) throws {
        if let base = known {
            try send(tree) { !base.contains($0) }
        } else if cache?.acknowledged.values.contains(where: { $0.snapshot == tree.snapshotDigest })
            != true
        {
            try sendMissing(tree)
        }
    }

    /// Sends all messages that the store says it lacks.
    private func sendMissing(_ tree: AssembledTree) throws {
        let total = tree.directories.reduce(UInt64(0)) {
            $0 + $1.directory.size + $1.attributes.size
        }
        if total <= UInt64(options.limits.unaskedBytes / 8) { return try send(tree) { _ in true } }
        let digests = Array(
            Set(tree.directories.flatMap { [$0.directory.digest, $0.attributes.digest] }))
        var missing: Set<Digest> = []
        for start in stride(from: 0, to: digests.count, by: options.limits.digestsPerRequest) {
            let end = min(start + options.limits.digestsPerRequest, digests.count)
            let batch = Array(digests[start..<end])
            for (digest, isMissing) in zip(
                batch, try connection.missing(batch, push: context.pushID)) where isMissing
            {
                missing.insert(digest)
            }
        }
        try send(tree) { missing.contains($0) }
    }

    /// Sends the wanted messages and the snapshot: with the commit if there is room, else before it.
    private func send(_ tree: AssembledTree, _ isWanted: (Digest) -> Bool) throws {
        let compressor = try Compressor()
        let records = ReusableBuffer(capacity: 1 << 20)
        var sent: Set<Digest> = []
        let stream = nextStream
        nextStream += 1
        func add(_ kind: RecordKind, _ digest: Digest, _ bytes: [UInt8]) throws {
            guard sent.insert(digest).inserted else { return }
            try RecordCoding.appendFrame(
                kind: kind, digest: digest, rawLength: bytes.count, to: records
            ) { output in try bytes.withUnsafeBytes { try compressor.encode($0, into: output) } }
            guard records.count >= 4 << 20 else { return }
            try context.upload(records, stream: stream)
            records.removeAll()
        }
        for directory in tree.directories {
            let needsDirectory = isWanted(directory.directory.digest)
            let needsAttributes = isWanted(directory.attributes.digest)
            guard needsDirectory || needsAttributes else { continue }
            let bytes = try directory.encode()
            if needsDirectory { try add(.directory, directory.directory.digest, bytes.directory) }
            if needsAttributes {
                try add(.attributes, directory.attributes.digest, bytes.attributes)
            }
        }
        try add(.snapshot, tree.snapshotDigest, tree.snapshotBytes)
        guard !context.reserveInCommit(records.count) else { return context.addToCommit(records) }
        try context.upload(records, stream: stream)
    }

    private func commit(
        _ scanned: ScannedTree, _ tree: AssembledTree, base: Digest?
    ) throws -> PushResponse {
        var provenance = options.provenance
        provenance.time = SystemClock().now()
        let request = PushRequest(
            pushID: context.pushID, ref: options.ref, snapshot: tree.snapshotDigest, base: base,
            precondition: options.precondition, provenance: provenance,
            lifetime: options.lifetime, imageOptions: options.imageOptions)
        var lastMissing: [Digest] = []
        var fruitless = 0
        for _ in 0..<Push.roundLimit {
            if context.commitRecords.count > Push.smallCommitBytes { try context.requireRoom() }
            counters.add(transferred: UInt64(context.commitRecords.count))
            let response = try connection.commit(request, records: context.commitRecords)
            switch response.outcome {
            case .done, .unchanged: return response
            case .conflict:
                throw options.precondition.failure(options.ref, present: response.previous)
            case .missing:
                // More may come to light with what was sent, and a store that was killed forgets what
                // came before the commit; but not again and again.
                fruitless = response.missing == lastMissing ? fruitless + 1 : 0
                guard fruitless < Push.fruitlessRounds else {
                    throw CASError(
                        .dataLoss, "the store goes on lacking what was sent to it",
                        hint: "run cas doctor on the server", digest: response.missing.first)
                }
                lastMissing = response.missing
                context.resetCommit()
                context.forgetClaims()
                let missing = Set(response.missing)
                try send(missing, scanned)
                // A missing directory hides what is missing below it: the store is asked for all.
                try sendMissing(tree)
                if response.missingCount > UInt64(response.missing.count) {
                    try sendUnknownFiles(scanned)
                }
            }
        }
        throw CASError(
            .unavailable, "the store asked for more too many times", hint: "push again")
    }

    // MARK: - Afterwards

    private func save(
        _ scanned: ScannedTree, _ tree: AssembledTree, _ key: StatCache.StoreKey,
        isAcknowledged: Bool
    ) throws {
        guard let path = options.cachePath else { return }
        var acknowledged = cache?.acknowledged ?? [:]
        if isAcknowledged {
            // Only the newest life of each store matters.
            acknowledged = acknowledged.filter { $0.key.server != key.server }
            acknowledged[key] = StatCache.Acknowledged(
                snapshot: tree.snapshotDigest, tree: tree.snapshot.tree.digest)
        }
        let isNew = cache?.acknowledged[key]?.snapshot != tree.snapshotDigest
        if isAcknowledged, isNew {
            try KnownMessages.save(
                tree.directories.flatMap { [$0.directory.digest, $0.attributes.digest] },
                snapshot: tree.snapshotDigest, path: "\(path).messages")
        }
        try scanned.saveCache(to: path, acknowledged: acknowledged)
    }

    private func summary(
        _ scanned: ScannedTree, _ tree: AssembledTree, _ response: PushResponse?
    ) -> PushSummary {
        PushSummary(
            response: response, snapshot: response?.snapshot ?? tree.snapshotDigest,
            tree: tree.snapshot.tree.digest, files: tree.snapshot.totals.files,
            bytes: tree.snapshot.totals.bytes, newFiles: counters.newFiles,
            newBytes: counters.newBytes, sentBytes: counters.transferred,
            largestNew: context.largest, vanished: context.vanished, scan: scanned)
    }
}

extension SourceFile {
    /// A file that the scan found.
    init(_ file: PendingFile) {
        self.init(
            previous: file.previous, expected: nil, path: { file.path }, open: { try file.open() },
            finish: { file.finish(digest: $0, size: $1, status: $2) },
            vanish: { file.markVanished() })
    }

    /// A file that the store lacks although the stat cache knows its digest.
    init(_ path: [UInt8], _ digest: Digest, _ root: DirectoryHandle) {
        self.init(
            previous: nil, expected: digest, path: { path },
            open: { try root.openFile(beneath: path) },
            finish: { _, _, _ in }, vanish: {})
    }
}
