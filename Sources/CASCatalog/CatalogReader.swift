package import CASCore
package import CASPack
package import CASWire

/// Questions to one consistent view of a catalog.
///
/// Answers to batches stand in the order asked.
package protocol CatalogReader: KeepingReader, ImageReader {
    /// A stored setting, such as the store's incarnation; nil if never set.
    func setting(_ name: String) throws -> [UInt8]?
    /// The highest sequence number given out or recorded; zero in a new store.
    func lastSequence() throws -> UInt64

    /// Where the record of each digest lies; nil where the store has none.
    func locations(of digests: [Digest], domain: Domain) throws -> [BlobLocation?]
    /// Digests whose records lie in a pack at or behind an offset, in no order; slow.
    func digests(in pack: Int64, from offset: UInt64) throws -> [Digest]
    /// How many locations point into a pack; cheap, as it is kept.
    func records(in pack: Int64) throws -> UInt64
    /// How each blob is composed; nil where it is its own only chunk or absent.
    func chunkLists(of digests: [Digest], domain: Domain) throws -> [ChunkList?]
    /// Totals of each directory whose whole subtree is present; nil where that is not known.
    func treeStates(of digests: [Digest], domain: Domain) throws -> [TreeState?]
    /// Whether a snapshot is present with its whole tree and, if it names any, all attributes.
    func completeSnapshot(_ snapshot: Digest, domain: Domain) throws -> Bool
    /// The complete snapshot of a tree that was recorded last; nil if there is none.
    func snapshotOf(tree: Digest, domain: Domain) throws -> Digest?

    /// All packs, by ascending number.
    func packs() throws -> [PackEntry]
    /// Packs that their processes still write to, or left so, by ascending number; cheap.
    func unsealedPacks() throws -> [PackEntry]
    /// One pack; nil if the number is not in use.
    func pack(_ number: Int64) throws -> PackEntry?

    /// What a ref names now.
    func ref(_ name: RefName, domain: Domain) throws -> RefEntry?
    /// Refs whose name begins with `prefix`, ordered by name and tag, beginning behind `after`.
    func refs(
        prefix: String, after: RefName?, limit: Int, domain: Domain
    ) throws -> [RefEntry]
    /// The first refs, by name, that name this snapshot or manifest, or a snapshot of this tree.
    func refs(holding digest: Digest, limit: Int, domain: Domain) throws -> [RefEntry]
    /// Refs of a name, whatever their tag, that name this snapshot or manifest, or a snapshot of this
    /// tree; ordered by tag.
    func refs(
        named name: String, holding digest: Digest, limit: Int, domain: Domain
    ) throws -> [RefEntry]
    /// Moves and removals of a ref, newest first, only those with a sequence below `before`.
    func history(
        _ name: RefName, before: UInt64?, limit: Int, domain: Domain
    ) throws -> [HistoryEntry]
    /// What a push was answered when it was done; nil if no such push was.
    func push(_ identifier: Identifier, domain: Domain) throws -> PushResponse?

    /// All tokens, revoked and expired ones too, ordered by identifier.
    func tokens() throws -> [TokenRecord]
    /// One token.
    func token(_ identifier: Identifier) throws -> TokenRecord?

    /// A lease; nil if it was never taken or is gone.
    func lease(_ identifier: Identifier) throws -> Lease?
    /// Leases that ended at or before this monotonic time, the earliest first.
    func expiredLeases(at monotonicNanoseconds: UInt64) throws -> [Lease]

    /// How much there is of everything; cheap, as sums are kept per pack.
    func counts(domain: Domain) throws -> CatalogCounts
}

extension CatalogReader {
    /// Where the record of one digest lies.
    package func location(of digest: Digest, domain: Domain) throws -> BlobLocation? {
        try locations(of: [digest], domain: domain)[0]
    }

    /// How one blob is composed.
    package func chunkList(of digest: Digest, domain: Domain) throws -> ChunkList? {
        try chunkLists(of: [digest], domain: domain)[0]
    }

    /// Totals of one complete directory.
    package func treeState(of digest: Digest, domain: Domain) throws -> TreeState? {
        try treeStates(of: [digest], domain: domain)[0]
    }
}
