import CASCatalog
import CASCore
import CASWire
import Synchronization

/// The end of a ref that goes away by itself (Store.md, "Refs that expire").
package enum RefLifetime {
    /// Seconds that a ref lives at least, so that looking for what to renew can be rare.
    package static let shortest: UInt64 = 60
    /// Seconds that it lives at most: a hundred years.
    package static let longest: UInt64 = 36_525 * 86_400

    /// Throws `invalidArgument` for a lifetime out of bounds; zero is none.
    static func check(_ lifetime: UInt64) throws {
        guard lifetime == 0 || (shortest...longest).contains(lifetime) else {
            throw CASError(
                .invalidArgument, "a ref lives from one minute to a hundred years",
                hint: "write for example 12h or 30d")
        }
    }

    /// A time so many seconds, within bounds, behind another.
    static func end(_ lifetime: UInt64, from now: Timestamp) -> Timestamp {
        Timestamp(seconds: now.seconds + Int64(lifetime), nanoseconds: now.nanoseconds)
    }
}

extension RefEntry {
    /// Whether less than half of the lifetime is left.
    func isDue(at now: Timestamp) -> Bool {
        guard lifetime > 0, let expires else { return false }
        return expires.seconds - now.seconds < Int64(lifetime / 2)
    }
}

/// Remembers which names and digests were looked at lately: a thousand pods that start at once cost one look.
final class RenewalLooks: Sendable {
    struct Key: Hashable {
        let name: String
        let digest: Digest
        let domain: Domain
    }
    /// Less than half of the shortest lifetime, so that no ref is overlooked.
    private static let pause: UInt64 = 15_000_000_000
    private static let capacity = 4096
    private let times = Mutex<[Key: UInt64]>([:])

    /// Whether it is time to look; who is told so does it.
    func begin(_ key: Key, at now: UInt64) -> Bool {
        times.withLock { times in
            if let last = times[key], now - min(now, last) < RenewalLooks.pause { return false }
            if times.count >= RenewalLooks.capacity { times = [:] }
            times[key] = now
            return true
        }
    }
}

extension Repository {
    /// Prolongs the refs of a name that hold what somebody fetches, where less than half of their lifetime
    /// is left: who runs code keeps it.
    ///
    /// Never fails: a ref that can not be renewed, on a full disk for example, is counted and left.
    func renew(_ name: String, holding digest: Digest, domain: Domain) {
        let key = RenewalLooks.Key(name: name, digest: digest, domain: domain)
        guard looks.begin(key, at: clock.monotonicNanoseconds()) else { return }
        do {
            let now = clock.now()
            let due = try catalog.read {
                try $0.refs(
                    named: name, holding: digest, limit: limits.listingEntries, domain: domain)
            }.filter { $0.isDue(at: now) }
            guard !due.isEmpty else { return }
            let count = try commit(session: nil, isEvent: true) { context in
                var count: UInt64 = 0
                for entry in due {
                    // Moved, removed or renewed by another process meanwhile, it is not due any more.
                    guard
                        let present = try context.transaction.ref(entry.name, domain: domain),
                        present.sequence == entry.sequence, present.isDue(at: now)
                    else { continue }
                    let end = RefLifetime.end(present.lifetime, from: now)
                    _ = try Repository.setEnd(
                        present, end, present.lifetime, context, domain: domain)
                    count += 1
                }
                return count
            }
            counters.add(renewedRefs: count)
        } catch {
            counters.addFailedRenewal()
        }
    }

    /// Gives a ref another end, and other image options where there are any, without a move.
    static func setEnd(
        _ entry: RefEntry, _ expires: Timestamp?, _ lifetime: UInt64,
        imageOptions: String? = nil, _ context: CommitContext, domain: Domain
    ) throws -> RefEntry {
        var entry = entry
        entry.expires = expires
        entry.lifetime = lifetime
        entry.imageOptions = imageOptions ?? entry.imageOptions
        try context.transaction.update(ref: entry, domain: domain)
        context.record(
            .refRenewed(
                RefRenewal(
                    name: entry.name, move: entry.sequence, expires: expires, lifetime: lifetime,
                    imageOptions: imageOptions, domain: domain),
                sequence: try context.transaction.nextSequence()))
        return entry
    }
}
