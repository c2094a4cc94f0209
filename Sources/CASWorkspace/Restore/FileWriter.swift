import Synchronization
import CASCore
import CASFileSystem
import CASTree

/// Creates files of the tree, one thread each; keeps directories open from file to file.
final class FileWriter {
    /// Directories that all writers together keep open.
    private static let openDirectories = 256

    let restore: Restore
    /// For whoever needs some room while writing.
    let buffer = ReusableBuffer(capacity: 64 << 10)
    private lazy var inspector = DirectoryInspector(restore, restore.history)
    private var handles: [Int: DirectoryHandle] = [:]
    private var marks: [(Restore.Place, RestoreState.Mark)] = []
    private var touched: Set<Int> = []
    private var written = 0
    private var writtenBytes: UInt64 = 0

    init(_ restore: Restore) throws {
        self.restore = restore
    }

    /// The directory of a place.
    func directory(_ index: Int) throws -> DirectoryHandle {
        if let handle = handles[index] { return handle }
        if handles.count >= FileWriter.openDirectories / restore.options.workers {
            handles.removeAll(keepingCapacity: true)
        }
        let handle = try restore.handle(index)
        handles[index] = handle
        return handle
    }

    func node(_ place: Restore.Place) -> FileNode {
        restore.layout.nodes[place.directory].directory.files[place.file]
    }

    /// Writes a file whose content was checked.
    func write(_ content: UnsafeRawBufferPointer, to place: Restore.Place) throws {
        let name = node(place).name.bytes
        let wanted = restore.layout.attributes(place, restore.options)
        let parent = try directory(place.directory)
        do {
            guard let file = try parent.createFile(ifAbsent: name, wanted.permissions) else {
                return try replace(place, wanted) { try $0.write(content) }
            }
            do {
                try file.write(content)
                try settle(file, place, wanted)
            } catch {
                // Nothing half-written stays under the final name, on a full disk for example.
                try parent.removeFile(name)
                throw error
            }
        } catch {
            throw located(error, place)
        }
    }

    /// Puts a file in the place of another by way of a temporary name.
    func replace(
        _ place: Restore.Place, _ wanted: FileAttributes,
        _ fill: (borrowing OpenFile) throws -> Void
    ) throws {
        let temporary = Array("\(Identifier.random())".utf8)
        do {
            let file = try restore.temporaries.createFile(temporary, permissions: 0o600)
            try fill(file)
            try rename(temporary, file, to: place, wanted)
        } catch {
            try restore.temporaries.removeFile(temporary)
            throw located(error, place)
        }
    }

    /// Gives a finished temporary file its attributes and its final name.
    func rename(
        _ temporary: [UInt8], _ file: borrowing OpenFile, to place: Restore.Place,
        _ wanted: FileAttributes
    ) throws {
        guard try mayReplace(place, file) else {
            try restore.temporaries.removeFile(temporary)
            return
        }
        try settle(file, place, wanted)
        try restore.temporaries.rename(
            temporary, to: try directory(place.directory), node(place).name.bytes)
        // A rename changes the time of the last change.
        remember(place, try file.status(), isAgain: true)
    }

    /// Makes a place a further name of a file of the cache; false where that can not be.
    func link(_ place: Restore.Place, from folder: DirectoryHandle, _ name: [UInt8]) throws -> Bool
    {
        let parent = try directory(place.directory)
        let final = node(place).name.bytes
        do {
            guard
                let isLinked = try NodeCache.attempt({
                    try folder.link(name, to: parent, final)
                })
            else { return try relink(place, parent, from: folder, name) }
            if isLinked, let status = try parent.status(final) {
                remember(place, status, isAgain: false)
            }
            return isLinked
        } catch {
            throw located(error, place)
        }
    }

    /// The same where something stands there already.
    private func relink(
        _ place: Restore.Place, _ parent: DirectoryHandle, from folder: DirectoryHandle,
        _ name: [UInt8]
    ) throws -> Bool {
        let final = node(place).name.bytes
        let temporary = Array("\(Identifier.random())".utf8)
        guard
            try NodeCache.attempt({ try folder.link(name, to: restore.temporaries, temporary) })
                == true
        else { return false }
        if try mayReplace(place, try restore.temporaries.openFile(temporary)) {
            try restore.temporaries.rename(temporary, to: parent, final)
            if let status = try parent.status(final) {
                remember(place, status, isAgain: false)
            }
        }
        // Renaming one name of a file over another does nothing, and leaves both.
        try restore.temporaries.removeFile(temporary)
        return true
    }

    /// Whether what stands at a place may go: always, but where it could be the user's.
    ///
    /// Then only the beginning of the very content is what an interrupted restore left.
    private func mayReplace(_ place: Restore.Place, _ file: borrowing OpenFile) throws -> Bool {
        guard restore.isPerhapsHalf(place) else {
            return restore.options.isGentle ? try isStillOurs(place) : true
        }
        let parent = try directory(place.directory)
        guard let half = try parent.openFile(ifPresent: node(place).name.bytes) else { return true }
        if try isBeginning(half, of: file) { return true }
        return try restore.settle(
            Conflict(
                path: restore.path(place), reason: "not from an earlier fetch"))
    }

    /// Whether what stands at a place is not the user's yet: with `isGentle` somebody works there while the
    /// data comes, and what was looked at minutes ago may have been edited since.
    private func isStillOurs(_ place: Restore.Place) throws -> Bool {
        let parent = try directory(place.directory)
        let name = node(place).name
        guard let status = try parent.status(name.bytes) else { return true }
        let known = restore.history.directory(restore.layout.nodes[place.directory].path)
        if try inspector.isOurs(name, status, known, parent) { return true }
        return try restore.settle(
            Conflict(path: restore.path(place), reason: "changed while the fetch ran"))
    }

    private func isBeginning(
        _ half: borrowing OpenFile, of whole: borrowing OpenFile
    ) throws -> Bool {
        let piece = 32 << 10
        buffer.resize(to: 2 * piece)
        var offset: UInt64 = 0
        while true {
            let first = UnsafeMutableRawBufferPointer(rebasing: buffer.mutableBytes[..<piece])
            let second = UnsafeMutableRawBufferPointer(rebasing: buffer.mutableBytes[piece...])
            let count = try half.read(at: offset, into: first)
            guard try whole.read(at: offset, into: second) >= count,
                first[..<count].elementsEqual(second[..<count])
            else { return false }
            if count < piece { return true }
            offset += UInt64(count)
        }
    }

    /// Sets mode and time, and remembers how the file looks then.
    private func settle(
        _ file: borrowing OpenFile, _ place: Restore.Place, _ wanted: FileAttributes
    ) throws {
        try file.setModified(wanted.modified)
        var status = try file.status()
        if status.permissions != wanted.permissions {
            try file.setPermissions(wanted.permissions)
            status = try file.status()
        }
        remember(place, status, isAgain: false)
    }

    private func remember(_ place: Restore.Place, _ status: FileStatus, isAgain: Bool) {
        marks.append((place, restore.mark(status)))
        touched.insert(place.directory)
        guard !isAgain else { return }
        written += 1
        writtenBytes += status.size
        if marks.count >= 256 { flush() }
    }

    /// Hands over what it remembers.
    func flush() {
        restore.work.withLock { work in
            for (place, mark) in marks { work.marks[place.directory][place.file] = mark }
            work.touched.formUnion(touched)
            work.summary.written += written
            work.summary.writtenBytes += writtenBytes
        }
        marks.removeAll(keepingCapacity: true)
        touched.removeAll(keepingCapacity: true)
        (written, writtenBytes) = (0, 0)
    }

    private func located(_ error: any Error, _ place: Restore.Place) -> any Error {
        guard var error = error as? CASError else { return error }
        error.path = restore.text(place)
        return error
    }
}
