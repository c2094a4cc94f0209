package import CASCore
import CASFileSystem
import CASPack
package import CASTree
package import CASWire
package import CASWorkspace
import Synchronization

/// What a fetch is asked for.
package struct FetchOptions: Sendable {
    /// A ref or digest, without a host.
    package var want: String
    /// The directory to put it into.
    package var destination: String
    /// How to treat what is there.
    package var restore: RestoreOptions
    /// Connections at once.
    package var connections: Int

    /// A fetch of a ref or digest into a directory, everything else as usual.
    package init(want: String, destination: String, workers: Int) {
        self.want = want
        self.destination = destination
        restore = RestoreOptions(workers: workers)
        connections = max(1, min(workers, 16))
    }
}

/// What a fetch did.
package struct FetchSummary: Sendable {
    /// What the store planned: which snapshot, under which ref.
    package var plan: PlanResponse
    /// The tree of the snapshot.
    package var tree: Digest
    /// Bytes of the snapshot's files.
    package var bytes: UInt64
    /// Bytes received.
    package var receivedBytes: UInt64
    /// What was written, kept and removed.
    package var restore: RestoreSummary
}

/// Fetches a snapshot into a directory: plan, messages, comparison, data, finish.
package enum Fetch {
    private static let attempts = 5

    /// Puts a snapshot into a directory; an earlier fetch's directory is updated in place.
    ///
    /// Throws as `Restore` does, and `notFound` for an unknown ref. A fetch that was interrupted, or that
    /// throws `unavailable`, goes on where it stopped when it is run again.
    package static func run(
        _ options: FetchOptions, connection: any StoreConnection, counters: ProgressCounters
    ) throws -> FetchSummary {
        do {
            return try perform(options, connection, counters)
        } catch {
            throw Resumption.hint(error)
        }
    }

    private static func perform(
        _ options: FetchOptions, _ connection: any StoreConnection, _ counters: ProgressCounters
    ) throws -> FetchSummary {
        let limits = options.restore.limits
        let state = DestinationState.load(options.destination, limits: limits)
        let plan = try connection.plan(
            PlanRequest(want: options.want, have: state.complete?.snapshotDigest))
        let (snapshot, contents) = try messages(
            plan, have: state.complete, connection, counters, limits)
        try check(options.want, plan.snapshot, snapshot)
        let restore = try Restore(
            destination: options.destination, snapshot: snapshot, snapshotDigest: plan.snapshot,
            contents: contents, state: state, options: options.restore)
        let needed = try restore.prepare()
        try transfer(needed, plan, restore, options, connection, counters)
        if options.restore.isGentle {
            let rest = try restore.prepareReplacements()
            try transfer(rest, plan, restore, options, connection, counters)
        }
        let summary = try restore.finish()
        return FetchSummary(
            plan: plan, tree: snapshot.tree.digest, bytes: snapshot.totals.bytes,
            receivedBytes: counters.transferred, restore: summary)
    }

    /// Whoever names a digest gets what has it, or nothing.
    static func check(_ want: String, _ digest: Digest, _ snapshot: Snapshot) throws {
        guard case .digest(let wanted, _) = try Reference(want).target else { return }
        guard wanted == digest || wanted == snapshot.tree.digest else {
            throw CASError(
                .dataLoss, "the store offers another snapshot than the one that was asked for",
                digest: wanted)
        }
    }

    /// The snapshot of a plan and all its messages, those that the destination has included.
    package static func messages(
        _ plan: PlanResponse, have: RestoreState?, _ connection: any StoreConnection,
        _ counters: ProgressCounters, _ limits: Limits
    ) throws -> (Snapshot, TreeContents) {
        let snapshot = try Snapshot(decoding: plan.snapshotMessage)
        // Without a snapshot of its own, a tree goes by its own digest.
        guard
            Digest.of(plan.snapshotMessage) == plan.snapshot
                || (snapshot.attributes == nil && snapshot.tree.digest == plan.snapshot)
        else {
            throw CASError(
                .dataLoss, "the store sent another snapshot than it announced",
                digest: plan.snapshot)
        }
        let known = plan.haveAccepted ? have?.contents : nil
        let contents = try known ?? TreeContents(limits: limits)
        if plan.haveAccepted, have?.snapshotDigest == plan.snapshot { return (snapshot, contents) }
        var decoder = RecordStreamDecoder(limits: limits)
        try connection.readTree(plan: plan.planID) { bytes in
            counters.add(transferred: UInt64(bytes.count))
            try decoder.push(bytes) { try contents.insert($0) }
        }
        try decoder.finish()
        guard decoder.isEnded else { throw cutShort() }
        return (snapshot, contents)
    }

    private static func cutShort() -> CASError {
        CASError(.unavailable, "the store stopped sending in the middle")
    }

    // MARK: - Data

    static func transfer(
        _ needed: RestorePlan, _ plan: PlanResponse, _ restore: Restore, _ options: FetchOptions,
        _ connection: any StoreConnection, _ counters: ProgressCounters
    ) throws {
        guard !needed.blobs.isEmpty else { return }
        counters.expect(files: UInt64(needed.files), bytes: needed.bytes)
        // All that the plan has is what is needed: each share is a run in the order of packs.
        if needed.blobs.count == Int(clamping: plan.files), needed.bytes == plan.dataRawBytes {
            let count = max(1, min(options.connections, plan.shares))
            try WorkerGroup.run(count: count, name: "fetch") { share in
                try receive(restore, counters) { sink in
                    try connection.readData(plan: plan.planID, share: share, of: count, sink)
                }
            }
            return
        }
        let blobs = connection.readingOrder(needed.blobs)
        let batch = min(10_000, max(64, blobs.count / options.connections + 1))
        let starts = Array(stride(from: 0, to: blobs.count, by: batch))
        let next = Cursor(count: starts.count)
        let count = min(options.connections, starts.count)
        try WorkerGroup.run(count: count, name: "fetch") { _ in
            while let index = next.take() {
                let digests = Array(blobs[starts[index]..<min(starts[index] + batch, blobs.count)])
                try receive(restore, counters) { sink in
                    try connection.readBlobs(digests, sink)
                }
            }
        }
    }

    /// Takes one stream of records to its end; a stream that breaks is asked for again: what came is kept.
    private static func receive(
        _ restore: Restore, _ counters: ProgressCounters,
        _ read: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws {
        for attempt in 1...attempts {
            let worker = try restore.makeWorker()
            do {
                var decoder = RecordStreamDecoder(limits: restore.limits)
                try read { bytes in
                    counters.add(transferred: UInt64(bytes.count))
                    try decoder.push(bytes) { record in
                        let done = try worker.consume(record)
                        counters.add(files: done.files, bytes: done.bytes)
                    }
                }
                try decoder.finish()
                guard decoder.isEnded else { throw cutShort() }
                return try worker.finish()
            } catch let error as CASError where error.isPassing && attempt < attempts {
                counters.take(back: worker.cancel())
                Backoff.pause(attempt)
            } catch {
                worker.cancel()
                throw error
            }
        }
    }
}

/// Numbers that several threads share out.
private final class Cursor: Sendable {
    private let next = Atomic<Int>(0)
    private let count: Int

    init(count: Int) { self.count = count }

    func take() -> Int? {
        let index = next.add(1, ordering: .relaxed).oldValue
        return index < count ? index : nil
    }
}
