import CASCore
import CASFileSystem
import CASTree
import Synchronization

/// What earlier restores know of one directory.
struct DirectoryHistory {
    var old: RestoreLayout.Node?
    var marks: [RestoreState.Mark] = []
    var interrupted: RestoreLayout.Node?

    /// Whether a file at that name with that content is what a restore wrote.
    func wrote(_ name: EntryName, _ digest: Digest) -> Bool {
        old?.directory.file(name)?.digest == digest
            || interrupted?.directory.file(name)?.digest == digest
    }

    /// How the file of that name looked after it was written.
    func mark(_ name: EntryName) -> (mark: RestoreState.Mark, node: FileNode, position: Int)? {
        guard let position = old?.directory.fileIndex(name), position < marks.count,
            let node = old?.directory.files[position]
        else { return nil }
        return (marks[position], node, position)
    }
}

/// What one directory of the new tree needs.
struct DirectoryFindings {
    var directory = Inspection.DirectoryFinding.absent
    var needed: [Int] = []
    var links: [Int] = []
    var conflicts: [Conflict] = []
    var removals: [Removal] = []
    var hasWrongAttributes = false
    var kept = 0
}

/// Compares single directories with what they are to be. One thread each; keeps a buffer.
final class DirectoryInspector {
    private let restore: Restore
    private let buffer = ReusableBuffer(capacity: 1 << 20)
    private var hasher = DigestHasher()

    init(_ restore: Restore) {
        self.restore = restore
    }

    func inspect(
        _ index: Int, _ history: DirectoryHistory, above: DirectoryHistory
    ) throws -> DirectoryFindings {
        let node = restore.layout.nodes[index]
        var found = DirectoryFindings()
        guard let directory = try open(node, above, &found) else {
            found.needed = Array(node.directory.files.indices)
            found.links = Array(node.directory.symlinks.indices)
            return found
        }
        let status = try directory.status()
        found.directory = .present(permissions: status.permissions)
        let wanted = restore.directoryAttributes(node)
        found.hasWrongAttributes =
            status.permissions != wanted.permissions
            || wanted.modified.map { $0 != status.modified } ?? false
        for position in node.directory.files.indices {
            try inspectFile(
                Restore.Place(directory: index, file: position), node, directory, history, &found)
        }
        for position in node.directory.symlinks.indices {
            try inspectLink(position, node, directory, history, &found)
        }
        return found
    }

    /// Opens a directory of the destination; nil if it is not there or something else is.
    private func open(
        _ node: RestoreLayout.Node, _ above: DirectoryHistory, _ found: inout DirectoryFindings
    ) throws -> DirectoryHandle? {
        if node.path.isEmpty { return restore.root }
        guard let parent = try restore.root.open(beneath: PathBytes.parent(node.path)),
            let status = try parent.status(node.name)
        else { return nil }
        if status.kind == .directory { return try parent.openDirectory(node.name) }
        let name = try EntryName(node.name)
        let isOld =
            above.old?.directory.file(name) != nil || above.old?.directory.symlink(name) != nil
            || above.interrupted?.directory.file(name) != nil
            || above.interrupted?.directory.symlink(name) != nil
        // What an earlier restore wrote here is removed, or refused, with the rest of the old tree.
        if !isOld { found.conflict(node.path, "it is not a directory", restore) }
        return nil
    }

    private func inspectFile(
        _ place: Restore.Place, _ node: RestoreLayout.Node, _ directory: DirectoryHandle,
        _ history: DirectoryHistory, _ found: inout DirectoryFindings
    ) throws {
        let file = node.directory.files[place.file]
        guard let status = try directory.status(file.name.bytes) else {
            found.needed.append(place.file)
            return
        }
        let path = { PathBytes.join(node.path, file.name.bytes) }
        guard status.kind == .regular else {
            return try notAFile(place, status, directory, history, path(), &found)
        }
        let known = history.mark(file.name)
        if let known, known.mark == RestoreState.Mark(status) {
            guard known.node.digest == file.digest else {
                found.needed.append(place.file)
                return
            }
            try keep(place, status, directory, file, &found)
            return
        }
        let content = try hash(directory, file.name.bytes, status)
        if content == file.digest {
            try keep(place, status, directory, file, &found)
        } else if let content,
            history.wrote(file.name, content) || isHalfWritten(history, file, known == nil)
        {
            found.needed.append(place.file)
        } else {
            let reason = known == nil ? "not from an earlier fetch" : "changed since it was fetched"
            found.conflict(path(), reason, restore)
            if restore.options.force { found.needed.append(place.file) }
        }
    }

    /// Whether a file is what an interrupted restore left behind: it was going to write one here where
    /// none had been.
    private func isHalfWritten(
        _ history: DirectoryHistory, _ file: FileNode, _ isUnknown: Bool
    ) -> Bool {
        isUnknown && history.interrupted?.directory.file(file.name) != nil
    }

    private func notAFile(
        _ place: Restore.Place, _ status: FileStatus, _ directory: DirectoryHandle,
        _ history: DirectoryHistory, _ path: [UInt8], _ found: inout DirectoryFindings
    ) throws {
        let name = restore.layout.nodes[place.directory].directory.files[place.file].name
        let oldLink = history.old?.directory.symlink(name)
        if status.kind == .symlink, let oldLink,
            try directory.readLink(name.bytes) == oldLink.target
        {
            found.needed.append(place.file)
        } else if status.kind == .directory, history.old?.directory.directory(name) != nil {
            // Removed as no longer wanted, if nothing of the user's is in it.
            found.needed.append(place.file)
        } else {
            found.conflict(path, "it is not a regular file", restore)
            if restore.options.force { found.needed.append(place.file) }
        }
    }

    /// Notes that a file is right; mends its mode and time.
    private func keep(
        _ place: Restore.Place, _ status: FileStatus, _ directory: DirectoryHandle,
        _ file: FileNode, _ found: inout DirectoryFindings
    ) throws {
        let wanted = restore.layout.attributes(place, restore.options)
        var status = status
        if status.permissions != wanted.permissions || status.modified != wanted.modified {
            let open = try directory.openFile(file.name.bytes)
            if status.permissions != wanted.permissions {
                try open.setPermissions(wanted.permissions)
            }
            if status.modified != wanted.modified { try open.setModified(wanted.modified) }
            status = try open.status()
        }
        restore.setMark(place, RestoreState.Mark(status))
        found.kept += 1
    }

    private func inspectLink(
        _ position: Int, _ node: RestoreLayout.Node, _ directory: DirectoryHandle,
        _ history: DirectoryHistory, _ found: inout DirectoryFindings
    ) throws {
        let link = node.directory.symlinks[position]
        guard let status = try directory.status(link.name.bytes) else {
            found.links.append(position)
            return
        }
        if status.kind == .symlink {
            let target = try directory.readLink(link.name.bytes)
            if target == link.target { return }
            if target == history.old?.directory.symlink(link.name)?.target
                || target == history.interrupted?.directory.symlink(link.name)?.target
            {
                found.links.append(position)
                return
            }
        } else if status.kind == .regular, let known = history.mark(link.name),
            try known.mark == RestoreState.Mark(status)
                || hash(directory, link.name.bytes, status) == known.node.digest
        {
            found.links.append(position)
            return
        } else if status.kind == .directory,
            history.old?.directory.directory(link.name) != nil
        {
            found.links.append(position)
            return
        }
        found.conflict(
            PathBytes.join(node.path, link.name.bytes), "in the place of a link", restore)
        if restore.options.force { found.links.append(position) }
    }

    /// The SHA-256 of a file; nil if it can not be read.
    func hash(
        _ directory: DirectoryHandle, _ name: [UInt8], _ status: FileStatus
    ) throws -> Digest? {
        do {
            let file = try directory.openFile(name)
            buffer.resize(to: 1 << 20)
            while true {
                let count = try file.read(into: buffer.mutableBytes)
                hasher.update(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
                if count < buffer.count { break }
            }
            return hasher.finish()
        } catch let error as CASError
            where error.code == .permissionDenied || error.code == .notFound
        {
            _ = hasher.finish()
            return nil
        }
    }
}

extension DirectoryFindings {
    mutating func conflict(_ path: [UInt8], _ reason: String, _ restore: Restore) {
        conflicts.append(Conflict(path: path, reason: reason))
        if restore.options.force { removals.append(Removal(path: path, kind: .anything)) }
    }
}
