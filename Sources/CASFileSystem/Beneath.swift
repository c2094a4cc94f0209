import CASCore
import CShims
import Glibc

extension DirectoryHandle {
    /// Paths up to this go to the kernel whole.
    private static let pathBytes = 4000

    /// Opens a directory by a path of several names; nil if it is not there or if one of the names
    /// is no directory, for example a symbolic link.
    ///
    /// An empty path is this directory.
    package func open(beneath path: [UInt8]) throws -> DirectoryHandle? {
        if path.isEmpty { return self }
        if path.count < DirectoryHandle.pathBytes {
            let terminated = path + [0]
            let opened = terminated.withUnsafeBufferPointer { buffer in
                buffer.withMemoryRebound(to: CChar.self) { text in
                    text.baseAddress.map {
                        cas_open_beneath(descriptor, $0, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
                    } ?? -1
                }
            }
            if opened >= 0 { return DirectoryHandle(takingOver: opened) }
            switch errno {
            case ENOENT, ENOTDIR, ELOOP, EXDEV: return nil
            // An old kernel or a sandbox without openat2: step by step, as for long paths.
            case ENOSYS, EPERM, EAGAIN, EINVAL: break
            default:
                throw SystemFailure.error(
                    errno, "cannot open the directory", path: String(decoding: path, as: UTF8.self))
            }
        }
        var directory = self
        for name in path.split(separator: UInt8(ascii: "/")) {
            guard let status = try directory.status(Array(name)), status.kind == .directory else {
                return nil
            }
            directory = try directory.openDirectory(Array(name))
        }
        return directory
    }

    /// Opens a file by a path of several names, none of which may be a symbolic link, to read.
    ///
    /// Goes down directory by directory, so that no length of the path is too great.
    package func openFile(beneath path: [UInt8]) throws -> OpenFile {
        let names = path.split(separator: UInt8(ascii: "/"))
        guard let last = names.last else {
            throw CASError(.invalidArgument, "a path has no name in it")
        }
        var directory = self
        for name in names.dropLast() { directory = try directory.openDirectory(Array(name)) }
        return try directory.openFile(Array(last))
    }
}
