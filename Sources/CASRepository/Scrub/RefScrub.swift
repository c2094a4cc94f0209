import CASCatalog
import CASCore
import CASWire

/// Finds the refs whose snapshots lack something, and records again which do not.
///
/// What is known to be complete costs one lookup. One thread at a time.
final class RefScrub {
    /// Places that are named of one ref.
    private static let placesPerRef = 100
    /// Refs that are looked at in one step, of which at most one is walked.
    private static let refsPerStep = 1_000

    private let repository: Repository
    private let domain: Domain
    private var after: RefName?
    private var waiting: ArraySlice<RefEntry> = []
    private var isLastPage = false

    /// All refs of a domain.
    init(_ repository: Repository, domain: Domain) {
        self.repository = repository
        self.domain = domain
    }

    /// Looks at some more refs; false once there are no more.
    func step(_ log: inout ScrubLog) throws -> Bool {
        if waiting.isEmpty {
            guard !isLastPage else { return false }
            let page = try repository.refs(
                prefix: "", after: after, limit: RefScrub.refsPerStep, domain: domain)
            isLastPage = page.count < min(RefScrub.refsPerStep, repository.limits.listingEntries)
            after = page.last?.name
            waiting = page[...]
            log.add("refs", UInt64(waiting.count))
        }
        let complete = try repository.catalog.read { reader in
            try waiting.prefix { entry in
                try entry.target.kind == .snapshot
                    && reader.completeSnapshot(entry.target.digest, domain: domain)
            }.count
        }
        waiting = waiting.dropFirst(complete)
        if let entry = waiting.popFirst() { try check(entry, &log) }
        return true
    }

    /// Finds what an image that a tag names lacks.
    private func checkImage(_ entry: RefEntry, _ log: inout ScrubLog) throws {
        let digest = entry.target.digest
        let lacking = try repository.catalog.read {
            try repository.lacking(inImage: digest, $0, domain)
        }
        guard !lacking.isEmpty,
            try repository.ref(entry.name, domain: domain)?.target == entry.target
        else { return }
        let name = entry.name.description
        log.add("affectedRefs")
        log.add(
            MaintenanceState.Finding(
                "ref", name: name, digest: digest,
                text: "lacks \(lacking.count) \(lacking.count == 1 ? "blob" : "blobs")"))
        for blob in lacking.prefix(RefScrub.placesPerRef) {
            log.note(
                MaintenanceState.Finding(
                    "lacks", name: name, digest: blob,
                    text: blob == digest ? "the manifest" : "a blob of the image: push it again"))
        }
    }

    private func check(_ entry: RefEntry, _ log: inout ScrubLog) throws {
        guard entry.target.kind == .snapshot else { return try checkImage(entry, &log) }
        let digest = entry.target.digest
        let problem: String
        do {
            let count = try repository.commit(session: nil, isEvent: false) {
                [repository, domain] context in
                var completeness = Completeness(
                    context, domain: domain, limits: repository.limits)
                return try completeness.check(digest).missing.count
            }
            guard count > 0 else { return }
            problem = "lacks \(count) \(count == 1 ? "blob" : "blobs")"
        } catch let error as CASError where !error.code.isTransient && error.code != .internalError
        {
            problem = error.message
        }
        // Moved or removed since.
        guard try repository.ref(entry.name, domain: domain)?.target == entry.target else { return }
        log.add("affectedRefs")
        let name = entry.name.description
        log.add(MaintenanceState.Finding("ref", name: name, digest: digest, text: problem))
        let places = try repository.view(domain) { reader in
            var lacking = try LackingPaths(
                repository, reader, domain: domain, limit: RefScrub.placesPerRef)
            try lacking.find(in: digest)
            return lacking.places
        }
        for place in places {
            log.note(
                MaintenanceState.Finding(
                    "lacks", name: name, digest: place.digest, text: place.text))
        }
    }
}
