package import CASCore
import CASFileSystem

/// What the last scan of a directory knew (StatCache.md).
///
/// For each file the digest it had while its status was such and such, and for each store the last
/// snapshot that it acknowledged. A cache that is damaged, foreign or of another version is no cache: everything is hashed.
/// `@unchecked Sendable`: the bytes are never written after `load`.
package final class StatCache: @unchecked Sendable {
    /// The version of the format that this program writes and reads.
    package static let formatVersion: UInt8 = 1
    static let magic = Array("CASSCAN\0".utf8)
    static let headerBytes = 16
    static let trailerBytes = 40
    /// Bytes of a file's entry behind its name.
    static let fileBytes = 72
    /// Bytes of a directory's record before its entries.
    static let directoryBytes = 20

    /// In the place of a time of change: the file has to be hashed again whatever its status.
    static let noTime = Int64.max

    /// A store, as the client sees it: where it is and which life of it.
    package struct StoreKey: Hashable, Comparable, Sendable {
        /// The server's URL or the store's directory.
        package let server: String
        /// Changes whenever the store could have forgotten something.
        package let incarnation: Identifier

        /// A key from its parts.
        package init(server: String, incarnation: Identifier) {
            self.server = server
            self.incarnation = incarnation
        }

        package static func < (left: StoreKey, right: StoreKey) -> Bool {
            (left.server, left.incarnation.high, left.incarnation.low)
                < (right.server, right.incarnation.high, right.incarnation.low)
        }
    }

    /// What a store acknowledged to hold whole.
    package struct Acknowledged: Hashable, Sendable {
        /// The snapshot.
        package let snapshot: Digest
        /// The root of its tree.
        package let tree: Digest

        /// An acknowledgement from its parts.
        package init(snapshot: Digest, tree: Digest) {
            self.snapshot = snapshot
            self.tree = tree
        }
    }

    /// The last acknowledged snapshot by store.
    package let acknowledged: [StoreKey: Acknowledged]
    /// Files it describes.
    package let fileCount: Int
    /// Directories it describes.
    package let directoryCount: Int
    let rootOffset: Int
    private let buffer: ReusableBuffer

    /// Reads a cache; nil if there is none, or none that can be trusted.
    package static func load(path: String) -> StatCache? {
        guard let buffer = try? read(path) else { return nil }
        return StatCache(buffer)
    }

    private static func read(_ path: String) throws -> ReusableBuffer {
        let file = try OpenFile(reading: path)
        let status = try file.status()
        guard status.kind == .regular, status.size >= headerBytes + trailerBytes,
            status.size <= 1 << 32
        else { throw CASError(.dataLoss, "no stat cache", path: path) }
        let buffer = ReusableBuffer(capacity: Int(status.size))
        try buffer.append(maximum: Int(status.size)) { try file.read(into: $0) }
        return buffer
    }

    private init?(_ buffer: ReusableBuffer) {
        let bytes = buffer.bytes
        let end = bytes.count - StatCache.trailerBytes
        guard end >= StatCache.headerBytes,
            bytes[..<8].elementsEqual(StatCache.magic), bytes[8] == StatCache.formatVersion,
            bytes.loadUnaligned(fromByteOffset: bytes.count - 4, as: UInt32.self).littleEndian
                == Checksum.crc32c(UnsafeRawBufferPointer(rebasing: bytes.dropLast(4)))
        else { return nil }
        func word(_ index: Int) -> Int? {
            Int(
                exactly: bytes.loadUnaligned(
                    fromByteOffset: end + 8 * index, as: UInt64.self
                ).littleEndian)
        }
        guard let root = word(0), let stores = word(1), let files = word(2),
            let directories = word(3), root >= StatCache.headerBytes, root <= end,
            stores >= StatCache.headerBytes, stores <= end
        else { return nil }
        (rootOffset, fileCount, directoryCount) = (root, files, directories)
        let list = UnsafeRawBufferPointer(rebasing: bytes[stores..<end])
        guard let acknowledged = try? StatCache.stores(list) else { return nil }
        self.acknowledged = acknowledged
        self.buffer = buffer
    }

    private static func stores(
        _ bytes: UnsafeRawBufferPointer
    ) throws -> [StoreKey: Acknowledged] {
        var reader = ByteReader(bytes)
        var stores: [StoreKey: Acknowledged] = [:]
        let count = try reader.uint32()
        for _ in 0..<count {
            let length = Int(try reader.uint16())
            let server = String(decoding: try reader.take(length), as: UTF8.self)
            let key = StoreKey(server: server, incarnation: try reader.identifier())
            stores[key] = Acknowledged(snapshot: try reader.digest(), tree: try reader.digest())
        }
        return stores
    }

    /// The record of a directory; nil if there is none at that offset.
    func directory(at offset: Int?) -> CachedDirectory? {
        guard let offset else { return nil }
        return CachedDirectory(buffer.bytes, at: offset)
    }
}

/// Looks up the entries of one directory in the stat cache, by ascending name: a walk along both.
struct CachedDirectory {
    let device: UInt64
    let fileCount: Int
    let directoryCount: Int
    private let bytes: UnsafeRawBufferPointer
    private var fileOffset: Int
    private var filesLeft: Int
    private var directoryOffset: Int
    private var directoriesLeft: Int

    init?(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        guard offset >= 0, offset <= bytes.count - StatCache.directoryBytes else { return nil }
        let start = offset + StatCache.directoryBytes
        func word(_ position: Int) -> Int {
            Int(
                bytes.loadUnaligned(fromByteOffset: offset + position, as: UInt32.self).littleEndian
            )
        }
        device = bytes.loadUnaligned(fromByteOffset: offset, as: UInt64.self).littleEndian
        fileCount = word(8)
        directoryCount = word(12)
        self.bytes = bytes
        fileOffset = start
        filesLeft = fileCount
        directoryOffset = start + word(16)
        directoriesLeft = directoryCount
    }

    /// The digest that a file had, and whether its status is still what it was then; names must come in
    /// ascending order.
    mutating func digest(
        of name: UnsafeRawBufferPointer, _ record: FileRecord, device: UInt64
    ) -> (digest: Digest, isSame: Bool)? {
        guard device == self.device else { return nil }
        while filesLeft > 0 {
            guard let (order, end) = compare(at: fileOffset, name) else { return nil }
            guard end + StatCache.fileBytes <= bytes.count else { return nil }
            if order > 0 { return nil }
            fileOffset = end + StatCache.fileBytes
            filesLeft -= 1
            if order == 0 { return (digest(at: end + 40), isSame(record, at: end)) }
        }
        return nil
    }

    /// Where a subdirectory is described; names must come in ascending order.
    mutating func subdirectory(_ name: UnsafeRawBufferPointer) -> Int? {
        while directoriesLeft > 0 {
            guard let (order, end) = compare(at: directoryOffset, name) else { return nil }
            guard end + 8 <= bytes.count else { return nil }
            if order > 0 { return nil }
            directoryOffset = end + 8
            directoriesLeft -= 1
            if order == 0 {
                return Int(
                    exactly: bytes.loadUnaligned(fromByteOffset: end, as: UInt64.self).littleEndian)
            }
        }
        return nil
    }

    /// How the name in the cache at `offset` compares with `name`, and where it ends.
    private func compare(
        at offset: Int, _ name: UnsafeRawBufferPointer
    ) -> (order: Int, end: Int)? {
        guard offset < bytes.count else { return nil }
        let count = Int(bytes[offset])
        let start = offset + 1
        guard start + count <= bytes.count else { return nil }
        let cached = UnsafeRawBufferPointer(rebasing: bytes[start..<start + count])
        return (RawOrder.compare(cached, name), start + count)
    }

    private func isSame(_ record: FileRecord, at offset: Int) -> Bool {
        func long(_ position: Int) -> UInt64 {
            bytes.loadUnaligned(fromByteOffset: offset + position, as: UInt64.self).littleEndian
        }
        func short(_ position: Int) -> UInt32 {
            bytes.loadUnaligned(fromByteOffset: offset + position, as: UInt32.self).littleEndian
        }
        return record.changedSeconds != StatCache.noTime
            && long(0) == record.inode && long(8) == record.size
            && long(16) == UInt64(bitPattern: record.modifiedSeconds)
            && long(24) == UInt64(bitPattern: record.changedSeconds)
            && short(32) == record.modifiedNanoseconds && short(36) == record.changedNanoseconds
    }

    private func digest(at offset: Int) -> Digest {
        Digest(UnsafeRawBufferPointer(rebasing: bytes[offset..<offset + Digest.byteCount]))
    }
}

/// Order of byte runs as unsigned bytes.
enum RawOrder {
    /// Negative, zero or positive as `left` comes before, equals or comes behind `right`.
    static func compare(_ left: UnsafeRawBufferPointer, _ right: UnsafeRawBufferPointer) -> Int {
        let common = min(left.count, right.count)
        var index = 0
        while index + 8 <= common {
            let leftWord = left.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            let rightWord = right.loadUnaligned(fromByteOffset: index, as: UInt64.self)
            if leftWord != rightWord {
                return leftWord.bigEndian < rightWord.bigEndian ? -1 : 1
            }
            index += 8
        }
        while index < common {
            if left[index] != right[index] { return left[index] < right[index] ? -1 : 1 }
            index += 1
        }
        return left.count - right.count
    }
}
