import CASCatalog
import CASCore
import CASFileSystem
import CASRepository
import CASStorage
import CASTestSupport

/// One life of a process that uses the store, from opening it to its end or death.
///
/// `@unchecked Sendable`: a simulation runs on one thread.
final class SimulatedProcess: @unchecked Sendable {
    let name: String
    let machine: SimulatedFileSystem
    let neglect: Neglect?
    private let observer: any OperationObserver
    private(set) var repository: Repository?
    /// The collection that it is at.
    var collector: Collector?
    /// The removal for good that it is at.
    var purge: PurgeTask?
    private(set) var isDead = false
    /// Whether it holds the catalog's lock.
    private(set) var isWriting = false
    /// Whether it is about to answer a request of an upload.
    var isAnsweringUpload = false
    /// How many more operations it lives; nil for no end.
    var operationsLeft: Int?
    private var files: [ProcessFile] = []
    private var lateSyncs: [any StoreFile] = []

    init(
        _ name: String, machine: SimulatedFileSystem, neglect: Neglect?,
        observer: any OperationObserver
    ) {
        self.name = name
        self.machine = machine
        self.neglect = neglect
        self.observer = observer
    }

    /// Whether it can do anything at all.
    var isAlive: Bool { !isDead && !machine.isOff && repository != nil }

    /// Begins to use a store.
    func open(_ body: (SimulatedProcess) throws -> Repository) throws {
        repository = try body(self)
    }

    /// Ends as kill -9 does: its locks are free, nothing else happens.
    func die() {
        isDead = true
        collector = nil
        purge = nil
        repository = nil
        for file in files { file.close() }
        files = []
    }

    /// Ends in order.
    func close() throws {
        defer { die() }
        collector = nil
        purge = nil
        try repository?.close()
    }

    /// Dies if that was the last operation that it had left.
    func countDown() throws {
        guard let left = operationsLeft else { return }
        operationsLeft = left - 1
        guard left <= 1 else { return }
        isDead = true
        throw SimulatedProcess.dead()
    }

    static func dead() -> CASError { CASError(.unavailable, "the process is dead") }
    static func off() -> CASError { CASError(.unavailable, "the power is off") }

    fileprivate func check() throws {
        if isDead { throw SimulatedProcess.dead() }
        if machine.isOff { throw SimulatedProcess.off() }
    }

    fileprivate func willPerform(_ operation: String, _ path: String = "") throws {
        try check()
        try observer.willPerform(operation, path, by: self)
        // The observer lets others work meanwhile.
        try check()
    }

    fileprivate func opened(_ file: ProcessFile) { files.append(file) }

    fileprivate func synchronize(_ file: any StoreFile) throws {
        switch neglect {
        case .syncAfterCommit: lateSyncs.append(file)
        case .failedSync: do { try file.synchronizeData() } catch is CASError {}
        case .uploadSync where isAnsweringUpload: break
        default: try file.synchronizeData()
        }
    }

    /// Runs what ends in the answer to a request of an upload.
    func answeringUpload<Result>(_ body: () throws -> Result) rethrows -> Result {
        isAnsweringUpload = true
        defer { isAnsweringUpload = false }
        return try body()
    }

    // MARK: - Its catalog

    fileprivate func write<Result>(
        _ catalog: any Catalog, _ body: (any CatalogTransaction) throws -> Result
    ) throws -> Result {
        try willPerform("commit")
        let fault = observer.faultOfCommit()
        isWriting = true
        defer { isWriting = false }
        let result = try catalog.write { transaction in
            let result = try body(transaction)
            try check()
            if fault == .cutBefore { machine.cutPower() }
            try check()
            if fault == .failure { throw CASError(.unavailable, "injected: commit failed") }
            return result
        }
        if fault == .cutAfter { machine.cutPower() }
        try check()
        if fault == .lostAnswer { throw CASError(.unavailable, "injected: answer lost") }
        for file in lateSyncs { try file.synchronizeData() }
        lateSyncs = []
        return result
    }
}

/// The file system as one process sees it.
struct ProcessFileSystem: FileSystem {
    let process: SimulatedProcess
    private var machine: SimulatedFileSystem { process.machine }

    init(_ process: SimulatedProcess) { self.process = process }

    func createDirectory(_ path: String) throws { try machine.createDirectory(path) }

    func list(_ path: String) throws -> [String] {
        try process.willPerform("list", path)
        return try machine.list(path)
    }

    func size(_ path: String) throws -> UInt64? {
        try process.check()
        return try machine.size(path)
    }

    func open(_ path: String, _ mode: FileOpenMode) throws -> any StoreFile {
        try process.willPerform("open \(mode)", path)
        let file = ProcessFile(process, path, try machine.open(path, mode))
        process.opened(file)
        return file
    }

    func rename(_ old: String, to new: String) throws {
        try process.willPerform("rename", old)
        try machine.rename(old, to: new)
    }

    func link(_ path: String, to new: String) throws -> Bool {
        try process.willPerform("link", path)
        return try machine.link(path, to: new)
    }

    func remove(_ path: String) throws {
        try process.willPerform("remove", path)
        try machine.remove(path)
    }

    func synchronizeDirectory(_ path: String) throws {
        try process.willPerform("sync directory", path)
        if process.neglect != .directorySync { try machine.synchronizeDirectory(path) }
    }

    func freeBytes(_ path: String) throws -> UInt64 { try machine.freeBytes(path) }
}

/// An open file of one process.
final class ProcessFile: StoreFile {
    private let process: SimulatedProcess
    private let path: String
    private let file: any StoreFile

    init(_ process: SimulatedProcess, _ path: String, _ file: any StoreFile) {
        self.process = process
        self.path = path
        self.file = file
    }

    func append(_ bytes: UnsafeRawBufferPointer) throws {
        try process.willPerform("append \(bytes.count)", path)
        try file.append(bytes)
    }

    func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws -> Int {
        try process.willPerform("read \(offset)", path)
        return try file.read(at: offset, into: target)
    }

    func size() throws -> UInt64 {
        try process.check()
        return try file.size()
    }

    func truncate(to size: UInt64) throws {
        try process.willPerform("truncate \(size)", path)
        try file.truncate(to: size)
    }

    func synchronizeData() throws {
        try process.willPerform("sync", path)
        try process.synchronize(file)
    }

    func lock() throws -> Bool {
        try process.check()
        return try file.lock()
    }

    func close() { file.close() }
}

/// The objects as one process sees them.
struct ProcessBackend: ObjectBackend {
    private let process: SimulatedProcess
    private let backend: any ObjectBackend

    init(_ process: SimulatedProcess, _ backend: any ObjectBackend) {
        self.process = process
        self.backend = backend
    }

    func put(_ name: Identifier, _ source: ObjectSource) throws -> Bool {
        try process.willPerform("put", "\(name)")
        return try backend.put(name, source)
    }

    func read(
        _ name: Identifier, at offset: UInt64, into target: UnsafeMutableRawBufferPointer
    ) throws -> Int? {
        try process.willPerform("get \(offset)", "\(name)")
        return try backend.read(name, at: offset, into: target)
    }

    func list(after: Identifier?, limit: Int) throws -> [ObjectEntry] {
        try process.willPerform("list objects")
        return try backend.list(after: after, limit: limit)
    }

    func delete(_ name: Identifier) throws {
        try process.willPerform("delete", "\(name)")
        try backend.delete(name)
    }

    func place(of name: Identifier) -> String { backend.place(of: name) }
}

/// The catalog as one process sees it.
struct ProcessCatalog: Catalog {
    private let process: SimulatedProcess
    private let catalog: InMemoryCatalog

    init(_ process: SimulatedProcess, _ catalog: InMemoryCatalog) {
        self.process = process
        self.catalog = catalog
    }

    func read<Result>(_ body: (any CatalogReader) throws -> Result) throws -> Result {
        try process.willPerform("read catalog")
        return try catalog.read(body)
    }

    func write<Result>(_ body: (any CatalogTransaction) throws -> Result) throws -> Result {
        try process.write(catalog, body)
    }

    func erase() throws { try process.willPerform("erase catalog") }

    // The catalog of other processes goes on.
    func close() throws {}
}
