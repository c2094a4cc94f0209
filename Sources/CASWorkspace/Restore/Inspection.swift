import CASCore
import CASFileSystem
import CASTree
import Synchronization

/// A file of the user's that is where the restore wants to write or remove.
struct Conflict: Sendable {
    let path: [UInt8]
    let reason: String
}

/// Something that has to go.
struct Removal: Sendable {
    enum Kind: Sendable {
        case file
        case directory
        /// Whatever it is, with everything in it: the user said `force`.
        case anything
    }
    let path: [UInt8]
    let kind: Kind
}

/// Looks at a destination: what of the new tree is there, what of the old one is in the way.
///
/// Reads only. Every file that may stay is looked at with one lstat; content is read only where the
/// look does not settle it.
final class Inspection: Sendable {
    enum DirectoryFinding: Sendable, Equatable {
        case absent
        case present(permissions: UInt16)
    }

    struct Findings: Sendable {
        var needed: [Restore.Place] = []
        var links: [(Int, [Int])] = []
        var conflicts: [Conflict] = []
        var removals: [Removal] = []
        var directories: [DirectoryFinding] = []
        var wrongAttributes: [Int] = []
        var writes: Set<Int> = []
        var kept = 0
    }

    private let restore: Restore
    private let old: RestoreState?
    private let oldLayout: RestoreLayout?
    private let interruptedLayout: RestoreLayout?
    private let findings = Mutex(Findings())

    init(
        _ restore: Restore, old: RestoreState?, _ oldLayout: RestoreLayout?,
        _ interruptedLayout: RestoreLayout?
    ) throws {
        self.restore = restore
        self.old = old
        self.oldLayout = oldLayout
        self.interruptedLayout = interruptedLayout
    }

    func run() throws -> Findings {
        let count = restore.layout.nodes.count
        findings.withLock {
            $0.directories = [DirectoryFinding](repeating: .absent, count: count)
        }
        // A destination without any entry needs no looks at all.
        if try isEmpty() {
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
            }
            return findings.withLock { $0 }
        }
        let cursor = SharedCursor(count: count)
        try WorkerGroup.run(count: restore.options.workers, name: "inspect") { _ in
            let inspector = DirectoryInspector(self.restore)
            while let index = cursor.take() {
                let parent = self.restore.layout.nodes[index].parent
                let found = try inspector.inspect(
                    index, self.history(index), above: self.history(parent))
                self.findings.withLock { $0.merge(found, index) }
            }
        }
        try inspectOld()
        return findings.withLock { $0 }
    }

    private func isEmpty() throws -> Bool {
        guard old == nil, interruptedLayout == nil else { return false }
        var isEmpty = true
        try restore.root.list { name, _ in
            if !name.elementsEqual(RestoreLayout.stateName.utf8) { isEmpty = false }
        }
        return isEmpty
    }

    /// What earlier restores put, or were about to put, into a directory.
    private func history(_ index: Int) -> DirectoryHistory {
        let path = restore.layout.nodes[index].path
        var history = DirectoryHistory()
        if let oldLayout, let position = oldLayout.byPath[path] {
            history.old = oldLayout.nodes[position]
            if let marks = old?.marks, position < marks.count { history.marks = marks[position] }
        }
        if let layout = interruptedLayout, let position = layout.byPath[path] {
            history.interrupted = layout.nodes[position]
        }
        return history
    }

    /// Finds what the old trees have and the new one has not.
    private func inspectOld() throws {
        for (layout, isOld) in [(oldLayout, old?.marks), (interruptedLayout, nil)] {
            guard let layout else { continue }
            for index in layout.nodes.indices {
                let node = layout.nodes[index]
                let present = restore.layout.byPath[node.path].map { restore.layout.nodes[$0] }
                if present?.digest == node.digest { continue }
                guard let directory = try restore.root.open(beneath: node.path) else { continue }
                let marks = isOld.flatMap { index < $0.count ? $0[index] : nil }
                try inspectOld(node, present, directory, marks)
            }
        }
    }

    private func inspectOld(
        _ node: RestoreLayout.Node, _ present: RestoreLayout.Node?, _ directory: DirectoryHandle,
        _ marks: [RestoreState.Mark]?
    ) throws {
        let inspector = DirectoryInspector(restore)
        for (position, file) in node.directory.files.enumerated() {
            if present?.directory.file(file.name) != nil { continue }
            guard let status = try directory.status(file.name.bytes) else { continue }
            let path = PathBytes.join(node.path, file.name.bytes)
            let mark = marks.flatMap { position < $0.count ? $0[position] : nil }
            if mark == RestoreState.Mark.none { continue }
            let isOurs =
                try status.kind == .regular
                && (mark == RestoreState.Mark(status)
                    || inspector.hash(directory, file.name.bytes, status) == file.digest)
            if isOurs {
                add(Removal(path: path, kind: .file))
            } else {
                conflict(
                    path, "changed since it was fetched, and the new snapshot has no such file")
            }
        }
        for link in node.directory.symlinks where present?.directory.symlink(link.name) == nil {
            guard let status = try directory.status(link.name.bytes), status.kind == .symlink,
                try directory.readLink(link.name.bytes) == link.target
            else { continue }
            add(Removal(path: PathBytes.join(node.path, link.name.bytes), kind: .file))
        }
        for child in node.directory.directories
        where present?.directory.directory(child.name) == nil {
            add(Removal(path: PathBytes.join(node.path, child.name.bytes), kind: .directory))
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

extension Inspection.Findings {
    fileprivate mutating func merge(_ found: DirectoryFindings, _ index: Int) {
        directories[index] = found.directory
        needed += found.needed.map { Restore.Place(directory: index, file: $0) }
        if !found.links.isEmpty { links.append((index, found.links)) }
        conflicts += found.conflicts
        removals += found.removals
        kept += found.kept
        if found.hasWrongAttributes { wrongAttributes.append(index) }
        if !found.needed.isEmpty || !found.links.isEmpty || !found.removals.isEmpty {
            writes.insert(index)
        }
        if found.directory == .absent { writes.insert(index) }
    }
}
