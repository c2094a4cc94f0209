import CASCatalog
package import CASCore
import CASPack
import CASTree
import CASWire
import Synchronization

/// When files of a snapshot lie too scattered, and which of them are then brought together
/// (ops/decisions/0012-scattered-files.md).
package struct ForwardPolicy: Sendable {
    /// Bytes of a run below which, on average, a snapshot is scattered.
    package var averageRunBytes: UInt64 = 32 << 10
    /// Runs up to which no snapshot is.
    package var toleratedRanges: UInt64 = 64
    /// Bytes of a run below which its records are copied.
    ///
    /// Twice the average above: runs are longer than that afterwards, so that a snapshot is not scattered
    /// any more, and what was brought together for one ref is not taken apart for another.
    package var shortRunBytes: UInt64 = 64 << 10
    /// What is copied may take one part in so many of what is free on the disk.
    package var freeShare: UInt64 = 4

    /// The policy that was chosen by measurement.
    package init() {}

    /// Whether files of a snapshot should be brought together.
    func isScattered(_ measure: SnapshotMeasure) -> Bool {
        measure.ranges > toleratedRanges && measure.readBytes / measure.ranges < averageRunBytes
    }
}

/// Copies scattered files of what refs name now side by side, in the order of their trees.
///
/// Only records in short runs are copied; what lies in long ones stays. Old copies are garbage of their packs
/// then, which compaction removes.
package final class Forwarding: MaintenanceTask {
    private static let recordsPerStep = 4_000
    private static let recordsPerGroup = 200_000
    private static let bytesPerStep: UInt64 = 8 << 20
    private static let recordsPerCopy = 8_000
    /// Snapshots that one pass brings together; the next pass goes on.
    private static let candidates = 10_000

    private struct Current {
        let snapshot: Digest
        var walk: ContentWalk
        var group: [ContentWalk.Item] = []
        var isWalked = false
        /// The look at how it lies then, before the next snapshot takes its turn: what that one takes away
        /// must not bring this one back.
        var measuring: MeasuringWalk
    }
    private struct State {
        var lastRef: RefName?
        var isListed = false
        /// With the sequence of the move that named each, the next one last.
        var waiting: [(sequence: UInt64, snapshot: Digest)] = []
        var seen: Set<Digest> = []
        var current: Current?
        var copies: ArraySlice<ContentWalk.Item> = []
        var progress = MaintenanceProgress()
    }
    private let repository: Repository
    private let policy: ForwardPolicy
    private let domain: Domain
    private let state = Mutex(State())

    /// One pass over all refs.
    package init(_ repository: Repository, policy: ForwardPolicy = .init(), domain: Domain) {
        self.repository = repository
        self.policy = policy
        self.domain = domain
        state.withLock { $0.progress.phase = "bringing scattered files together" }
    }

    package var progress: MaintenanceProgress { state.withLock { $0.progress } }

    package func step() throws -> Bool {
        try state.withLock { state in
            if !state.copies.isEmpty {
                try copy(&state)
            } else if state.current != nil {
                try walk(&state)
            } else if !state.isListed {
                try list(&state)
            } else if let next = state.waiting.popLast() {
                try begin(next.snapshot, &state)
            } else {
                return false
            }
            return true
        }
    }

    /// Finds scattered snapshots among the targets of some refs.
    private func list(_ state: inout State) throws {
        let limit = repository.limits.listingEntries
        let after = state.lastRef
        let (page, found) = try repository.catalog.read { reader in
            let page = try reader.refs(prefix: "", after: after, limit: limit, domain: domain)
            let found = try page.filter { entry in
                try entry.target.kind == .snapshot
                    && reader.measure(of: entry.target.digest, domain: domain)
                        .map(policy.isScattered) ?? false
            }
            return (page, found)
        }
        state.lastRef = page.last?.name
        for entry in found where state.seen.insert(entry.target.digest).inserted {
            state.waiting.append((entry.sequence, entry.target.digest))
        }
        state.isListed = page.count < limit || state.waiting.count >= Forwarding.candidates
        // The newest comes last: nothing is taken away from it afterwards.
        if state.isListed { state.waiting.sort { $0.sequence > $1.sequence } }
    }

    private func begin(_ snapshot: Digest, _ state: inout State) throws {
        let root = try repository.view(domain) { reader in
            try StoredDirectories(repository, reader, domain: domain).snapshot(snapshot)?.tree
                .digest
        }
        // Removed since it was listed.
        guard let root else { return }
        let limits = repository.limits
        state.current = Current(
            snapshot: snapshot, walk: ContentWalk(root: root, domain: domain, limits: limits),
            measuring: MeasuringWalk(root: root, domain: domain, limits: limits))
    }

    private func walk(_ state: inout State) throws {
        guard var current = state.current.take() else { return }
        do {
            if current.isWalked { return try end(&current, &state) }
            let items = try repository.view(domain) { reader in
                let source = try StoredDirectories(repository, reader, domain: domain)
                return try current.walk.next(Forwarding.recordsPerStep, reader, source)
            }
            try take(items, &current, &state)
        } catch let error as CASError where error.code == .dataLoss {
            // What is lost is a scrub's to tell.
            return
        }
        state.current = current
    }

    private func take(
        _ items: [ContentWalk.Item]?, _ current: inout Current, _ state: inout State
    ) throws {
        current.group += items ?? []
        current.isWalked = items == nil
        if current.isWalked || current.group.count >= Forwarding.recordsPerGroup {
            let scattered = Scatter.scattered(current.group, runsBelow: policy.shortRunBytes)
            current.group = []
            let bytes = scattered.reduce(0) { $0 + $1.location.recordBytes }
            if try repository.freeBytes() / policy.freeShare >= bytes {
                state.copies = scattered[...]
            }
        }
    }

    private func copy(_ state: inout State) throws {
        var count = 0
        var bytes: UInt64 = 0
        for item in state.copies.prefix(Forwarding.recordsPerCopy) {
            guard count == 0 || bytes + item.location.recordBytes <= Forwarding.bytesPerStep else {
                break
            }
            count += 1
            bytes += item.location.recordBytes
        }
        let moved = try repository.copyForward(Array(state.copies.prefix(count)), domain: domain)
        state.copies = state.copies.dropFirst(count)
        state.progress.movedBytes += 2 * bytes
        state.progress.add("forwardedRecords", UInt64(moved))
        state.progress.add("forwardedBytes", bytes)
    }

    /// A step of the look at how a snapshot lies now; after the last its plans are made anew.
    private func end(_ current: inout Current, _ state: inout State) throws {
        guard let measure = try current.measuring.next(repository) else {
            state.current = current
            return
        }
        let snapshot = current.snapshot
        try repository.catalog.write { try $0.set(measure: measure, of: snapshot, domain: domain) }
        repository.plans.removeAll()
        state.progress.add("forwardedSnapshots")
    }
}
