import CShims

/// What kind of file system holds a directory.
package enum FileSystemKind: Sendable {
    /// Types (statfs(2), linux/magic.h) of file systems that others may write to behind this kernel's
    /// back: NFS, SMB and CIFS, FUSE with all that uses it, 9p, Ceph, Lustre, AFS, GPFS, BeeGFS, OCFS2, GFS2,
    /// shared folders of VirtualBox.
    private static let shared: Set<UInt64> = [
        0x6969, 0x517B, 0xFF53_4D42, 0xFE53_4D42, 0x6573_5546, 0x0102_1997, 0x00C3_6400,
        0x0BD0_0BD0, 0x5346_414F, 0x6B41_4653, 0x4750_4653, 0x1983_0326, 0x7461_636F, 0x0116_1970,
        0x786F_4256,
    ]

    /// Whether other machines may change what is in a directory, which no event tells of.
    package static func isShared(_ directory: DirectoryHandle) throws -> Bool {
        #if os(Linux)
            var type: UInt64 = 0
            try SystemFailure.check("cannot ask for the kind of file system") {
                cas_file_system_type(directory.descriptor, &type)
            }
            return shared.contains(type)
        #else
            return true
        #endif
    }
}
