import CASCore
import CASFileSystem
import CASTree
import Synchronization

/// What a restore changes before the data comes.
extension Restore {
    /// Removes what is no longer wanted, makes directories and links, and sets modes and times right.
    func change(_ findings: InspectionFindings) throws {
        let later = options.isGentle ? findings.removals.filter { !isInTheWay($0.path) } : []
        work.withLock { $0.removals = later }
        try remove(
            options.isGentle ? findings.removals.filter { isInTheWay($0.path) } : findings.removals)
        try makeDirectories(findings)
        // Links to what comes only now are made after it.
        if !options.isGentle { try makeLinks(findings.links) }
        try mend(findings)
    }

    /// Whether something of the new tree stands at a path or at one above it, other than a directory that
    /// it lies in.
    private func isInTheWay(_ path: [UInt8]) -> Bool {
        if layout.byPath[path] != nil { return true }
        var name = PathBytes.name(path)
        var parent = PathBytes.parent(path)
        while true {
            if let index = layout.byPath[parent] {
                let directory = layout.nodes[index].directory
                return directory.files.contains { $0.name.bytes == name }
                    || directory.symlinks.contains { $0.name.bytes == name }
            }
            guard !parent.isEmpty else { return false }
            name = PathBytes.name(parent)
            parent = PathBytes.parent(parent)
        }
    }

    func remove(_ removals: [Removal]) throws {
        guard !removals.isEmpty else { return }
        let inspector = DirectoryInspector(self, history)
        // Deepest first, so that directories are empty when their turn comes.
        for removal in removals.sorted(by: { $0.path.count > $1.path.count }) {
            let parent = try root.open(beneath: PathBytes.parent(removal.path))
            guard let parent else { continue }
            let name = PathBytes.name(removal.path)
            switch removal.kind {
            case .file:
                if options.isGentle, try isEdited(removal, name, parent, inspector) { continue }
                if try parent.removeFile(name) { work.withLock { $0.summary.removed += 1 } }
            case .directory:
                do {
                    try parent.removeDirectory(name)
                } catch let error as CASError
                    where error.code == .failedPrecondition
                    || error.code == .alreadyExists || error.code == .internalError
                {
                    // Something of the user's is in it: it stays.
                    continue
                }
            case .anything:
                try Host.removeTree(name, in: parent)
            }
            if let index = layout.byPath[PathBytes.parent(removal.path)] { touch(index) }
        }
    }

    /// Whether a file that is to go was edited since it was looked at; it stays then, and is named.
    private func isEdited(
        _ removal: Removal, _ name: [UInt8], _ parent: DirectoryHandle,
        _ inspector: DirectoryInspector
    ) throws -> Bool {
        guard let status = try parent.status(name) else { return false }
        let known = history.directory(PathBytes.parent(removal.path))
        if try inspector.isOurs(try EntryName(name), status, known, parent) { return false }
        return try !settle(Conflict(path: removal.path, reason: "changed while the fetch ran"))
    }

    private func makeDirectories(_ findings: InspectionFindings) throws {
        for index in layout.nodes.indices.dropFirst() {
            let node = layout.nodes[index]
            switch findings.directories[index] {
            case .blocked: continue
            case .absent:
                let parent = try handle(node.parent)
                try parent.createDirectory(node.name, permissions: 0o700)
                touch(index)
                touch(node.parent)
            case .present(let permissions):
                // Writable while we write; the right bits come at the end.
                if permissions & 0o700 != 0o700, findings.writes.contains(index) {
                    try handle(index).setPermissions(permissions | 0o700)
                    touch(index)
                }
            }
        }
        for index in findings.wrongAttributes { touch(index) }
    }

    func makeLinks(_ links: [(directory: Int, positions: [Int])]) throws {
        for (index, positions) in links {
            let node = layout.nodes[index]
            let parent = try handle(index)
            for position in positions {
                let link = node.directory.symlinks[position]
                // By rename, so that there is always one of them.
                let temporary = Array("\(Identifier.random())".utf8)
                try temporaries.createSymlink(temporary, target: link.target)
                try temporaries.setModified(temporary, linkModified(node, position))
                try temporaries.rename(temporary, to: parent, link.name.bytes)
            }
            touch(index)
        }
    }

    /// Gives files and links whose content is right the mode and the time that they should have.
    private func mend(_ findings: InspectionFindings) throws {
        for (index, mends) in findings.mends {
            let parent = try handle(index)
            for mend in mends {
                let place = Place(directory: index, file: mend.file)
                let name = layout.nodes[index].directory.files[mend.file].name.bytes
                let wanted = layout.attributes(place, options)
                if mend.status.permissions != wanted.permissions {
                    try parent.setPermissions(name, wanted.permissions)
                }
                if mend.status.modified != wanted.modified {
                    try parent.setModified(name, wanted.modified)
                }
                guard let status = try parent.status(name) else { continue }
                setMark(place, mark(status))
            }
        }
        for (index, positions) in findings.linkTimes {
            let node = layout.nodes[index]
            let parent = try handle(index)
            for position in positions {
                try parent.setModified(
                    node.directory.symlinks[position].name.bytes, linkModified(node, position))
            }
        }
    }
}
