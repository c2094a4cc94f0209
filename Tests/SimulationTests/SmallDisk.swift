import CASCore
import CASFileSystem
import Glibc

/// A small file system below a world's root.
final class SmallDisk {
    let path: String

    init(_ path: String, kilobytes: Int) throws {
        self.path = path
        try DiskFileSystem().createDirectory(path)
        let code = mount("none", path, "tmpfs", 0, "size=\(kilobytes)k")
        guard code == 0 else {
            throw CASError(
                .failedPrecondition,
                "a small disk can not be mounted, as root can: \(String(cString: strerror(errno)))"
            )
        }
    }

    deinit { umount2(path, Int32(MNT_DETACH)) }

    func grow(kilobytes: Int) throws {
        let flags = UInt(MS_REMOUNT)
        guard mount("none", path, "tmpfs", flags, "size=\(kilobytes)k") == 0 else {
            throw failure(Array(path.utf8))
        }
    }
}
