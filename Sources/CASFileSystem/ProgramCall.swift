import CASCore
import CShims
import Glibc
import Synchronization

/// Calls of other programs, in this process's group: Ctrl-C ends both, and a program that asks at the terminal is heard.
package enum ProgramCall {
    /// What a call printed and how it ended.
    package struct Output: Sendable {
        /// The exit status, or 128 and the number of the signal that ended it.
        package let status: Int32
        /// What it printed.
        package let output: [UInt8]
        /// What it said on standard error.
        package let errors: [UInt8]
    }

    private static let pieceBytes = 64 << 10

    /// Runs a program to its end; `input` is its standard input.
    ///
    /// Throws `resourceExhausted` if it prints more than `maximumBytes`; it is killed then.
    package static func run(
        _ arguments: [String], input: [UInt8] = [], maximumBytes: Int
    ) throws -> Output {
        let (inner, outer) = (try Channel(), try Channel())
        let errors = try Channel()
        let process = try start(
            arguments, input: inner.reading, output: outer.writing, errors: errors.writing)
        inner.closeReading()
        outer.closeWriting()
        errors.closeWriting()
        // Each channel has a thread, since a program may stop in any of them while another is full.
        let said = Mutex<[UInt8]>([])
        let listener = try WorkerThread(name: "program-errors") {
            let bytes = try errors.read(maximumBytes)
            said.withLock { $0 = bytes }
        }
        let writer = try WorkerThread(name: "program-input") {
            // Who does not read is no reason for this process to end.
            var signals = sigset_t()
            sigemptyset(&signals)
            sigaddset(&signals, SIGPIPE)
            pthread_sigmask(SIG_BLOCK, &signals, nil)
            defer { inner.closeWriting() }
            inner.write(input)
        }
        var failure: (any Error)?
        var text: [UInt8] = []
        do { text = try outer.read(maximumBytes) } catch {
            failure = error
            kill(process, SIGKILL)
            // What it started itself ends with the next thing that it writes.
            outer.closeReading()
        }
        try writer.join()
        do { try listener.join() } catch { failure = failure ?? error }
        let status = wait(process)
        if let failure { throw failure }
        return Output(status: status, output: text, errors: said.withLock { $0 })
    }

    /// Runs a program with this process's own output and an empty input; how it ended.
    package static func show(_ arguments: [String]) throws -> Int32 {
        wait(try start(arguments, input: -1, output: -1, errors: -1))
    }

    private static func start(
        _ arguments: [String], input: Int32, output: Int32, errors: Int32
    ) throws -> pid_t {
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        words.append(nil)
        defer { for word in words { free(word) } }
        var process: Int32 = 0
        let status = cas_spawn_connected(&process, &words, input, output, errors)
        guard status == 0 else {
            throw SystemFailure.error(status, "cannot run '\(arguments.first ?? "")'")
        }
        return process
    }

    private static func wait(_ process: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(process, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
    }

    /// A pipe, whose ends other programs do not inherit.
    private final class Channel: Sendable {
        let reading: Int32
        let writing: Int32
        private let isOpen = Mutex((reading: true, writing: true))

        init() throws {
            var ends: [Int32] = [0, 0]
            _ = try SystemFailure.check("cannot make a pipe", path: nil) { cas_pipe(&ends) }
            (reading, writing) = (ends[0], ends[1])
        }

        deinit {
            closeReading()
            closeWriting()
        }

        func closeReading() {
            isOpen.withLock { isOpen in
                if isOpen.reading { close(reading) }
                isOpen.reading = false
            }
        }

        func closeWriting() {
            isOpen.withLock { isOpen in
                if isOpen.writing { close(writing) }
                isOpen.writing = false
            }
        }

        /// Writes as much as the program reads: who does not read to the end says why in its own words.
        func write(_ bytes: [UInt8]) {
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { Glibc.write(writing, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return }
                rest = rest.dropFirst(count)
            }
        }

        /// Reads to the end.
        func read(_ maximumBytes: Int) throws -> [UInt8] {
            var bytes: [UInt8] = []
            var piece = [UInt8](repeating: 0, count: ProgramCall.pieceBytes)
            while true {
                let count = piece.withUnsafeMutableBytes {
                    Glibc.read(reading, $0.baseAddress, $0.count)
                }
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return bytes }
                bytes += piece[..<count]
                guard bytes.count <= maximumBytes else {
                    throw CASError(.resourceExhausted, "a program printed too much")
                }
            }
        }
    }
}
