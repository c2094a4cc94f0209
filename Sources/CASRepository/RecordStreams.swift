import CASCatalog
package import CASCore
import CASPack
import CASTree
import CASWire

/// What a fetch reads.
extension Repository {
    /// The snapshot and the messages that a plan's reader lacks, parents first.
    package func treeRecords(plan name: String, domain: Domain) throws -> any RecordSource {
        let plan = try plan(named: name, domain: domain)
        let prefix = ReusableBuffer(capacity: 512)
        let message = plan.snapshot.encode()
        RecordCoding.append(
            kind: .snapshot, digest: Digest.of(message), payload: message, to: prefix)
        return PackRecordSource(
            self, prefix: Array(prefix.bytes), records: RecordSequence(messages: plan.metadata),
            domain: domain)
    }

    /// One share of a plan's files, in the order of packs: a chunk, or a chunk list and its chunks.
    package func dataRecords(
        plan name: String, share: Int, of count: Int, domain: Domain
    ) throws -> any RecordSource {
        guard count > 0, count <= limits.streamsPerPush, share >= 0, share < count else {
            throw CASError(.invalidArgument, "there is no share \(share) of \(count)")
        }
        let plan = try plan(named: name, domain: domain)
        return PackRecordSource(
            self,
            records: RecordSequence(units: plan.share(share, of: count), chunks: plan.chunks),
            domain: domain)
    }

    /// These blobs, each as a chunk, or as a chunk list and its chunks; throws `notFound`.
    ///
    /// With `listsOnly`, chunk lists come without the chunks. A layer whose bytes are made comes as a list and
    /// chunks too, of which some can not be asked for: so not without them.
    package func blobRecords(
        _ digests: [Digest], listsOnly: Bool = false, domain: Domain
    ) throws -> any RecordSource {
        guard digests.count <= limits.digestsPerRequest else {
            throw CASError(
                .resourceExhausted, "\(digests.count) digests in one request are too many")
        }
        var distinct = Array(Set(digests)).filter { $0 != .empty }
        var derived: [DerivedContent] = []
        var search = Result {
            try catalog.read { try PlanBuilder.units(distinct, reader: $0, domain: domain) }
        }
        do {
            _ = try search.get()
        } catch let error as CASError
            where !listsOnly && [.notFound, .dataLoss].contains(error.code)
        {
            // Only what is not stored can be made.
            derived = try derivedContents(distinct, domain: domain)
            guard let only = derived.first else { throw error }
            // Each takes memory by the files of its tree while it is read.
            guard derived.count == 1 else {
                throw CASError(
                    .resourceExhausted, "one layer that is made of a tree is sent at a time",
                    hint: "ask for each by itself")
            }
            distinct.removeAll { $0 == only.layer.digest }
            let rest = distinct
            search = Result {
                try catalog.read { try PlanBuilder.units(rest, reader: $0, domain: domain) }
            }
        }
        let found = try search.get()
        let units = FetchPlan.inPackOrder(found.units, found.chunks)
        let stored = PackRecordSource(
            self,
            records: listsOnly
                ? RecordSequence(messages: units.map { ($0.digest, $0.first) })
                : RecordSequence(units: units[...], chunks: found.chunks),
            domain: domain)
        guard !derived.isEmpty else { return stored }
        return JoinedRecordSource([
            try DerivedRecordSource(self, derived, domain: domain), stored,
        ])
    }
}
