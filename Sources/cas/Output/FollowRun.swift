import CASClient
import CASCore
import CASFileSystem
import CASWire
import CASWorkspace
import Glibc
import Synchronization

/// `cas fetch --follow`: an update after each move of a ref, and a command that is started anew with it.
///
/// The updates run on a thread of their own; this one waits for them, for signals and for the command.
final class FollowRun: Sendable {
    private static let graceMilliseconds: UInt64 = 10_000
    private static let updatedByte: UInt8 = 200
    private static let endedByte: UInt8 = 201
    /// Signals that the command gets as well, and that end nothing here.
    private static let passed: [Int32] = [SIGUSR1, SIGUSR2, SIGQUIT]

    private let request: FetchRequest
    private let name: RefName
    private let command: [String]
    private let signals: Signals
    private let left = Mutex<Set<String>>([])
    private let failure = Mutex<(any Error)?>(nil)

    init(_ request: FetchRequest, _ name: RefName, command: [String]) throws {
        self.request = request
        self.name = name
        self.command = command
        signals = try Signals([SIGINT, SIGTERM, SIGHUP, SIGCHLD] + FollowRun.passed)
    }

    /// Follows until a signal comes, and then ends this process.
    func run(_ store: StoreAccess) throws {
        let options = request.options
        let follow = Follow(name, options, store.connection)
        let thread = try WorkerThread(name: "follow") { [self] in
            do {
                Console.note(
                    "following \(request.shown) from \(store.choice.text) into \(request.destination)"
                )
                try follow.run(counters: ProgressCounters()) { tell($0, store) }
            } catch {
                failure.withLock { $0 = error }
                signals.wakeUp(FollowRun.endedByte)
            }
        }
        var running: ProgramGroup?
        while true {
            let bytes = signals.wait()
            if let error = failure.withLock({ $0 }) {
                try thread.join()
                throw error
            }
            if let status = running?.status() {
                running = nil
                Console.note(
                    "the command ended with status \(status); it starts again at the next update")
            }
            if let signal = bytes.first(where: { Signals.ending.contains($0) }) {
                end(running, signal)
            }
            for byte in bytes where FollowRun.passed.contains(Int32(byte)) {
                running?.signal(Int32(byte))
            }
            if bytes.contains(FollowRun.updatedByte), !command.isEmpty {
                if let group = running { _ = stop(group, SIGTERM) }
                running = start()
            }
        }
    }

    // MARK: - The command

    private func start() -> ProgramGroup? {
        do { return try ProgramGroup(command, directory: request.destination) } catch {
            Console.failure(error)
            return nil
        }
    }

    /// Ends the command and waits for it, with force after a while; its exit status.
    private func stop(_ group: ProgramGroup, _ signal: Int32) -> Int32 {
        group.signal(signal)
        let clock = SystemClock()
        let end = clock.monotonicNanoseconds() / 1_000_000 + FollowRun.graceMilliseconds
        var isKilled = false
        while true {
            if let status = group.status() {
                // Whatever it started goes with it.
                group.signal(SIGKILL)
                return status
            }
            let now = clock.monotonicNanoseconds() / 1_000_000
            if now >= end, !isKilled {
                Console.note("the command did not end within 10 s; it is killed")
                group.signal(SIGKILL)
                isKilled = true
            }
            Sleep.milliseconds(10)
        }
    }

    private func end(_ running: ProgramGroup?, _ signal: UInt8) -> Never {
        let status = running.map { stop($0, Int32(signal)) } ?? 0
        // What the other thread does can be cut off anywhere: a fetch names a file last.
        _exit(status)
    }

    // MARK: - Words

    private func tell(_ event: FollowEvent, _ store: StoreAccess) {
        switch event {
        case .updated(let summary, let nanoseconds, let isFirst):
            let report = FetchReport(
                summary: summary, store: store, destination: request.destination,
                nanoseconds: nanoseconds, name: name.name)
            Console.data(report.line)
            if isFirst {
                report.writeNotes(isListing: false)
            } else {
                Console.note(report.shortLine)
            }
            tellLeft(summary.restore.left)
            // Where all that moved was the user's own, the command has what it had.
            if isFirst || summary.restore.written + summary.restore.removed > 0 {
                signals.wakeUp(FollowRun.updatedByte)
            }
        case .failed(let error):
            Console.failure(error)
            Console.note("trying again until it works")
        case .recovered: Console.note("\(store.choice.text) answers again")
        case .absent: Console.note("there is no \(name) yet; waiting for its first push")
        case .removed: Console.note("\(name) is removed; waiting for it to come back")
        }
    }

    /// Names each file of the user's once.
    private func tellLeft(_ paths: [String]) {
        let news = left.withLock { known in
            let news = paths.filter { !known.contains($0) }
            known = Set(paths)
            return news
        }
        guard !news.isEmpty else { return }
        Console.note("left as you changed them:")
        for path in news { Console.note("  " + printable(path)) }
    }
}
