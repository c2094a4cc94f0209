package import CASCore
package import CASWire
import Synchronization

/// The scrub that a server does by itself: passes that each take so many seconds, in slices.
///
/// A slice reads what is due by now, so that other background work has its turn; the place of a pass is
/// kept in the catalog, and a server that was away catches up.
package final class ScrubPace: Sendable {
    private let seconds: Int64
    private let domain: Domain
    private let onFinding: @Sendable (MaintenanceState.Finding) -> Void
    private let pass = Mutex<ScrubTask?>(nil)

    /// Passes of so many seconds; `onFinding` hears of what is not as it should be.
    package init(
        seconds: UInt64, domain: Domain = .standard,
        onFinding: @escaping @Sendable (MaintenanceState.Finding) -> Void
    ) {
        self.seconds = Int64(clamping: max(1, seconds))
        self.domain = domain
        self.onFinding = onFinding
    }

    /// Seconds between two slices.
    package var pauseSeconds: UInt64 { UInt64(max(1, min(60, seconds / 100))) }

    /// What is due by now; nil for nothing.
    package func slice(_ repository: Repository) throws -> (any MaintenanceTask)? {
        let task = try pass.withLock { pass -> ScrubTask? in
            if let pass { return pass }
            let next = try repository.backgroundScrub(every: seconds, domain: domain)
            pass = next
            return next
        }
        guard let task, !isAhead(task, repository) else { return nil }
        return Slice(self, task, repository)
    }

    private func isAhead(_ task: ScrubTask, _ repository: Repository) -> Bool {
        let elapsed = repository.clock.now().seconds - task.started.seconds
        return task.fraction < 1 && task.fraction * Double(seconds) > Double(max(0, elapsed))
    }

    private func forget() { pass.withLock { $0 = nil } }

    /// One slice; counts what it read itself.
    private final class Slice: MaintenanceTask {
        private let pace: ScrubPace
        private let task: ScrubTask
        private let repository: Repository
        private let readBefore: UInt64

        init(_ pace: ScrubPace, _ task: ScrubTask, _ repository: Repository) {
            self.pace = pace
            self.task = task
            self.repository = repository
            readBefore = task.progress.movedBytes
        }

        var progress: MaintenanceProgress {
            var progress = task.progress
            progress.movedBytes -= readBefore
            return progress
        }

        func step() throws -> Bool {
            let known = task.progress.findings.count
            let before = task.progress.movedBytes
            do {
                let goesOn = try task.step()
                let read = task.progress.movedBytes - min(before, task.progress.movedBytes)
                repository.counters.add(scrubbedBytes: read)
                for finding in task.progress.findings.dropFirst(known) { pace.onFinding(finding) }
                if !goesOn { pace.forget() }
                return goesOn && !pace.isAhead(task, repository)
            } catch {
                // The next slice begins where the last pack ended.
                pace.forget()
                throw error
            }
        }
    }
}
