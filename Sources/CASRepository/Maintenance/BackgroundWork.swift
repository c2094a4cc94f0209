import CASCore
import CASFileSystem
import CASWire
import Synchronization

/// How a server looks after its store by itself.
package struct BackgroundSettings: Sendable {
    /// Seconds between the ends and beginnings of two collections; zero for none.
    package var collectSeconds: UInt64 = 3600
    /// Seconds in which every record is read once; zero for never.
    package var scrubSeconds: UInt64 = 30 * 86_400
    /// Bytes that are read and written in a second.
    package var bytesPerSecond: UInt64 = 32 << 20

    /// The usual ones.
    package init() {}
}

/// Collections, scrubs and other work that a server does without being asked, at a bounded rate.
///
/// One thread. What fails is told to `onFailure` and tried again when it is due the next time.
package final class BackgroundWork: Sendable {
    /// Makes work that is due, or says that there is none now.
    package typealias Make = @Sendable (Repository) throws -> (any MaintenanceTask)?

    /// Work of one kind.
    package struct Duty: Sendable {
        /// What it is called in logs.
        package var name: String
        /// Seconds after its end at which it is looked for again.
        package var pauseSeconds: UInt64
        /// Whether it makes room, so that a full disk makes it due.
        package var makesRoom: Bool
        /// Makes it.
        package var make: Make

        /// A duty from its parts.
        package init(
            name: String, pauseSeconds: UInt64, makesRoom: Bool = false, make: @escaping Make
        ) {
            self.makesRoom = makesRoom
            self.name = name
            self.pauseSeconds = pauseSeconds
            self.make = make
        }
    }

    /// Nanoseconds between two collections that a full disk makes due.
    private static let alarmNanoseconds: UInt64 = 60 * 1_000_000_000
    private static let lookMilliseconds: UInt64 = 200
    /// Milliseconds between two steps at least, so that others have their turn.
    private static let breathMilliseconds: UInt64 = 1
    private let repository: Repository
    private let duties: [Duty]
    private let bytesPerSecond: UInt64
    private let onFailure: @Sendable (String, any Error) -> Void
    private let onEnd: @Sendable (String, MaintenanceProgress) -> Void
    private let isStopped = Atomic(false)
    private let thread = Mutex<WorkerThread?>(nil)

    /// Starts the thread; `onEnd` hears what work did that came to its end.
    package init(
        _ repository: Repository, duties: [Duty], bytesPerSecond: UInt64,
        onFailure: @escaping @Sendable (String, any Error) -> Void,
        onEnd: @escaping @Sendable (String, MaintenanceProgress) -> Void = { _, _ in }
    ) throws {
        self.onEnd = onEnd
        self.repository = repository
        self.duties = duties
        self.bytesPerSecond = max(1, bytesPerSecond)
        self.onFailure = onFailure
        let started = try WorkerThread(name: "cas-background") { [weak self] in self?.run() }
        thread.withLock { $0 = started }
    }

    /// Ends it after the present step, and waits for that.
    package func stop() {
        isStopped.store(true, ordering: .relaxed)
        // Failures were told to whom they concern.
        try? thread.withLock { $0.take() }?.join()
    }

    private var isOver: Bool { isStopped.load(ordering: .relaxed) }

    private func run() {
        let clock = SystemClock()
        var due = duties.map { clock.monotonicNanoseconds() + $0.pauseSeconds * 1_000_000_000 }
        do {
            try repository.keepReserve()
        } catch {
            onFailure("the reserve for a full disk", error)
        }
        var alarmed = clock.monotonicNanoseconds()
        while !isOver {
            let now = clock.monotonicNanoseconds()
            if now - alarmed > BackgroundWork.alarmNanoseconds, repository.takeSpaceAlarm() {
                alarmed = now
                for (index, duty) in duties.enumerated() where duty.makesRoom { due[index] = now }
            }
            for (index, duty) in duties.enumerated()
            where due[index] <= clock.monotonicNanoseconds() {
                do {
                    if let task = try duty.make(repository) {
                        try work(on: task)
                        if !isOver { onEnd(duty.name, task.progress) }
                    }
                } catch {
                    onFailure(duty.name, error)
                }
                due[index] = clock.monotonicNanoseconds() + duty.pauseSeconds * 1_000_000_000
            }
            Sleep.milliseconds(BackgroundWork.lookMilliseconds)
        }
    }

    private func work(on task: any MaintenanceTask) throws {
        let clock = SystemClock()
        let start = clock.monotonicNanoseconds()
        while !isOver, try repository.maintenance.step(task) {
            Sleep.milliseconds(BackgroundWork.breathMilliseconds)
            // Somebody who waits for work that this holds up does not wait for its pauses.
            while !isOver, !repository.maintenance.isUrgent {
                let elapsed = Double(clock.monotonicNanoseconds() - start) / 1e9
                let moved = Double(task.progress.movedBytes) / Double(bytesPerSecond)
                guard moved > elapsed else { break }
                Sleep.milliseconds(
                    min(BackgroundWork.lookMilliseconds, UInt64((moved - elapsed) * 1000) + 1))
            }
        }
    }
}
