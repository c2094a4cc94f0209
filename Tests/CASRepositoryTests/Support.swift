import CASCatalog
import CASChunking
import CASCore
import CASFileSystem
import CASPack
import CASRepository
import CASStorage
import CASTestSupport
import CASTree
import CASWire

/// Where a store under test lies.
enum Storage: CaseIterable, Sendable {
    /// In memory: SimulatedFileSystem, also for sealed packs, and InMemoryCatalog.
    case memory
    /// As in memory, with sealed packs behind InMemoryBackend, which has S3's rules.
    case objects
    /// On a disk: DiskFileSystem, also for sealed packs, and SQLiteCatalog.
    case disk
}

/// A repository with what is below it, which can be closed and opened again.
final class TestStore {
    let storage: Storage
    let clock = TestClock()
    let directory: TemporaryDirectory?
    let objects = InMemoryObjects()
    private(set) var simulated = SimulatedFileSystem()
    private(set) var memoryCatalog = InMemoryCatalog()
    private(set) var repository: Repository
    private var sqliteNumber = 0

    /// Chunks of 1 KiB and packs of 64 KiB, so that a small tree has several of both.
    static func configuration(_ directory: TemporaryDirectory?) throws -> RepositoryConfiguration {
        var configuration = RepositoryConfiguration(
            activeDirectory: "\(directory?.path ?? "/store")/active")
        configuration.chunker = try ChunkerParameters(averageBytes: 1024)
        configuration.packBytes = 64 << 10
        configuration.checkpointBytes = 32 << 10
        // Each push of a test does it, so that where bytes lie does not depend on a thread.
        configuration.storesInBackground = false
        return configuration
    }

    var configuration: RepositoryConfiguration

    init(
        _ storage: Storage = .memory, _ adjust: (inout RepositoryConfiguration) -> Void = { _ in }
    ) throws {
        self.storage = storage
        directory = storage == .disk ? try TemporaryDirectory() : nil
        configuration = try TestStore.configuration(directory)
        if storage == .objects { configuration.packBytes = 12 << 10 }
        adjust(&configuration)
        repository = try Repository.open(
            configuration, fileSystem: directory == nil ? simulated : DiskFileSystem(),
            objects: try TestStore.backend(directory, storage, objects, simulated),
            catalog: try directory.map { directory in
                try SQLiteCatalog(path: "\(directory.path)/catalog", create: true)
            } ?? memoryCatalog, clock: clock)
    }

    var fileSystem: any FileSystem { storage == .disk ? DiskFileSystem() : simulated }

    private static func backend(
        _ directory: TemporaryDirectory?, _ storage: Storage, _ objects: InMemoryObjects,
        _ simulated: SimulatedFileSystem
    ) throws -> any ObjectBackend {
        switch storage {
        case .memory: try DirectoryBackend(directory: "/store/packs", fileSystem: simulated)
        case .objects: InMemoryBackend(objects, machine: simulated)
        case .disk:
            try DirectoryBackend(
                directory: "\(directory?.path ?? "")/packs", fileSystem: DiskFileSystem())
        }
    }

    private func backend() throws -> any ObjectBackend {
        try TestStore.backend(directory, storage, objects, simulated)
    }

    /// Opens the store in memory as another process on the same machine does.
    func openBeside() throws {
        repository = try Repository.open(
            configuration, fileSystem: simulated, objects: try backend(), catalog: memoryCatalog,
            clock: clock)
    }

    /// Opens the store again as after a clean end, or as after the death of the process.
    func reopen(closing: Bool = true) throws {
        if closing { try repository.close() }
        let catalog: any Catalog
        switch storage {
        case .memory, .objects:
            if closing { memoryCatalog.reopen() } else { simulated = simulated.afterProcessDeath() }
            catalog = memoryCatalog
        case .disk: catalog = try SQLiteCatalog(path: catalogPath, create: false)
        }
        repository = try Repository.open(
            configuration, fileSystem: fileSystem, objects: try backend(), catalog: catalog,
            clock: clock)
    }

    /// Closes the store, or in memory lets its process die, and fills a new catalog from its packs.
    func rebuild(closing: Bool = true) throws -> RebuildReport {
        if closing { try repository.close() } else { simulated = simulated.afterProcessDeath() }
        let catalog: any Catalog
        switch storage {
        case .memory, .objects:
            memoryCatalog = InMemoryCatalog()
            catalog = memoryCatalog
        case .disk:
            sqliteNumber += 1
            catalog = try SQLiteCatalog(path: catalogPath, create: true)
        }
        let result = try Repository.rebuildIndex(
            configuration, fileSystem: fileSystem, objects: try backend(), catalog: catalog,
            clock: clock)
        repository = result.repository
        return result.report
    }

    /// Notes a use of a snapshot by a name, at a time in seconds since 1970.
    func touch(_ digest: Digest, _ seconds: Int64) throws {
        let touch = Touch(digest: digest, byName: seconds)
        guard storage == .disk else {
            return try memoryCatalog.write { try $0.insert(touch: touch, domain: .standard) }
        }
        let catalog = try SQLiteCatalog(path: catalogPath, create: false)
        try catalog.write { try $0.insert(touch: touch, domain: .standard) }
        try catalog.close()
    }

    private var catalogPath: String {
        let base = "\(directory?.path ?? "")/catalog"
        return sqliteNumber == 0 ? base : "\(base)-\(sqliteNumber)"
    }

    /// The directory of sealed packs, where they lie in one.
    var packDirectory: String {
        "\(FilePaths.parent(configuration.activeDirectory))/packs"
    }

    /// Files of packs that are not behind the backend.
    func localPacks() throws -> [String] {
        try fileSystem.list(configuration.activeDirectory).filter { $0.hasSuffix(".pack") }.map {
            "\(configuration.activeDirectory)/\($0)"
        }
    }

    /// Where all packs are: paths, or names of objects.
    func packs() throws -> [String] {
        let backend = try backend()
        var places = try localPacks()
        try backend.forEach { places.append(backend.place(of: $0.name)) }
        return places
    }

    private func objectName(_ place: String) -> Identifier? {
        guard place.hasPrefix("memory:") else { return nil }
        return Identifier(hexadecimal: place.dropFirst("memory:".count))
    }

    /// Changes the bytes of a pack behind the store's back.
    func change(_ path: String, _ body: (inout [UInt8]) -> Void) throws {
        if let name = objectName(path) {
            var bytes = objects[name] ?? []
            body(&bytes)
            objects[name] = bytes
            return
        }
        guard storage == .disk else { return simulated.corrupt(path, body) }
        guard var bytes = try DiskFileSystem().read(path, maximumBytes: 1 << 30) else { return }
        body(&bytes)
        // The same file, not a new one under its name: whoever has it open sees the change.
        let file = try DiskFileSystem().open(path, .readWrite)
        defer { file.close() }
        try file.truncate(to: 0)
        try bytes.withUnsafeBytes { try file.append($0) }
    }

    func remove(_ path: String) throws {
        if let name = objectName(path) { objects[name] = nil } else { try fileSystem.remove(path) }
    }

    func bytes(_ path: String) throws -> [UInt8] {
        if let name = objectName(path) { return objects[name] ?? [] }
        return try fileSystem.read(path, maximumBytes: 1 << 30) ?? []
    }
}

/// What a test pushes, and where.
struct TestPush: Sendable {
    var pushID = Identifier.random()
    var ref: RefName
    var precondition = Precondition.any
    var bodyBytes = 8_192
    var isTrusted = false
    var time = Timestamp(seconds: 1_700_000_123)
    var lifetime: UInt64 = 0

    init(_ ref: String) throws { self.ref = try RefName(ref) }

    func request(_ snapshot: Digest) -> PushRequest {
        PushRequest(
            pushID: pushID, ref: ref, snapshot: snapshot, precondition: precondition,
            provenance: Provenance(author: "somebody", time: time), lifetime: lifetime)
    }
}

extension Repository {
    /// Uploads bytes of whole records in bodies of about `bodyBytes`.
    func upload(_ records: ReusableBuffer, _ push: TestPush, stream: Int = 0) throws {
        var start = 0
        var end = 0
        var sequence = 0
        func send() throws {
            guard end > start else { return }
            try upload(
                push: push.pushID, stream: stream, sequence: sequence,
                records: UnsafeRawBufferPointer(rebasing: records.bytes[start..<end]),
                trusted: push.isTrusted, domain: .standard)
            sequence += 1
            start = end
        }
        try RecordCoding.forEach(in: records.bytes, limits: limits) { record in
            end += record.record.count
            if end - start >= push.bodyBytes { try send() }
        }
        try send()
    }

    private var limits: Limits { configuration.limits }

    /// Commits with the records in a buffer, which lives as long as the call.
    func commit(
        _ push: TestPush, _ snapshot: Digest, _ records: ReusableBuffer = ReusableBuffer()
    ) throws -> PushResponse {
        try withExtendedLifetime(records) {
            try commit(
                push.request(snapshot), records: records.bytes, trusted: push.isTrusted,
                domain: .standard)
        }
    }

    /// Pushes a tree as a client does: asks, uploads what is missing, commits with the messages.
    @discardableResult
    func push(_ tree: SampleTree, _ push: TestPush) throws -> PushResponse {
        let records = try SampleRecords(chunker)
        let digests = tree.allDigests
        for round in 0..<4 {
            let answers = try missing(digests, push: push.pushID, domain: .standard)
            let needed = Set(zip(digests, answers).filter(\.1).map(\.0))
            try upload(try records.files(tree, only: needed), push, stream: round)
            let response = try commit(
                push, tree.digest, try records.messages(tree, only: needed))
            // In the place of the thread that does it beside pushes. A failure is not the push's.
            if !configuration.storesInBackground {
                do { try storeSealedPacks() } catch is CASError {}
            }
            // What was lost or found damaged since we asked.
            guard response.outcome == .missing else { return response }
        }
        throw CASError(.dataLoss, "the store goes on lacking what was sent")
    }

    /// Pushes a tree to a ref.
    @discardableResult
    func push(_ tree: SampleTree, to ref: String) throws -> PushResponse {
        try push(tree, try TestPush(ref))
    }
}

/// The code of the error that `body` throws; nil if it throws none.
func code(_ body: () throws -> Void) throws -> CASError.Code? {
    do {
        try body()
        return nil
    } catch let error as CASError {
        return error.code
    }
}
