import CASCore
package import Glibc
import Synchronization

/// A process that a test starts, signals, measures and waits for.
///
/// Foundation's own class says nothing of memory and waits for children behind a test's back.
package final class ChildProcess: Sendable {
    /// How a process ended, and what it took.
    package struct Outcome: Sendable {
        /// The exit status; the negative number of the signal that ended it.
        package let status: Int32
        /// The most bytes it ever had in memory at a time when somebody looked.
        package let peakBytes: Int
    }

    private struct State {
        var outcome: Outcome?
        var peakBytes = 0
    }

    /// The kernel's number of it.
    package let identifier: pid_t
    private let state = Mutex(State())

    /// Starts an executable; output and errors go to files, so that nobody waits for anybody.
    package init(
        _ executable: String, _ arguments: [String], environment: [String: String],
        directory: String, output: String, errors: String
    ) throws {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        let create = O_WRONLY | O_CREAT | O_TRUNC
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, output, create, 0o644)
        posix_spawn_file_actions_addopen(&actions, 2, errors, create, 0o644)
        // Test runners block signals in their threads; a child would inherit that.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        // env goes to the directory and becomes the executable: the C library's own way to do it is
        // hidden from Swift.
        var words = (["env", "-C", directory, executable] + arguments).map { strdup($0) } + [nil]
        var settings = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in words + settings { free(text) } }
        var identifier: pid_t = 0
        let code = posix_spawnp(
            &identifier, "/usr/bin/env", &actions, &attributes, &words, &settings)
        guard code == 0 else {
            throw CASError(
                .internalError,
                "\(executable) can not be started: \(String(cString: strerror(code)))")
        }
        self.identifier = identifier
    }

    deinit {
        signal(SIGKILL)
        _ = wait()
    }

    /// Whether it has not ended yet.
    package var isRunning: Bool { look(WNOHANG) == nil }

    /// Sends a signal, unless it has ended.
    package func signal(_ number: Int32) {
        state.withLock { if $0.outcome == nil { kill(identifier, number) } }
    }

    /// Waits for its end, looking at its memory now and then.
    @discardableResult
    package func wait() -> Outcome {
        while true {
            if let outcome = look(WNOHANG) { return outcome }
            usleep(2_000)
        }
    }

    /// The most bytes that it had in memory until now.
    ///
    /// The kernel keeps the highest mark itself, but forgets it with the process: what getrusage knows
    /// afterwards counts what the parent had in memory when it started this one.
    package var peakBytes: Int {
        _ = look(WNOHANG)
        return state.withLock { $0.peakBytes }
    }

    private func look(_ flags: Int32) -> Outcome? {
        state.withLock { state in
            if let outcome = state.outcome { return outcome }
            state.peakBytes = max(state.peakBytes, highWaterMark())
            var status: Int32 = 0
            guard waitpid(identifier, &status, flags) == identifier else { return nil }
            let signal = status & 0x7f
            let outcome = Outcome(
                status: signal == 0 ? (status >> 8) & 0xff : -signal, peakBytes: state.peakBytes)
            state.outcome = outcome
            return outcome
        }
    }

    private func highWaterMark() -> Int {
        let descriptor = open("/proc/\(identifier)/status", O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return 0 }
        defer { close(descriptor) }
        var text = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &text, text.count)
        let lines = String(decoding: text.prefix(max(0, count)), as: UTF8.self).split(
            separator: "\n")
        guard let line = lines.first(where: { $0.hasPrefix("VmHWM:") }) else { return 0 }
        return (line.split(separator: " ").dropFirst().first.flatMap { Int($0) } ?? 0) << 10
    }
}
