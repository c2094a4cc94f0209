import CASCatalog
import CASCore
import CASWire

extension CollectionRun {
    /// Ends links to what nothing keeps, recorded, before that is condemned.
    mutating func sweepLinks() throws {
        progress.phase = "ending links to what nothing keeps"
        let page = try catalog.read {
            try $0.links(after: linkCursor, limit: pace.rows, domain: domain).map(\.link)
        }
        guard let last = page.last else { return enter(.condemn) }
        let gone = page.filter { !marking.contains($0.digest) }
        if !gone.isEmpty {
            guard try take(gone) else { return }
            progress.add("endedLinks", UInt64(gone.count))
        }
        linkCursor = last
    }

    /// As `take` of a transaction, for events that are recorded.
    private mutating func take(_ links: [OCILink]) throws -> Bool {
        let provenance = Provenance(
            author: "cas", message: "nothing keeps it", time: repository.clock.now())
        let found: Barrier
        do {
            found = try repository.commit(session: nil, isEvent: true) {
                [pace, domain] context in
                let transaction = context.transaction
                let found = try Barrier(taking: pace.rows, transaction, domain: domain)
                guard found.isEmpty else { return found }
                for link in links
                where try transaction.removeLink(
                    link.name, link.digest, link.kind, domain: domain)
                {
                    context.record(
                        .ociUnlinked(
                            name: link.name, link.digest, link.kind, provenance, domain,
                            sequence: try transaction.nextSequence()))
                }
                return found
            }
        } catch {
            // It may have happened all the same, and then nobody knows what was in the barrier.
            enter(.begin)
            throw error
        }
        return resume(marking: found)
    }
}
