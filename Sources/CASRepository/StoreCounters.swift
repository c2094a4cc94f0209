package import CASStorage
import Synchronization

/// What a repository counts, for metrics and tests; only ever goes up.
package final class StoreCounters: Sendable {
    private let packBytesCount = Atomic<UInt64>(0)
    private let synchronizationCount = Atomic<UInt64>(0)
    private let receivedRecordCount = Atomic<UInt64>(0)
    private let receivedByteCount = Atomic<UInt64>(0)
    private let presentCount = Atomic<UInt64>(0)
    private let askedCount = Atomic<UInt64>(0)
    private let commitCount = Atomic<UInt64>(0)
    private let transactionCount = Atomic<UInt64>(0)
    private let servedByteCount = Atomic<UInt64>(0)
    private let quarantinedCount = Atomic<UInt64>(0)
    private let storedPackCount = Atomic<UInt64>(0)
    private let storedByteCount = Atomic<UInt64>(0)
    private let renewedRefCount = Atomic<UInt64>(0)
    private let failedRenewalCount = Atomic<UInt64>(0)
    private let collectionCount = Atomic<UInt64>(0)
    private let deletedBlobCount = Atomic<UInt64>(0)
    private let condemnedBlobCount = Atomic<UInt64>(0)
    private let freedByteCount = Atomic<UInt64>(0)
    private let scrubbedByteCount = Atomic<UInt64>(0)
    private let movedRecordCount = Atomic<UInt64>(0)
    private let failedSkipCount = Atomic<UInt64>(0)

    /// Calls to the object backend.
    package let objects = ObjectCounters()

    init() {}

    /// Bytes appended to packs.
    package var packBytes: UInt64 { packBytesCount.load(ordering: .relaxed) }
    /// Syncs of packs and their directory.
    package var synchronizations: UInt64 { synchronizationCount.load(ordering: .relaxed) }
    /// Records uploaded.
    package var receivedRecords: UInt64 { receivedRecordCount.load(ordering: .relaxed) }
    /// Bytes of records uploaded.
    package var receivedBytes: UInt64 { receivedByteCount.load(ordering: .relaxed) }
    /// Digests that somebody asked about and that were there already.
    package var present: UInt64 { presentCount.load(ordering: .relaxed) }
    /// Digests that somebody asked about.
    package var asked: UInt64 { askedCount.load(ordering: .relaxed) }
    /// Pushes answered.
    package var commits: UInt64 { commitCount.load(ordering: .relaxed) }
    /// Catalog transactions that committed pushes and checkpoints; fewer than those where they met.
    package var transactions: UInt64 { transactionCount.load(ordering: .relaxed) }
    /// Bytes of records read for fetches.
    package var servedBytes: UInt64 { servedByteCount.load(ordering: .relaxed) }
    /// Records found damaged.
    package var quarantined: UInt64 { quarantinedCount.load(ordering: .relaxed) }
    /// Sealed packs handed to the object backend.
    package var storedPacks: UInt64 { storedPackCount.load(ordering: .relaxed) }
    /// Bytes of these.
    package var storedBytes: UInt64 { storedByteCount.load(ordering: .relaxed) }

    /// Refs prolonged by fetches.
    package var renewedRefs: UInt64 { renewedRefCount.load(ordering: .relaxed) }
    /// Times that refs could not be prolonged.
    package var failedRenewals: UInt64 { failedRenewalCount.load(ordering: .relaxed) }

    /// Times that others could not be told which numbers of events to leave out.
    package var failedSkips: UInt64 { failedSkipCount.load(ordering: .relaxed) }

    func add(packBytes: UInt64) { packBytesCount.add(packBytes, ordering: .relaxed) }
    func add(synchronizations: UInt64) {
        synchronizationCount.add(synchronizations, ordering: .relaxed)
    }
    func add(receivedRecords: UInt64, bytes: UInt64) {
        receivedRecordCount.add(receivedRecords, ordering: .relaxed)
        receivedByteCount.add(bytes, ordering: .relaxed)
    }
    func add(asked: UInt64, present: UInt64) {
        askedCount.add(asked, ordering: .relaxed)
        presentCount.add(present, ordering: .relaxed)
    }
    func add(commits: UInt64) { commitCount.add(commits, ordering: .relaxed) }
    func addTransaction() { transactionCount.add(1, ordering: .relaxed) }
    func add(servedBytes: UInt64) { servedByteCount.add(servedBytes, ordering: .relaxed) }
    func add(storedPack bytes: UInt64) {
        storedPackCount.add(1, ordering: .relaxed)
        storedByteCount.add(bytes, ordering: .relaxed)
    }
    func add(renewedRefs: UInt64) { renewedRefCount.add(renewedRefs, ordering: .relaxed) }
    func addFailedSkip() { failedSkipCount.add(1, ordering: .relaxed) }
    func addFailedRenewal() { failedRenewalCount.add(1, ordering: .relaxed) }
    /// Collections that were finished.
    package var collections: UInt64 { collectionCount.load(ordering: .relaxed) }
    /// Blobs that nothing kept and that are gone.
    package var deletedBlobs: UInt64 { deletedBlobCount.load(ordering: .relaxed) }
    /// Blobs that nothing kept when a collection looked; they are deleted once no push knows of them.
    package var condemnedBlobs: UInt64 { condemnedBlobCount.load(ordering: .relaxed) }
    /// Bytes of packs that collections gave back, without what they copied.
    package var freedBytes: UInt64 { freedByteCount.load(ordering: .relaxed) }
    /// Bytes of packs that were read again to see whether they are sound.
    package var scrubbedBytes: UInt64 { scrubbedByteCount.load(ordering: .relaxed) }
    /// Records that were copied forward.
    package var movedRecords: UInt64 { movedRecordCount.load(ordering: .relaxed) }

    func addCollection() { collectionCount.add(1, ordering: .relaxed) }
    func add(deletedBlobs: UInt64) { deletedBlobCount.add(deletedBlobs, ordering: .relaxed) }
    func add(condemnedBlobs: UInt64) { condemnedBlobCount.add(condemnedBlobs, ordering: .relaxed) }
    func add(freedBytes: UInt64) { freedByteCount.add(freedBytes, ordering: .relaxed) }
    func add(scrubbedBytes: UInt64) { scrubbedByteCount.add(scrubbedBytes, ordering: .relaxed) }
    func add(movedRecords: UInt64) { movedRecordCount.add(movedRecords, ordering: .relaxed) }
    func add(quarantined: UInt64) { quarantinedCount.add(quarantined, ordering: .relaxed) }
}
