import CASCore
import CASFileSystem
import Glibc
import Testing

/// What a directory is: read, written and compared without any code of cas.
struct TreeModel: Equatable, Sendable {
    /// Seconds and nanoseconds.
    struct Time: Equatable, Sendable {
        var seconds: Int
        var nanoseconds: Int
    }

    /// What a name stands for.
    enum Content: Equatable, Sendable {
        case directory
        case file([UInt8])
        case link([UInt8])
    }

    /// One entry with all that a push keeps of it.
    struct Entry: Equatable, Sendable {
        var content: Content
        /// Permission bits; of links they mean nothing.
        var mode: UInt32
        var modified: Time
    }

    /// Everything below the directory by its path in bytes; the directory itself has the empty path.
    var entries: [[UInt8]: Entry] = [:]

    init() {}

    /// Reads a directory, without the `.cas` at its root.
    init(reading root: String) throws { try read(Array(root.utf8), []) }

    private mutating func read(_ root: [UInt8], _ path: [UInt8]) throws {
        let full = root + (path.isEmpty ? [] : [slash] + path)
        entries[path] = try TreeModel.entry(full)
        guard entries[path]?.content == .directory else { return }
        guard let stream = withPath(full, { opendir($0) }) else { throw failure(full) }
        defer { closedir(stream) }
        while let item = readdir(stream) {
            let name = withUnsafeBytes(of: item.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name == [dot] || name == [dot, dot] { continue }
            if path.isEmpty, name == Array(".cas".utf8) { continue }
            try read(root, path.isEmpty ? name : path + [slash] + name)
        }
    }

    private static func entry(_ path: [UInt8]) throws -> Entry {
        var status = stat()
        guard withPath(path, { lstat($0, &status) }) == 0 else { throw failure(path) }
        let content: Content
        switch status.st_mode & S_IFMT {
        case S_IFDIR: content = .directory
        case S_IFLNK:
            var target = [UInt8](repeating: 0, count: 4096)
            let count = withPath(path) { path in
                target.withUnsafeMutableBufferPointer { buffer in
                    buffer.withMemoryRebound(to: CChar.self) { buffer in
                        buffer.baseAddress.map { readlink(path, $0, buffer.count) } ?? -1
                    }
                }
            }
            guard count >= 0 else { throw failure(path) }
            content = .link(Array(target.prefix(count)))
        default: content = .file(try bytes(path, count: Int(status.st_size)))
        }
        let isLink = status.st_mode & S_IFMT == S_IFLNK
        return Entry(
            content: content, mode: isLink ? 0 : status.st_mode & 0o7777,
            modified: Time(seconds: status.st_mtim.tv_sec, nanoseconds: status.st_mtim.tv_nsec))
    }

    private static func bytes(_ path: [UInt8], count: Int) throws -> [UInt8] {
        let descriptor = withPath(path) { open($0, O_RDONLY | O_CLOEXEC) }
        guard descriptor >= 0 else { throw failure(path) }
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: count)
        var position = 0
        while position < count {
            let got = bytes.withUnsafeMutableBytes {
                Glibc.read(descriptor, $0.baseAddress?.advanced(by: position), count - position)
            }
            guard got > 0 else { throw failure(path) }
            position += got
        }
        return bytes
    }

    /// Writes it into a directory that does not exist yet, times of directories last.
    func write(to root: String) throws {
        let paths = entries.keys.sorted { $0.lexicographicallyPrecedes($1) }
        for path in paths { try write(path, Array(root.utf8)) }
        for path in paths.reversed() where entries[path]?.content == .directory {
            try setAttributes(path, Array(root.utf8))
        }
    }

    private func write(_ path: [UInt8], _ root: [UInt8]) throws {
        let full = root + (path.isEmpty ? [] : [slash] + path)
        switch entries[path]?.content {
        case nil: return
        case .directory:
            guard withPath(full, { mkdir($0, 0o700) }) == 0 else { throw failure(full) }
        case .link(let target):
            let code = withPath(target) { target in withPath(full) { symlink(target, $0) } }
            guard code == 0 else { throw failure(full) }
            try setAttributes(path, root)
        case .file(let bytes):
            let descriptor = withPath(full) { open($0, O_WRONLY | O_CREAT | O_EXCL, 0o600) }
            guard descriptor >= 0 else { throw failure(full) }
            defer { close(descriptor) }
            var position = 0
            while position < bytes.count {
                let count = bytes.withUnsafeBytes {
                    Glibc.write(
                        descriptor, $0.baseAddress?.advanced(by: position), bytes.count - position)
                }
                guard count > 0 else { throw failure(full) }
                position += count
            }
            try setAttributes(path, root)
        }
    }

    private func setAttributes(_ path: [UInt8], _ root: [UInt8]) throws {
        guard let entry = entries[path] else { return }
        let full = root + (path.isEmpty ? [] : [slash] + path)
        let time = timespec(tv_sec: entry.modified.seconds, tv_nsec: entry.modified.nanoseconds)
        if case .link = entry.content {
        } else {
            guard withPath(full, { chmod($0, entry.mode) }) == 0 else { throw failure(full) }
        }
        let code = withPath(full) { utimensat(AT_FDCWD, $0, [time, time], AT_SYMLINK_NOFOLLOW) }
        guard code == 0 else { throw failure(full) }
    }

    /// Where two models differ; empty if nowhere.
    func differences(from other: TreeModel) -> [String] {
        Set(entries.keys).union(other.entries.keys).sorted { $0.lexicographicallyPrecedes($1) }
            .compactMap { path in
                let (mine, theirs) = (entries[path], other.entries[path])
                guard mine != theirs else { return nil }
                return
                    "\(String(decoding: path, as: UTF8.self)) \(path.count < 40 ? "\(path)" : ""): "
                    + "\(TreeModel.text(mine)) instead of \(TreeModel.text(theirs))"
            }
    }

    private static func text(_ entry: Entry?) -> String {
        guard let entry else { return "nothing" }
        let time = "\(entry.modified.seconds).\(entry.modified.nanoseconds)"
        let mode = String(entry.mode, radix: 8)
        switch entry.content {
        case .directory: return "directory \(mode) \(time)"
        case .link(let target): return "link to \(target.prefix(20)) \(time)"
        case .file(let bytes): return "\(bytes.count) bytes \(bytes.prefix(8)) \(mode) \(time)"
        }
    }

    /// Expects two models to be equal and says where they are not.
    static func expect(
        _ actual: TreeModel, _ expected: TreeModel, _ comment: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        let differences = actual.differences(from: expected)
        #expect(
            differences.isEmpty,
            "\(comment): \(differences.prefix(5).joined(separator: "; "))",
            sourceLocation: sourceLocation)
    }
}

let slash = UInt8(ascii: "/")
let dot = UInt8(ascii: ".")

/// Calls `body` with a path as the C library wants it.
func withPath<Result>(_ path: [UInt8], _ body: (UnsafePointer<CChar>) throws -> Result) rethrows
    -> Result
{
    try (path + [0]).map { CChar(bitPattern: $0) }.withUnsafeBufferPointer { buffer in
        guard let base = buffer.baseAddress else { preconditionFailure("it has a terminator") }
        return try body(base)
    }
}

/// What the C library just complained about.
func failure(_ path: [UInt8]) -> CASError {
    CASError(
        .internalError,
        "\(String(decoding: path, as: UTF8.self)): \(String(cString: strerror(errno)))")
}
