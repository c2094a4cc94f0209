import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASStorage
import Synchronization

/// A record that is not what it was when it was stored.
struct DamagedRecord: Hashable {
    let digest: Digest
    let location: BlobLocation
    /// Where its pack ends too early; everything that reaches beyond that is gone as well.
    var packEnd: UInt64?
}

/// The packs of a store, to read from wherever they lie: in a file of this machine's own, or behind the
/// object backend.
///
/// Any thread may use it. A file in use stays open until its reader lets go of it.
final class PackFiles: Sendable {
    private static let suffix = ".pack"
    private static let capacity = 1024

    /// Where a pack was found last.
    private enum Place {
        case file(any StoreFile)
        case object(Identifier)
    }
    private let fileSystem: any FileSystem
    private let directory: String
    private let objects: any ObjectBackend
    private let places = Mutex<[Int64: Place]>([:])
    /// What readers found damaged and nobody took out of use yet.
    private let damaged = Mutex<Set<DamagedRecord>>([])

    /// Packs with files in a directory and sealed ones among `objects`.
    init(fileSystem: any FileSystem, directory: String, objects: any ObjectBackend) {
        self.fileSystem = fileSystem
        self.directory = directory
        self.objects = objects
    }

    /// The file of a pack that is not behind the backend yet.
    func path(_ identifier: Identifier) -> String {
        "\(directory)/\(identifier)\(PackFiles.suffix)"
    }

    /// Which pack has a file of that name; nil if none can have.
    static func identifier(ofFile name: String) -> Identifier? {
        guard name.hasSuffix(suffix) else { return nil }
        return Identifier(hexadecimal: name.dropLast(suffix.count))
    }

    /// Reads from a pack like `ObjectBackend.read`; nil if it is gone.
    ///
    /// `entry` looks it up in the catalog and is called only where nobody read from it before, or where it
    /// is not any more where it was.
    func read(
        _ number: Int64, at offset: UInt64, into target: UnsafeMutableRawBufferPointer,
        entry: () throws -> PackEntry?
    ) throws -> Int? {
        switch places.withLock({ $0[number] }) {
        case .file(let file): return try file.read(at: offset, into: target)
        case .object(let name):
            if let count = try objects.read(name, at: offset, into: target) { return count }
        case nil: break
        }
        guard let entry = try entry() else { return nil }
        if !entry.isStored, let file = try open(entry.identifier) {
            insert(file, number)
            return try file.read(at: offset, into: target)
        }
        // Also where the entry is older than the pack's move.
        let count = try objects.read(entry.identifier, at: offset, into: target)
        if count == nil { forget(number) } else { moved(number, entry.identifier) }
        return count
    }

    /// Where a pack ends that is shorter than it was: at or before `offset`, found by trying.
    func end(_ number: Int64, before offset: UInt64, entry: () throws -> PackEntry?) throws
        -> UInt64
    {
        var range = 0..<offset
        var byte: [UInt8] = [0]
        while !range.isEmpty {
            let middle = range.lowerBound + (range.upperBound - range.lowerBound) / 2
            let count = try byte.withUnsafeMutableBytes {
                try read(number, at: middle, into: $0, entry: entry)
            }
            range = count == 1 ? middle + 1..<range.upperBound : range.lowerBound..<middle
        }
        return range.lowerBound
    }

    /// A pack's file, open to be read; nil if it has none, or none any more.
    func open(_ identifier: Identifier) throws -> (any StoreFile)? {
        do {
            return try fileSystem.open(path(identifier), .read)
        } catch let error as CASError where error.code == .notFound {
            return nil
        }
    }

    /// Gives readers a file that is open already, unless they know a place of that pack.
    func insert(_ file: any StoreFile, _ number: Int64) {
        places.withLock { places in
            // A reader that was slow must not bring back the file of a pack that moved meanwhile.
            guard places[number] == nil else { return }
            PackFiles.makeRoom(&places)
            places[number] = .file(file)
        }
    }

    /// Has a pack read from the backend from now on.
    func moved(_ number: Int64, _ name: Identifier) {
        places.withLock { places in
            PackFiles.makeRoom(&places)
            places[number] = .object(name)
        }
    }

    private static func makeRoom(_ places: inout [Int64: Place]) {
        if places.count >= capacity, let victim = places.keys.min() { places[victim] = nil }
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

    /// Forgets where a pack is.
    func forget(_ number: Int64) {
        places.withLock { _ = $0.removeValue(forKey: number) }
    }

    /// Removes a pack's file, if there is one.
    func remove(_ identifier: Identifier) throws {
        do {
            try fileSystem.remove(path(identifier))
        } catch let error as CASError where error.code == .notFound {
            // Another process that had the same to do was faster.
        }
    }

    /// Makes durable which files there are.
    func synchronizeNames() throws { try fileSystem.synchronizeDirectory(directory) }

    /// Forgets where all packs are.
    func close() {
        places.withLock { $0 = [:] }
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
