import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import Synchronization

/// A record that is not what it was when it was stored.
struct DamagedRecord: Hashable {
    let digest: Digest
    let location: BlobLocation
    /// Where its pack ends too early; everything that reaches beyond that is gone as well.
    var packEnd: UInt64?
}

/// The open files of packs, to read from.
///
/// Any thread may use it.
///
/// Keeps at most `capacity` files open; one in use stays open until its reader lets go of it.
final class PackFiles: Sendable {
    private static let capacity = 256
    private let fileSystem: any FileSystem
    private let directory: String
    private let files = Mutex<[Int64: any StoreFile]>([:])
    /// What readers found damaged and nobody took out of use yet.
    private let damaged = Mutex<Set<DamagedRecord>>([])

    init(fileSystem: any FileSystem, directory: String) {
        self.fileSystem = fileSystem
        self.directory = directory
    }

    /// The file of a pack.
    func path(_ identifier: Identifier) -> String { "\(directory)/\(identifier).pack" }

    /// The file of a pack, opened if it is not; nil if the catalog or the directory has none.
    func file(_ number: Int64, _ reader: any CatalogReader) throws -> (any StoreFile)? {
        if let file = files.withLock({ $0[number] }) { return file }
        guard let entry = try reader.pack(number) else { return nil }
        do {
            let file = try fileSystem.open(path(entry.identifier), .read)
            insert(file, number)
            return file
        } catch let error as CASError where error.code == .notFound {
            return nil
        }
    }

    /// Gives readers a file that is open already.
    func insert(_ file: any StoreFile, _ number: Int64) {
        files.withLock { files in
            if files.count >= PackFiles.capacity, let victim = files.keys.min() {
                files[victim] = nil
            }
            files[number] = file
        }
    }

    /// Remembers that a record proved damaged.
    func report(_ record: DamagedRecord) {
        damaged.withLock { _ = $0.insert(record) }
    }

    /// What was reported since the last call.
    func takeDamaged() -> [DamagedRecord] {
        damaged.withLock { damaged in
            defer { damaged = [] }
            return Array(damaged)
        }
    }

    /// Forgets a pack's file.
    func forget(_ number: Int64) {
        files.withLock { _ = $0.removeValue(forKey: number) }
    }

    /// Forgets all files.
    func close() {
        files.withLock { $0 = [:] }
    }
}

extension BlobLocation {
    /// The location of a record.
    init(_ header: RecordHeader, pack: Int64, offset: UInt64) {
        self.init(
            pack: pack, offset: offset, storedLength: UInt32(header.storedLength),
            rawLength: UInt32(header.rawLength), kind: header.kind, codec: header.codec)
    }
}

extension PackFiles {
    /// Removes a pack with nothing in it; several processes may come to do so at once.
    static func removeEmpty(_ path: String, _ fileSystem: any FileSystem) throws {
        do {
            try fileSystem.remove(path)
        } catch let error as CASError where error.code == .notFound {
            // Gone is gone, whoever did it.
        }
    }
}
