package import CASCore
import CASFileSystem

/// What a destination says of itself before anything is fetched.
package struct DestinationState: Sendable {
    /// What was restored there; nil for nothing that can be believed.
    package let complete: RestoreState?
    /// What an interrupted restore was about to put there.
    package let interrupted: RestoreState?
    /// Whether a restore ever worked there.
    package let isOurs: Bool

    /// Looks at a destination; one that does not exist is nobody's.
    package static func load(_ destination: String, limits: Limits = .standard) -> DestinationState
    {
        let directory = "\(destination)/\(RestoreLayout.stateName)"
        let complete = RestoreState.load("\(directory)/state", limits: limits)
        let interrupted = RestoreState.load("\(directory)/next", limits: limits)
        let names = (try? DiskFileSystem().list(directory)) ?? []
        return DestinationState(
            complete: complete, interrupted: interrupted,
            isOurs: names.contains("state") || names.contains("next"))
    }
}

/// The directory that a restore writes to, and `.cas` in it.
enum Destination {
    private static let tolerated = [RestoreLayout.stateName, "lost+found"]

    /// Opens a destination, created if need be; throws if somebody else's things are in it.
    static func open(_ path: String, isOurs: Bool, force: Bool) throws -> DirectoryHandle {
        let fileSystem = DiskFileSystem()
        if let status = try fileSystem.status(path), status.kind != .directory {
            throw CASError(
                .failedPrecondition, "the destination is a file", hint: "name a directory",
                path: path)
        }
        try fileSystem.createDirectory(path)
        let root = try DirectoryHandle(path: path)
        guard !isOurs, !force else { return root }
        let others = try fileSystem.list(path).filter { !tolerated.contains($0) }
        guard others.isEmpty else {
            let shown = others.prefix(3).joined(separator: ", ")
            throw CASError(
                .failedPrecondition,
                "the destination is not empty and was not made by cas fetch: it holds \(shown)",
                hint: "name an empty directory, or add --force to fetch into this one", path: path)
        }
        return root
    }

    /// Runs what prepares a destination; where this user may not write, it is the whole directory that
    /// is meant, and not the one file of ours that showed it.
    static func writable<Result>(_ destination: String, _ body: () throws -> Result) throws
        -> Result
    {
        do { return try body() } catch let error as CASError where error.code == .permissionDenied {
            throw CASError(
                .permissionDenied, "this user may not write into the directory",
                hint: error.hint
                    ?? "give it to this user (chown, chmod), or fetch into another directory",
                path: destination)
        }
    }

    /// Opens `.cas`, created if need be.
    ///
    /// It ignores itself, so that no version control takes it up.
    static func openState(_ root: DirectoryHandle) throws -> DirectoryHandle {
        let name = Array(RestoreLayout.stateName.utf8)
        let directory = try make(name, in: root)
        let ignore = Array(".gitignore".utf8)
        if try directory.status(ignore) == nil {
            let file = try directory.createFile(ignore, permissions: 0o644)
            try Array("*\n".utf8).withUnsafeBytes { try file.write($0) }
        }
        return directory
    }

    /// Opens an empty `.cas/tmp`: what lies in it is of restores that were interrupted.
    static func openTemporaries(_ state: DirectoryHandle) throws -> DirectoryHandle {
        let directory = try make(Array("tmp".utf8), in: state)
        var names: [[UInt8]] = []
        try directory.list { name, _ in names.append(Array(name)) }
        for name in names { try directory.removeFile(name) }
        return directory
    }

    static func make(_ name: [UInt8], in parent: DirectoryHandle) throws -> DirectoryHandle {
        if try parent.status(name) == nil {
            do {
                try parent.createDirectory(name, permissions: 0o755)
            } catch let error as CASError where error.code == .alreadyExists {
                // Somebody else was faster; that is as good.
            }
        }
        return try parent.openDirectory(name)
    }

    /// Puts a file into `.cas` at once.
    static func write(
        _ bytes: [UInt8], _ name: String, in state: DirectoryHandle, _ temporaries: DirectoryHandle
    ) throws {
        let temporary = Array("\(name).\(Identifier.random())".utf8)
        let file = try temporaries.createFile(temporary, permissions: 0o644)
        try bytes.withUnsafeBytes { try file.write($0) }
        try temporaries.rename(temporary, to: state, Array(name.utf8))
    }
}
