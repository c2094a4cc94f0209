package import CASCore
import CShims
import Glibc

/// The file system of this machine.
package struct DiskFileSystem: FileSystem {
    /// The file system of this machine.
    package init() {}

    package func createDirectory(_ path: String) throws {
        if mkdir(path, 0o777) == 0 { return }
        switch errno {
        case EEXIST:
            guard try status(path)?.kind == .directory else {
                throw SystemFailure.error(ENOTDIR, "cannot create a directory", path: path)
            }
        case ENOENT where FilePaths.parent(path) != path:
            try createDirectory(FilePaths.parent(path))
            if mkdir(path, 0o777) != 0, errno != EEXIST {
                throw SystemFailure.error(errno, "cannot create a directory", path: path)
            }
        default: throw SystemFailure.error(errno, "cannot create a directory", path: path)
        }
    }

    package func list(_ path: String) throws -> [String] {
        var names: [String] = []
        try DirectoryHandle(path: path).list { name, _ in
            names.append(String(decoding: name, as: UTF8.self))
        }
        return names.sorted()
    }

    package func size(_ path: String) throws -> UInt64? {
        try status(path)?.size
    }

    /// What a path is, symbolic links followed; nil where there is nothing.
    package func status(_ path: String) throws -> FileStatus? {
        var raw = stat()
        if stat(path, &raw) == 0 { return FileStatus(raw) }
        if errno == ENOENT || errno == ENOTDIR { return nil }
        throw SystemFailure.error(errno, "cannot look at the file", path: path)
    }

    package func open(_ path: String, _ mode: FileOpenMode) throws -> any StoreFile {
        let flags =
            switch mode {
            case .create: O_RDWR | O_CREAT | O_EXCL
            case .readWrite: O_RDWR
            case .read: O_RDONLY
            }
        let descriptor = try SystemFailure.check("cannot open the file", path: path) {
            cas_open_at(AT_FDCWD, path, flags | O_CLOEXEC, 0o666)
        }
        return try DiskFile(descriptor: descriptor, path: path)
    }

    package func rename(_ old: String, to new: String) throws {
        try SystemFailure.check("cannot rename the file to \(new)", path: old) {
            Glibc.rename(old, new)
        }
    }

    package func link(_ path: String, to new: String) throws -> Bool {
        if Glibc.link(path, new) == 0 { return true }
        switch errno {
        // Another device, a file system without hard links, or one that allows no more of them.
        case EXDEV, EPERM, EOPNOTSUPP, ENOSYS, EMLINK: return false
        default: throw SystemFailure.error(errno, "cannot link the file to \(new)", path: path)
        }
    }

    package func remove(_ path: String) throws {
        try SystemFailure.check("cannot remove the file", path: path) { unlink(path) }
    }

    package func synchronizeDirectory(_ path: String) throws {
        let descriptor = try SystemFailure.check("cannot open the directory", path: path) {
            cas_open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
        }
        defer { _ = Glibc.close(descriptor) }
        try SystemFailure.check("cannot make the directory durable", path: path) {
            fsync(descriptor)
        }
    }

    package func freeBytes(_ path: String) throws -> UInt64 {
        var raw = statvfs()
        try SystemFailure.check("cannot ask for free space", path: path) { statvfs(path, &raw) }
        return UInt64(raw.f_bavail) * UInt64(raw.f_frsize)
    }
}

/// An open file of this machine.
///
/// `@unchecked Sendable`: the descriptor never changes, and only one thread at a time appends or
/// truncates, which `StoreFile` asks of callers.
final class DiskFile: StoreFile, @unchecked Sendable {
    private let descriptor: Int32
    private let path: String
    private var end: UInt64
    private var isOpen = true

    init(descriptor: Int32, path: String) throws {
        self.descriptor = descriptor
        self.path = path
        end = 0
        end = try size()
    }

    deinit { close() }

    func append(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while rest.count > 0 {
            let count = try SystemFailure.check("cannot write", path: path) {
                pwrite(descriptor, rest.baseAddress, rest.count, off_t(end))
            }
            end += UInt64(count)
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws -> Int {
        var done = 0
        while done < target.count {
            let count = try SystemFailure.check("cannot read", path: path) {
                pread(
                    descriptor, target.baseAddress.map { $0 + done }, target.count - done,
                    off_t(offset) + off_t(done))
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    func size() throws -> UInt64 {
        var raw = stat()
        try SystemFailure.check("cannot look at the file", path: path) { fstat(descriptor, &raw) }
        return UInt64(raw.st_size)
    }

    func truncate(to size: UInt64) throws {
        try SystemFailure.check("cannot cut the file", path: path) {
            ftruncate(descriptor, off_t(size))
        }
        end = size
    }

    func synchronizeData() throws {
        try SystemFailure.check("cannot make the file durable", path: path) {
            fdatasync(descriptor)
        }
    }

    func lock() throws -> Bool {
        if cas_lock_file(descriptor, 1) == 0 { return true }
        guard errno == EAGAIN || errno == EACCES else {
            throw SystemFailure.error(errno, "cannot lock the file", path: path)
        }
        return false
    }

    func close() {
        guard isOpen else { return }
        isOpen = false
        // A child that was forked and has not begun its program yet has the lock as well, unless it is
        // given back.
        _ = cas_lock_file(descriptor, 0)
        _ = Glibc.close(descriptor)
    }
}

/// The clocks of this machine.
package struct SystemClock: WallClock {
    /// The clocks of this machine.
    package init() {}

    package func now() -> Timestamp {
        let time = SystemClock.read(CLOCK_REALTIME)
        return Timestamp(seconds: Int64(time.tv_sec), nanoseconds: UInt32(time.tv_nsec))
    }

    package func monotonicNanoseconds() -> UInt64 {
        let time = SystemClock.read(CLOCK_MONOTONIC)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private static func read(_ clock: clockid_t) -> timespec {
        var time = timespec()
        clock_gettime(clock, &time)
        return time
    }
}

/// Waiting.
package enum Sleep {
    /// Lets this thread rest.
    package static func milliseconds(_ count: UInt64) {
        var rest = timespec(
            tv_sec: Int(count / 1000), tv_nsec: Int(count % 1000) * 1_000_000)
        var left = timespec()
        while nanosleep(&rest, &left) != 0, errno == EINTR { rest = left }
    }
}
