import CASCatalog
import CASCore
import CASWire

/// Finds everything that keeps something, page by page.
///
/// What begins to keep something after a collection began is in the catalog's barrier, so it does not matter
/// that the pages are of different moments.
struct RootScan {
    private enum Stage {
        case refs(after: RefName?)
        case moves(after: HistoryEntry?)
        case touches(after: Digest?)
        case images
        case rest
        case done
    }
    private var stage = Stage.refs(after: nil)
    private let domain: Domain
    private let now: Timestamp
    private let monotonic: UInt64
    /// Seconds for which a snapshot stays that was fetched by digest.
    private let protectedSeconds: UInt64
    private var rules: RuleSet?
    private var images: ImageRootScan

    /// A scan for a purge: what its names relied on before it began, and nothing else of them has, counts for nothing.
    init(_ repository: Repository, forgetting purge: PurgeRecord) {
        self.init(repository, domain: purge.domain)
        images = ImageRootScan(repository, domain: domain, forgetting: purge)
    }

    /// A scan.
    init(_ repository: Repository, domain: Domain) {
        self.domain = domain
        now = repository.clock.now()
        monotonic = repository.clock.monotonicNanoseconds()
        protectedSeconds = repository.configuration.protectedSeconds
        images = ImageRootScan(repository, domain: domain)
    }

    /// The next roots; nil once there are no more.
    mutating func next(_ reader: any CatalogReader, limit: Int) throws -> [Marking.Root]? {
        switch stage {
        case .refs(let after):
            let page = try reader.refs(prefix: "", after: after, limit: limit, domain: domain)
            stage = page.count < limit ? .moves(after: nil) : .refs(after: page.last?.name)
            return page.map {
                Marking.Root(
                    digest: $0.target.digest, tree: $0.tree, kind: "ref",
                    name: $0.name.description)
            } + page.compactMap(RootScan.base)
        case .moves(let after): return try moves(after, reader, limit)
        case .touches(let after):
            let page = try reader.touches(after: after, limit: limit, domain: domain)
            stage = page.count < limit ? .images : .touches(after: page.last?.digest)
            let oldest = now.seconds - Int64(clamping: protectedSeconds)
            return page.filter { $0.byDigest > oldest }.map {
                Marking.Root(digest: $0.digest, kind: "fetched")
            }
        case .images:
            if let found = try images.next(reader, limit: limit) { return found }
            stage = .rest
            return []
        case .rest:
            stage = .done
            let pins = try reader.pins(domain: domain).filter { pin in
                pin.expires.map { $0 > now } ?? true
            }
            let reads = try reader.leases().filter { $0.purpose == .read && $0.expires > monotonic }
            return pins.map { Marking.Root(digest: $0.digest, kind: "pin", name: $0.name) }
                + reads.compactMap(\.digest).map { Marking.Root(digest: $0, kind: "read") }
        case .done: return nil
        }
    }

    /// The image that those of a ref are put on top of.
    private static func base(_ entry: RefEntry) -> Marking.Root? {
        guard !entry.imageOptions.isEmpty,
            let base = try? SnapshotImageOptions(entry.imageOptions).base
        else { return nil }
        return Marking.Root(digest: base.digest, kind: "part", name: entry.name.description)
    }

    private mutating func moves(
        _ after: HistoryEntry?, _ reader: any CatalogReader, _ limit: Int
    ) throws -> [Marking.Root] {
        let known = try rules ?? RuleSet(try reader.rules(domain: domain))
        rules = known
        let page = try reader.moves(after: after, limit: limit, domain: domain)
        stage = page.count < limit ? .touches(after: nil) : .moves(after: page.last)
        return page.compactMap { move in
            guard let previous = move.previous,
                let end = Retention.protectedUntil(move, known.historySeconds(move.name.name)),
                end > now
            else { return nil }
            return Marking.Root(
                digest: previous.digest, kind: "history", name: move.name.description)
        }
    }
}
