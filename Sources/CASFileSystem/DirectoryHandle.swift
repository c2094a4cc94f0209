package import CASCore
import CShims
import Glibc

/// An open directory.
///
/// Everything is relative to it and never follows a symbolic link in a name, so that nobody who
/// moves directories about can lead a write elsewhere. Any thread may use it.
package final class DirectoryHandle: Sendable {
    /// The kernel's number of it; valid as long as this object lives.
    package let descriptor: Int32
    private static let flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC

    init(takingOver descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// Opens a directory by path, symbolic links followed.
    package init(path: String) throws {
        descriptor = try SystemFailure.check("cannot open the directory", path: path) {
            cas_open_at(AT_FDCWD, path, DirectoryHandle.flags, 0)
        }
    }

    deinit { _ = Glibc.close(descriptor) }

    /// Opens a directory in this one; throws `failedPrecondition` for a symbolic link.
    package func openDirectory(_ name: [UInt8]) throws -> DirectoryHandle {
        try withName(name) { name, text in
            let opened = try SystemFailure.check("cannot open the directory", path: text()) {
                cas_open_at(descriptor, name, DirectoryHandle.flags | O_NOFOLLOW, 0)
            }
            return DirectoryHandle(takingOver: opened)
        }
    }

    /// Another handle of the same directory.
    package func duplicate() throws -> DirectoryHandle {
        try openDirectory([UInt8(ascii: ".")])
    }

    /// What a name stands for; nil where there is nothing.
    package func status(_ name: [UInt8]) throws -> FileStatus? {
        try withName(name) { name, text in
            var raw = stat()
            if fstatat(descriptor, name, &raw, AT_SYMLINK_NOFOLLOW) == 0 { return FileStatus(raw) }
            if errno == ENOENT { return nil }
            throw SystemFailure.error(errno, "cannot look at the file", path: text())
        }
    }

    /// What this directory is.
    package func status() throws -> FileStatus {
        var raw = stat()
        try SystemFailure.check("cannot look at the directory") { fstat(descriptor, &raw) }
        return FileStatus(raw)
    }

    /// Opens a file to read.
    ///
    /// Never waits, not even for the other end of a pipe that took a file's place: look at the
    /// status before reading.
    package func openFile(_ name: [UInt8]) throws -> OpenFile {
        try open(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0)
    }

    /// Creates a file that must not exist yet; its permissions are subject to the umask.
    package func createFile(_ name: [UInt8], permissions: UInt16 = 0o600) throws -> OpenFile {
        try open(name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, permissions)
    }

    /// Opens a file to read; nil where there is nothing.
    package func openFile(ifPresent name: [UInt8]) throws -> OpenFile? {
        let opened = try openDescriptor(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0, except: ENOENT)
        return opened < 0 ? nil : OpenFile(takingOver: opened)
    }

    /// Creates a file; nil where there is something of that name.
    package func createFile(
        ifAbsent name: [UInt8], _ permissions: UInt16
    ) throws -> OpenFile? {
        let opened = try openDescriptor(
            name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, permissions, except: EEXIST)
        return opened < 0 ? nil : OpenFile(takingOver: opened)
    }

    private func openDescriptor(
        _ name: [UInt8], _ flags: Int32, _ permissions: UInt16, except expected: Int32
    ) throws -> Int32 {
        try withName(name) { name, text in
            while true {
                let opened = cas_open_at(
                    descriptor, name, flags | O_CLOEXEC, UInt32(permissions))
                if opened >= 0 || errno == expected { return opened }
                guard errno == EINTR else {
                    throw SystemFailure.error(errno, "cannot open the file", path: text())
                }
            }
        }
    }

    private func open(_ name: [UInt8], _ flags: Int32, _ permissions: UInt16) throws -> OpenFile {
        let opened = try withName(name) { name, text in
            try SystemFailure.check("cannot open the file", path: text()) {
                cas_open_at(descriptor, name, flags | O_CLOEXEC, UInt32(permissions))
            }
        }
        return OpenFile(takingOver: opened)
    }

    /// Creates a directory.
    package func createDirectory(_ name: [UInt8], permissions: UInt16 = 0o777) throws {
        try withName(name) { name, text in
            _ = try SystemFailure.check("cannot create the directory", path: text()) {
                mkdirat(descriptor, name, mode_t(permissions))
            }
        }
    }

    /// Where a symbolic link points.
    package func readLink(_ name: [UInt8]) throws -> [UInt8] {
        try withName(name) { name, text in
            try [UInt8](unsafeUninitializedCapacity: Int(PATH_MAX)) { buffer, count in
                count = try SystemFailure.check("cannot read the link", path: text()) {
                    buffer.withMemoryRebound(to: CChar.self) { room in
                        room.baseAddress.map { readlinkat(descriptor, name, $0, room.count) } ?? -1
                    }
                }
            }
        }
    }

    /// Creates a symbolic link.
    package func createSymlink(_ name: [UInt8], target: [UInt8]) throws {
        try withName(name) { name, text in
            try withName(target) { target, _ in
                _ = try SystemFailure.check("cannot create the link", path: text()) {
                    symlinkat(target, descriptor, name)
                }
            }
        }
    }

    /// Renames an entry, over whatever file has the new name unless `replacing` is false.
    package func rename(
        _ name: [UInt8], to target: DirectoryHandle, _ newName: [UInt8], replacing: Bool = true
    ) throws {
        try withName(name) { name, _ in
            try withName(newName) { newName, text in
                _ = try SystemFailure.check("cannot rename", path: text()) {
                    replacing
                        ? renameat(descriptor, name, target.descriptor, newName)
                        : cas_rename_no_replace(descriptor, name, target.descriptor, newName)
                }
            }
        }
    }

    /// Gives a file a second name.
    package func link(
        _ name: [UInt8], to target: DirectoryHandle, _ newName: [UInt8]
    ) throws {
        try withName(name) { name, _ in
            try withName(newName) { newName, text in
                _ = try SystemFailure.check("cannot link", path: text()) {
                    linkat(descriptor, name, target.descriptor, newName, 0)
                }
            }
        }
    }

    /// Removes a file or link; false where there is nothing.
    @discardableResult
    package func removeFile(_ name: [UInt8]) throws -> Bool {
        try remove(name, 0)
    }

    /// Removes an empty directory; false where there is nothing.
    @discardableResult
    package func removeDirectory(_ name: [UInt8]) throws -> Bool {
        try remove(name, AT_REMOVEDIR)
    }

    private func remove(_ name: [UInt8], _ flags: Int32) throws -> Bool {
        try withName(name) { name, text in
            if unlinkat(descriptor, name, flags) == 0 { return true }
            if errno == ENOENT { return false }
            throw SystemFailure.error(errno, "cannot remove", path: text())
        }
    }

    /// Sets the modification time of an entry, of a link itself.
    package func setModified(_ name: [UInt8], _ time: Timestamp) throws {
        try withName(name) { name, text in
            var times = [timespec(time), timespec(time)]
            _ = try SystemFailure.check("cannot set the time", path: text()) {
                utimensat(descriptor, name, &times, AT_SYMLINK_NOFOLLOW)
            }
        }
    }

    /// Sets the modification time of this directory.
    package func setModified(_ time: Timestamp) throws {
        var times = [timespec(time), timespec(time)]
        try SystemFailure.check("cannot set the time") { futimens(descriptor, &times) }
    }

    /// Sets the permissions of this directory.
    package func setPermissions(_ permissions: UInt16) throws {
        try SystemFailure.check("cannot set permissions") {
            fchmod(descriptor, mode_t(permissions))
        }
    }

    /// Sets the permissions of an entry, which must be no symbolic link.
    package func setPermissions(_ name: [UInt8], _ permissions: UInt16) throws {
        try withName(name) { name, text in
            _ = try SystemFailure.check("cannot set permissions", path: text()) {
                fchmodat(descriptor, name, mode_t(permissions), 0)
            }
        }
    }

    /// Calls `body` with a name as the C library wants it.
    private func withName<Result>(
        _ name: [UInt8], _ body: (UnsafePointer<CChar>, () -> String) throws -> Result
    ) throws -> Result {
        guard !name.contains(0) else {
            throw CASError(.invalidArgument, "a name holds a NUL")
        }
        let text = { String(decoding: name, as: UTF8.self) }
        let terminated = name + [0]
        return try terminated.withUnsafeBufferPointer { buffer in
            try buffer.withMemoryRebound(to: CChar.self) { buffer in
                guard let base = buffer.baseAddress else {
                    throw CASError(.internalError, "a name has no bytes")
                }
                return try body(base, text)
            }
        }
    }
}
