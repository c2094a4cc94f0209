import Glibc

/// A pipe by which one thread, or a handler of a signal, wakes another.
package final class WakePipe: Sendable {
    /// Becomes readable when somebody woke.
    package let descriptor: Int32
    /// Where a handler of signals writes a byte.
    package let writeEnd: Int32

    /// A new pipe.
    package init() throws {
        var ends: [Int32] = [-1, -1]
        try SystemFailure.check("cannot make a pipe") { pipe(&ends) }
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
        descriptor = ends[0]
        writeEnd = ends[1]
    }

    deinit {
        _ = Glibc.close(descriptor)
        _ = Glibc.close(writeEnd)
    }

    /// Wakes whoever waits, with a byte that says why; a full pipe wakes as well.
    package func wake(_ byte: UInt8 = 0) {
        var byte = byte
        _ = Glibc.write(writeEnd, &byte, 1)
    }

    /// The bytes since the last call.
    package func take() -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = Glibc.read(descriptor, &bytes, bytes.count)
        return count > 0 ? Array(bytes[..<count]) : []
    }
}

/// Waiting for several things at once.
package enum Readiness {
    /// Waits until one of the descriptors is readable or the time is over (nil: for ever); which ones are.
    ///
    /// Empty as well when a signal came.
    package static func wait(_ descriptors: [Int32], milliseconds: UInt64?) -> Set<Int32> {
        var entries = descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        let time = milliseconds.map { Int32(clamping: $0) } ?? -1
        guard poll(&entries, nfds_t(entries.count), time) > 0 else { return [] }
        return Set(entries.filter { $0.revents != 0 }.map(\.fd))
    }
}
