package import CASCore
import CASFileSystem
import Synchronization

/// A directory that goes with the object.
package final class TemporaryDirectory: Sendable {
    /// Its absolute path.
    package let path: String

    /// Creates an empty one.
    package init(in parent: String = "/tmp", _ prefix: String = "cas-test-") throws {
        path = try Host.makeTemporaryDirectory(in: parent, prefix: prefix)
    }

    deinit { try? Host.removeTree(path) }
}

/// A clock that a test sets.
package final class TestClock: WallClock {
    private let state: Mutex<(now: Timestamp, monotonic: UInt64)>

    /// A clock that stands still.
    package init(seconds: Int64 = 1_700_000_000) {
        state = Mutex((Timestamp(seconds: seconds), 1_000_000_000))
    }

    package func now() -> Timestamp { state.withLock { $0.now } }
    package func monotonicNanoseconds() -> UInt64 { state.withLock { $0.monotonic } }

    /// Moves the time of day, also backwards.
    package func set(seconds: Int64) {
        state.withLock { $0.now = Timestamp(seconds: seconds) }
    }

    /// Lets time pass.
    package func advance(nanoseconds: UInt64) {
        state.withLock { state in
            state.monotonic += nanoseconds
            state.now.seconds += Int64(nanoseconds / 1_000_000_000)
        }
    }
}
