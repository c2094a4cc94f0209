import Synchronization

/// How far a push, fetch or verification is; written by its threads, read by whoever shows it.
///
/// Each file counts once, however often it is read or sent.
package final class ProgressCounters: Sendable {
    private let fileCount = Atomic<UInt64>(0)
    private let byteCount = Atomic<UInt64>(0)
    private let unreadCount = Atomic<UInt64>(0)
    private let knownCount = Atomic<UInt64>(0)
    private let newFileCount = Atomic<UInt64>(0)
    private let newByteCount = Atomic<UInt64>(0)
    private let transferredCount = Atomic<UInt64>(0)
    private let expectedFileCount = Atomic<UInt64>(0)
    private let expectedByteCount = Atomic<UInt64>(0)

    /// Nothing done yet.
    package init() {}

    /// Files looked at or written.
    package var files: UInt64 { fileCount.load(ordering: .relaxed) }
    /// Bytes of these files.
    package var bytes: UInt64 { byteCount.load(ordering: .relaxed) }
    /// Those of these bytes that nobody had to read, since the stat cache knows them.
    package var unread: UInt64 { unreadCount.load(ordering: .relaxed) }
    /// Bytes that the other side turned out to have.
    package var known: UInt64 { knownCount.load(ordering: .relaxed) }
    /// Files or chunks that the other side lacked.
    package var newFiles: UInt64 { newFileCount.load(ordering: .relaxed) }
    /// Bytes that the other side lacked, uncompressed.
    package var newBytes: UInt64 { newByteCount.load(ordering: .relaxed) }
    /// Bytes sent or received.
    package var transferred: UInt64 { transferredCount.load(ordering: .relaxed) }
    /// Files that there are to be written or compared; zero while that is not known.
    package var expectedFiles: UInt64 { expectedFileCount.load(ordering: .relaxed) }
    /// Their bytes.
    package var expectedBytes: UInt64 { expectedByteCount.load(ordering: .relaxed) }

    /// Counts files and their bytes.
    package func add(files: UInt64 = 0, bytes: UInt64 = 0) {
        if files > 0 { fileCount.add(files, ordering: .relaxed) }
        if bytes > 0 { byteCount.add(bytes, ordering: .relaxed) }
    }

    /// Says how much there is to be written or compared.
    package func expect(files: UInt64, bytes: UInt64) {
        expectedFileCount.store(files, ordering: .relaxed)
        expectedByteCount.store(bytes, ordering: .relaxed)
    }

    /// Takes back bytes that were counted, of a file that has to be done again.
    func take(back bytes: UInt64) { byteCount.subtract(bytes, ordering: .relaxed) }

    /// Counts files that need no reading.
    func add(unreadFiles: UInt64, bytes: UInt64) {
        unreadCount.add(bytes, ordering: .relaxed)
        add(files: unreadFiles, bytes: bytes)
    }

    func add(known: UInt64) { knownCount.add(known, ordering: .relaxed) }

    func add(newFiles: UInt64, newBytes: UInt64) {
        newFileCount.add(newFiles, ordering: .relaxed)
        newByteCount.add(newBytes, ordering: .relaxed)
    }

    func add(transferred: UInt64) { transferredCount.add(transferred, ordering: .relaxed) }
}
