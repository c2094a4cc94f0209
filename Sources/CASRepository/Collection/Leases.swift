import CASCatalog
package import CASCore
import CASPack
import CASWire
import Synchronization

/// Remembers what was written lately about uses: a thousand pods that start at once cost one write.
final class RecentUses: Sendable {
    struct Key: Hashable {
        let snapshot: Digest
        let isByDigest: Bool
    }
    /// Half of how long a read is protected, so that one that goes on stays so.
    private static let pause = Repository.readNanoseconds / 2
    private static let capacity = 4096
    private let times = Mutex<[Key: UInt64]>([:])

    /// Whether a use has to be written; who is told so does it.
    func begin(_ key: Key, at now: UInt64) -> Bool {
        times.withLock { times in
            if let last = times[key], now - min(now, last) < RecentUses.pause { return false }
            if times.count >= RecentUses.capacity { times = [:] }
            times[key] = now
            return true
        }
    }

    /// Has the next use written again, as this one was not.
    func forget(_ key: Key) { times.withLock { times in times[key] = nil } }
}

/// Leases: what protects a push and a fetch from a collection that runs beside them.
extension Repository {
    /// Nanoseconds that the bytes of a fetch stay after each request of it at least.
    static let readNanoseconds: UInt64 = 60 * 60 * 1_000_000_000

    /// Makes sure that a push is protected from now on: what it was told to be here, and what it uploads.
    ///
    /// Costs a transaction when the push begins, and one each time that half of the lease is over.
    func holdLease(_ session: PushSession) throws {
        let now = clock.monotonicNanoseconds()
        let window = limits.pushIdleNanoseconds
        let held = session.lease
        let last = held.began + limits.pushNanoseconds
        guard now >= held.end || held.end < min(now + window / 2, last) else { return }
        try requireYoung(held.began, held.end, now)
        session.lease = try catalog.write { transaction in
            let known = try transaction.lease(session.identifier)
            if let known { try requireYoung(known.began, known.expires, now) }
            // One that is renewed stays as old as it is: what it was told first counts. One that ended is over.
            let renewed = known.flatMap { $0.expires > now ? $0 : nil }
            // A monotonic clock begins anew at a reboot, and older programs noted no begin.
            let began = renewed.flatMap { $0.began > 0 && $0.began <= now ? $0.began : nil } ?? now
            let end = min(now + window, began + limits.pushNanoseconds)
            try transaction.insert(
                lease: Lease(
                    identifier: session.identifier, purpose: .push, domain: session.domain,
                    expires: end,
                    generation: try renewed?.generation ?? transaction.generation(), began: began))
            return (began: began, end: end)
        }
    }

    /// Refuses a push whose lease was renewed for as long as it may be.
    ///
    /// While it lasts nothing is deleted that was condemned since it began. One that rested until its lease ended begins anew. A commit needs none.
    private func requireYoung(_ began: UInt64, _ end: UInt64, _ now: UInt64) throws {
        guard began > 0, now >= end, end == began + limits.pushNanoseconds else { return }
        throw CASError(
            .failedPrecondition,
            "this push began more than \(limits.pushNanoseconds / 3_600_000_000_000) hours ago, "
                + "and what it was told to be here may go now",
            hint: "push again: what is here is not sent a second time")
    }

    /// Ends the lease of a push that goes on no more.
    func endLease(_ push: Identifier) {
        // One that stays ends by itself.
        try? catalog.write { try $0.remove(lease: push) }
    }

    /// Protects condemned blobs that a push was told to be here, by making them as young as its lease.
    func protect(_ present: [Digest], domain: Domain) throws {
        let isAny = try catalog.read { reader in
            try reader.condemned(of: present, domain: domain).contains { $0 != nil }
        }
        guard isAny else { return }
        try catalog.write { transaction in
            let known = try transaction.condemned(of: present, domain: domain)
            let generation = try transaction.generation()
            try transaction.condemn(
                zip(present, known).filter { $0.1 != nil }.map(\.0), generation: generation,
                domain: domain)
        }
    }

    /// Protects a snapshot that somebody fetches: for an hour, and where it was named by digest for as long
    /// as the configuration says, so that a job which starts again finds its code.
    ///
    /// Durable when it returns. Never fails: a use that can not be written, on a full disk for example,
    /// is counted and left.
    func use(_ snapshot: Digest, isByDigest: Bool, domain: Domain) {
        let key = RecentUses.Key(snapshot: snapshot, isByDigest: isByDigest)
        let monotonic = clock.monotonicNanoseconds()
        guard uses.begin(key, at: monotonic) else { return }
        let now = clock.now().seconds
        do {
            let isWritten = try commit(session: nil, isEvent: false) { [limits] context in
                let transaction = context.transaction
                // What only just was condemned comes back whole, or is missing. What is not here whole can
                // not be fetched, and must not keep anything: a collection would find a gap in it.
                if try transaction.location(of: snapshot, domain: domain)?.kind == .directory {
                    guard try transaction.treeState(of: snapshot, domain: domain) != nil else {
                        return false
                    }
                    try transaction.addBarrier(snapshot, domain: domain)
                } else {
                    var completeness = Completeness(context, domain: domain, limits: limits)
                    let (known, missing) = try completeness.check(snapshot)
                    guard known != nil, missing.count == 0 else { return false }
                }
                try transaction.insert(
                    touch: Touch(
                        digest: snapshot, byDigest: isByDigest ? now : 0,
                        byName: isByDigest ? 0 : now), domain: domain)
                try transaction.insert(
                    lease: Lease(
                        identifier: Repository.readLease(snapshot), purpose: .read, domain: domain,
                        expires: monotonic + Repository.readNanoseconds, digest: snapshot))
                return true
            }
            if !isWritten { uses.forget(key) }
        } catch {
            uses.forget(key)
            counters.addFailedRenewal()
        }
    }

    /// Notes that somebody pulls a manifest of a name, and prolongs the refs that hold it: as with a fetch, what was
    /// asked for by digest stays for as long as the configuration says.
    ///
    /// Nothing has to be protected now, as its link says that it was relied on. Never fails, as `use`.
    package func use(
        manifest: Digest, of name: String, isByDigest: Bool, domain: Domain
    ) {
        renew(name, holding: manifest, domain: domain)
        let key = RecentUses.Key(snapshot: manifest, isByDigest: isByDigest)
        guard uses.begin(key, at: clock.monotonicNanoseconds()) else { return }
        let now = clock.now().seconds
        do {
            let snapshot = try catalog.read { reader -> Digest? in
                guard try reader.link(name, manifest, .manifest, domain: domain) == nil else {
                    return nil
                }
                let image = try reader.derivedImages(naming: manifest, limit: 1, domain: domain)
                return try image.first.flatMap {
                    try reader.snapshotOf(tree: $0.tree, domain: domain)
                }
            }
            if let snapshot { return use(snapshot, isByDigest: isByDigest, domain: domain) }
            try commit(session: nil, isEvent: false) { context in
                let transaction = context.transaction
                guard try transaction.location(of: manifest, domain: domain) != nil else { return }
                try transaction.insert(
                    touch: Touch(
                        digest: manifest, byDigest: isByDigest ? now : 0,
                        byName: isByDigest ? 0 : now), domain: domain)
            }
        } catch {
            uses.forget(key)
            counters.addFailedRenewal()
        }
    }

    /// The name of the lease that all fetches of a snapshot share.
    private static func readLease(_ snapshot: Digest) -> Identifier {
        Identifier(high: snapshot.half.0, low: snapshot.half.1)
    }
}
