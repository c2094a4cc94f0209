package import CASCore
import Glibc

/// What kind of thing a name stands for.
package enum FileKind: UInt8, Sendable {
    case regular
    case directory
    case symlink
    /// A socket, a device, a pipe.
    case other

    init(mode: mode_t) {
        switch mode & S_IFMT {
        case S_IFREG: self = .regular
        case S_IFDIR: self = .directory
        case S_IFLNK: self = .symlink
        default: self = .other
        }
    }

    /// The kind in a directory record; nil where the file system does not say.
    init?(directoryRecord type: UInt8) {
        switch Int(type) {
        case Int(DT_REG): self = .regular
        case Int(DT_DIR): self = .directory
        case Int(DT_LNK): self = .symlink
        case Int(DT_UNKNOWN): return nil
        default: self = .other
        }
    }
}

/// What stat(2) says of a file.
package struct FileStatus: Hashable, Sendable {
    /// What it is.
    package let kind: FileKind
    /// The device that holds it.
    package let device: UInt64
    /// Its number there.
    package let inode: UInt64
    /// Bytes of its content.
    package let size: UInt64
    /// The bits of 0o777.
    package let permissions: UInt16
    /// When its content was last modified.
    package let modified: Timestamp
    /// When its content or status last changed; nobody can set it back.
    package let changed: Timestamp
    /// How many names it has.
    package let links: UInt64
    /// The number of its owner.
    package let owner: UInt32

    init(_ raw: stat) {
        kind = FileKind(mode: raw.st_mode)
        device = UInt64(raw.st_dev)
        inode = UInt64(raw.st_ino)
        size = UInt64(max(raw.st_size, 0))
        permissions = UInt16(raw.st_mode & 0o777)
        modified = Timestamp(
            seconds: Int64(raw.st_mtim.tv_sec), nanoseconds: UInt32(raw.st_mtim.tv_nsec))
        changed = Timestamp(
            seconds: Int64(raw.st_ctim.tv_sec), nanoseconds: UInt32(raw.st_ctim.tv_nsec))
        links = UInt64(raw.st_nlink)
        owner = raw.st_uid
    }

    /// Whether anybody may execute it: the owner's bit decides, as it does for git.
    package var isExecutable: Bool { permissions & 0o100 != 0 }

    /// Whether nothing suggests that the content changed between two looks.
    package func isSameContent(as other: FileStatus) -> Bool {
        kind == other.kind && device == other.device && inode == other.inode
            && size == other.size && modified == other.modified && changed == other.changed
    }
}
