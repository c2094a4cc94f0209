package import CASCore
import CASFileSystem
import CASPack
import CASTree
package import CASWire
package import CASWorkspace
import Synchronization

/// What was there already, and what had to come.
package struct WarmCounts: Sendable, Equatable {
    /// Distinct blobs.
    package var files = 0
    /// Their bytes.
    package var bytes: UInt64 = 0

    /// None.
    package init() {}

    mutating func add(_ size: UInt64) {
        files += 1
        bytes += size
    }
}

/// What warming did for one ref.
package struct WarmSummary: Sendable {
    /// What the source planned: which snapshot, under which ref.
    package var plan: PlanResponse
    /// Files of the snapshot that were there, each content once.
    package var hits = WarmCounts()
    /// Those that had to come.
    package var misses = WarmCounts()
    /// Bytes received from the source.
    package var receivedBytes: UInt64 = 0
    /// Bytes sent to the target.
    package var sentBytes: UInt64 = 0
    /// Directories and attributes that were sent.
    package var sentMessages = 0
    /// What the ref of the target named before.
    package var previous: Digest?
    /// Whether a ref of the target moved.
    package var isMoved = false
    /// What became of the image that the snapshot is; nil where nobody asked for it yet.
    package var image: CarriedImage?
    /// Manifests and blobs of images that came along: what is about it, and what it is on top of.
    package var blobs = WarmCounts()
}

/// Brings what refs name to where it will be wanted, without a destination.
package enum Warm {
    private static let batch = 10_000
    private static let attempts = 5

    /// Brings every file of a snapshot into a node cache.
    package static func run(
        _ want: String, into cache: CacheFill, connection: any StoreConnection, workers: Int,
        counters: ProgressCounters, limits: Limits = .standard
    ) throws -> WarmSummary {
        let (plan, files) = try files(want, connection, counters, limits)
        var summary = WarmSummary(plan: plan)
        var missing: [Digest] = []
        for (digest, size) in files.sorted(by: { $0.key < $1.key }) {
            if try cache.has(digest, size: size) {
                summary.hits.add(size)
            } else {
                summary.misses.add(size)
                missing.append(digest)
            }
        }
        counters.expect(files: UInt64(missing.count), bytes: summary.misses.bytes)
        try fetch(missing, connection, workers: workers, counters, limits) { cache.makeSink() }
        for digest in missing where try !cache.has(digest, size: files[digest] ?? 0) {
            throw CASError(.dataLoss, "the store did not send a file", digest: digest)
        }
        try cache.finish()
        summary.receivedBytes = counters.transferred
        return summary
    }

    /// The files of a snapshot that hold something: each content once, with its size.
    private static func files(
        _ want: String, _ connection: any StoreConnection, _ counters: ProgressCounters,
        _ limits: Limits
    ) throws -> (PlanResponse, [Digest: UInt64]) {
        let plan = try connection.plan(PlanRequest(want: want, have: nil))
        let (snapshot, contents) = try Fetch.messages(plan, have: nil, connection, counters, limits)
        try Fetch.check(want, plan.snapshot, snapshot)
        return (plan, try files(snapshot, contents, limits))
    }

    private static func files(
        _ snapshot: Snapshot, _ contents: TreeContents, _ limits: Limits
    ) throws -> [Digest: UInt64] {
        let sums = try TreeWalk.totals(
            root: snapshot.tree.digest, source: contents, limits: limits)
        guard sums.totals == snapshot.totals else {
            throw CASError(.dataLoss, "the snapshot says other totals than its tree has")
        }
        var files: [Digest: UInt64] = [:]
        try TreeWalk.run(
            root: snapshot.tree.digest, attributes: nil, source: contents, limits: limits
        ) { step in
            for file in step.directory.files where file.size > 0 { files[file.digest] = file.size }
            return true
        }
        return files
    }

    /// Streams blobs to sinks, one for each thread, checked.
    private static func fetch(
        _ digests: [Digest], _ connection: any StoreConnection, workers: Int,
        _ counters: ProgressCounters, _ limits: Limits, _ makeSink: @Sendable () -> any BlobSink
    ) throws {
        guard !digests.isEmpty else { return }
        let size = min(batch, max(64, digests.count / workers + 1))
        let starts = Array(stride(from: 0, to: digests.count, by: size))
        let next = Mutex(0)
        try withoutActuallyEscaping(makeSink) { makeSink in
            try WorkerGroup.run(count: min(workers, starts.count), name: "warm") { _ in
                while true {
                    let index = next.withLock { next in
                        defer { next += 1 }
                        return next
                    }
                    guard index < starts.count else { return }
                    let end = min(starts[index] + size, digests.count)
                    try receive(
                        Array(digests[starts[index]..<end]), connection, counters, limits,
                        makeSink)
                }
            }
        }
    }

    /// Takes one stream to its end; one that breaks is asked for again.
    private static func receive(
        _ digests: [Digest], _ connection: any StoreConnection, _ counters: ProgressCounters,
        _ limits: Limits, _ makeSink: () -> any BlobSink
    ) throws {
        for attempt in 1...attempts {
            let receiver = try BlobReceiver(makeSink(), limits: limits)
            do {
                var decoder = RecordStreamDecoder(limits: limits)
                try connection.readBlobs(digests) { bytes in
                    counters.add(transferred: UInt64(bytes.count))
                    try decoder.push(bytes) { try receiver.consume($0) }
                }
                try decoder.finish()
                guard decoder.isEnded else {
                    throw CASError(.unavailable, "the store stopped sending in the middle")
                }
                return try receiver.finish()
            } catch let error as CASError where error.isPassing && attempt < attempts {
                receiver.cancel()
                Backoff.pause(attempt)
            } catch {
                receiver.cancel()
                throw error
            }
        }
    }
}
