import CASCore
import CASFileSystem
import CASTree
import Synchronization

/// Looks at a destination: what of the new tree is there, what of the old one is in the way.
///
/// Changes nothing, but for directories of ours that nobody can look into. Every file that may stay is
/// looked at with one lstat; content is read only where the look does not settle it.
final class Inspection: Sendable {
    private let restore: Restore
    private let history: DestinationHistory
    private let findings = Mutex(InspectionFindings())
    private let opened = Mutex<[(path: [UInt8], permissions: UInt16)]>([])

    init(_ restore: Restore, _ history: DestinationHistory) {
        self.restore = restore
        self.history = history
    }

    func run() throws -> InspectionFindings {
        let layout = restore.layout
        findings.withLock {
            $0.directories = [DirectoryFinding](repeating: .absent, count: layout.nodes.count)
        }
        // A destination without any entry needs no looks at all.
        if try isEmpty() { return everything() }
        try openClosed()
        let cursor = SharedCursor(count: layout.nodes.count)
        try WorkerGroup.run(count: restore.options.workers, name: "inspect") { _ in
            let inspector = DirectoryInspector(self.restore, self.history)
            while let index = cursor.take() {
                let found = try inspector.inspect(index)
                self.findings.withLock {
                    $0.merge(found, index, parent: layout.nodes[index].parent)
                }
            }
        }
        try inspectOld()
        let isKeeping = restore.options.keep && !restore.options.force
        return findings.withLock { findings in
            findings.dropBlocked(layout, keeping: isKeeping)
            return findings
        }
    }

    private func isEmpty() throws -> Bool {
        guard history.isEmpty else { return false }
        var isEmpty = true
        try restore.root.list { name, _ in
            if !name.elementsEqual(RestoreLayout.stateName.utf8) { isEmpty = false }
        }
        return isEmpty
    }

    private func everything() -> InspectionFindings {
        findings.withLock { findings in
            for (index, node) in restore.layout.nodes.enumerated() {
                for file in node.directory.files.indices {
                    findings.needed.append(Restore.Place(directory: index, file: file))
                }
                if !node.directory.symlinks.isEmpty {
                    findings.links.append((index, Array(node.directory.symlinks.indices)))
                }
            }
            findings.wrongAttributes = [0]
            return findings
        }
    }

    // MARK: - Directories that are closed even to their owner

    /// Opens directories of ours whose own mode keeps us from looking into them; `finish` closes them.
    private func openClosed() throws {
        for layout in [history.old, history.interrupted].compactMap({ $0 }) {
            for node in layout.nodes.dropFirst() {
                guard let own = node.attributes?.own, own.permissions & 0o500 != 0o500,
                    let parent = try restore.root.open(beneath: PathBytes.parent(node.path)),
                    let status = try parent.status(node.name), status.kind == .directory,
                    status.permissions & 0o700 != 0o700
                else { continue }
                try parent.setPermissions(node.name, status.permissions | 0o700)
                opened.withLock { $0.append((node.path, status.permissions)) }
            }
        }
    }

    /// Closes again what `openClosed` opened: the restore does not take place.
    func closeAgain() throws {
        for (path, permissions) in opened.withLock({ $0 }).reversed() {
            try restore.root.open(beneath: path)?.setPermissions(permissions)
        }
    }

    // MARK: - What is no longer wanted

    /// Finds what the old trees have and the new one has not.
    private func inspectOld() throws {
        let inspector = DirectoryInspector(restore, history)
        var seen: Set<[UInt8]> = []
        for layout in [history.old, history.interrupted].compactMap({ $0 }) {
            for node in layout.nodes where seen.insert(node.path).inserted {
                let known = history.directory(node.path)
                let present = restore.layout.byPath[node.path].map { restore.layout.nodes[$0] }
                if let present, known.old?.digest ?? present.digest == present.digest,
                    known.interrupted?.digest ?? present.digest == present.digest
                {
                    continue
                }
                guard let directory = try restore.root.open(beneath: node.path) else { continue }
                for name in known.names
                where present?.directory.file(name) == nil
                    && present?.directory.symlink(name) == nil
                {
                    try inspectOld(name, node.path, known, directory, inspector)
                }
                for name in known.directoryNames where present?.directory.directory(name) == nil {
                    add(Removal(path: PathBytes.join(node.path, name.bytes), kind: .directory))
                }
            }
        }
    }

    private func inspectOld(
        _ name: EntryName, _ parent: [UInt8], _ known: DirectoryHistory,
        _ directory: DirectoryHandle, _ inspector: DirectoryInspector
    ) throws {
        // A file that the user kept instead of ours is his for good.
        if let mark = known.mark(name)?.mark, mark == .none { return }
        guard let status = try directory.status(name.bytes) else { return }
        let path = PathBytes.join(parent, name.bytes)
        if try inspector.isOurs(name, status, known, directory) {
            add(Removal(path: path, kind: .file))
        } else if let begun = known.begun(name) {
            // Never finished: as long as a whole one, it can only be the user's, and stays.
            guard status.kind == .regular, status.size < begun.size else { return }
            conflict(path, "not from an earlier fetch, or left half-written by an interrupted one")
        } else if known.old?.directory.file(name) != nil
            || known.old?.directory.symlink(name) != nil
        {
            conflict(path, "changed since it was fetched, and the new snapshot has no such file")
        }
    }

    private func add(_ removal: Removal) {
        findings.withLock { $0.removals.append(removal) }
    }

    private func conflict(_ path: [UInt8], _ reason: String) {
        findings.withLock { findings in
            findings.conflicts.append(Conflict(path: path, reason: reason))
            if restore.options.force {
                findings.removals.append(Removal(path: path, kind: .anything))
            }
        }
    }
}
