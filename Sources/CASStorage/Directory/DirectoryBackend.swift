package import CASCore
package import CASFileSystem
import Synchronization

/// Objects as files of one directory: `NAME.pack`, on a disk or a mounted volume (Objects.md).
///
/// A file that lies on the same file system becomes an object by a hard link, without a copy; any other
/// is copied under a temporary name first.
package final class DirectoryBackend: ObjectBackend {
    private static let suffix = ".pack"
    private static let temporarySuffix = ".new"
    private static let copiedBytes = 1 << 20
    /// Files that stay open to be read.
    private static let capacity = 256

    private let directory: String
    private let fileSystem: any FileSystem
    private let files = Mutex<[Identifier: any StoreFile]>([:])

    /// Objects in a directory, which is created if need be.
    package init(directory: String, fileSystem: any FileSystem) throws {
        self.directory = directory
        self.fileSystem = fileSystem
        try fileSystem.createDirectory(directory)
    }

    package func place(of name: Identifier) -> String {
        "\(directory)/\(name)\(DirectoryBackend.suffix)"
    }

    package func put(_ name: Identifier, _ source: ObjectSource) throws -> Bool {
        let isMade = try make(name, source)
        // Also where the name was taken: who took it may have died before this.
        try fileSystem.synchronizeDirectory(directory)
        return isMade
    }

    private func make(_ name: Identifier, _ source: ObjectSource) throws -> Bool {
        let path = place(of: name)
        if try fileSystem.size(path) != nil {
            // An earlier attempt may have failed right behind its success.
            try removeTemporaries(of: name)
            return false
        }
        if let isMade = try link(source.path, to: path) { return isMade }
        try removeTemporaries(of: name)
        let temporary =
            "\(directory)/\(name).\(Identifier.random())" + DirectoryBackend.temporarySuffix
        do {
            try copy(source.file, to: temporary)
        } catch {
            // That failure is what matters; the next attempt removes what may be left.
            try? fileSystem.remove(temporary)
            throw error
        }
        do {
            guard let isMade = try link(temporary, to: path) else {
                // No hard links at all here. Whoever else puts this name has the same bytes.
                try fileSystem.rename(temporary, to: path)
                return true
            }
            try removeIfPresent(temporary)
            return isMade
        } catch let error as CASError where error.code == .notFound {
            throw CASError(
                .unavailable, "somebody else is putting the same object", cause: error, path: path)
        }
    }

    /// Gives a file the name of an object; false where the name is taken, nil where that can not be done.
    private func link(_ source: String, to path: String) throws -> Bool? {
        do {
            return try fileSystem.link(source, to: path) ? true : nil
        } catch let error as CASError where error.code == .alreadyExists {
            return false
        }
    }

    private func copy(_ source: any StoreFile, to path: String) throws {
        let target = try fileSystem.open(path, .create)
        defer { target.close() }
        let buffer = ReusableBuffer(capacity: DirectoryBackend.copiedBytes)
        var offset: UInt64 = 0
        while true {
            buffer.removeAll()
            let count = try buffer.append(maximum: DirectoryBackend.copiedBytes) {
                try source.read(at: offset, into: $0)
            }
            guard count > 0 else { break }
            try target.append(buffer.bytes)
            offset += UInt64(count)
        }
        try target.synchronizeData()
    }

    /// Removes what attempts left that were cut short.
    ///
    /// Should one of them still be at work, it fails, as its file has no name to be linked from.
    private func removeTemporaries(of name: Identifier) throws {
        let prefix = "\(name)."
        for entry in try fileSystem.list(directory)
        where entry.hasPrefix(prefix) && entry.hasSuffix(DirectoryBackend.temporarySuffix) {
            try removeIfPresent("\(directory)/\(entry)")
        }
    }

    private func removeIfPresent(_ path: String) throws {
        do {
            try fileSystem.remove(path)
        } catch let error as CASError where error.code == .notFound {
            // Somebody else removed it.
        }
    }

    package func read(
        _ name: Identifier, at offset: UInt64, into target: UnsafeMutableRawBufferPointer
    ) throws -> Int? {
        try file(name)?.read(at: offset, into: target)
    }

    private func file(_ name: Identifier) throws -> (any StoreFile)? {
        if let file = files.withLock({ $0[name] }) { return file }
        do {
            let file = try fileSystem.open(place(of: name), .read)
            files.withLock { files in
                if files.count >= DirectoryBackend.capacity, let victim = files.keys.first {
                    files[victim] = nil
                }
                files[name] = file
            }
            // Deleted since it was opened: whoever keeps it open keeps its bytes on the disk.
            if try fileSystem.size(place(of: name)) == nil { forget(name) }
            return file
        } catch let error as CASError where error.code == .notFound {
            return nil
        }
    }

    private func forget(_ name: Identifier) {
        files.withLock { _ = $0.removeValue(forKey: name) }
    }

    package func list(after: Identifier?, limit: Int) throws -> [ObjectEntry] {
        var entries: [ObjectEntry] = []
        for entry in try fileSystem.list(directory) where entries.count < limit {
            guard entry.hasSuffix(DirectoryBackend.suffix),
                let name = Identifier(
                    hexadecimal: entry.dropLast(DirectoryBackend.suffix.count)),
                after.map({ $0 < name }) ?? true,
                // Nil if it was deleted since.
                let size = try fileSystem.size("\(directory)/\(entry)")
            else { continue }
            entries.append(ObjectEntry(name: name, size: size))
        }
        return entries
    }

    package func delete(_ name: Identifier) throws {
        try removeIfPresent(place(of: name))
        // Behind it, so that no reader opens it again in between.
        forget(name)
        // Also where there was none: who removed it may have died before this.
        try fileSystem.synchronizeDirectory(directory)
    }
}
