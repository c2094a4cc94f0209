import CASCore
import CASRepository
import CASWire

/// Pages of the refs that somebody may read.
///
/// Only the ranges of names are looked at that the rights cover: neither an entry nor the place where the
/// next page begins tells of another name, and a page costs what it holds, whatever else the store has.
extension Door {
    func refPage(
        _ rights: Rights, prefix: String, after: String, limit: Int
    ) throws -> RefPage {
        let limit = max(1, min(limit, repository.configuration.limits.listingEntries))
        let after = after.isEmpty ? nil : try RefName(after)
        let prefixes = rights.prefixes(.read)
        if prefixes.contains("") {
            return page(try refs(prefix, after, limit), limit)
        }
        var entries: [RefName: RefEntry] = [:]
        for range in prefixes {
            // The name itself, which comes before all that only begin with it, and what is below it.
            if range.hasPrefix(prefix) {
                for entry in try refs(range, after, limit) where entry.name.name == range {
                    entries[entry.name] = entry
                }
            }
            let below = range + "/"
            guard below.hasPrefix(prefix) || prefix.hasPrefix(below) else { continue }
            let longer = below.utf8.count > prefix.utf8.count ? below : prefix
            for entry in try refs(longer, after, limit) { entries[entry.name] = entry }
        }
        return page(
            Array(entries.values.sorted { $0.name < $1.name }.prefix(limit)), limit)
    }

    private func refs(_ prefix: String, _ after: RefName?, _ limit: Int) throws -> [RefEntry] {
        try repository.refs(prefix: prefix, after: after, limit: limit, domain: domain)
    }

    private func page(_ entries: [RefEntry], _ limit: Int) -> RefPage {
        RefPage(
            entries: entries,
            next: entries.count == limit ? entries.last?.name.description ?? "" : "")
    }
}

extension Rights {
    /// The beginnings of names on which something is allowed; an empty one is all names.
    func prefixes(_ verb: TokenVerb) -> Set<String> {
        Set(scopes.filter { $0.allowsSomewhere(verb) }.map(\.prefix))
    }
}
