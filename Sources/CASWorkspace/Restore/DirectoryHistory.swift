import CASCore
import CASTree

/// What earlier restores know of one directory.
struct DirectoryHistory {
    var old: RestoreLayout.Node?
    var marks: [RestoreState.Mark] = []
    var interrupted: RestoreLayout.Node?

    /// Whether no restore knows the directory.
    var isEmpty: Bool { old == nil && interrupted == nil }

    /// Whether a file at that name with that content is what a restore wrote.
    func wrote(_ name: EntryName, _ digest: Digest) -> Bool {
        old?.directory.file(name)?.digest == digest
            || interrupted?.directory.file(name)?.digest == digest
    }

    /// Whether a link at that name with that target is what a restore made.
    func linked(_ name: EntryName, _ target: [UInt8]) -> Bool {
        old?.directory.symlink(name)?.target == target
            || interrupted?.directory.symlink(name)?.target == target
    }

    /// Whether a restore made, or was about to make, a directory of that name.
    func hasDirectory(_ name: EntryName) -> Bool {
        old?.directory.directory(name) != nil || interrupted?.directory.directory(name) != nil
    }

    /// How the file of that name looked after it was written.
    func mark(_ name: EntryName) -> (mark: RestoreState.Mark, node: FileNode)? {
        guard let position = old?.directory.fileIndex(name), position < marks.count,
            let node = old?.directory.files[position]
        else { return nil }
        return (marks[position], node)
    }

    /// The file that an interrupted restore was about to write where none had been.
    func begun(_ name: EntryName) -> FileNode? {
        guard old?.directory.file(name) == nil else { return nil }
        return interrupted?.directory.file(name)
    }

    /// All names that are not directories, each once.
    var names: [EntryName] {
        var seen: Set<EntryName> = []
        return [old, interrupted].compactMap { $0?.directory }.flatMap { directory in
            directory.files.map(\.name) + directory.symlinks.map(\.name)
        }.filter { seen.insert($0).inserted }
    }

    /// The names of all directories, each once.
    var directoryNames: [EntryName] {
        var seen: Set<EntryName> = []
        return [old, interrupted].compactMap { $0?.directory }.flatMap { directory in
            directory.directories.map(\.name)
        }.filter { seen.insert($0).inserted }
    }
}

/// What earlier restores know of a destination.
struct DestinationHistory: Sendable {
    let old: RestoreLayout?
    let marks: [[RestoreState.Mark]]
    let interrupted: RestoreLayout?

    /// What a destination says of itself.
    init(_ state: DestinationState, limits: Limits) throws {
        func layout(_ state: RestoreState) throws -> RestoreLayout {
            try RestoreLayout(state.snapshot, state.contents, limits: limits)
        }
        old = try state.complete.map(layout)
        marks = state.complete?.trustedMarks ?? []
        interrupted = try state.interrupted.map(layout)
    }

    /// Whether there is none.
    var isEmpty: Bool { old == nil && interrupted == nil }

    /// What is known of the directory at a path.
    func directory(_ path: [UInt8]) -> DirectoryHistory {
        var history = DirectoryHistory()
        if let old, let position = old.byPath[path] {
            history.old = old.nodes[position]
            if position < marks.count { history.marks = marks[position] }
        }
        if let interrupted, let position = interrupted.byPath[path] {
            history.interrupted = interrupted.nodes[position]
        }
        return history
    }
}
