import CASCore
import CASFileSystem
import CASTree

/// Whole files by digest in a directory of this machine, shared by its fetches.
///
/// `files/ab/<hex>`: content only; modes and times belong to trees. Any number of processes may use
/// it: files appear by rename, and every use hashes what it takes. A file that is not what its name says
/// is removed and fetched instead.
final class NodeCache: Sendable {
    private static let bufferBytes = 1 << 20
    private let temporaries: DirectoryHandle
    private let folders: [DirectoryHandle]

    init(_ path: String) throws {
        try DiskFileSystem().createDirectory(path)
        let root = try DirectoryHandle(path: path)
        let files = try Destination.make(Array("files".utf8), in: root)
        temporaries = try Destination.make(Array("tmp".utf8), in: root)
        folders = try (0..<256).map { byte in
            try Destination.make(Array(Hexadecimal.encode([UInt8(byte)]).utf8), in: files)
        }
    }

    private func folder(_ digest: Digest) -> DirectoryHandle { folders[Int(digest.words.0 >> 56)] }
    private func name(_ digest: Digest) -> [UInt8] { Array(digest.hexadecimal.utf8) }

    /// Writes a blob to its places from the cache; false if the cache has no good copy.
    func restore(_ digest: Digest, _ places: [Restore.Place], _ writer: FileWriter) throws -> Bool {
        guard let source = try folder(digest).openFile(ifPresent: name(digest)) else {
            return false
        }
        let size = try source.status().size
        if size <= UInt64(NodeCache.bufferBytes) {
            return try restoreSmall(source, digest, Int(size), places, writer)
        }
        for place in places {
            let wanted = writer.restore.layout.attributes(place, writer.restore.options)
            do {
                try writer.replace(place, wanted) { target in
                    guard try copy(source, to: target) == digest else { throw damaged(digest) }
                }
            } catch let error as CASError where error.code == .dataLoss {
                try folder(digest).removeFile(name(digest))
                return false
            }
        }
        return true
    }

    private func restoreSmall(
        _ source: borrowing OpenFile, _ digest: Digest, _ size: Int, _ places: [Restore.Place],
        _ writer: FileWriter
    ) throws -> Bool {
        let buffer = writer.buffer
        buffer.resize(to: size)
        let count = try source.read(into: buffer.mutableBytes)
        guard count == size, Digest.of(buffer.bytes) == digest else {
            try folder(digest).removeFile(name(digest))
            return false
        }
        for place in places { try writer.write(buffer.bytes, to: place) }
        return true
    }

    private func damaged(_ digest: Digest) -> CASError {
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

    /// Keeps a file whose content was checked.
    func insert(_ digest: Digest, _ content: UnsafeRawBufferPointer) throws {
        try insert(digest) { try $0.write(content) }
    }

    /// Keeps a file that `fill` writes.
    func insert(_ digest: Digest, _ fill: (borrowing OpenFile) throws -> Void) throws {
        let folder = folder(digest)
        guard try folder.status(name(digest)) == nil else { return }
        let temporary = Array("\(Identifier.random())".utf8)
        do {
            let file = try temporaries.createFile(temporary, permissions: 0o644)
            try fill(file)
            try temporaries.rename(temporary, to: folder, name(digest))
        } catch let error as CASError where error.code == .resourceExhausted {
            // A full cache disk is no reason to fail a fetch.
            try temporaries.removeFile(temporary)
        }
    }

    /// Removes the files that were added or read longest ago until at most `limit` bytes are left.
    func evict(limit: UInt64) throws {
        var entries: [(folder: Int, name: [UInt8], size: UInt64, time: Timestamp)] = []
        var total: UInt64 = 0
        for (index, folder) in folders.enumerated() {
            var names: [[UInt8]] = []
            try folder.duplicate().list { name, _ in names.append(Array(name)) }
            for name in names {
                guard let status = try folder.status(name) else { continue }
                entries.append((index, name, status.size, status.changed))
                total += status.size
            }
        }
        guard total > limit else { return }
        for entry in entries.sorted(by: { $0.time < $1.time }) {
            guard total > limit else { return }
            try folders[entry.folder].removeFile(entry.name)
            total -= entry.size
        }
    }
}
