import CASCore

/// What a store needs of a file system, so that a test can make every operation fail or cut the power.
///
/// Paths are the store's own. Nothing is durable before `synchronizeData` of the file and, for a new
/// or renamed one, `synchronizeDirectory` of its directory. All methods block; any thread may call them.
package protocol FileSystem: Sendable {
    /// Creates a directory and the missing ones above it; no effect where it exists.
    func createDirectory(_ path: String) throws
    /// Names in a directory, sorted, without `.` and `..`; throws `notFound`.
    func list(_ path: String) throws -> [String]
    /// Bytes of a file; nil where there is none.
    func size(_ path: String) throws -> UInt64?
    /// Opens a file; `create` throws `alreadyExists`, the others `notFound`.
    func open(_ path: String, _ mode: FileOpenMode) throws -> any StoreFile
    /// Renames a file over whatever file has the new name.
    func rename(_ old: String, to new: String) throws
    /// Gives a file a second name; false where the file system cannot do that between these places.
    ///
    /// Throws `alreadyExists` where the new name is taken: of several that try, one wins.
    func link(_ path: String, to new: String) throws -> Bool
    /// Removes a file; throws `notFound`.
    func remove(_ path: String) throws
    /// Makes the names in a directory durable.
    func synchronizeDirectory(_ path: String) throws
    /// Bytes that may still be written to the file system of a path.
    func freeBytes(_ path: String) throws -> UInt64
}

/// How a file is opened.
package enum FileOpenMode: Sendable {
    /// A new file, to read and write.
    case create
    /// An existing file, to read and write.
    case readWrite
    /// An existing file, to read.
    case read
}

/// An open file of a store.
///
/// Reads may run beside one appending thread.
package protocol StoreFile: AnyObject, Sendable {
    /// Writes all bytes at the end.
    func append(_ bytes: UnsafeRawBufferPointer) throws
    /// Reads up to `target.count` bytes at an offset; fewer only at the end of the file.
    func read(at offset: UInt64, into target: UnsafeMutableRawBufferPointer) throws -> Int
    /// Bytes of the file.
    func size() throws -> UInt64
    /// Cuts the file; later appends go on there.
    func truncate(to size: UInt64) throws
    /// Makes all bytes written so far durable (fdatasync).
    func synchronizeData() throws
    /// Takes the lock that says this file has a living owner; false if another holds it.
    func lock() throws -> Bool
    /// Ends the use of the file and its lock.
    func close()
}

extension FileSystem {
    /// Reads a whole small file; nil where there is none, `resourceExhausted` beyond `maximumBytes`.
    package func read(_ path: String, maximumBytes: Int) throws -> [UInt8]? {
        guard let size = try size(path) else { return nil }
        guard size <= UInt64(maximumBytes) else {
            throw CASError(.resourceExhausted, "the file is too large", path: path)
        }
        let file = try open(path, .read)
        defer { file.close() }
        return try [UInt8](unsafeUninitializedCapacity: Int(size)) { buffer, count in
            count = try file.read(at: 0, into: UnsafeMutableRawBufferPointer(buffer))
        }
    }

    /// Puts a file in the place of another, durably: readers see the old or the new one, whole.
    package func replace(_ path: String, _ bytes: [UInt8]) throws {
        // Several processes may do this at once.
        let temporary = "\(path).new.\(Identifier.random())"
        let file = try open(temporary, .create)
        defer { file.close() }
        try bytes.withUnsafeBytes { try file.append($0) }
        try file.synchronizeData()
        try rename(temporary, to: path)
        try synchronizeDirectory(FilePaths.parent(path))
    }
}

/// Text operations on paths.
package enum FilePaths {
    /// Everything before the last slash; `/` or `.` where nothing is.
    package static func parent(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    /// Everything behind the last slash.
    package static func name(_ path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return path }
        return String(path[path.index(after: slash)...])
    }

    /// `path` itself if it starts with a slash, else below `base`.
    package static func join(_ base: String, _ path: String) -> String {
        if path.hasPrefix("/") { return path }
        return base.hasSuffix("/") ? base + path : "\(base)/\(path)"
    }
}
