package import CASCore
import CASFileSystem
import CASWire
package import CASWorkspace

/// What a watch says of itself.
package enum WatchEvent: Sendable {
    /// A push moved the ref to a new snapshot, or is the first one.
    case pushed(PushSummary, nanoseconds: UInt64, isFirst: Bool)
    /// A push is too large, and was not made.
    case tooLarge(PushSummary)
    /// A push failed; nil for one that only a further change repeats.
    case failed(CASError, retryMilliseconds: UInt64?)
    /// A push works again.
    case recovered
    /// Changes are looked for again and again from now on.
    case polling(WorkspaceWatch.PollReason)
}

/// Pushes a workspace whenever it changes.
package final class Watch: Sendable {
    private static let lastBackoff: UInt64 = 60_000

    private let directory: String
    private let watch: WorkspaceWatch
    private let connection: any StoreConnection
    private let options: @Sendable () throws -> PushOptions
    private let onEvent: @Sendable (WatchEvent) -> Void

    /// A watch of a directory; `options` is asked before each push, as the project file may change.
    ///
    /// `onEvent` is called on the thread that runs it.
    package init(
        directory: String, isPolling: Bool, timing: WatchTiming = WatchTiming(),
        connection: any StoreConnection, options: @escaping @Sendable () throws -> PushOptions,
        onEvent: @escaping @Sendable (WatchEvent) -> Void
    ) throws {
        self.directory = directory
        self.connection = connection
        self.options = options
        self.onEvent = onEvent
        watch = try WorkspaceWatch(root: directory, isPolling: isPolling, timing: timing)
    }

    /// Ends `run` once the push at hand is over.
    package func end() { watch.end() }

    /// Watches until `end` is called; throws once it can not go on: the directory is gone, or the store
    /// refuses the caller.
    ///
    /// `renewMilliseconds` is how often a push repeats what expires; nil for never.
    package func run(renewMilliseconds: UInt64? = nil) throws {
        var failures = 0
        var isFirst = true
        var told: WorkspaceWatch.PollReason?
        while !watch.isEnded {
            var pause = renewMilliseconds
            do {
                try push(isFirst: isFirst)
                isFirst = false
                if failures > 0 { onEvent(.recovered) }
                failures = 0
            } catch let error as CASError {
                guard try DiskFileSystem().status(directory)?.kind == .directory else {
                    throw CASError(
                        .notFound, "the directory that was watched is gone", path: directory)
                }
                if Watch.isRefusal(error) { throw error }
                // Only what may pass by itself is tried again by itself.
                failures += 1
                let isPassing = error.code.isTransient
                pause =
                    isPassing
                    ? Backoff.milliseconds(failures + 2, last: Watch.lastBackoff)
                    : renewMilliseconds
                onEvent(.failed(error, retryMilliseconds: isPassing ? pause : nil))
            }
            if let reason = watch.polling, told != reason {
                onEvent(.polling(reason))
                told = reason
            }
            _ = try wait(pause)
        }
    }

    /// Whether the store refuses whoever asks: nothing that changes here will change that.
    private static func isRefusal(_ error: CASError) -> Bool {
        error.code == .unauthenticated || (error.code == .permissionDenied && error.path == nil)
    }

    private func wait(_ milliseconds: UInt64?) throws -> Bool {
        do { return try watch.wait(milliseconds: milliseconds) } catch let error as CASError {
            // A scan that fails is told of by the push that follows.
            guard try DiskFileSystem().status(directory)?.kind == .directory else {
                throw CASError(
                    .notFound, "the directory that was watched is gone", path: directory)
            }
            Sleep.milliseconds(WatchTiming().quiet)
            _ = error
            return true
        }
    }

    private func push(isFirst: Bool) throws {
        var options = try options()
        options.scan = try watch.begin(options.scan)
        let start = SystemClock().monotonicNanoseconds()
        let summary = try Push.run(
            options, connection: connection, counters: ProgressCounters()
        ) { onEvent(.tooLarge($0)) }
        watch.finish()
        guard isFirst || summary.response?.outcome != .unchanged else { return }
        onEvent(
            .pushed(
                summary, nanoseconds: SystemClock().monotonicNanoseconds() - start,
                isFirst: isFirst))
    }
}
