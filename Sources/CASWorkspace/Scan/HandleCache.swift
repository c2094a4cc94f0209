import CASFileSystem
import Synchronization

/// Descriptors of the directories in use last, so that a scan needs few of them however large the
/// tree, and no path longer than one name however deep.
final class HandleCache: Sendable {
    private static let capacity = 96

    private struct Slot {
        let index: Int
        let handle: DirectoryHandle
        var isRecent: Bool
    }

    private struct State {
        var slots: [Slot] = []
        var positions: [Int: Int] = [:]
        var hand = 0

        mutating func find(_ index: Int) -> DirectoryHandle? {
            guard let position = positions[index] else { return nil }
            slots[position].isRecent = true
            return slots[position].handle
        }

        /// Keeps a handle in place of one that was not used lately, which it returns.
        mutating func insert(_ index: Int, _ handle: DirectoryHandle) -> DirectoryHandle? {
            if positions[index] != nil { return nil }
            let slot = Slot(index: index, handle: handle, isRecent: true)
            if slots.count < HandleCache.capacity {
                positions[index] = slots.count
                slots.append(slot)
                return nil
            }
            while slots[hand].isRecent {
                slots[hand].isRecent = false
                hand = (hand + 1) % slots.count
            }
            let evicted = slots[hand]
            positions[evicted.index] = nil
            positions[index] = hand
            slots[hand] = slot
            hand = (hand + 1) % slots.count
            return evicted.handle
        }
    }

    private let root: DirectoryHandle
    private let state = Mutex(State())

    init(root: DirectoryHandle) {
        self.root = root
    }

    /// An open handle of the directory, by way of its nearest ancestor that is open.
    func handle(of directory: ScannedDirectory) throws -> DirectoryHandle {
        var missing: [ScannedDirectory] = []
        var handle = root
        var current = directory
        while let parent = current.parent {
            if let found = state.withLock({ $0.find(current.index) }) {
                handle = found
                break
            }
            missing.append(current)
            current = parent
        }
        for next in missing.reversed() {
            handle = try handle.openDirectory(next.name)
            // What is evicted closes outside the lock.
            _ = state.withLock { $0.insert(next.index, handle) }
        }
        return handle
    }
}
