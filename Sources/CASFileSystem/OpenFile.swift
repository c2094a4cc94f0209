package import CASCore
import CShims
import Glibc

/// An open file of a workspace; closed when it goes.
///
/// One thread at a time.
package struct OpenFile: ~Copyable {
    /// The kernel's number of it; valid as long as this value lives.
    package let descriptor: Int32

    /// Takes over a descriptor.
    package init(takingOver descriptor: Int32) {
        self.descriptor = descriptor
    }

    /// Opens a file by path, symbolic links followed.
    package init(reading path: String) throws {
        descriptor = try SystemFailure.check("cannot open the file", path: path) {
            cas_open_at(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0)
        }
    }

    deinit { _ = Glibc.close(descriptor) }

    /// What it is.
    package func status() throws -> FileStatus {
        var raw = stat()
        try SystemFailure.check("cannot look at the file") { fstat(descriptor, &raw) }
        return FileStatus(raw)
    }

    /// Reads at the current position until `target` is full or the file ends; bytes read.
    package func read(into target: UnsafeMutableRawBufferPointer) throws -> Int {
        var done = 0
        while done < target.count {
            let count = try SystemFailure.check("cannot read") {
                Glibc.read(descriptor, target.baseAddress.map { $0 + done }, target.count - done)
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Reads at an offset until `target` is full or the file ends; bytes read.
    package func read(
        at offset: UInt64, into target: UnsafeMutableRawBufferPointer
    ) throws -> Int {
        var done = 0
        while done < target.count {
            let count = try SystemFailure.check("cannot read") {
                pread(
                    descriptor, target.baseAddress.map { $0 + done }, target.count - done,
                    off_t(offset) + off_t(done))
            }
            if count == 0 { break }
            done += count
        }
        return done
    }

    /// Writes all bytes at the current position.
    package func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while rest.count > 0 {
            let count = try SystemFailure.check("cannot write") {
                Glibc.write(descriptor, rest.baseAddress, rest.count)
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// Sets the permission bits.
    package func setPermissions(_ permissions: UInt16) throws {
        try SystemFailure.check("cannot set permissions") {
            fchmod(descriptor, mode_t(permissions))
        }
    }

    /// Sets the modification time, and the access time with it.
    package func setModified(_ time: Timestamp) throws {
        var times = [timespec(time), timespec(time)]
        try SystemFailure.check("cannot set the time") { futimens(descriptor, &times) }
    }

    /// Makes the content that of another file without copying; false where the file system cannot.
    package func clone(from source: borrowing OpenFile) -> Bool {
        cas_clone_file(descriptor, source.descriptor) == 0
    }

    /// Tells the kernel that the file will be read from start to end.
    package func adviseSequential() {
        _ = posix_fadvise(descriptor, 0, 0, Int32(POSIX_FADV_SEQUENTIAL))
    }

    /// Makes everything on the file system of this file durable.
    package func synchronizeFileSystem() throws {
        try SystemFailure.check("cannot make the file system durable") {
            cas_sync_file_system(descriptor)
        }
    }
}

extension timespec {
    init(_ time: Timestamp) {
        self.init(tv_sec: Int(time.seconds), tv_nsec: Int(time.nanoseconds))
    }
}
