import CASClient
import CASCore
import CASFileSystem
import Glibc
import Synchronization

/// Shows how far a push or fetch is, on standard error: a line that is redrawn on a terminal, else one
/// line at the start and one every 30 seconds.
final class ProgressLine: Sendable {
    /// What is going on, and in which direction bytes go.
    enum Activity: Sendable {
        case push, fetch
    }

    private static let redrawMilliseconds: Int32 = 100
    private static let reportMilliseconds: Int32 = 30_000

    private let activity: Activity
    private let title: String
    private let counters: ProgressCounters
    private let start = SystemClock().monotonicNanoseconds()
    private let isTerminal = Terminal.isTerminal(STDERR_FILENO)
    /// Written to when the work is done; the thread waits on it between two lines.
    private let wakeRead: Int32
    private let wakeWrite: Int32

    private init(_ activity: Activity, _ title: String, _ counters: ProgressCounters) throws {
        self.activity = activity
        self.title = title
        self.counters = counters
        var ends: [Int32] = [-1, -1]
        try SystemFailure.check("cannot make a pipe") { pipe(&ends) }
        wakeRead = ends[0]
        wakeWrite = ends[1]
    }

    deinit {
        close(wakeRead)
        close(wakeWrite)
    }

    /// Shows the progress of `body` while it runs; nothing with `isQuiet`.
    static func show<Result>(
        _ activity: Activity, _ title: String, _ counters: ProgressCounters, isQuiet: Bool = false,
        _ body: () throws -> Result
    ) throws -> Result {
        guard !isQuiet else { return try body() }
        let line = try ProgressLine(activity, title, counters)
        let thread = try WorkerThread(name: "progress") { line.run() }
        let result = Swift.Result { try body() }
        _ = Terminal.write([0], to: line.wakeWrite)
        try thread.join()
        return try result.get()
    }

    private func run() {
        if !isTerminal { Console.note(title) }
        var isDrawn = false
        while !isDone(after: isTerminal ? Self.redrawMilliseconds : Self.reportMilliseconds) {
            let text = text()
            if isTerminal {
                let columns = max(Terminal.columns(STDERR_FILENO) - 1, 20)
                Terminal.write(
                    Array(("\r" + text.prefix(columns) + "\u{1b}[K").utf8), to: STDERR_FILENO)
                isDrawn = true
            } else {
                Console.note(text)
            }
        }
        if isDrawn { Terminal.write(Array("\r\u{1b}[K".utf8), to: STDERR_FILENO) }
    }

    private func isDone(after milliseconds: Int32) -> Bool {
        var wait = pollfd(fd: wakeRead, events: Int16(POLLIN), revents: 0)
        return poll(&wait, 1, milliseconds) != 0 && wait.revents != 0
    }

    private func text() -> String {
        let nanoseconds = SystemClock().monotonicNanoseconds() - start
        let moved = activity == .push ? counters.bytes : counters.transferred
        let rate = UInt64(Double(moved) / (Double(max(nanoseconds, 1)) / 1e9))
        var text = "\(title): \(counted(counters.files, "file")), "
        switch activity {
        case .push:
            let read = counters.bytes
            let known = read > counters.newBytes ? read - counters.newBytes : 0
            text +=
                "\(ByteCount.text(read)) read (\(ByteCount.text(rate))/s), "
                + "\(ByteCount.text(known)) deduplicated, \(ByteCount.text(counters.transferred)) sent"
        case .fetch:
            text += ByteCount.text(counters.transferred)
            if counters.expected > 0 { text += " of \(ByteCount.text(counters.expected))" }
            text +=
                " received (\(ByteCount.text(rate))/s), \(ByteCount.text(counters.bytes)) written"
        }
        return text
    }
}
