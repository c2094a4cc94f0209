import CASChunking
package import CASCore
package import CASWire

/// The version of this program.
package enum Software {
    /// The version, as `cas --version` prints it.
    package static let version = "0.1.0"
}

/// Answers as the native protocol gives them.
extension Repository {
    /// What the store says of itself to somebody with these rights.
    package func describe(scopes: [TokenScope]) throws -> StoreDescription {
        var description = StoreDescription(
            softwareVersion: Software.version, incarnation: incarnation,
            chunkerAverageBytes: UInt64(chunker.averageBytes), chunkerSeed: UInt64(chunker.seed),
            requestBytes: UInt64(limits.requestBytes), unaskedBytes: UInt64(limits.unaskedBytes),
            now: clock.now(), scopes: scopes)
        description.hasQuotas = try ruleSet(domain: .standard).hasQuotas
        description.movesSeveralRefs = true
        description.givesChunkLists = true
        description.takesImages = true
        return description
    }

    /// One page of refs; `after` is empty or the `next` of the page before.
    package func refPage(
        prefix: String, after: String, limit: Int, domain: Domain
    ) throws -> RefPage {
        let limit = max(1, min(limit, limits.listingEntries))
        let entries = try refs(
            prefix: prefix, after: after.isEmpty ? nil : try RefName(after), limit: limit,
            domain: domain)
        return RefPage(
            entries: entries,
            next: entries.count == limit ? entries.last?.name.description ?? "" : "")
    }

    /// One page of a ref's history; `before` is empty or the `next` of the page before.
    package func historyPage(
        _ name: RefName, before: String, limit: Int, domain: Domain
    ) throws -> HistoryPage {
        let limit = max(1, min(limit, limits.listingEntries))
        let number = UInt64(before)
        guard before.isEmpty || number != nil else {
            throw CASError(.invalidArgument, "'\(before)' is not the number of a move")
        }
        let entries = try history(name, before: number, limit: limit, domain: domain)
        return HistoryPage(
            entries: entries,
            next: entries.count == limit ? entries.last.map { "\($0.sequence)" } ?? "" : "")
    }
}
