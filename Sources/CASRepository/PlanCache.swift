import CASCore
import CASFileSystem
import Synchronization

/// Plans that were used last, bounded by the files that they hold together.
///
/// Whoever asks first makes a plan; all who ask meanwhile wait for that one: a thousand pods that start at
/// once cost one plan.
final class PlanCache: Sendable {
    private static let plans = 64

    private struct State {
        var made: [(name: String, plan: FetchPlan)] = []
        var making: [String: SharedResult<FetchPlan>] = [:]
        /// Counts how often all plans became doubtful: one begun before is not kept.
        var generation = 0
    }
    private enum Answer {
        case made(FetchPlan)
        case wait(SharedResult<FetchPlan>)
        case make(SharedResult<FetchPlan>, generation: Int)
    }
    private let capacity: Int
    private let state = Mutex(State())

    init(capacity: Int) { self.capacity = capacity }

    /// The plan of a name, made by `make` if nobody has it.
    func plan(_ name: String, _ make: () throws -> FetchPlan) throws -> FetchPlan {
        switch ask(name) {
        case .made(let plan): return plan
        case .wait(let result): return try result.get()
        case .make(let result, let generation):
            let outcome = Result { try make() }
            finish(name, outcome, generation)
            result.set(outcome)
            return try outcome.get()
        }
    }

    private func ask(_ name: String) -> Answer {
        state.withLock { state in
            if let index = state.made.firstIndex(where: { $0.name == name }) {
                let found = state.made.remove(at: index)
                state.made.append(found)
                return .made(found.plan)
            }
            if let result = state.making[name] { return .wait(result) }
            let result = SharedResult<FetchPlan>()
            state.making[name] = result
            return .make(result, generation: state.generation)
        }
    }

    private func finish(
        _ name: String, _ outcome: Result<FetchPlan, any Error>, _ generation: Int
    ) {
        state.withLock { state in
            // Those who ask from now on after the plans became doubtful had a new one begun.
            guard state.generation == generation else { return }
            state.making[name] = nil
            guard case .success(let plan) = outcome else { return }
            state.made.append((name, plan))
            var total = state.made.reduce(0) { $0 + $1.plan.units.count + $1.plan.chunks.count }
            while state.made.count > 1, total > capacity || state.made.count > PlanCache.plans {
                let oldest = state.made.removeFirst().plan
                total -= oldest.units.count + oldest.chunks.count
            }
        }
    }

    /// Forgets all plans, those too that are being made.
    func removeAll() {
        state.withLock { state in
            state.made = []
            state.making = [:]
            state.generation += 1
        }
    }
}
