import Synchronization

/// How far a push or fetch is; written by its threads, read by whoever shows it.
package final class ProgressCounters: Sendable {
    private let fileCount = Atomic<UInt64>(0)
    private let byteCount = Atomic<UInt64>(0)
    private let newFileCount = Atomic<UInt64>(0)
    private let newByteCount = Atomic<UInt64>(0)
    private let transferredCount = Atomic<UInt64>(0)
    private let expectedCount = Atomic<UInt64>(0)

    /// Nothing done yet.
    package init() {}

    /// Files looked at or written.
    package var files: UInt64 { fileCount.load(ordering: .relaxed) }
    /// Bytes read or written.
    package var bytes: UInt64 { byteCount.load(ordering: .relaxed) }
    /// Files or chunks that the other side lacked.
    package var newFiles: UInt64 { newFileCount.load(ordering: .relaxed) }
    /// Bytes that the other side lacked, uncompressed.
    package var newBytes: UInt64 { newByteCount.load(ordering: .relaxed) }
    /// Bytes sent or received.
    package var transferred: UInt64 { transferredCount.load(ordering: .relaxed) }
    /// Bytes that there are to be sent or received; zero while that is not known.
    package var expected: UInt64 { expectedCount.load(ordering: .relaxed) }

    /// Counts files and their bytes.
    package func add(files: UInt64 = 0, bytes: UInt64 = 0) {
        if files > 0 { fileCount.add(files, ordering: .relaxed) }
        if bytes > 0 { byteCount.add(bytes, ordering: .relaxed) }
    }

    func add(newFiles: UInt64, newBytes: UInt64) {
        newFileCount.add(newFiles, ordering: .relaxed)
        newByteCount.add(newBytes, ordering: .relaxed)
    }

    func add(transferred: UInt64) { transferredCount.add(transferred, ordering: .relaxed) }
    func set(expected: UInt64) { expectedCount.store(expected, ordering: .relaxed) }
}
