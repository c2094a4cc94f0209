package import CASCore
import CASFileSystem
import CASWire
import CASWorkspace

/// What following a ref says of itself.
package enum FollowEvent: Sendable {
    /// The destination has another snapshot now, or it is the first one.
    case updated(FetchSummary, nanoseconds: UInt64, isFirst: Bool)
    /// The store does not answer, or an update failed; it is tried again.
    case failed(CASError)
    /// The store answers again.
    case recovered
    /// There is no such ref yet; its first push is waited for.
    case absent
    /// There is no such ref any more.
    case removed
}

/// Keeps a directory as a ref says.
package struct Follow: Sendable {
    private static let waitSeconds = 25
    /// A store that does not know how to wait is not asked more often than this.
    private static let pauseMilliseconds: UInt64 = 1_000
    private static let lastBackoff: UInt64 = 30_000

    private let name: RefName
    private let options: FetchOptions
    private let connection: any StoreConnection

    /// Follows a ref into the destination of `options`, whose `want` does not count.
    package init(_ name: RefName, _ options: FetchOptions, _ connection: any StoreConnection) {
        self.name = name
        self.connection = connection
        var options = options
        options.restore.isGentle = true
        options.restore.keep = true
        self.options = options
    }

    /// Fetches now, then after each move of the ref, until `isEnded` says so.
    ///
    /// The first fetch throws as `Fetch` does. Later nothing ends it: what fails is told once and tried
    /// again. Files of the user's are left as they are. `counters` hear of the first fetch.
    package func run(
        counters: ProgressCounters, isEnded: () -> Bool = { false },
        onEvent: (FollowEvent) throws -> Void
    ) throws {
        var present: Digest?
        var sequence: UInt64 = 0
        if let entry = try connection.ref(name) {
            present = try update(entry, counters, isFirst: true, onEvent)
            sequence = entry.sequence
        } else {
            // A pod may well start before the watch that pushes for it.
            try onEvent(.absent)
        }
        var failures = 0
        while !isEnded() {
            do {
                // After a failure the answer of now shows whether it is over.
                let next = try wait(sequence, seconds: failures > 0 ? 0 : Self.waitSeconds)
                guard let next else {
                    if failures > 0 { try onEvent(.recovered) }
                    failures = 0
                    if sequence != 0 { try onEvent(.removed) }
                    sequence = 0
                    continue
                }
                if next.sequence != sequence, next.target.digest != present {
                    present = try update(
                        next, ProgressCounters(), isFirst: present == nil, onEvent)
                }
                sequence = next.sequence
                if failures > 0 { try onEvent(.recovered) }
                failures = 0
            } catch let error as CASError {
                failures += 1
                if failures == 1 { try onEvent(.failed(error)) }
                Sleep.milliseconds(Backoff.milliseconds(failures + 1, last: Self.lastBackoff))
            }
        }
    }

    /// What the ref names once it moved, or after a while.
    private func wait(_ sequence: UInt64, seconds: Int) throws -> RefEntry? {
        let clock = SystemClock()
        let start = clock.monotonicNanoseconds()
        let entry = try connection.awaitRef(name, after: sequence, seconds: seconds)
        let elapsed = (clock.monotonicNanoseconds() - start) / 1_000_000
        if (entry?.sequence ?? 0) == sequence, elapsed < Self.pauseMilliseconds {
            Sleep.milliseconds(Self.pauseMilliseconds - elapsed)
        }
        return entry
    }

    private func update(
        _ entry: RefEntry, _ counters: ProgressCounters, isFirst: Bool,
        _ onEvent: (FollowEvent) throws -> Void
    ) throws -> Digest {
        var options = options
        // By digest, so that what is fetched is what the move said.
        options.want = "\(name.name)@\(entry.target.digest)"
        let start = SystemClock().monotonicNanoseconds()
        let summary = try Fetch.run(options, connection: connection, counters: counters)
        try onEvent(
            .updated(
                summary, nanoseconds: SystemClock().monotonicNanoseconds() - start,
                isFirst: isFirst))
        return entry.target.digest
    }
}
