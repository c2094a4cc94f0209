package import CASCore
import CASFileSystem
package import CASWire
import Synchronization

/// Work on a store that somebody asked for or that is due, each on a thread of its own, step by step.
///
/// Steps of different work never run at the same time; between two steps others have their turn.
package final class MaintenanceJobs: Sendable {
    /// Work at once at most.
    private static let concurrent = 8
    /// Questions among it at most.
    private static let questions = 4
    /// Ended work whose outcome is still told.
    private static let remembered = 64

    private final class Job: Sendable {
        let id: Identifier
        let kind: MaintenanceKind
        let state: Mutex<MaintenanceState>
        let isCancelled = Atomic(false)

        init(_ id: Identifier, _ kind: MaintenanceKind) {
            self.id = id
            self.kind = kind
            state = Mutex(MaintenanceState(id: id, phase: "waiting"))
        }
    }
    private struct State {
        /// In the order in which they began.
        var jobs: [Job] = []
        var threads: [Identifier: WorkerThread] = [:]
        /// Threads whose work is done, to be joined.
        var ended: [WorkerThread] = []
        var isClosed = false
    }
    private let state = Mutex(State())
    private let turn = Mutex(())
    /// What remembers much of a store, which is done one after the other.
    private let sharesTurn = Mutex(())
    /// Work that somebody waits for, which background work then does not hold up.
    private let urgent = Atomic(0)
    private let findings: Int

    /// No work; states tell so many findings at most.
    init(findings: Int) { self.findings = findings }

    /// Whether somebody waits for work to be done, so that background work should not pause.
    package var isUrgent: Bool { urgent.load(ordering: .relaxed) > 0 }

    /// Whether the store is being closed, so that nobody should wait for anything.
    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Starts work under a name unless it was started before; what is known of it.
    ///
    /// `make` runs on the work's own thread. Throws `unavailable` when too much is being done.
    package func start(
        _ id: Identifier, _ kind: MaintenanceKind,
        _ make: @escaping @Sendable () throws -> any MaintenanceTask
    ) throws -> MaintenanceState {
        joinEnded()
        let job = try state.withLock { state -> Job in
            if let known = state.jobs.first(where: { $0.id == id }) { return known }
            guard !state.isClosed else {
                throw CASError(.unavailable, "the store is being closed", hint: "try again")
            }
            // Whoever may read anything may ask these: that must not keep others from their work.
            let asked: [MaintenanceKind] = [.why, .scrub, .shares]
            let questions = state.jobs.count { job in
                asked.contains(job.kind) && !job.state.withLock { $0.isDone }
            }
            guard state.threads.count < MaintenanceJobs.concurrent,
                !asked.contains(kind) || questions < MaintenanceJobs.questions
            else {
                throw CASError(
                    .unavailable, "too much work on the store is being done",
                    hint: "try again later")
            }
            let job = Job(id, kind)
            // Its thread removes itself, which has to wait for this lock.
            state.threads[id] = try WorkerThread(name: "cas-maintain") { [weak self] in
                self?.run(job, make)
            }
            state.jobs.append(job)
            if state.jobs.count > MaintenanceJobs.remembered,
                let old = state.jobs.firstIndex(where: { $0.state.withLock { $0.isDone } })
            {
                state.jobs.remove(at: old)
            }
            return job
        }
        return job.state.withLock { $0 }
    }

    /// How far work is, and of what kind; nil if nobody remembers it.
    package func find(_ id: Identifier) -> (state: MaintenanceState, kind: MaintenanceKind)? {
        state.withLock { $0.jobs.first { $0.id == id } }.map { job in
            (job.state.withLock { $0 }, job.kind)
        }
    }

    private func run(_ job: Job, _ make: @Sendable () throws -> any MaintenanceTask) {
        urgent.add(1, ordering: .relaxed)
        var failure: (any Error)?
        do {
            if job.kind == .shares {
                try sharesTurn.withLock { _ in try work(on: job, make) }
            } else {
                try work(on: job, make)
            }
        } catch {
            failure = error
        }
        urgent.subtract(1, ordering: .relaxed)
        job.state.withLock { state in
            state.failure = failure.map { error in
                WireError(error as? CASError ?? CASError(.internalError, "\(error)"))
            }
            state.isDone = true
        }
        state.withLock { state in
            if let thread = state.threads.removeValue(forKey: job.id) { state.ended.append(thread) }
        }
    }

    private func work(on job: Job, _ make: @Sendable () throws -> any MaintenanceTask) throws {
        let task = try make()
        var goesOn = true
        while goesOn {
            guard !job.isCancelled.load(ordering: .relaxed) else {
                throw CASError(.cancelled, "the store was closed", hint: "start it again")
            }
            defer { tell(job, task.progress) }
            goesOn = try step(task)
        }
    }

    private func joinEnded() {
        let ended = state.withLock { state in
            defer { state.ended = [] }
            return state.ended
        }
        // What they failed with stands in the states of their work.
        for thread in ended { try? thread.join() }
    }

    /// One step of work, while nobody else's is done.
    package func step(_ task: any MaintenanceTask) throws -> Bool {
        try turn.withLock { _ in try task.step() }
    }

    private func tell(_ job: Job, _ progress: MaintenanceProgress) {
        job.state.withLock { state in
            state.phase = progress.phase
            state.figures = progress.figures
            state.findings = Array(progress.findings.prefix(findings))
        }
    }

    /// Ends all work after its step and waits for that.
    func close() {
        let threads = state.withLock { state in
            state.isClosed = true
            for job in state.jobs { job.isCancelled.store(true, ordering: .relaxed) }
            return Array(state.threads.values)
        }
        for thread in threads { try? thread.join() }
        joinEnded()
    }
}
