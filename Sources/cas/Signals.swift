import CASFileSystem
import Glibc
import Synchronization

/// Signals as bytes of a pipe, for commands that stay: they end in their own way.
final class Signals: Sendable {
    /// What ends a command that stays.
    static let ending: Set<UInt8> = [UInt8(SIGINT), UInt8(SIGTERM), UInt8(SIGHUP)]

    private static let pipe = Atomic<Int32>(-1)
    private let wake: WakePipe

    /// Takes these signals from now on.
    ///
    /// One of them for each process: later ones take over.
    init(_ numbers: [Int32]) throws {
        wake = try WakePipe()
        Signals.pipe.store(wake.writeEnd, ordering: .sequentiallyConsistent)
        for number in numbers {
            signal(number) { number in
                // Only write(2): this is a handler. errno belongs to whatever was interrupted.
                let saved = errno
                var byte = UInt8(truncatingIfNeeded: number)
                _ = write(Signals.pipe.load(ordering: .relaxed), &byte, 1)
                errno = saved
            }
        }
    }

    /// Lets another thread wake the wait with a byte that is no signal's number.
    func wakeUp(_ byte: UInt8) { wake.wake(byte) }

    /// The signals and bytes that came; empty when the time is over.
    func wait(milliseconds: UInt64? = nil) -> [UInt8] {
        _ = Readiness.wait([wake.descriptor], milliseconds: milliseconds)
        return wake.take()
    }
}
