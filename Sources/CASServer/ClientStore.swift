import CASCore
import CASFileSystem
import CASHTTP
import Logging
import Synchronization

/// The executables in `STORE/clients`, by digest (Store.md).
///
/// A server puts its own there when it starts, so that a job that names its digest finds it after the
/// server was replaced by a newer one. Kept are the eight that were used last, where being offered by
/// a server that starts and being downloaded are uses: what nobody offered or asked for longest is the
/// least likely to stand in a manifest that still runs.
final class ClientStore: ClientExecutables {
    /// How many are kept, this server's own included.
    static let kept = 8
    /// A copy is made only where so many times its size is free: data comes before it.
    private static let room: UInt64 = 16
    private static let pieceBytes = 1 << 20
    private static let temporaryPrefix = "new-"

    let current: (digest: Digest, size: UInt64)
    private let executable: String
    private let directory: String
    /// Those whose content this process has seen to be right.
    private let verified = Mutex<[Digest: Verified]>([:])

    private struct Verified: Equatable {
        let device: UInt64
        let inode: UInt64
        let size: UInt64

        init(_ status: FileStatus) {
            device = status.device
            inode = status.inode
            size = status.size
        }
    }

    /// Hashes an executable and keeps a copy of it below a store.
    ///
    /// A copy that can not be made, on a full disk for example, is logged and not missed before the
    /// server is replaced.
    init(executable: String, storeDirectory: String, logger: Logger) throws {
        self.executable = executable
        directory = "\(storeDirectory)/clients"
        let file = try OpenFile(reading: executable)
        current = (try ClientStore.digest(of: file), try file.status().size)
        do {
            try keepCurrent()
            try removeOldest()
        } catch {
            logger.warning(
                "no copy of this server's client is kept",
                metadata: ["cause": "\(error)", "client": "\(current.digest)"])
        }
    }

    func open(_ digest: Digest) throws -> (any ClientFile)? {
        let path = "\(directory)/\(digest.hexadecimal)"
        if let file = try openFile(path, digest) {
            // Its last use, by which the oldest is found; a store that is full or read-only still serves.
            do { try file.file.setModified(SystemClock().now()) } catch is CASError {}
            return file
        }
        guard digest == current.digest else { return nil }
        return try openFile(executable, digest)
    }

    /// A file if it is there and holds what it should; one that does not is removed.
    private func openFile(_ path: String, _ digest: Digest) throws -> OpenClient? {
        let file: OpenFile
        do { file = try OpenFile(reading: path) } catch let error as CASError
            where error.code == .notFound
        { return nil }
        let status = try file.status()
        guard status.kind == .regular else { return nil }
        let known = Verified(status)
        if verified.withLock({ $0[digest] }) != known {
            guard try ClientStore.digest(of: file) == digest else {
                if path != executable { try DiskFileSystem().remove(path) }
                return nil
            }
            verified.withLock { $0[digest] = known }
        }
        return OpenClient(digest: digest, size: status.size, file: file)
    }

    // MARK: - Copies

    private func keepCurrent() throws {
        try DiskFileSystem().createDirectory(directory)
        let name = Array(current.digest.hexadecimal.utf8)
        let folder = try DirectoryHandle(path: directory)
        if let present = try folder.status(name), present.size == current.size {
            return try folder.setModified(name, SystemClock().now())
        }
        let free = try DiskFileSystem().freeBytes(directory)
        guard free / ClientStore.room >= current.size else {
            throw CASError(
                .resourceExhausted,
                "only \(ByteCount.text(free)) are free, too little to keep a copy as well",
                path: directory)
        }
        let temporary = Array((ClientStore.temporaryPrefix + current.digest.hexadecimal).utf8)
        _ = try folder.removeFile(temporary)
        do {
            let source = try OpenFile(reading: executable)
            let copy = try folder.createFile(temporary, permissions: 0o600)
            if !copy.clone(from: source) { try ClientStore.copy(source, to: copy) }
            // Not synced: a copy that a crash cut short has another digest, and is made again.
            try folder.rename(temporary, to: folder, name)
        } catch {
            _ = try? folder.removeFile(temporary)
            throw error
        }
    }

    private static func copy(_ source: borrowing OpenFile, to copy: borrowing OpenFile) throws {
        let buffer = ReusableBuffer(capacity: pieceBytes)
        buffer.resize(to: pieceBytes)
        while case let count = try source.read(into: buffer.mutableBytes), count > 0 {
            try copy.write(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
        }
    }

    private func removeOldest() throws {
        let folder = try DirectoryHandle(path: directory)
        var clients: [(name: [UInt8], used: Timestamp)] = []
        for name in try DiskFileSystem().list(directory) {
            let bytes = Array(name.utf8)
            guard Digest(hexadecimal: name[...]) != nil else {
                // What a server left that died while it made a copy.
                if name.hasPrefix(ClientStore.temporaryPrefix) { _ = try folder.removeFile(bytes) }
                continue
            }
            guard name != current.digest.hexadecimal, let status = try folder.status(bytes) else {
                continue
            }
            clients.append((bytes, status.modified))
        }
        clients.sort { $0.used < $1.used }
        for client in clients.dropLast(ClientStore.kept - 1) {
            _ = try folder.removeFile(client.name)
        }
    }

    private static func digest(of file: borrowing OpenFile) throws -> Digest {
        var hasher = DigestHasher()
        let buffer = ReusableBuffer(capacity: pieceBytes)
        buffer.resize(to: pieceBytes)
        var offset: UInt64 = 0
        while case let count = try file.read(at: offset, into: buffer.mutableBytes), count > 0 {
            hasher.update(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
            offset += UInt64(count)
        }
        return hasher.finish()
    }
}

/// One of them, open.
private final class OpenClient: ClientFile {
    let digest: Digest
    let size: UInt64
    let file: OpenFile

    init(digest: Digest, size: UInt64, file: consuming OpenFile) {
        self.digest = digest
        self.size = size
        self.file = file
    }

    func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws -> Int {
        try file.read(at: offset, into: target)
    }
}
