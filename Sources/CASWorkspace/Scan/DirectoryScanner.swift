import CASCore
import CASFileSystem
import CASTree

/// Lists and looks at one directory after another, with buffers of its own; one per worker.
final class DirectoryScanner {
    private struct Entry {
        let offset: Int
        let count: Int
        let kind: FileKind?
    }

    private static let gitName = Array(".git".utf8)

    private let scan: ScanState
    private let listing = ReusableBuffer(capacity: 64 * 1024)
    /// Names of the directory at hand, each with a NUL behind it.
    private let names = ReusableBuffer(capacity: 64 * 1024)
    private var entries: [Entry] = []
    /// The path of the directory at hand below the repository's root, with a slash at its end; while
    /// an entry is looked at, with its name.
    private var path: [UInt8] = []
    private var records: [FileRecord] = []
    private var statuses: [FileStatus] = []
    private var foldable = false
    private(set) var report = ScanReport()

    init(_ scan: ScanState) {
        self.scan = scan
    }

    /// Fills `directory` and returns its subdirectories, by ascending name, and the files that
    /// somebody has to hash.
    func run(
        _ directory: ScannedDirectory
    ) throws -> (subdirectories: [ScannedDirectory], pending: [PendingFile]) {
        guard let scope = directory.scope else { return ([], []) }
        directory.scope = nil
        do {
            let handle = try scan.handles.handle(of: directory)
            let status = try handle.status()
            directory.permissions = status.permissions
            directory.modified = status.modified
            directory.device = status.device
            try scan.onDirectory?(handle)
            try list(handle)
            return try look(directory, handle, scope)
        } catch let error as CASError where error.code == .notFound && directory.parent != nil {
            directory.state = .dropped
        } catch let error as CASError
            where DirectoryScanner.isLocal(error) && directory.parent != nil
        {
            directory.state = .dropped
            report.problems.append(ScanProblem(path: directory.path, error: error))
        }
        return ([], [])
    }

    /// Whether an error is about one entry, so that the scan goes on and names all of them.
    private static func isLocal(_ error: CASError) -> Bool {
        switch error.code {
        case .permissionDenied, .failedPrecondition, .dataLoss, .invalidArgument: true
        default: false
        }
    }

    private func list(_ handle: DirectoryHandle) throws {
        names.removeAll()
        entries.removeAll(keepingCapacity: true)
        try handle.list(buffer: listing) { name, kind in
            entries.append(Entry(offset: names.count, count: name.count, kind: kind))
            names.append(name)
            names.append(maximum: 1) { room in
                room[0] = 0
                return 1
            }
        }
        let bytes = names.bytes
        entries.sort {
            RawOrder.compare(
                UnsafeRawBufferPointer(rebasing: bytes[$0.offset..<$0.offset + $0.count]),
                UnsafeRawBufferPointer(rebasing: bytes[$1.offset..<$1.offset + $1.count])) < 0
        }
    }

    private func name(_ entry: Entry) -> UnsafeBufferPointer<UInt8> {
        UnsafeRawBufferPointer(
            rebasing: names.bytes[entry.offset..<entry.offset + entry.count]
        ).assumingMemoryBound(to: UInt8.self)
    }

    private func look(
        _ directory: ScannedDirectory, _ handle: DirectoryHandle, _ inherited: IgnoreScope
    ) throws -> (subdirectories: [ScannedDirectory], pending: [PendingFile]) {
        path.removeAll(keepingCapacity: true)
        path.append(contentsOf: scan.base)
        if directory.parent != nil {
            path.append(contentsOf: directory.path)
            path.append(Byte.slash)
        }
        let scope = try scopeWithFiles(inherited, handle)
        var cached = scan.cache?.directory(at: directory.cacheOffset)
        var children: [(name: [UInt8], state: ScannedDirectory.State, scope: IgnoreScope)] = []
        records.removeAll(keepingCapacity: true)
        statuses.removeAll(keepingCapacity: true)
        foldable = false
        let pathCount = path.count
        for entry in entries {
            let name = name(entry)
            if directory.parent == nil, name.elementsEqual(ScanState.stateName) { continue }
            path.removeSubrange(pathCount...)
            do {
                try look(name, entry.kind, directory, handle, scope, &cached, &children)
            } catch let error as CASError where error.code == .notFound {
                continue  // It went away after it was listed.
            } catch let error as CASError where DirectoryScanner.isLocal(error) {
                report.problems.append(
                    ScanProblem(path: directory.path(of: name), error: error))
            }
        }
        directory.setFiles(records)
        noteCaseFolding(directory, children.map(\.name))
        let offsets = children.map { child in
            child.name.withUnsafeBytes { cached?.subdirectory($0) }
        }
        let subdirectories = try scan.register(
            zip(children, offsets).map { child, offset in
                (child.name, child.state, child.scope, offset)
            }, in: directory, entries: records.count + directory.links.count)
        directory.subdirectories = subdirectories.map { .init(directory: $0) }
        return (subdirectories, pending(directory))
    }

    private func scopeWithFiles(
        _ scope: IgnoreScope, _ handle: DirectoryHandle
    ) throws -> IgnoreScope {
        let hasFiles = entries.contains { entry in
            entry.count == IgnoreFiles.gitignore.count && names.bytes[entry.offset] == Byte.dot
                && (name(entry).elementsEqual(IgnoreFiles.gitignore)
                    || name(entry).elementsEqual(IgnoreFiles.casignore))
        }
        guard hasFiles else { return scope }
        let files = try IgnoreFiles.read(in: handle, path: path, scope.reads)
        return scope.adding(files, path: path)
    }

    private func pending(_ directory: ScannedDirectory) -> [PendingFile] {
        var pending: [PendingFile] = []
        for (position, status) in statuses.enumerated() {
            report.fileCount += 1
            report.totalBytes += status.size
            guard directory.files[position].state == .pending else {
                report.cachedCount += 1
                continue
            }
            report.pendingBytes += status.size
            pending.append(
                PendingFile(
                    directory: directory, position: position, status: status,
                    handles: scan.handles))
        }
        return pending
    }

    private func noteCaseFolding(_ directory: ScannedDirectory, _ children: [[UInt8]]) {
        guard foldable else { return }
        let files = directory.files.indices.map { Array(directory.name($0)) }
        let collisions = CaseFolding.collisions(files + directory.links.map(\.name) + children)
        for names in collisions {
            report.findings.append(
                .sameIgnoringCase(
                    directory: directory.path, names: names.sorted(by: RawOrder.precedes)))
        }
    }
}

extension DirectoryScanner {
    /// Asks the rules about one entry and takes it in if they keep it.
    private func look(
        _ name: UnsafeBufferPointer<UInt8>, _ listed: FileKind?, _ directory: ScannedDirectory,
        _ handle: DirectoryHandle, _ scope: IgnoreScope, _ cached: inout CachedDirectory?,
        _ children: inout [(name: [UInt8], state: ScannedDirectory.State, scope: IgnoreScope)]
    ) throws {
        guard let base = name.baseAddress else { return }
        let terminated = UnsafeRawPointer(base).assumingMemoryBound(to: CChar.self)
        var status: FileStatus?
        var kind = listed
        if kind == nil {
            guard let found = try handle.status(terminated: terminated) else { return }
            (status, kind) = (found, found.kind)
        }
        let isDirectory = kind == .directory
        if isDirectory || scope.needsPath { path.append(contentsOf: name) }
        var verdict = path.withUnsafeBufferPointer {
            scope.verdict(name: name, path: $0, isDirectory: isDirectory)
        }
        switch verdict {
        case .leaveOut(let rule), .descend(let rule):
            if !isDirectory, !scope.needsPath { path.append(contentsOf: name) }
            if try isTracked(name, isDirectory, rule) {
                verdict = isDirectory ? .tracked(rule) : .keep
            }
        default: break
        }
        switch verdict {
        case .keep, .bringBack, .tracked: break
        case .descend(let rule):
            if scope.reportsEntries {
                report.skip(directory.path(of: name), isDirectory: true, by: rule)
            }
        case .leaveOut(let rule):
            // What lies below a directory that was left out is reported with it.
            if scope.reportsEntries {
                report.skip(directory.path(of: name), isDirectory: isDirectory, by: rule)
            }
            return
        }
        if isDirectory {
            if CaseFolding.isFoldable(name) { foldable = true }
            var state = ScannedDirectory.State.whole
            switch verdict {
            case .descend, .tracked: state = .partial
            default: break
            }
            path.append(Byte.slash)
            children.append((Array(name), state, scope.entering(path, verdict)))
            return
        }
        if kind == .other {
            report.skip(directory.path(of: name), isDirectory: false, by: nil)
            return
        }
        if status == nil { status = try handle.status(terminated: terminated) }
        guard let status else { return }
        if status.kind != kind {
            throw CASError(
                .failedPrecondition, "it was replaced by something else during the scan",
                hint: "run the command again")
        }
        if CaseFolding.isFoldable(name) { foldable = true }
        if kind == .symlink {
            try take(link: Array(name), status, directory, handle)
        } else {
            take(file: name, status, directory, &cached)
        }
    }

    /// Whether git tracks an entry, or something below it, that a rule of git's or a default leaves out.
    ///
    /// To git, such a rule is for what it does not track yet. The entry's path stands in `path`.
    private func isTracked(
        _ name: UnsafeBufferPointer<UInt8>, _ isDirectory: Bool, _ rule: IgnoreMatch
    ) throws -> Bool {
        guard rule.list.kind <= .gitignore, !name.elementsEqual(DirectoryScanner.gitName) else {
            return false
        }
        return isDirectory
            ? try scan.tracked.hasEntries(below: path + [Byte.slash])
            : try scan.tracked.contains(path)
    }

    private func take(
        link name: [UInt8], _ status: FileStatus, _ directory: ScannedDirectory,
        _ handle: DirectoryHandle
    ) throws {
        let target = try handle.readLink(name)
        directory.links.append(LinkRecord(name: name, target: target, modified: status.modified))
        if LinkTarget.leaves(target, depth: directory.depth) {
            report.findings.append(.linkLeaves(path: directory.path(of: name), target: target))
        }
    }

    private func take(
        file name: UnsafeBufferPointer<UInt8>, _ status: FileStatus, _ directory: ScannedDirectory,
        _ cached: inout CachedDirectory?
    ) {
        var record = FileRecord(
            nameOffset: directory.names.count, nameCount: name.count, status: status)
        directory.names.append(contentsOf: name)
        if status.device != directory.device { record.forbidCaching() }
        if let known = cached?.digest(
            of: UnsafeRawBufferPointer(name), record, device: status.device)
        {
            record.digest = known.digest
            if known.isSame { record.state = .cached }
        }
        records.append(record)
        statuses.append(status)
        if SecretNames.matches(name) {
            report.findings.append(.secret(path: directory.path(of: name)))
        }
    }
}
