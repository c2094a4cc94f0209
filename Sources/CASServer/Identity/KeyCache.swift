import CASCore
import JWTKit

/// Keys of one issuer, kept and looked at again.
///
/// Whoever asks while they are fetched waits for that one fetch. None of it blocks a thread.
actor KeyCache {
    /// Times in nanoseconds.
    struct Policy: Sendable {
        /// From this age on keys are fetched again beside their use.
        var refresh: UInt64
        /// Older ones are used only after an attempt to fetch them: a key that is gone from the set of an
        /// issuer that answers stops working no later.
        var maximum: UInt64
        /// So long known keys work while the issuer is away.
        var grace: UInt64
        /// At least so long is between two attempts, whatever tokens come.
        var pause: UInt64

        /// Of a document that is fetched: 5 and 10 minutes, a day, 10 seconds.
        static let remote = Policy(
            refresh: 300_000_000_000, maximum: 600_000_000_000, grace: 86_400_000_000_000,
            pause: 10_000_000_000)
        /// Of a file, which is looked at each second.
        static let file = Policy(
            refresh: 1_000_000_000, maximum: 1_000_000_000, grace: 86_400_000_000_000,
            pause: 1_000_000_000)
    }

    /// What a look for a key ends with.
    enum Lookup: Sendable {
        case found(IssuerKeys.Found)
        /// There are no keys, or none that are young enough.
        case unavailable
    }

    private let policy: Policy
    private let clock: any WallClock
    private let load: @Sendable () async throws -> IssuerKeys
    private let onFailure: @Sendable (any Error) -> Void
    private var keys: IssuerKeys?
    private var loaded: UInt64 = 0
    private var attempted: UInt64?
    private var failureText: String?
    private var flight: Task<Void, Never>?

    /// Keys that `load` fetches; `onFailure` hears of each new reason why that failed.
    init(
        _ policy: Policy, clock: any WallClock, keys: IssuerKeys? = nil,
        onFailure: @escaping @Sendable (any Error) -> Void,
        load: @escaping @Sendable () async throws -> IssuerKeys
    ) {
        self.policy = policy
        self.clock = clock
        self.keys = keys
        self.load = load
        self.onFailure = onFailure
        loaded = clock.monotonicNanoseconds()
    }

    /// The key of a name for an algorithm; an unknown one is looked for anew, but not in each second.
    func find(_ name: String?, _ algorithm: String) async -> Lookup {
        await refreshIfOld()
        guard let present = usable else { return .unavailable }
        let found = present.find(name, algorithm)
        guard case .unknown = found, flight != nil || mayTry else { return .found(found) }
        await fetch().value
        return usable.map { .found($0.find(name, algorithm)) } ?? .unavailable
    }

    /// Fetches the keys if there are none yet or they are old; waits where they must not be used.
    func refreshIfOld() async {
        let age = now - loaded
        if keys != nil, age < policy.refresh { return }
        guard flight != nil || mayTry else { return }
        let flight = fetch()
        // While the issuer is known to be away, nobody waits for it.
        let isAway = failureText != nil && keys != nil
        if keys == nil || (age >= policy.maximum && !isAway) { await flight.value }
    }

    private var now: UInt64 { clock.monotonicNanoseconds() }

    private var usable: IssuerKeys? { now - loaded < policy.grace ? keys : nil }

    private var mayTry: Bool { attempted.map { now - $0 >= policy.pause } ?? true }

    private func fetch() -> Task<Void, Never> {
        if let flight { return flight }
        attempted = now
        let task = Task { await run(since: now) }
        flight = task
        return task
    }

    private func run(since start: UInt64) async {
        do {
            keys = try await load()
            loaded = start
            failureText = nil
        } catch {
            let text = "\(error)"
            if text != failureText { onFailure(error) }
            failureText = text
        }
        flight = nil
    }
}
