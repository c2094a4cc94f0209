import CShims
import Glibc

extension DirectoryHandle {
    /// Makes the names in this directory durable.
    package func synchronize() throws {
        try SystemFailure.check("cannot make the directory durable") { fsync(descriptor) }
    }

    /// Makes everything on the file system of this directory durable.
    package func synchronizeFileSystem() throws {
        try SystemFailure.check("cannot make the file system durable") {
            cas_sync_file_system(descriptor)
        }
    }
}
