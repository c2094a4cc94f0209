import CASFileSystem
import Synchronization

/// Hands directories to workers: each goes depth-first through what it found itself, which keeps
/// parents' descriptors open and few directories waiting, and gives some away when others idle.
final class ScanQueue: Sendable {
    private let shared = BoundedQueue<ScannedDirectory>(capacity: .max)
    private let idle = Atomic<Int>(0)
    private let unfinished = Atomic<Int>(0)
    private let hasFailed = Atomic<Bool>(false)

    func start(_ directory: ScannedDirectory) throws {
        unfinished.store(1, ordering: .relaxed)
        try shared.put(directory)
    }

    /// Calls `body` for directories until there are none left; `body` says what it found with its
    /// second argument, once.
    func run(
        _ body: (ScannedDirectory, ([ScannedDirectory]) throws -> Void) throws -> Void
    ) throws {
        do {
            while let first = try next() {
                var local = [first]
                while let directory = local.popLast() {
                    if hasFailed.load(ordering: .relaxed) { break }
                    try body(directory) { found in
                        unfinished.add(found.count, ordering: .relaxed)
                        local.append(contentsOf: found.reversed())
                        try giveAway(&local)
                    }
                    let left = unfinished.subtract(1, ordering: .acquiringAndReleasing).newValue
                    if left == 0 { shared.close() }
                }
            }
        } catch {
            hasFailed.store(true, ordering: .relaxed)
            shared.fail(error)
            throw error
        }
    }

    private func next() throws -> ScannedDirectory? {
        idle.add(1, ordering: .relaxed)
        defer { idle.subtract(1, ordering: .relaxed) }
        return try shared.take()
    }

    /// Gives the directories nearest to the root to workers that wait.
    private func giveAway(_ local: inout [ScannedDirectory]) throws {
        let waiting = idle.load(ordering: .relaxed)
        guard waiting > 0, local.count > 1 else { return }
        let count = min(local.count / 2, 4 * waiting)
        for directory in local[..<count] { try shared.put(directory) }
        local.removeFirst(count)
    }
}
