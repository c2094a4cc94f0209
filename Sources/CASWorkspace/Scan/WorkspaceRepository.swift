import CASCore
import CASFileSystem
import CASTree

/// The git repository around a directory that is pushed, as far as a scan cares.
struct WorkspaceRepository {
    /// The directory that holds `.git`; the pushed directory itself where there is none.
    let root: String
    /// What stands behind `.git`; nil where there is no repository.
    let gitDirectory: String?
    /// Where a linked work tree shares its configuration.
    let commonDirectory: String?
    /// The pushed directory below the root: names, outermost first.
    let components: [[UInt8]]

    /// Looks upward from `directory`, which has no symbolic links in its path.
    init(containing directory: String) throws {
        let files = DiskFileSystem()
        var components: [[UInt8]] = []
        var current = directory
        while true {
            let git = FilePaths.join(current, ".git")
            if let found = try WorkspaceRepository.gitDirectory(git, files) {
                (root, gitDirectory) = (current, found)
                commonDirectory = try WorkspaceRepository.common(found, files)
                self.components = components.reversed()
                return
            }
            if current == "/" || current.isEmpty { break }
            components.append(Array(FilePaths.name(current).utf8))
            current = FilePaths.parent(current)
        }
        root = directory
        (gitDirectory, commonDirectory) = (nil, nil)
        self.components = []
    }

    /// The repository that `.git` at this path is or names; nil for none.
    private static func gitDirectory(_ path: String, _ files: DiskFileSystem) throws -> String? {
        // Directories above may be closed to us: then we learn nothing of a repository there.
        guard let status = try unlessForbidden({ try files.status(path) }) else { return nil }
        var directory = path
        if status.kind != .directory {
            guard
                let text = try unlessForbidden({
                    try files.read(path, maximumBytes: 1 << 16)
                })
            else { return nil }
            let line = text.prefix { $0 != Byte.newline && $0 != UInt8(ascii: "\r") }
            guard line.starts(with: Array("gitdir: ".utf8)) else { return nil }
            let target = String(decoding: line.dropFirst(8), as: UTF8.self)
            directory = FilePaths.join(FilePaths.parent(path), target)
        }
        let head = FilePaths.join(directory, "HEAD")
        return try unlessForbidden({ try files.status(head) }) == nil ? nil : directory
    }

    private static func unlessForbidden<Value>(_ body: () throws -> Value?) throws -> Value? {
        do { return try body() } catch let error as CASError
            where [.permissionDenied, .failedPrecondition, .notFound].contains(error.code)
        { return nil }
    }

    private static func common(_ directory: String, _ files: DiskFileSystem) throws -> String {
        let path = FilePaths.join(directory, "commondir")
        guard let text = try unlessForbidden({ try files.read(path, maximumBytes: 1 << 16) })
        else { return directory }
        let line = text.prefix { $0 != Byte.newline }
        return FilePaths.join(directory, String(decoding: line, as: UTF8.self))
    }

    /// The pushed directory's path below the root, with a slash at its end; empty at the root.
    var base: [UInt8] {
        components.reduce(into: []) { path, name in
            path += name
            path.append(Byte.slash)
        }
    }

    /// The rules in force in the pushed directory, but for its own ignore files.
    func scope(_ rules: IgnoreRules) throws -> IgnoreScope {
        var lists: [IgnoreList] = []
        if let commonDirectory {
            let path = FilePaths.join(commonDirectory, "info/exclude")
            let text = try WorkspaceRepository.unlessForbidden {
                try DiskFileSystem().read(path, maximumBytes: IgnoreList.maximumFileBytes)
            }
            if let text {
                lists.append(
                    text.withUnsafeBytes {
                        IgnoreList(
                            kind: .gitignore, source: ".git/info/exclude", base: [], text: $0)
                    })
            }
        }
        let none = try IgnoreRules(useDefaults: false)
        var handle = try DirectoryHandle(path: root)
        var path: [UInt8] = []
        for name in components {
            lists += try IgnoreFiles.read(in: handle, path: path) { _ in true }
            let scope = IgnoreScope(rules: none, files: lists, path: path)
            let entry = path + name
            let verdict = name.withUnsafeBufferPointer { name in
                entry.withUnsafeBufferPointer { entry in
                    scope.verdict(name: name, path: entry, isDirectory: true)
                }
            }
            // Whoever names an ignored directory wants it: what left it out does not count in it.
            if case .leaveOut = verdict { lists = [] }
            path = entry + [Byte.slash]
            handle = try handle.openDirectory(name)
        }
        return IgnoreScope(rules: rules, files: lists, path: path)
    }
}

/// Reads the ignore files of a directory.
enum IgnoreFiles {
    static let gitignore = Array(".gitignore".utf8)
    static let casignore = Array(".casignore".utf8)

    /// The files of the kinds that `reads` wants; `path` is that of the directory below the
    /// repository's root, with a slash at its end.
    static func read(
        in directory: DirectoryHandle, path: [UInt8], _ reads: (IgnoreList.Kind) -> Bool
    ) throws -> [IgnoreList] {
        var lists: [IgnoreList] = []
        for (kind, name) in [(IgnoreList.Kind.gitignore, gitignore), (.casignore, casignore)]
        where reads(kind) {
            // As git does, nothing but a regular file counts, not even a link to one.
            guard let status = try directory.status(name), status.kind == .regular else { continue }
            let text = PathText.printable(path + name)
            guard status.size <= UInt64(IgnoreList.maximumFileBytes) else {
                throw CASError(
                    .invalidArgument, "an ignore file of \(status.size) bytes is too large",
                    path: text)
            }
            let buffer = ReusableBuffer(capacity: Int(status.size))
            let file = try directory.openFile(name)
            try buffer.append(maximum: Int(status.size)) { try file.read(into: $0) }
            lists.append(IgnoreList(kind: kind, source: text, base: path, text: buffer.bytes))
        }
        return lists
    }
}
