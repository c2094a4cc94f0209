import CASCore
import CShims
import Glibc

/// The machine and the user that this process runs as.
package enum Host {
    /// The machine's name.
    package static var name: String {
        var buffer = [CChar](repeating: 0, count: 256)
        guard gethostname(&buffer, buffer.count - 1) == 0 else { return "" }
        return String(
            decoding: buffer.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// The number of the user.
    package static var userNumber: UInt32 { geteuid() }

    /// The directory that relative paths start from.
    package static func currentDirectory() throws -> String {
        guard let text = getcwd(nil, 0) else {
            throw SystemFailure.error(errno, "cannot find the current directory")
        }
        defer { free(text) }
        return String(cString: text)
    }

    /// A path without symbolic links, `.` and `..`; throws `notFound`.
    package static func resolve(_ path: String) throws -> String {
        guard let text = realpath(path, nil) else {
            throw SystemFailure.error(errno, "cannot find it", path: path)
        }
        defer { free(text) }
        return String(cString: text)
    }

    /// Lets this process open as many files as it may: the usual limit of 1,024 is for select(2), which
    /// nobody here uses.
    ///
    /// Returns what the limit was, for a program that takes this process's place and may use it.
    @discardableResult
    package static func setOpenFileLimit(_ wanted: UInt = 65_536) -> UInt {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return wanted
        }
        defer {
            limit.rlim_cur = min(limit.rlim_max, rlim_t(wanted))
            // Where that is refused the limit stays as it is.
            _ = setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        }
        return UInt(limit.rlim_cur)
    }

    /// A new empty directory with a unique name below a directory.
    package static func makeTemporaryDirectory(in parent: String, prefix: String) throws -> String {
        var template = Array("\(parent)/\(prefix)XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw SystemFailure.error(errno, "cannot create a directory", path: parent)
        }
        return String(
            decoding: template.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    }

    /// Removes a file, or a directory with everything in it; no effect where there is nothing.
    package static func removeTree(_ path: String) throws {
        let parent = try DirectoryHandle(path: FilePaths.parent(path))
        try removeTree(Array(FilePaths.name(path).utf8), in: parent)
    }

    /// Removes an entry of a directory with everything in it; no effect where there is nothing.
    package static func removeTree(_ name: [UInt8], in parent: DirectoryHandle) throws {
        guard let status = try parent.status(name) else { return }
        guard status.kind == .directory else {
            try parent.removeFile(name)
            return
        }
        // The directories on the way down; depth is limited by memory and open files, not by the stack.
        var stack: [(handle: DirectoryHandle, name: [UInt8], pending: [[UInt8]])] = []
        func enter(_ name: [UInt8], _ directory: DirectoryHandle) throws {
            let handle = try directory.openDirectory(name)
            if try handle.status().permissions & 0o700 != 0o700 { try handle.setPermissions(0o700) }
            var below: [[UInt8]] = []
            var files: [[UInt8]] = []
            try handle.list { entry, kind in
                let isDirectory =
                    try kind.map { $0 == .directory }
                    ?? (handle.status(Array(entry))?.kind == .directory)
                if isDirectory { below.append(Array(entry)) } else { files.append(Array(entry)) }
            }
            for file in files { try handle.removeFile(file) }
            stack.append((handle, name, below))
        }
        try enter(name, parent)
        while let top = stack.last {
            if let next = top.pending.last {
                stack[stack.count - 1].pending.removeLast()
                try enter(next, top.handle)
            } else {
                stack.removeLast()
                try (stack.last?.handle ?? parent).removeDirectory(top.name)
            }
        }
    }
}

/// Terminals.
package enum Terminal {
    /// Whether a descriptor is a terminal: 1 the output, 2 the error output.
    package static func isTerminal(_ descriptor: Int32) -> Bool { isatty(descriptor) == 1 }

    /// Characters in a line of a terminal; 80 where nobody knows.
    package static func columns(_ descriptor: Int32) -> Int {
        var size = winsize()
        guard ioctl(descriptor, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }

    /// Reads a descriptor to its end; throws `resourceExhausted` if that holds more than `maximumBytes`.
    package static func readAll(_ descriptor: Int32, maximumBytes: Int) throws -> [UInt8] {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = Glibc.read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw SystemFailure.error(errno, "cannot read the input") }
            guard count > 0 else { return bytes }
            bytes += piece.prefix(count)
            guard bytes.count <= maximumBytes else {
                throw CASError(
                    .resourceExhausted,
                    "the input has more than \(ByteCount.text(UInt64(maximumBytes)))")
            }
        }
    }

    /// Writes bytes to a descriptor; false once nobody reads it.
    @discardableResult
    package static func write(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
        bytes.withUnsafeBytes { buffer in
            var rest = buffer
            while rest.count > 0 {
                let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { return false }
                rest = UnsafeRawBufferPointer(rebasing: rest[count...])
            }
            return true
        }
    }
}

/// A lock among processes on a file that stays where it is; released with the object or the process.
package final class FileLock: Sendable {
    private let descriptor: Int32

    /// Takes the lock, creating the file if need be; nil if somebody else holds it.
    ///
    /// One that is shared may be held by any number, but not beside one that is not.
    package init?(path: String, permissions: UInt16 = 0o666, isShared: Bool = false) throws {
        descriptor = try SystemFailure.check("cannot open the lock", path: path) {
            cas_open_at(
                AT_FDCWD, path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, UInt32(permissions))
        }
        guard try isTaken(path, isShared: isShared) else { return nil }
    }

    /// Takes the lock of a name in a directory; nil if somebody else holds it.
    package init?(in directory: DirectoryHandle, name: String) throws {
        descriptor = try SystemFailure.check("cannot open the lock", path: name) {
            cas_open_at(
                directory.descriptor, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o666)
        }
        guard try isTaken(name) else { return nil }
    }

    private func isTaken(_ path: String, isShared: Bool = false) throws -> Bool {
        if (isShared ? cas_share_lock_of_file(descriptor) : cas_lock_file(descriptor, 1)) == 0 {
            return true
        }
        guard errno == EAGAIN || errno == EACCES else {
            throw SystemFailure.error(errno, "cannot lock the file", path: path)
        }
        return false
    }

    /// Leaves a word for whoever finds the lock taken; the file holds nothing else.
    package func write(_ text: String) throws {
        try SystemFailure.check("cannot write the lock") { ftruncate(descriptor, 0) }
        let bytes = Array(text.utf8)
        try SystemFailure.check("cannot write the lock") {
            pwrite(descriptor, bytes, bytes.count, 0)
        }
    }

    deinit {
        // A child that was forked and has not begun its program yet has the lock as well, unless it is
        // given back.
        _ = cas_lock_file(descriptor, 0)
        _ = Glibc.close(descriptor)
    }
}
