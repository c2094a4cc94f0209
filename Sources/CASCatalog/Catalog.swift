import CASCore

/// The index of a store: where bytes lie, what is complete, what refs name, who may do what.
///
/// What stands in it is *recorded* elsewhere too (in metadata packs), *derived* from packs, or
/// *expendable* (leases): `cas rebuild-index` makes a new one. Every call about existence, visibility
/// or usage carries a domain. Calls take batches, so that a networked database can stand behind it.
/// All methods block, and any thread may call them.
package protocol Catalog: Sendable {
    /// Calls `body` with one consistent view of everything committed so far.
    ///
    /// The view and what it returned lazily must not leave `body`. Readers never wait for a writer.
    func read<Result>(_ body: (any CatalogReader) throws -> Result) throws -> Result

    /// Calls `body` with an exclusive transaction, also among processes; durable when it returns.
    ///
    /// Nothing of it happened if `body` or this method throws. Must not be called within `body`.
    func write<Result>(_ body: (any CatalogTransaction) throws -> Result) throws -> Result

    /// Makes sure that no bytes of what was removed so far stay in the catalog's files.
    func erase() throws

    /// Ends the use of the catalog; later calls throw `failedPrecondition`.
    func close() throws
}
