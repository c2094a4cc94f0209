import CASCore
import CASFileSystem
import CASTree

/// Files of a cache of which a destination gets a further name instead of a copy.
///
/// A name shares content, mode and time with all others, so that a link is kept by all three, is
/// read-only, and is hashed before each use: somebody who may write may have written through one of its names.
extension NodeCache {
    private static func name(_ digest: Digest, _ wanted: FileAttributes) -> [UInt8] {
        let mode = String(wanted.permissions, radix: 8)
        return Array(
            "\(digest.hexadecimal)-\(mode)-\(wanted.modified.seconds).\(wanted.modified.nanoseconds)"
                .utf8)
    }

    /// Links a blob to its places as far as the cache has it with their modes and times; the rest.
    func restoreLinks(
        _ digest: Digest, _ places: [Restore.Place], _ writer: FileWriter
    ) throws -> [Restore.Place] {
        let folder = try links.folder(digest)
        var good: Set<[UInt8]> = []
        var rest: [Restore.Place] = []
        for place in places {
            let wanted = writer.restore.layout.attributes(place, writer.restore.options)
            let name = NodeCache.name(digest, wanted)
            if !good.contains(name) {
                guard try isGood(name, digest, wanted, folder, writer) else {
                    rest.append(place)
                    continue
                }
                good.insert(name)
            }
            if try !writer.link(place, from: folder, name) { rest.append(place) }
        }
        return rest
    }

    /// Whether a link is what its name says; one that is not is removed.
    private func isGood(
        _ name: [UInt8], _ digest: Digest, _ wanted: FileAttributes, _ folder: DirectoryHandle,
        _ writer: FileWriter
    ) throws -> Bool {
        guard let file = try folder.openFile(ifPresent: name) else { return false }
        let status = try file.status()
        var hasher = DigestHasher()
        let buffer = writer.buffer
        buffer.resize(to: NodeCache.bufferBytes)
        var isAtEnd = status.permissions != wanted.permissions || status.modified != wanted.modified
        while !isAtEnd {
            let count = try file.read(into: buffer.mutableBytes)
            hasher.update(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
            isAtEnd = count < buffer.count
        }
        if hasher.finish() == digest { return true }
        try folder.removeFile(name)
        return false
    }

    /// Gives files that were just written further names in the cache; false where that can not be.
    @discardableResult
    func adopt(
        _ digest: Digest, _ places: [Restore.Place], _ writer: FileWriter
    ) throws -> Bool {
        let folder = try links.folder(digest)
        for place in places {
            let wanted = writer.restore.layout.attributes(place, writer.restore.options)
            let parent = try writer.directory(place.directory)
            let isLinked = try NodeCache.attempt {
                try parent.link(
                    writer.node(place).name.bytes, to: folder, NodeCache.name(digest, wanted))
            }
            guard let isLinked else { continue }
            guard isLinked else { return false }
            noteGrowth()
        }
        return true
    }

    /// Makes a link: false where the two names can not belong to one file (another mount, a file system
    /// without links, too many names, another owner's file), nil where the new name is taken.
    static func attempt(_ link: () throws -> Void) throws -> Bool? {
        do {
            try link()
            return true
        } catch let error as CASError where error.code == .alreadyExists {
            return nil
        } catch let error as CASError
            where error.code == .failedPrecondition || error.code == .permissionDenied
        {
            return false
        }
    }
}
