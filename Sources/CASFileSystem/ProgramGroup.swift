package import Glibc
import CShims

/// A program in a process group of its own, started and watched by this process.
package final class ProgramGroup: Sendable {
    /// The number of the process, and of its group.
    package let identifier: pid_t

    /// Starts a program in a directory; throws if it can not be started.
    package init(_ arguments: [String], directory: String) throws {
        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
        words.append(nil)
        defer { for word in words { free(word) } }
        var process: Int32 = 0
        let status = cas_spawn(&process, directory, &words)
        guard status == 0 else {
            throw SystemFailure.error(status, "cannot run '\(arguments.first ?? "")'")
        }
        identifier = process
    }

    /// Sends a signal to all processes of the group.
    package func signal(_ number: Int32) { _ = kill(-identifier, number) }

    /// How the process ended, as a shell would say it (128 and a signal's number); nil while it runs.
    ///
    /// Not to be asked again after it said so.
    package func status() -> Int32? {
        var status: Int32 = 0
        guard waitpid(identifier, &status, WNOHANG) == identifier else { return nil }
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
    }
}
