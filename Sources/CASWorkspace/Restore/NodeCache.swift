import CASCore
import CASFileSystem
import CASTree
import Synchronization

/// Whole files by digest in a directory of this machine, shared by its fetches (Destination.md).
///
/// `v1/files/ab/<hex>` holds content only; modes and times belong to trees. `v1/links/ab/<hex>-<mode>-<time>`
/// are files as a tree has them, of which destinations are further names (`--link`). Any number of
/// processes may use it: files appear by rename or link, and every use hashes what it takes. A file that is
/// not what its name says is removed and fetched instead.
final class NodeCache: Sendable {
    static let bufferBytes = 1 << 20
    /// A file used again within this time keeps the time of its last use.
    private static let useSeconds: Int64 = 3600

    let temporaries: DirectoryHandle
    let files: NodeCacheShelf
    let links: NodeCacheShelf
    private let hasGrown = Atomic<Bool>(false)
    private let now: Timestamp

    init(_ path: String) throws {
        try DiskFileSystem().createDirectory(path)
        let root = try Destination.make(Array("v1".utf8), in: try DirectoryHandle(path: path))
        temporaries = try Destination.make(Array("tmp".utf8), in: root)
        files = try NodeCacheShelf("files", in: root)
        links = try NodeCacheShelf("links", in: root)
        now = SystemClock().now()
    }

    // MARK: - Out of the cache

    /// Writes a blob to its places as far as the cache has good copies; the places that are left.
    func restore(
        _ digest: Digest, _ places: [Restore.Place], _ writer: FileWriter
    ) throws -> [Restore.Place] {
        var rest = places
        if writer.restore.options.link { rest = try restoreLinks(digest, rest, writer) }
        if try rest.isEmpty || copy(digest, rest, writer) { return [] }
        return rest
    }

    /// Writes a blob to its places from the cache; false if the cache has no good copy.
    private func copy(
        _ digest: Digest, _ places: [Restore.Place], _ writer: FileWriter
    ) throws -> Bool {
        let folder = try files.folder(digest)
        let name = NodeCacheShelf.name(digest)
        guard let source = try folder.openFile(ifPresent: name) else { return false }
        let status = try source.status()
        do {
            if status.size <= UInt64(NodeCache.bufferBytes) {
                try copySmall(source, digest, Int(status.size), places, writer)
            } else {
                for place in places {
                    let wanted = writer.restore.layout.attributes(place, writer.restore.options)
                    try writer.replace(place, wanted) { target in
                        guard try copy(source, to: target) == digest else {
                            throw NodeCache.damaged(digest)
                        }
                    }
                }
            }
        } catch let error as CASError where error.code == .dataLoss {
            try folder.removeFile(name)
            return false
        }
        if status.changed.seconds < now.seconds - NodeCache.useSeconds {
            try folder.setModified(name, now)
        }
        if writer.restore.options.link { try adopt(digest, places, writer) }
        return true
    }

    private func copySmall(
        _ source: borrowing OpenFile, _ digest: Digest, _ size: Int, _ places: [Restore.Place],
        _ writer: FileWriter
    ) throws {
        let buffer = writer.buffer
        buffer.resize(to: size)
        let count = try source.read(into: buffer.mutableBytes)
        guard count == size, Digest.of(buffer.bytes) == digest else {
            throw NodeCache.damaged(digest)
        }
        for place in places { try writer.write(buffer.bytes, to: place) }
    }

    static func damaged(_ digest: Digest) -> CASError {
        CASError(.dataLoss, "a cached file is not what it should be", digest: digest)
    }

    /// Copies and hashes in one pass; blocks are shared where the file system can, and hashed still.
    private func copy(
        _ source: borrowing OpenFile, to target: borrowing OpenFile
    ) throws -> Digest {
        let isCloned = target.clone(from: source)
        let buffer = ReusableBuffer(capacity: NodeCache.bufferBytes)
        buffer.resize(to: NodeCache.bufferBytes)
        var hasher = DigestHasher()
        var offset: UInt64 = 0
        while true {
            let count = try source.read(at: offset, into: buffer.mutableBytes)
            guard count > 0 else { return hasher.finish() }
            let piece = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count])
            hasher.update(piece)
            if !isCloned { try target.write(piece) }
            offset += UInt64(count)
        }
    }

    // MARK: - Into the cache

    /// Keeps a file that was checked and lies at its places: by a further name of it in link mode, else
    /// by a copy that `fill` writes.
    func keep(
        _ digest: Digest, _ places: [Restore.Place], _ writer: FileWriter,
        _ fill: (borrowing OpenFile) throws -> Void
    ) throws {
        if writer.restore.options.link, try adopt(digest, places, writer) { return }
        let folder = try files.folder(digest)
        let name = NodeCacheShelf.name(digest)
        guard try folder.status(name) == nil else { return }
        let temporary = Array("\(Identifier.random())".utf8)
        do {
            let file = try temporaries.createFile(temporary, permissions: 0o644)
            try fill(file)
            try temporaries.rename(temporary, to: folder, name)
            noteGrowth()
        } catch let error as CASError {
            try temporaries.removeFile(temporary)
            // A full cache disk is no reason to fail a fetch.
            guard error.code == .resourceExhausted else { throw error }
        }
    }

    func noteGrowth() { hasGrown.store(true, ordering: .relaxed) }

    /// Removes what killed fetches left, and, if something was added, the files that were added or
    /// used longest ago until at most `limit` bytes are left.
    func evict(limit: UInt64) throws {
        let day: Int64 = 86_400
        for entry in try NodeCacheShelf.entries(temporaries)
        where entry.used.seconds < now.seconds - day {
            try temporaries.removeFile(entry.name)
        }
        guard hasGrown.load(ordering: .relaxed) else { return }
        let entries = try files.entries() + links.entries()
        var total = entries.reduce(UInt64(0)) { $0 + $1.entry.bytes }
        guard total > limit else { return }
        for (folder, entry) in entries.sorted(by: { $0.entry.used < $1.entry.used }) {
            guard total > limit else { return }
            try folder.removeFile(entry.name)
            total -= entry.bytes
        }
    }
}

/// 256 folders of a cache, by the first byte of the digest.
struct NodeCacheShelf: Sendable {
    struct Entry: Sendable {
        let name: [UInt8]
        let bytes: UInt64
        /// When it was added or last used: using one changes its status.
        let used: Timestamp
    }
    private let shelf: DirectoryHandle
    /// Those that were used; a small update touches a few.
    private let folders = SharedFolders()

    init(_ name: String, in root: DirectoryHandle) throws {
        shelf = try Destination.make(Array(name.utf8), in: root)
    }

    func folder(_ digest: Digest) throws -> DirectoryHandle {
        try folder(Int(digest.words.0 >> 56))
    }

    private func folder(_ index: Int) throws -> DirectoryHandle {
        try folders.known.withLock { known in
            if let folder = known[index] { return folder }
            let name = Array(Hexadecimal.encode([UInt8(index)]).utf8)
            let folder = try Destination.make(name, in: shelf)
            known[index] = folder
            return folder
        }
    }

    static func name(_ digest: Digest) -> [UInt8] { Array(digest.hexadecimal.utf8) }

    func entries() throws -> [(folder: DirectoryHandle, entry: Entry)] {
        try (0..<256).flatMap { index in
            let folder = try folder(index)
            return try NodeCacheShelf.entries(folder).map { (folder, $0) }
        }
    }

    static func entries(_ folder: DirectoryHandle) throws -> [Entry] {
        var names: [[UInt8]] = []
        try folder.duplicate().list { name, _ in names.append(Array(name)) }
        return try names.compactMap { name in
            try folder.status(name).map { Entry(name: name, bytes: $0.size, used: $0.changed) }
        }
    }
}

/// Open folders of a shelf.
private final class SharedFolders: Sendable {
    let known = Mutex<[Int: DirectoryHandle]>([:])
}
