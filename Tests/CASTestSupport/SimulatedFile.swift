import CASCore
import CASFileSystem
import Synchronization

/// An open file of a simulated file system.
final class SimulatedFile: StoreFile {
    private let fileSystem: SimulatedFileSystem
    private let path: String
    private let inode: SimulatedFileSystem.Inode
    private let holdsLock = Mutex(false)

    init(_ fileSystem: SimulatedFileSystem, _ path: String, _ inode: SimulatedFileSystem.Inode) {
        self.fileSystem = fileSystem
        self.path = path
        self.inode = inode
    }

    deinit { close() }

    func append(_ bytes: UnsafeRawBufferPointer) throws {
        let half: (inout SimulatedFileSystem.State) -> Void = { [inode] _ in
            inode.bytes.append(contentsOf: bytes.prefix(bytes.count / 2))
        }
        try fileSystem.perform(.append, path, half: half) { state in
            if let capacity = state.capacity {
                let used = state.usedBytes
                guard used + bytes.count <= capacity else {
                    // As a real disk does it: what fits is written before the error.
                    inode.bytes.append(contentsOf: bytes.prefix(max(0, capacity - used)))
                    throw CASError(.resourceExhausted, "no space left on the device", path: path)
                }
            }
            inode.bytes.append(contentsOf: bytes)
        }
    }

    func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws -> Int {
        try fileSystem.perform(.read, path) { _ in
            let start = min(Int(offset), inode.bytes.count)
            let end = min(start + target.count, inode.bytes.count)
            inode.bytes[start..<end].withUnsafeBytes { target.copyMemory(from: $0) }
            return end - start
        }
    }

    func size() throws -> UInt64 {
        fileSystem.state.withLock { _ in UInt64(inode.bytes.count) }
    }

    func truncate(to size: UInt64) throws {
        try fileSystem.perform(.truncate, path) { _ in
            if inode.bytes.count > size { inode.bytes.removeLast(inode.bytes.count - Int(size)) }
            while inode.bytes.count < size { inode.bytes.append(0) }
            // What is written there from now on are new pages.
            if let dropped = inode.droppedFrom, size <= dropped { inode.droppedFrom = nil }
        }
    }

    func synchronizeData() throws {
        try fileSystem.perform(.synchronize, path) { _ in
            // After a failed sync the dropped bytes are gone for good although this one "succeeds".
            if let dropped = inode.droppedFrom {
                inode.durable = Array(inode.bytes[..<min(dropped, inode.bytes.count)])
            } else {
                inode.durable = inode.bytes
            }
        }
        fileSystem.synchronizationHook.withLock { $0.take() }?()
    }

    func lock() throws -> Bool {
        fileSystem.state.withLock { _ in
            guard !inode.isLocked else { return false }
            inode.isLocked = true
            holdsLock.withLock { $0 = true }
            return true
        }
    }

    func close() {
        let held = holdsLock.withLock { held in
            defer { held = false }
            return held
        }
        if held { fileSystem.state.withLock { _ in inode.isLocked = false } }
    }
}
