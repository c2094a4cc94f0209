import CASCore
import CASFileSystem
import CASTree

/// Compares single directories with what they are to be.
///
/// One thread each; keeps a buffer.
final class DirectoryInspector {
    private static let bufferBytes = 256 << 10

    private let restore: Restore
    private let history: DestinationHistory
    private let buffer = ReusableBuffer(capacity: DirectoryInspector.bufferBytes)
    private var hasher = DigestHasher()

    /// One directory on its way through the comparison.
    private struct Subject {
        let index: Int
        let node: RestoreLayout.Node
        let handle: DirectoryHandle
        let history: DirectoryHistory
    }

    init(_ restore: Restore, _ history: DestinationHistory) {
        self.restore = restore
        self.history = history
    }

    func inspect(_ index: Int) throws -> DirectoryFindings {
        let node = restore.layout.nodes[index]
        var found = DirectoryFindings()
        guard let handle = try open(node, &found) else {
            guard found.directory == .absent else { return found }
            found.needed = Array(node.directory.files.indices)
            found.links = Array(node.directory.symlinks.indices)
            return found
        }
        let status = try handle.status()
        found.directory = .present(permissions: status.permissions)
        let wanted = restore.directoryAttributes(node)
        found.hasWrongAttributes =
            status.permissions != wanted.permissions || status.modified != wanted.modified
        let subject = Subject(
            index: index, node: node, handle: handle, history: history.directory(node.path))
        for position in node.directory.files.indices {
            try inspectFile(position, subject, &found)
        }
        for position in node.directory.symlinks.indices {
            try inspectLink(position, subject, &found)
        }
        return found
    }

    /// Opens a directory of the destination; nil if it is not there or something else is.
    private func open(
        _ node: RestoreLayout.Node, _ found: inout DirectoryFindings
    ) throws -> DirectoryHandle? {
        if let handle = try restore.root.open(beneath: node.path) { return handle }
        let above = PathBytes.parent(node.path)
        guard let parent = try restore.root.open(beneath: above),
            let status = try parent.status(node.name), status.kind != .directory
        else { return nil }
        // What an earlier restore put here goes with the rest of the old tree.
        if try isOurs(EntryName(node.name), status, history.directory(above), parent) { return nil }
        found.conflict(node.path, "it is not a directory", restore.options)
        if !restore.options.force { found.directory = .blocked }
        return nil
    }

    // MARK: - Files

    private func inspectFile(
        _ position: Int, _ subject: Subject, _ found: inout DirectoryFindings
    ) throws {
        let file = subject.node.directory.files[position]
        guard let status = try subject.handle.status(file.name.bytes) else {
            found.needed.append(position)
            return
        }
        guard status.kind == .regular else {
            if try isReplaceable(file.name, status, subject, &found) {
                found.replace(position)
            }
            return
        }
        let known = subject.history.mark(file.name)
        if let known, known.mark.matches(status) {
            if known.node.digest == file.digest {
                keep(position, status, subject, &found)
            } else {
                found.replace(position)
            }
            return
        }
        let content = try hash(subject.handle, file.name.bytes, status)
        if content == file.digest {
            keep(position, status, subject, &found)
        } else if let content, subject.history.wrote(file.name, content) {
            found.replace(position)
        } else if let begun = subject.history.begun(file.name), status.size < begun.size {
            // Looks like half a file of the interrupted restore: the writer makes sure.
            found.replace(position)
            found.halves.append(position)
        } else {
            found.conflict(
                PathBytes.join(subject.node.path, file.name.bytes),
                known == nil ? "not from an earlier fetch" : "changed since it was fetched",
                restore.options)
            if restore.options.force { found.replace(position) }
        }
    }

    /// Notes that a file's content is right, and whether its mode and time are.
    private func keep(
        _ position: Int, _ status: FileStatus, _ subject: Subject,
        _ found: inout DirectoryFindings
    ) {
        let place = Restore.Place(directory: subject.index, file: position)
        let wanted = restore.layout.attributes(place, restore.options)
        if status.permissions == wanted.permissions && status.modified == wanted.modified {
            found.marks.append((position, restore.mark(status)))
        } else if status.links > 1 {
            // Another name of the file, in a cache or of the user's, must not change with it.
            found.replace(position)
        } else {
            found.mends.append(Mend(file: position, status: status))
        }
    }

    // MARK: - Links, and things of another kind

    private func inspectLink(
        _ position: Int, _ subject: Subject, _ found: inout DirectoryFindings
    ) throws {
        let link = subject.node.directory.symlinks[position]
        guard let status = try subject.handle.status(link.name.bytes) else {
            found.links.append(position)
            return
        }
        if status.kind == .symlink, try subject.handle.readLink(link.name.bytes) == link.target {
            if status.modified != restore.linkModified(subject.node, position) {
                found.linkTimes.append(position)
            }
        } else if try isReplaceable(link.name, status, subject, &found) {
            found.links.append(position)
        }
    }

    /// Whether something of another kind or with another target may go; notes a conflict if not.
    private func isReplaceable(
        _ name: EntryName, _ status: FileStatus, _ subject: Subject,
        _ found: inout DirectoryFindings
    ) throws -> Bool {
        let path = PathBytes.join(subject.node.path, name.bytes)
        if status.kind == .directory, subject.history.hasDirectory(name) {
            // Removed as no longer wanted, if nothing of the user's is in it.
            guard let stranger = try stranger(in: path) else { return true }
            let text = PathText.printable(stranger)
            found.conflict(path, "a directory that holds your \(text)", restore.options)
        } else if try isOurs(name, status, subject.history, subject.handle) {
            return true
        } else {
            found.conflict(
                path, subject.history.isEmpty ? "not from an earlier fetch" : "of another kind",
                restore.options)
        }
        return restore.options.force
    }

    /// The path of something in a directory that no restore put there; nil if there is nothing.
    private func stranger(in path: [UInt8]) throws -> [UInt8]? {
        var pending = [path]
        while let path = pending.popLast() {
            guard let handle = try restore.root.open(beneath: path) else { continue }
            let known = history.directory(path)
            var names: [[UInt8]] = []
            try handle.list { name, _ in names.append(Array(name)) }
            for bytes in names {
                let name = try EntryName(bytes)
                guard let status = try handle.status(bytes) else { continue }
                let entry = PathBytes.join(path, bytes)
                if status.kind == .directory, known.hasDirectory(name) {
                    pending.append(entry)
                } else if try !isOurs(name, status, known, handle) {
                    return entry
                }
            }
        }
        return nil
    }

    /// Whether a file or link is what an earlier restore left there.
    func isOurs(
        _ name: EntryName, _ status: FileStatus, _ known: DirectoryHistory,
        _ directory: DirectoryHandle
    ) throws -> Bool {
        switch status.kind {
        case .regular:
            if let mark = known.mark(name)?.mark, mark.matches(status) { return true }
            guard
                known.old?.directory.file(name) != nil
                    || known.interrupted?.directory.file(name) != nil
            else { return false }
            // Created by a restore that was killed before it wrote; nothing is lost with it.
            if status.size == 0, known.begun(name) != nil { return true }
            guard let content = try hash(directory, name.bytes, status) else { return false }
            return known.wrote(name, content)
        case .symlink: return known.linked(name, try directory.readLink(name.bytes))
        case .directory, .other: return false
        }
    }

    /// The SHA-256 of a file; nil if it can not be read.
    private func hash(
        _ directory: DirectoryHandle, _ name: [UInt8], _ status: FileStatus
    ) throws -> Digest? {
        do {
            let file = try directory.openFile(name)
            buffer.resize(to: DirectoryInspector.bufferBytes)
            while true {
                let count = try file.read(into: buffer.mutableBytes)
                hasher.update(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
                if count < buffer.count { return hasher.finish() }
            }
        } catch let error as CASError
            where error.code == .permissionDenied || error.code == .notFound
            || error.code == .failedPrecondition
        {
            _ = hasher.finish()
            return nil
        }
    }
}
