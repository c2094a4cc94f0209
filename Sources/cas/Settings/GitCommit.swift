import CASCore
import CASFileSystem

/// The commit that a working tree stands on, read from git's own files: starting git would cost
/// more than a push with nothing changed (gitrepository-layout(5), gitglossary(7) "ref").
enum GitCommit {
    /// Bytes read of one file at most; packed-refs of large repositories have megabytes.
    private static let maximumBytes = 64 << 20
    private static let maximumSymbolicDepth = 5

    /// The hexadecimal object name of HEAD; nil outside of git or before the first commit.
    static func find(above directory: String) -> String? {
        var place = directory
        while true {
            if let gitDirectory = gitDirectory(of: place) { return head(of: gitDirectory) }
            let parent = FilePaths.parent(place)
            guard parent != place, !parent.isEmpty, parent != "." else { return nil }
            place = parent
        }
    }

    /// `.git` is a directory, or in worktrees and submodules a file that names one.
    private static func gitDirectory(of place: String) -> String? {
        let path = FilePaths.join(place, ".git")
        if text(FilePaths.join(path, "HEAD")) != nil { return path }
        guard let line = text(path), line.hasPrefix("gitdir: ") else { return nil }
        let target = String(line.dropFirst(8))
        return target.hasPrefix("/") ? target : FilePaths.join(place, target)
    }

    private static func head(of gitDirectory: String) -> String? {
        let common = text(FilePaths.join(gitDirectory, "commondir")).map {
            $0.hasPrefix("/") ? $0 : FilePaths.join(gitDirectory, $0)
        }
        var name = "HEAD"
        for _ in 0..<maximumSymbolicDepth {
            let directories = [gitDirectory, common].compactMap { $0 }
            guard
                let value = directories.lazy.compactMap({ text(FilePaths.join($0, name)) }).first
            else { return packed(name, in: common ?? gitDirectory) }
            guard value.hasPrefix("ref: ") else { return objectName(value) }
            name = String(value.dropFirst(5))
            // A ref is a path below the git directory and nothing else.
            guard name.hasPrefix("refs/"), !name.split(separator: "/").contains("..") else {
                return nil
            }
        }
        return nil
    }

    private static func packed(_ name: String, in directory: String) -> String? {
        guard let lines = text(FilePaths.join(directory, "packed-refs")) else { return nil }
        for line in lines.split(separator: "\n") where line.hasSuffix(" " + name) {
            return objectName(String(line.prefix { $0 != " " }))
        }
        return nil
    }

    private static func objectName(_ text: String) -> String? {
        let isName =
            (text.utf8.count == 40 || text.utf8.count == 64)
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
        return isName ? text : nil
    }

    /// A file without the end of its last line.
    ///
    /// The commit is a note beside a push and never a
    /// reason to fail one, so a file that cannot be read counts as absent.
    private static func text(_ path: String) -> String? {
        do {
            guard let bytes = try DiskFileSystem().read(path, maximumBytes: maximumBytes) else {
                return nil
            }
            var text = Substring(decoding: bytes, as: UTF8.self)
            while text.last?.isNewline == true { text.removeLast() }
            return String(text)
        } catch { return nil }
    }
}
