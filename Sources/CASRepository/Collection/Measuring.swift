import CASCatalog
package import CASCore
import CASTree
import Synchronization

/// Finds out how scattered the files of new snapshots lie, and records it with each.
///
/// Reads the catalog and messages of trees, and makes one small change for each snapshot. A push does not
/// wait for it.
package final class Measuring: MaintenanceTask {
    /// Snapshots that can not be measured, as something of them is lost; beyond so many it gives up.
    private static let failures = 100

    private struct State {
        var current: (snapshot: Digest, walk: MeasuringWalk)?
        var failed: Set<Digest> = []
        var progress = MaintenanceProgress()
    }
    private let repository: Repository
    private let domain: Domain
    private let state = Mutex(State())

    /// A look at every snapshot that was not measured yet.
    package init(_ repository: Repository, domain: Domain) {
        self.repository = repository
        self.domain = domain
        state.withLock { $0.progress.phase = "measuring" }
    }

    /// Whether there are snapshots to measure, without those that can not be.
    package func isDue() throws -> Bool {
        let failed = state.withLock { $0.failed }
        guard failed.count < Measuring.failures else { return false }
        return try repository.catalog.read {
            try $0.unmeasuredSnapshots(limit: failed.count + 1, domain: domain)
        }.contains { !failed.contains($0) }
    }

    package var progress: MaintenanceProgress { state.withLock { $0.progress } }

    package func step() throws -> Bool {
        try state.withLock { state in
            if state.current == nil, try !begin(&state) { return false }
            guard var current = state.current.take() else { return false }
            do {
                if let measure = try current.walk.next(repository) {
                    try repository.catalog.write {
                        try $0.set(measure: measure, of: current.snapshot, domain: domain)
                    }
                    state.progress.add("measuredSnapshots")
                } else {
                    state.current = current
                }
            } catch let error as CASError where error.code == .dataLoss {
                // What is lost is a scrub's to tell; a push that heals it makes another snapshot complete.
                state.failed.insert(current.snapshot)
            }
            return true
        }
    }

    private func begin(_ state: inout State) throws -> Bool {
        guard state.failed.count < Measuring.failures else { return false }
        let limits = repository.limits
        let next = try repository.view(domain) { reader -> (Digest, Digest)? in
            let found = try reader.unmeasuredSnapshots(
                limit: state.failed.count + 1, domain: domain)
            guard let snapshot = found.first(where: { !state.failed.contains($0) }) else {
                return nil
            }
            let source = try StoredDirectories(repository, reader, domain: domain)
            return (snapshot, try source.snapshot(snapshot)?.tree.digest ?? .zero)
        }
        guard let (snapshot, root) = next else { return false }
        state.current = (snapshot, MeasuringWalk(root: root, domain: domain, limits: limits))
        return true
    }
}

/// Finds out, a few records at a time, how scattered the files of a tree lie.
struct MeasuringWalk {
    /// Records looked up in a step, which are a few milliseconds.
    private static let recordsPerStep = 4_000
    /// Records whose runs are found together; a run across two such groups counts as two.
    private static let recordsPerGroup = 200_000

    private let domain: Domain
    private var walk: ContentWalk
    private var group: [ContentWalk.Item] = []
    private var ranges: UInt64 = 0
    private var readBytes: UInt64 = 0

    init(root: Digest, domain: Domain, limits: Limits) {
        self.domain = domain
        walk = ContentWalk(root: root, domain: domain, limits: limits)
    }

    /// One step; the measure once everything was seen.
    ///
    /// Throws `dataLoss` where something is missing.
    mutating func next(_ repository: Repository) throws -> SnapshotMeasure? {
        let items = try repository.view(domain) { reader in
            let source = try StoredDirectories(repository, reader, domain: domain)
            return try walk.next(MeasuringWalk.recordsPerStep, reader, source)
        }
        group += items ?? []
        if items == nil || group.count >= MeasuringWalk.recordsPerGroup {
            let runs = Scatter.runs(group)
            ranges += UInt64(runs.count)
            readBytes += runs.reduce(0) { $0 + $1.bytes }
            group = []
        }
        guard items == nil else { return nil }
        return SnapshotMeasure(
            ranges: ranges, readBytes: readBytes, restoredBytes: walk.restoredBytes)
    }
}
