import CASCore
import CASFileSystem
import CASTree

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

/// A file whose content is right and whose mode or time is not.
struct Mend: Sendable {
    let file: Int
    let status: FileStatus
}

/// What stands where a directory of the new tree is to be.
enum DirectoryFinding: Sendable, Equatable {
    case absent
    case present(permissions: UInt16)
    /// Something of the user's, which stays: nothing is restored below.
    case blocked
}

/// What one directory of the new tree needs.
struct DirectoryFindings {
    var directory = DirectoryFinding.absent
    var needed: [Int] = []
    /// Those of them that take the place of something.
    var replaced: [Int] = []
    var links: [Int] = []
    var linkTimes: [Int] = []
    var mends: [Mend] = []
    var marks: [(file: Int, mark: RestoreState.Mark)] = []
    var halves: [Int] = []
    var conflicts: [Conflict] = []
    var removals: [Removal] = []
    var hasWrongAttributes = false

    /// Notes that a file takes the place of what is there.
    mutating func replace(_ position: Int) {
        needed.append(position)
        replaced.append(position)
    }

    mutating func conflict(_ path: [UInt8], _ reason: String, _ options: RestoreOptions) {
        conflicts.append(Conflict(path: path, reason: reason))
        if options.force { removals.append(Removal(path: path, kind: .anything)) }
    }
}

/// What the whole destination needs.
struct InspectionFindings: Sendable {
    var needed: [Restore.Place] = []
    var replaced: Set<Restore.Place> = []
    var links: [(directory: Int, positions: [Int])] = []
    var linkTimes: [(directory: Int, positions: [Int])] = []
    var mends: [(directory: Int, mends: [Mend])] = []
    var marks: [(Restore.Place, RestoreState.Mark)] = []
    /// Files that an interrupted restore may have left half-written.
    var halves: Set<Restore.Place> = []
    var conflicts: [Conflict] = []
    var removals: [Removal] = []
    var directories: [DirectoryFinding] = []
    var wrongAttributes: [Int] = []
    /// Directories whose entries change.
    var writes: Set<Int> = []

    mutating func merge(_ found: DirectoryFindings, _ index: Int, parent: Int) {
        directories[index] = found.directory
        needed += found.needed.map { Restore.Place(directory: index, file: $0) }
        for file in found.replaced {
            replaced.insert(Restore.Place(directory: index, file: file))
        }
        for half in found.halves { halves.insert(Restore.Place(directory: index, file: half)) }
        marks += found.marks.map { (Restore.Place(directory: index, file: $0.file), $0.mark) }
        if !found.links.isEmpty { links.append((index, found.links)) }
        if !found.linkTimes.isEmpty { linkTimes.append((index, found.linkTimes)) }
        if !found.mends.isEmpty { mends.append((index, found.mends)) }
        conflicts += found.conflicts
        removals += found.removals
        if found.hasWrongAttributes { wrongAttributes.append(index) }
        if !found.needed.isEmpty || !found.links.isEmpty || !found.mends.isEmpty {
            writes.insert(index)
        }
        // A new directory is an entry of the one above.
        if found.directory == .absent { writes.insert(parent) }
    }

    /// Takes out everything below directories that can not be made because something of the user's
    /// stays in their place.
    mutating func dropBlocked(_ layout: RestoreLayout, keeping: Bool) {
        if keeping {
            let kept = Set(conflicts.map(\.path))
            for index in layout.nodes.indices.dropFirst()
            where directories[index] == .absent && kept.contains(layout.nodes[index].path) {
                directories[index] = .blocked
            }
        }
        for index in layout.nodes.indices.dropFirst()
        where directories[layout.nodes[index].parent] == .blocked {
            directories[index] = .blocked
        }
        let blocked = Set(directories.indices.filter { directories[$0] == .blocked })
        guard !blocked.isEmpty else { return }
        needed.removeAll { blocked.contains($0.directory) }
        links.removeAll { blocked.contains($0.directory) }
        linkTimes.removeAll { blocked.contains($0.directory) }
        mends.removeAll { blocked.contains($0.directory) }
        wrongAttributes.removeAll { blocked.contains($0) }
    }
}
