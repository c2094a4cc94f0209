import CASCatalog
import CASCore
import CASPack

/// What a collection or a purge has to look at before it takes something: what became reachable since it
/// began, and blobs that came in another form than it marked.
struct Barrier: Sendable {
    /// Snapshots, and trees without one.
    var reachable: [Digest] = []
    /// Blobs that came as chunk lists.
    var arrivals: [Digest] = []

    /// Whether nothing has to be looked at.
    var isEmpty: Bool { reachable.isEmpty && arrivals.isEmpty }

    /// Nothing to look at.
    init() {}

    /// Takes up to so many notes of each kind.
    init(taking limit: Int, _ transaction: any CatalogTransaction, domain: Domain) throws {
        reachable = try transaction.takeBarrier(limit: limit, domain: domain)
        arrivals = try transaction.takeArrivals(limit: limit, domain: domain)
    }

    /// What the setting says while somebody collects, and while somebody removes content for good.
    private static let collecting: [UInt8] = [1]
    private static let purging: [UInt8] = [2]

    /// Empties the barrier some notes at a time, as whoever begins finds all of before by itself; false once
    /// it is empty and commits write to it.
    static func begin(
        limit: Int, isPurge: Bool = false, _ transaction: any CatalogTransaction, domain: Domain
    ) throws -> Bool {
        try transaction.set(
            setting: SettingName.collecting, isPurge ? Barrier.purging : Barrier.collecting)
        let old = try Barrier(taking: limit, transaction, domain: domain)
        return old.reachable.count == limit || old.arrivals.count == limit
    }

    /// Says that nobody has to hear of chunk lists any more.
    static func end(_ transaction: any CatalogTransaction) throws {
        try transaction.set(setting: SettingName.collecting, [])
    }

    /// Notes chunks that an upload relies on from now on, where somebody removes content for good.
    ///
    /// A collection looks at all uploads again before it deletes, and can take back what it condemned; a purge
    /// condemns nothing.
    static func note(
        uploaded chunks: [Digest], _ transaction: any CatalogTransaction, domain: Domain
    ) throws {
        guard try transaction.setting(SettingName.collecting) == Barrier.purging else { return }
        for chunk in chunks { try transaction.addBarrier(chunk, domain: domain) }
    }

    /// Notes blobs that come as chunk lists, where somebody has to hear of it.
    static func note(
        _ lists: [(Digest, ChunkList)], _ transaction: any CatalogTransaction, domain: Domain
    ) throws {
        guard !lists.isEmpty,
            let value = try transaction.setting(SettingName.collecting), !value.isEmpty
        else { return }
        try transaction.addArrivals(lists.map(\.0), domain: domain)
    }
}
