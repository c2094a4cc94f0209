package import CASCore
package import CASWire

/// When a snapshot was used last, by how it was named.
package struct Touch: Hashable, Sendable {
    /// The snapshot.
    package var digest: Digest
    /// Seconds since 1970 of the last fetch by digest; zero for never.
    package var byDigest: Int64
    /// Seconds since 1970 of the last fetch by a ref; zero for never.
    package var byName: Int64

    /// A touch from its parts.
    package init(digest: Digest, byDigest: Int64 = 0, byName: Int64 = 0) {
        self.digest = digest
        self.byDigest = byDigest
        self.byName = byName
    }
}

/// How scattered the files of a snapshot lie, which is what a restore pays for.
package struct SnapshotMeasure: Hashable, Sendable {
    /// Runs of neighbouring records that a fetch of it reads.
    package var ranges: UInt64
    /// Bytes of these runs.
    package var readBytes: UInt64
    /// Bytes of the files.
    package var restoredBytes: UInt64

    /// A measure from its parts.
    package init(ranges: UInt64, readBytes: UInt64, restoredBytes: UInt64) {
        self.ranges = ranges
        self.readBytes = readBytes
        self.restoredBytes = restoredBytes
    }
}

/// A record that lies elsewhere now.
package struct Relocation: Hashable, Sendable {
    /// Its key.
    package var digest: Digest
    /// Where it was.
    package var old: BlobLocation
    /// Where it is.
    package var new: BlobLocation

    /// A relocation from its parts.
    package init(digest: Digest, old: BlobLocation, new: BlobLocation) {
        self.digest = digest
        self.old = old
        self.new = new
    }
}

/// A pack that the catalog does not know any more and whose bytes have still to go.
package struct DoomedPack: Hashable, Sendable {
    /// Its random name.
    package var identifier: Identifier
    /// Whether it lies behind the object backend; else it is a file of this machine's.
    package var isStored: Bool

    /// A doomed pack from its parts.
    package init(identifier: Identifier, isStored: Bool) {
        self.identifier = identifier
        self.isStored = isStored
    }
}

/// Questions about what is kept and what goes; part of `CatalogReader`.
///
/// Scans go by the order of keys, from behind `after`.
package protocol KeepingReader {
    /// The number of the last pass that condemned blobs; 1 in a new store.
    func generation() throws -> UInt64
    /// Blobs and where they lie, by ascending digest.
    func locations(
        after: Digest?, limit: Int, domain: Domain
    ) throws -> [(digest: Digest, location: BlobLocation)]
    /// Keys of the states of trees, by ascending digest; also of those that were forgotten with all others and
    /// take up room still.
    func treeKeys(after: Digest?, limit: Int, domain: Domain) throws -> [Digest]
    /// Complete snapshots, by ascending digest; also such forgotten ones.
    func snapshotKeys(after: Digest?, limit: Int, domain: Domain) throws -> [Digest]
    /// The generation in which each blob was condemned; nil for those that are not.
    func condemned(of digests: [Digest], domain: Domain) throws -> [UInt64?]
    /// Condemned blobs with their generation, by ascending digest.
    func condemned(
        after: Digest?, limit: Int, domain: Domain
    ) throws -> [(digest: Digest, generation: UInt64)]
    /// Blobs that are composed of a chunk, among others; slow, as it looks at every chunk list.
    func blobs(ofChunk digest: Digest, domain: Domain) throws -> [Digest]
    /// All leases.
    func leases() throws -> [Lease]
    /// When a snapshot was used last; nil if nobody knows.
    func touch(of digest: Digest, domain: Domain) throws -> Touch?
    /// Uses of snapshots, by ascending digest.
    func touches(after: Digest?, limit: Int, domain: Domain) throws -> [Touch]
    /// Moves of all refs in the order of their names and, for each, of their sequence.
    func moves(after: HistoryEntry?, limit: Int, domain: Domain) throws -> [HistoryEntry]
    /// All pins, expired ones too, ordered by name and digest.
    func pins(domain: Domain) throws -> [PinRecord]
    /// All rules, ordered by pattern.
    func rules(domain: Domain) throws -> [RetentionRule]
    /// Why each of these digests was purged; nil for those that were not.
    func purged(_ digests: [Digest], domain: Domain) throws -> [String?]
    /// Whether anything was ever purged.
    func hasPurges() throws -> Bool
    /// Purged digests and why, by ascending digest.
    func purges(
        after: Digest?, limit: Int, domain: Domain
    ) throws -> [(digest: Digest, reason: String)]
    /// What a purge that is not done may still have to take, by ascending digest.
    func purging(after: Digest?, limit: Int, domain: Domain) throws -> [Digest]
    /// Packs whose bytes have still to go.
    func doomedPacks() throws -> [DoomedPack]
    /// Sums over the locations in each pack.
    func packUsage() throws -> [Int64: CatalogCounts.Records]
    /// Complete snapshots whose files nobody measured yet, the newest first.
    func unmeasuredSnapshots(limit: Int, domain: Domain) throws -> [Digest]
    /// How scattered a snapshot lay when it was measured; nil if it was not.
    func measure(of snapshot: Digest, domain: Domain) throws -> SnapshotMeasure?
}

/// Changes of what is kept and what goes; part of `CatalogTransaction`.
package protocol KeepingTransaction: KeepingReader {
    /// Begins a new generation and returns its number.
    func nextGeneration() throws -> UInt64
    /// Marks blobs as condemned in a generation, also those that were in an earlier one.
    func condemn(_ digests: [Digest], generation: UInt64, domain: Domain) throws
    /// Takes back what condemned these blobs, if anything did.
    func revive(_ digests: [Digest], domain: Domain) throws
    /// Notes a snapshot that became reachable, for a collection that is looking.
    func addBarrier(_ snapshot: Digest, domain: Domain) throws
    /// Takes up to so many of these notes.
    func takeBarrier(limit: Int, domain: Domain) throws -> [Digest]
    /// Notes blobs that came as chunk lists, for a collection that may have marked them in another form.
    func addArrivals(_ digests: [Digest], domain: Domain) throws
    /// Takes up to so many of these notes.
    func takeArrivals(limit: Int, domain: Domain) throws -> [Digest]
    /// Remembers a use; the later one of each kind stays.
    func insert(touch: Touch, domain: Domain) throws
    /// Forgets uses that all lie before a time in seconds since 1970.
    func removeTouches(before seconds: Int64, limit: Int, domain: Domain) throws -> Int
    /// Removes the moves of a ref up to a sequence, with what their pushes were answered.
    func removeHistory(_ name: RefName, upTo sequence: UInt64, domain: Domain) throws
    /// Adds a pin or replaces the one of the same name and digest.
    func insert(pin: PinRecord, domain: Domain) throws
    /// Removes a pin; false if there is none.
    func removePin(name: String, digest: Digest, domain: Domain) throws -> Bool
    /// Adds a rule or replaces the one of the same pattern.
    func insert(rule: RetentionRule, domain: Domain) throws
    /// Removes a rule; false if there is none.
    func removeRule(pattern: String, domain: Domain) throws -> Bool
    /// Remembers that digests were purged, and why; the first reason stays.
    func insert(purged digests: [Digest], reason: String, domain: Domain) throws
    /// Notes what a purge may have to take.
    func insert(purging digests: [Digest], domain: Domain) throws
    /// Takes back such notes.
    func remove(purging digests: [Digest], domain: Domain) throws
    /// Moves locations that are still the old ones; how many were.
    func relocate(_ items: [Relocation], domain: Domain) throws -> Int
    /// Removes a pack in which nothing lies any more and notes it as doomed; false if something does.
    func removeEmptyPack(_ number: Int64) throws -> Bool
    /// Forgets a doomed pack, whose bytes are gone.
    func remove(doomed identifier: Identifier) throws
    /// Adds to the bytes of events in a pack, the last of which has this sequence.
    func addEvents(pack number: Int64, bytes: UInt64, lastSequence: UInt64) throws
    /// Remembers how strongly the records of a pack were compressed.
    func update(pack number: Int64, level: Int) throws
    /// Remembers how scattered a snapshot lies.
    func set(measure: SnapshotMeasure?, of snapshot: Digest, domain: Domain) throws
    /// Makes no lease end later than this; those of before a reboot could.
    func limitLeases(to monotonicNanoseconds: UInt64) throws
}
