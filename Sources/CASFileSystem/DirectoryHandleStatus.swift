import CASCore
import Glibc

extension DirectoryHandle {
    /// What a name stands for; nil where there is nothing.
    ///
    /// The name ends with a NUL and lies in the
    /// caller's buffer, which spares a scan two allocations per file.
    package func status(terminated name: UnsafePointer<CChar>) throws -> FileStatus? {
        var raw = stat()
        while fstatat(descriptor, name, &raw, AT_SYMLINK_NOFOLLOW) != 0 {
            if errno == ENOENT { return nil }
            guard errno == EINTR else {
                throw SystemFailure.error(
                    errno, "cannot look at the file", path: String(cString: name))
            }
        }
        return FileStatus(raw)
    }
}
