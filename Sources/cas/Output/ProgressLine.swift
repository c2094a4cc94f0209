import CASClient
import CASCore
import CASFileSystem
import Glibc
import Synchronization

/// Shows how far a push, fetch or verification is, on standard error: what is going on in a line of its
/// own, and below it numbers, redrawn on a terminal, else one line every 30 seconds.
final class ProgressLine: Sendable {
    /// What is going on.
    enum Activity: Sendable {
        case push, fetch, verify, image
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
            if isTerminal {
                // What is over before anybody can read it shows nothing.
                if !isDrawn { Console.note(title) }
                // The last column stays free: some terminals begin a new line with it.
                let text = line(columns: Terminal.columns(STDERR_FILENO) - 1)
                Terminal.write(Array(("\r" + text + "\u{1b}[K").utf8), to: STDERR_FILENO)
                isDrawn = true
            } else {
                Console.note(line(columns: .max))
            }
        }
        if isDrawn { Terminal.write(Array("\r\u{1b}[K".utf8), to: STDERR_FILENO) }
    }

    private func isDone(after milliseconds: Int32) -> Bool {
        var wait = pollfd(fd: wakeRead, events: Int16(POLLIN), revents: 0)
        return poll(&wait, 1, milliseconds) != 0 && wait.revents != 0
    }

    /// As many of the numbers as there is room for, the most important first.
    private func line(columns: Int) -> String {
        var text = ""
        for part in parts() {
            let longer = text.isEmpty ? part : text + ", " + part
            guard longer.count <= columns else { break }
            text = longer
        }
        return text
    }

    private func parts() -> [String] {
        let seconds = Double(max(SystemClock().monotonicNanoseconds() - start, 1)) / 1e9
        func rate(_ bytes: UInt64) -> String {
            ByteCount.text(UInt64(Double(bytes) / seconds)) + "/s"
        }
        // Each number is read once, and what is part of another one after it.
        let known = counters.known
        let bytes = counters.bytes
        let expected = counters.expectedFiles
        let files =
            expected > 0
            ? "\(grouped(counters.files)) of \(counted(expected, "file"))"
            : counted(counters.files, "file")
        let size =
            ByteCount.text(bytes)
            + (expected > 0 ? " of \(ByteCount.text(counters.expectedBytes))" : "")
        let moved = ByteCount.text(counters.transferred)
        switch activity {
        case .push:
            let unread = counters.unread
            return [
                files, size, "\(ByteCount.text(min(known, bytes))) deduplicated", "\(moved) sent",
                rate(bytes > unread ? bytes - unread : 0),
            ]
        case .fetch: return [files, "\(size) written", "\(moved) received", rate(bytes)]
        case .image: return ["\(ByteCount.text(bytes)) sent", rate(bytes)]
        case .verify: return [files, "\(size) compared", rate(bytes)]
        }
    }
}
