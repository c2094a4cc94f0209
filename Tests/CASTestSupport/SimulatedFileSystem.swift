package import CASCore
package import CASFileSystem
import Synchronization

/// A file system in memory that fails, fills up or loses power at an operation that a test chooses.
///
/// Models what a disk may do: bytes written and not synced survive a power cut wholly, in part or not
/// at all, and a name survives only if its directory was synced. What survives is drawn from a seed.
package final class SimulatedFileSystem: FileSystem {
    /// What an operation is.
    package enum Operation: Hashable, Sendable, CaseIterable {
        case create, append, synchronize, rename, link, remove, truncate, synchronizeDirectory, read
        /// Calls to an object store, see `InMemoryBackend`.
        case putObject, readObject, listObjects, deleteObject
    }

    /// Where hard links are possible.
    package enum Links: Sendable {
        case everywhere
        /// As if each directory were on a device of its own.
        case withinDirectories
        case nowhere
    }

    /// What happens at the chosen operation.
    package enum Fault: Sendable {
        /// The operation fails and has no effect.
        case error(CASError)
        /// The operation has its whole effect and then fails: the answer was lost on the way.
        case lostAnswer(CASError)
        /// The operation has half of its effect and the machine stops: all later ones fail too.
        case powerCut
    }

    final class Inode: @unchecked Sendable {
        // Only touched under the file system's mutex.
        var bytes: [UInt8] = []
        var durable: [UInt8] = []
        var isLocked = false
        /// Set by a failed sync: the kernel has dropped the pages and calls later syncs a success.
        var droppedFrom: Int?
    }

    struct State {
        var names: [String: Inode] = [:]
        var durableNames: [String: Inode] = [:]
        var directories: Set<String> = []
        var count = 0
        var counts: [Operation: Int] = [:]
        var faultAt: Int?
        var faultKinds: Set<Operation> = Set(Operation.allCases)
        var fault: Fault?
        /// What fails until further notice, and with what.
        var failing: (operation: Operation, error: CASError)?
        var isOff = false
        var capacity: Int?
        var links = Links.everywhere

        /// Bytes of all files; one with two names counts once.
        var usedBytes: Int {
            var seen: Set<ObjectIdentifier> = []
            return names.values.reduce(0) {
                seen.insert(ObjectIdentifier($1)).inserted ? $0 + $1.bytes.count : $0
            }
        }
    }
    let state = Mutex(State())

    /// An empty file system.
    package init() {}

    /// Makes the operation of that number, counted from now among `kinds`, fail.
    package func inject(_ fault: Fault, at number: Int, kinds: Set<Operation>? = nil) {
        state.withLock { state in
            state.count = 0
            state.faultAt = number
            state.faultKinds =
                kinds ?? Set(Operation.allCases).subtracting([.read, .readObject])
            state.fault = fault
        }
    }

    /// Makes all operations of one kind fail from now on; nil for none.
    package func failEvery(_ operation: Operation?, with error: CASError) {
        state.withLock { $0.failing = operation.map { ($0, error) } }
    }

    /// Operations since the fault was injected, or since the start.
    package var operationCount: Int { state.withLock { $0.count } }
    /// Operations of one kind so far.
    package func count(of operation: Operation) -> Int {
        state.withLock { $0.counts[operation] ?? 0 }
    }
    /// Syncs of files so far.
    package var synchronizationCount: Int { count(of: .synchronize) }
    /// Calls `body` once, when the next file has just been synced.
    package func afterNextSynchronization(_ body: @escaping @Sendable () -> Void) {
        synchronizationHook.withLock { $0 = body }
    }
    let synchronizationHook = Mutex<(@Sendable () -> Void)?>(nil)

    /// Whether the power was cut.
    package var isOff: Bool { state.withLock { $0.isOff } }

    /// Limits the bytes that all files may have together; nil for no limit.
    package func setCapacity(_ bytes: Int?) { state.withLock { $0.capacity = bytes } }

    /// Says where hard links are possible.
    package func setLinks(_ links: Links) { state.withLock { $0.links = links } }

    /// Names and sizes of all files.
    package var fileSizes: [String: Int] {
        state.withLock { $0.names.mapValues(\.bytes.count) }
    }

    /// Changes bytes of a file behind everybody's back.
    package func corrupt(_ path: String, _ body: (inout [UInt8]) -> Void) {
        state.withLock { state in
            guard let inode = state.names[path] else { return }
            body(&inode.bytes)
            inode.durable = inode.bytes
        }
    }

    /// The file system after the machine started again: synced bytes, and as much of the rest as the
    /// seed decides.
    package func afterPowerCut(seed: UInt64) -> SimulatedFileSystem {
        var random = SeededGenerator(seed: seed)
        let next = SimulatedFileSystem()
        state.withLock { state in
            var names = state.durableNames
            // A name whose directory was not synced may have made it or not.
            for path in state.names.keys.sorted() where names[path] !== state.names[path] {
                if Bool.random(using: &random) { names[path] = state.names[path] }
            }
            for path in state.durableNames.keys.sorted() where state.names[path] == nil {
                if Bool.random(using: &random) { names[path] = nil }
            }
            let survivors = names.keys.sorted().compactMap { path in names[path].map { (path, $0) }
            }
            next.state.withLock { fresh in
                fresh.directories = state.directories
                var copies: [ObjectIdentifier: Inode] = [:]
                for (path, inode) in survivors {
                    // A file with two names is one file afterwards, too.
                    let copy = copies[ObjectIdentifier(inode)] ?? Inode()
                    if copies.updateValue(copy, forKey: ObjectIdentifier(inode)) == nil {
                        copy.bytes = SimulatedFileSystem.survivor(inode, &random)
                        copy.durable = copy.bytes
                    }
                    fresh.names[path] = copy
                    fresh.durableNames[path] = copy
                }
            }
        }
        return next
    }

    /// The same bytes without the locks of processes that are gone.
    package func afterProcessDeath() -> SimulatedFileSystem {
        let next = SimulatedFileSystem()
        state.withLock { state in
            next.state.withLock { fresh in
                fresh.directories = state.directories
                var copies: [ObjectIdentifier: Inode] = [:]
                for (path, inode) in state.names {
                    let copy = copies[ObjectIdentifier(inode)] ?? Inode()
                    copies[ObjectIdentifier(inode)] = copy
                    copy.bytes = inode.bytes
                    copy.durable = inode.bytes
                    fresh.names[path] = copy
                    fresh.durableNames[path] = copy
                }
            }
        }
        return next
    }

    private static func survivor(_ inode: Inode, _ random: inout SeededGenerator) -> [UInt8] {
        var bytes = inode.bytes
        let durable = inode.durable
        // Pages that were not synced: kept, lost (zeros), or the file is shorter.
        let stable = zip(bytes, durable).prefix { $0 == $1 }.count
        switch UInt8.random(in: 0..<4, using: &random) {
        case 0: return durable
        case 1: return bytes
        case 2:
            let end = Int.random(in: stable...max(stable, bytes.count), using: &random)
            return Array(bytes[..<min(end, bytes.count)])
        default:
            guard stable < bytes.count else { return bytes }
            let hole = Int.random(in: stable..<bytes.count, using: &random)
            let end = min(bytes.count, hole + Int.random(in: 1...4096, using: &random))
            for index in hole..<end { bytes[index] = 0 }
            return bytes
        }
    }

    /// Counts an operation; throws if it is the chosen one.
    ///
    /// `half` is its effect before a power cut.
    func perform<Result>(
        _ operation: Operation, _ path: String, half: (inout State) -> Void = { _ in },
        _ body: (inout State) throws -> Result
    ) throws -> Result {
        try state.withLock { state in
            if state.isOff { throw SimulatedFileSystem.off(path) }
            state.counts[operation, default: 0] += 1
            if let failing = state.failing, failing.operation == operation { throw failing.error }
            if state.faultKinds.contains(operation) {
                state.count += 1
                if state.count == state.faultAt, let fault = state.fault {
                    switch fault {
                    case .error(let error):
                        if operation == .synchronize, let inode = state.names[path] {
                            inode.droppedFrom = inode.durable.count
                        }
                        throw error
                    case .lostAnswer(let error):
                        _ = try body(&state)
                        throw error
                    case .powerCut:
                        half(&state)
                        state.isOff = true
                        throw SimulatedFileSystem.off(path)
                    }
                }
            }
            return try body(&state)
        }
    }

    private static func off(_ path: String) -> CASError {
        CASError(.unavailable, "the power is off", path: path)
    }

    static func noFile(_ path: String) -> CASError {
        CASError(.notFound, "no such file", path: path)
    }
}

extension SimulatedFileSystem {
    package func createDirectory(_ path: String) throws {
        state.withLock { state in
            var place = path
            while state.directories.insert(place).inserted, FilePaths.parent(place) != place {
                place = FilePaths.parent(place)
            }
        }
    }

    package func list(_ path: String) throws -> [String] {
        try state.withLock { state in
            if state.isOff { throw SimulatedFileSystem.off(path) }
            guard state.directories.contains(path) else { throw SimulatedFileSystem.noFile(path) }
            return (Array(state.names.keys) + state.directories)
                .filter { FilePaths.parent($0) == path && $0 != path }.map(FilePaths.name).sorted()
        }
    }

    package func size(_ path: String) throws -> UInt64? {
        state.withLock { $0.names[path].map { UInt64($0.bytes.count) } }
    }

    package func open(_ path: String, _ mode: FileOpenMode) throws -> any StoreFile {
        let create: (inout State) -> Inode = { state in
            let inode = Inode()
            state.names[path] = inode
            return inode
        }
        if mode == .create {
            let inode = try perform(.create, path, half: { _ = create(&$0) }) { state in
                guard state.names[path] == nil else {
                    throw CASError(.alreadyExists, "the file exists", path: path)
                }
                guard state.directories.contains(FilePaths.parent(path)) else {
                    throw SimulatedFileSystem.noFile(path)
                }
                return create(&state)
            }
            return SimulatedFile(self, path, inode)
        }
        let inode = try state.withLock { state in
            if state.isOff { throw SimulatedFileSystem.off(path) }
            guard let inode = state.names[path] else { throw SimulatedFileSystem.noFile(path) }
            return inode
        }
        return SimulatedFile(self, path, inode)
    }

    package func rename(_ old: String, to new: String) throws {
        try perform(.rename, old) { state in
            guard let inode = state.names.removeValue(forKey: old) else {
                throw SimulatedFileSystem.noFile(old)
            }
            state.names[new] = inode
        }
    }

    package func link(_ path: String, to new: String) throws -> Bool {
        try perform(.link, path) { state in
            guard let inode = state.names[path] else { throw SimulatedFileSystem.noFile(path) }
            switch state.links {
            case .everywhere: break
            case .withinDirectories:
                guard FilePaths.parent(path) == FilePaths.parent(new) else { return false }
            case .nowhere: return false
            }
            guard state.names[new] == nil else {
                throw CASError(.alreadyExists, "the file exists", path: new)
            }
            state.names[new] = inode
            return true
        }
    }

    package func remove(_ path: String) throws {
        try perform(.remove, path) { state in
            guard state.names.removeValue(forKey: path) != nil else {
                throw SimulatedFileSystem.noFile(path)
            }
        }
    }

    package func synchronizeDirectory(_ path: String) throws {
        try perform(.synchronizeDirectory, path) { state in
            for name in Set(state.names.keys).union(state.durableNames.keys)
            where FilePaths.parent(name) == path {
                state.durableNames[name] = state.names[name]
            }
        }
    }

    package func freeBytes(_ path: String) throws -> UInt64 {
        state.withLock { state in
            UInt64(max(0, (state.capacity ?? 1 << 40) - state.usedBytes))
        }
    }
}
