package import CASCore
import CASFileSystem
import Synchronization

/// How long a change waits for further ones.
package struct WatchTiming: Sendable {
    /// Milliseconds without a change after which it is quiet.
    package var quiet: UInt64 = 200
    /// Milliseconds of unrest at most.
    package var unrest: UInt64 = 2_000
    /// Milliseconds between two looks where events do not tell.
    package var poll: UInt64 = 2_000

    /// The usual times.
    package init() {}
}

/// Notices that something of a workspace changed which a push would take.
///
/// Nothing is lost: the scan of a push watches each directory before it lists it (`ScanOptions.onDirectory`),
/// so that what comes later is an event, and what came before is in the push. A directory that is new is
/// itself an event of the one above, and is watched by the push that follows. Directories that the rules
/// leave out are not watched. Where events do not tell, what scans see is compared.
package final class WorkspaceWatch: Sendable {
    /// Why changes are looked for again and again instead of waited for.
    package enum PollReason: Sendable, Hashable {
        /// Somebody wanted it.
        case asked
        /// Other machines write there.
        case sharedFileSystem
        /// The system has no events, or no more sets of them.
        case noEvents
        /// The system allows no more watches.
        case tooManyDirectories
    }

    private struct State {
        /// Of directories of the workspace.
        var inside: Set<Int32> = []
        /// Of directories whose ignore files or index count as well, with the names that matter.
        var outside: [Int32: Set<[UInt8]>] = [:]
        /// Those that the scan at hand has come by.
        var seen: Set<Int32> = []
        var polling: PollReason?
        var fingerprint: Digest?
        /// How the fingerprint was taken.
        var options: ScanOptions?
    }

    private let root: String
    private let events: FileEvents?
    private let timing: WatchTiming
    private let stop = Atomic(false)
    private let wake: WakePipe
    private let state: Mutex<State>

    /// Prepares a watch of a directory; the first scan begins it.
    package init(root: String, isPolling: Bool, timing: WatchTiming = WatchTiming()) throws {
        self.root = root
        self.timing = timing
        wake = try WakePipe()
        var reason: PollReason? = isPolling ? .asked : nil
        if reason == nil, try FileSystemKind.isShared(try DirectoryHandle(path: root)) {
            reason = .sharedFileSystem
        }
        events = reason == nil ? FileEvents.open() : nil
        if events == nil, reason == nil { reason = .noEvents }
        var state = State()
        state.polling = reason
        self.state = Mutex(state)
    }

    /// Why it polls; nil while events tell.
    package var polling: PollReason? { state.withLock { $0.polling } }

    /// Ends the wait that is going on, and all later ones.
    package func end() {
        stop.store(true, ordering: .releasing)
        wake.wake()
    }

    /// Whether `end` was called.
    package var isEnded: Bool { stop.load(ordering: .acquiring) }

    // MARK: - Around a push

    /// Scan options with which a push's scan keeps the watches up to date.
    package func begin(_ options: ScanOptions) throws -> ScanOptions {
        var options = options
        if polling != nil {
            // Taken before the push: what changes in between is another fingerprint next time.
            let fingerprint = try WorkspaceWatch.fingerprint(root, options)
            let taken = options
            state.withLock { state in
                state.fingerprint = fingerprint
                state.options = taken
            }
            return options
        }
        state.withLock { $0.seen = [] }
        try watchOutside()
        options.onDirectory = { [weak self] in try self?.note($0) }
        return options
    }

    /// Gives up watches of directories that the scan did not come by.
    ///
    /// Only after a whole scan: one that broke off did not come by all.
    package func finish() {
        guard let events else { return }
        let gone = state.withLock { state in
            let gone = state.inside.subtracting(state.seen).subtracting(state.outside.keys)
            state.inside = state.seen
            return gone
        }
        for watch in gone { events.unwatch(watch) }
    }

    private func note(_ directory: DirectoryHandle) throws {
        guard let events, polling == nil else { return }
        do {
            let watch = try events.watch(directory)
            state.withLock { state in
                state.inside.insert(watch)
                state.seen.insert(watch)
            }
        } catch let error as CASError where error.code == .resourceExhausted {
            state.withLock { state in
                state.polling = .tooManyDirectories
                // Whatever changes from now on, the next look finds it.
                state.fingerprint = nil
            }
        } catch let error as CASError where error.code == .notFound {
            // No /proc to name it by.
            state.withLock { state in
                state.polling = .noEvents
                state.fingerprint = nil
            }
        }
    }

    private func watchOutside() throws {
        guard let events else { return }
        for (directory, names) in try WorkspaceScan.inputsOutside(root) {
            // What is not there has nothing to say; one that can not be watched is looked at by each push.
            guard let watch = try? events.watch(path: directory) else { continue }
            state.withLock { $0.outside[watch, default: []].formUnion(names) }
        }
    }

    // MARK: - Between pushes

    /// Waits for a change, and then for rest; false when the time is over without one, or at the end.
    package func wait(milliseconds: UInt64? = nil) throws -> Bool {
        guard polling == nil, let events else { return try waitPolling(milliseconds) }
        guard try waitForEvent(events, milliseconds) else { return false }
        let clock = SystemClock()
        let end = clock.monotonicNanoseconds() / 1_000_000 + timing.unrest
        while !isEnded {
            let now = clock.monotonicNanoseconds() / 1_000_000
            guard now < end else { break }
            guard try waitForEvent(events, min(timing.quiet, end - now)) else { break }
        }
        return !isEnded
    }

    /// Waits until an event counts.
    private func waitForEvent(_ events: FileEvents, _ milliseconds: UInt64?) throws -> Bool {
        let clock = SystemClock()
        let end = milliseconds.map { clock.monotonicNanoseconds() / 1_000_000 + $0 }
        while !isEnded {
            let now = clock.monotonicNanoseconds() / 1_000_000
            let left = end.map { $0 > now ? $0 - now : 0 }
            let ready = Readiness.wait([events.descriptor, wake.descriptor], milliseconds: left)
            if ready.contains(events.descriptor), try events.read().contains(where: counts) {
                return true
            }
            if ready.isEmpty, let end, clock.monotonicNanoseconds() / 1_000_000 >= end {
                return false
            }
        }
        return false
    }

    private func counts(_ event: FileEvent) -> Bool {
        if event.kinds.contains(.overflow) { return true }
        return state.withLock { state in
            if !event.kinds.isDisjoint(with: .ended) {
                state.inside.remove(event.watch)
                state.outside[event.watch] = nil
                return false
            }
            if state.inside.contains(event.watch) { return true }
            return state.outside[event.watch]?.contains(event.name) ?? false
        }
    }

    private func waitPolling(_ milliseconds: UInt64?) throws -> Bool {
        let clock = SystemClock()
        let end = milliseconds.map { clock.monotonicNanoseconds() / 1_000_000 + $0 }
        while !isEnded {
            let now = clock.monotonicNanoseconds() / 1_000_000
            if let end, now >= end { return false }
            let left = end.map { min($0 - now, timing.poll) } ?? timing.poll
            _ = Readiness.wait([wake.descriptor], milliseconds: left)
            if isEnded { return false }
            let (known, options) = state.withLock { ($0.fingerprint, $0.options) }
            guard let known, let options else { return true }
            if try WorkspaceWatch.fingerprint(root, options) != known { return true }
        }
        return false
    }

    /// What a scan sees without reading a file: equal for two looks between which nothing changed.
    ///
    /// A file that changed a moment ago may change again without looking other than it does: it counts as
    /// a change once more when the moment is over.
    package static func fingerprint(_ root: String, _ options: ScanOptions) throws -> Digest {
        var options = options
        options.onDirectory = nil
        return try WorkspaceScan.run(root: root, options: options) { _ in }.fingerprint()
    }
}
