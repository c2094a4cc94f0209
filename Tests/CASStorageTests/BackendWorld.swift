import CASCore
import CASFileSystem
import CASStorage
import CASTestSupport
import Synchronization

/// A backend under test with the file system that sources lie on.
struct BackendWorld: Sendable {
    /// Which backend.
    enum Kind: CaseIterable, Sendable {
        /// A directory on a disk.
        case disk
        /// A directory on a simulated file system.
        case simulated
        /// A directory on another device than the sources.
        case device
        /// A directory on a file system that has no hard links.
        case copies
        /// Objects in memory, by the rules of S3.
        case memory
        /// The same far away: each call takes its time on both ways.
        case distant
    }
    /// How it is decorated.
    enum Decoration: CaseIterable, Sendable {
        case none, counted, retried
    }

    let kind: Kind
    let fileSystem: any FileSystem
    let simulated = SimulatedFileSystem()
    let objects: InMemoryObjects
    let base: any ObjectBackend
    let backend: any ObjectBackend
    let counters = ObjectCounters()
    /// Pauses that the retrying decorator would have made.
    let pauses = Pauses()
    private let directory: TemporaryDirectory?

    final class Pauses: Sendable {
        private let numbers = Mutex<[Int]>([])
        var all: [Int] { numbers.withLock { $0 } }
        func add(_ number: Int) { numbers.withLock { $0.append(number) } }
    }

    init(
        _ kind: Kind, _ decoration: Decoration = .none,
        objects: InMemoryObjects = InMemoryObjects()
    ) throws {
        self.kind = kind
        self.objects = objects
        directory = kind == .disk ? try TemporaryDirectory() : nil
        fileSystem = kind == .disk ? DiskFileSystem() : simulated
        root = directory?.path ?? "/world"
        base =
            kind == .memory || kind == .distant
            ? InMemoryBackend(objects, machine: simulated)
            : try DirectoryBackend(directory: "\(root)/objects", fileSystem: fileSystem)
        try fileSystem.createDirectory("\(root)/sources")
        backend =
            switch decoration {
            case .none: base
            case .counted: CountingBackend(base, counters)
            case .retried: RetryingBackend(base) { [pauses] in pauses.add($0) }
            }
        setLinks(of: simulated)
        if kind == .distant { objects.setLatency(milliseconds: 1, seed: 1) }
    }

    /// Gives a machine the kind's hard links.
    func setLinks(of machine: SimulatedFileSystem) {
        switch kind {
        case .device: machine.setLinks(.withinDirectories)
        case .copies: machine.setLinks(.nowhere)
        case .disk, .simulated, .memory, .distant: break
        }
    }

    /// Where sources and objects are.
    let root: String

    /// A new file of these bytes, durable, as a sealed pack is.
    func source(_ bytes: [UInt8]) throws -> ObjectSource {
        let path = "\(root)/sources/\(Identifier.random())"
        let file = try fileSystem.open(path, .create)
        try bytes.withUnsafeBytes { try file.append($0) }
        try file.synchronizeData()
        try fileSystem.synchronizeDirectory("\(root)/sources")
        return ObjectSource(path: path, file: file)
    }

    /// The names in the directory of objects, also of what is none.
    func names() throws -> [String] { try fileSystem.list("\(root)/objects") }
}

extension ObjectBackend {
    /// Reads a range as an array; nil if there is no object.
    func read(_ name: Identifier, _ offset: Int, _ count: Int) throws -> [UInt8]? {
        let buffer = ReusableBuffer()
        buffer.resize(to: count)
        guard let read = try read(name, at: UInt64(offset), into: buffer.mutableBytes) else {
            return nil
        }
        return Array(buffer.bytes[..<read])
    }

    /// All objects.
    func all() throws -> [ObjectEntry] {
        var entries: [ObjectEntry] = []
        try forEach { entries.append($0) }
        return entries
    }
}
