package import CASCore
package import CASPack
package import CASWire

/// Changes to a catalog, all of them or none; sees what it changed itself.
package protocol CatalogTransaction: CatalogReader, KeepingTransaction, ImageTransaction {
    /// Stores a setting over the previous one.
    func set(setting name: String, _ value: [UInt8]) throws
    /// A number above all given out before, also after a rebuild that recorded them.
    func nextSequence() throws -> UInt64
    /// Makes sure that no number up to `sequence` is given out again.
    func raiseSequence(to sequence: UInt64) throws

    /// Adds a pack and returns its number, which is never used again; `entry.number` is ignored.
    func insert(pack entry: PackEntry) throws -> Int64
    /// Changes what is known of a pack; nil keeps a value.
    func update(pack number: Int64, isSealed: Bool?, committedBytes: UInt64?) throws
    /// Records that a sealed pack is durable behind the object backend.
    func markStored(pack number: Int64) throws
    /// Removes a pack and the locations of all its records, not what is derived from them.
    func removePack(_ number: Int64) throws

    /// Adds locations, in any order; a digest that has one keeps it, so the first one wins.
    ///
    /// Throws, and adds none, where a pack is not in the catalog.
    func insert(locations: [(Digest, BlobLocation)], domain: Domain) throws
    /// Removes the locations of these digests: their bytes proved bad or are going.
    func remove(locations digests: [Digest], domain: Domain) throws
    /// Adds what blobs are composed of; the first list of a digest wins.
    func insert(chunkLists: [(Digest, ChunkList)], domain: Domain) throws
    /// Removes these chunk lists.
    func remove(chunkLists digests: [Digest], domain: Domain) throws

    /// Records directories as complete; to be called only where every member was found so.
    ///
    /// A state follows from its digest: the first one stays.
    func insert(treeStates: [(Digest, TreeState)], domain: Domain) throws
    /// Records snapshots as complete, with the roots they name.
    func insert(completeSnapshots: [CompleteSnapshot], domain: Domain) throws
    /// Records that these directories are not known to be complete.
    func remove(treeStates digests: [Digest], domain: Domain) throws
    /// Records that these snapshots are not known to be complete.
    func remove(completeSnapshots digests: [Digest], domain: Domain) throws
    /// Records that nothing is known to be complete, as after a loss of unknown reach; costs the same however
    /// much there is.
    func forgetCompleteness(domain: Domain) throws

    /// Records a move in a ref's history and sets the ref, or removes it when `entry` is nil.
    ///
    /// Raises the sequence to that of the move. The caller decides preconditions, on what it reads in
    /// this transaction.
    func move(_ move: HistoryEntry, _ entry: RefEntry?, domain: Domain) throws
    /// Replaces what is known of a ref beside what it names; no move. Without such a ref it does nothing.
    func update(ref entry: RefEntry, domain: Domain) throws
    /// Remembers what a push was answered; the first answer stays.
    func insert(push identifier: Identifier, _ response: PushResponse, domain: Domain) throws

    /// Adds a token or replaces the record of the same identifier.
    func insert(token: TokenRecord) throws
    /// Marks a token as revoked unless it is; false if there is no such token.
    func revoke(token identifier: Identifier, at time: Timestamp) throws -> Bool

    /// Adds a lease or replaces the one of the same identifier.
    func insert(lease: Lease) throws
    /// Prolongs a lease; false if it is gone.
    func renew(lease identifier: Identifier, until monotonicNanoseconds: UInt64) throws -> Bool
    /// Ends a lease, if there is one.
    func remove(lease identifier: Identifier) throws

    /// Empties the catalog for a rebuild; even numbers of packs and sequences start again.
    func removeEverything() throws
}
