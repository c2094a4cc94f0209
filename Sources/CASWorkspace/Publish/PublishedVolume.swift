package import CASCore
import CASFileSystem
import CASTree

/// A directory with versions of a snapshot side by side, as `cas publish` keeps it (Published.md).
///
/// One publisher at a time: it holds a lock. A version has its name only when it is whole and durable, and
/// loses it before it is removed.
package final class PublishedVolume {
    /// Points at which a test lets something fail.
    package enum Step: String, Sendable, CaseIterable {
        case clean, build, seal, durable, record, name, nameDurable, current, currentDurable, mark
        case retire, remove
    }

    static let recordsName = Array("versions".utf8)
    private static let retiredName = Array("retired".utf8)
    private static let keepName = Array("keep".utf8)
    private static let currentName = Array("current".utf8)
    private static let buildingPrefix = ".building-"
    private static let retiringPrefix = ".retiring-"
    private static let linkPrefix = ".current-"
    private static let tolerated: Set = [RestoreLayout.stateName, "lost+found"]
    private static let versionMode: UInt16 = 0o555

    /// Where it lies.
    package let path: String
    let root: DirectoryHandle
    let state: DirectoryHandle
    private let records: DirectoryHandle
    private let retired: DirectoryHandle
    private let lock: FileLock
    /// Called before each step; what it throws is the step's failure.
    package var onStep: (Step) throws -> Void = { _ in }

    /// Opens a volume, made of a directory that is empty or does not exist yet, and locks it.
    ///
    /// Nil while somebody else publishes there. Throws `failedPrecondition` for a directory with other
    /// things in it.
    package init?(_ path: String) throws {
        self.path = path
        let isOurs = try PublishedVolume.isVolume(path)
        if !isOurs { try PublishedVolume.checkEmpty(path) }
        try DiskFileSystem().createDirectory(path)
        root = try DirectoryHandle(path: path)
        let root = root
        let state = try Destination.writable(path) { try Destination.openState(root) }
        self.state = state
        guard
            let lock = try Destination.writable(path, { try FileLock(in: state, name: "lock") })
        else { return nil }
        self.lock = lock
        records = try Destination.make(Self.recordsName, in: state)
        retired = try Destination.make(Self.retiredName, in: state)
        _ = try Destination.make(Self.keepName, in: state)
    }

    /// Whether a directory is one that `cas publish` keeps.
    package static func isVolume(_ path: String) throws -> Bool {
        let records = "\(path)/\(RestoreLayout.stateName)/versions"
        return try DiskFileSystem().status(records)?.kind == .directory
    }

    private static func checkEmpty(_ path: String) throws {
        let files = DiskFileSystem()
        guard let status = try files.status(path) else { return }
        guard status.kind == .directory else {
            throw CASError(
                .failedPrecondition, "the place to publish to is a file", hint: "name a directory",
                path: path)
        }
        if DestinationState.load(path).isOurs {
            throw CASError(
                .failedPrecondition, "the directory is the destination of a cas fetch",
                hint: "publish into a directory of its own", path: path)
        }
        let others = try files.list(path).filter { !tolerated.contains($0) }
        guard others.isEmpty else {
            throw CASError(
                .failedPrecondition,
                "the directory is not empty and was not made by cas publish: it holds "
                    + others.prefix(3).joined(separator: ", "),
                hint: "name an empty directory", path: path)
        }
    }

    func step(_ step: Step) throws { try onStep(step) }

    // MARK: - Versions

    private static func name(_ digest: Digest) -> [UInt8] { Array(digest.hexadecimal.utf8) }

    /// The versions that have their names, in no order.
    package func versions() throws -> [Digest] {
        var found: [Digest] = []
        try root.duplicate().list { name, _ in
            guard let digest = Digest(hexadecimal: Substring(decoding: name, as: UTF8.self)) else {
                return
            }
            found.append(digest)
        }
        return try found.filter {
            try root.status(PublishedVolume.name($0))?.kind == .directory
        }
    }

    /// The version that `current` names; nil for none.
    package func current() throws -> Digest? {
        guard let status = try root.status(Self.currentName) else { return nil }
        guard status.kind == .symlink else {
            throw CASError(
                .failedPrecondition, "there is a 'current' that cas publish did not make",
                hint: "remove it, or publish into another directory", path: path)
        }
        let target = String(decoding: try root.readLink(Self.currentName), as: UTF8.self)
        return Digest(hexadecimal: target[...])
    }

    /// What is known of a version since it was published.
    private func record(_ digest: Digest, _ limits: Limits) -> RestoreState? {
        RestoreState.load(
            "\(path)/\(RestoreLayout.stateName)/versions/\(digest.hexadecimal)", limits: limits)
    }

    /// Files of older versions: the current one's, and those of the others that were current last.
    package func older(limits: Limits, isDryRun: Bool = false) throws -> OlderVersions {
        let current = try current()
        let others = try versions().filter { $0 != current }.map { digest in
            (digest, try retired.status(PublishedVolume.name(digest))?.modified)
        }.sorted { ($0.1 ?? Timestamp(seconds: 0)) > ($1.1 ?? Timestamp(seconds: 0)) }.map(\.0)
        var known: [(root: DirectoryHandle, state: RestoreState)] = []
        for digest in [current].compactMap({ $0 }) + others where known.count < OlderVersions.limit
        {
            guard let state = record(digest, limits), state.snapshotDigest == digest,
                let handle = try root.open(beneath: PublishedVolume.name(digest))
            else { continue }
            known.append((handle, state))
        }
        let isCloning = try !isDryRun && self.isCloning()
        return try OlderVersions(known, isCloning: isCloning, limits: limits)
    }

    /// Whether the file system shares blocks between files.
    private func isCloning() throws -> Bool {
        let names = [0, 1].map { _ in Array("probe.\(Identifier.random())".utf8) }
        defer {
            // What stays is removed by the next publisher.
            for name in names { _ = try? state.removeFile(name) }
        }
        let source = try state.createFile(names[0])
        try [UInt8](repeating: 1, count: 4096).withUnsafeBytes { try source.write($0) }
        let target = try state.createFile(names[1])
        return target.clone(from: source)
    }

    /// Whether a version is there and still what was published; false for one that has to be built.
    package func isWhole(_ digest: Digest, limits: Limits) throws -> Bool {
        guard let handle = try root.open(beneath: PublishedVolume.name(digest)) else {
            return false
        }
        guard let state = record(digest, limits), state.snapshotDigest == digest else {
            return false
        }
        let layout = try RestoreLayout(state.snapshot, state.contents, limits: limits)
        let marks = state.trustedMarks
        let buffer = ReusableBuffer(capacity: 1 << 20)
        for (index, node) in layout.nodes.enumerated() {
            guard let directory = try handle.open(beneath: node.path) else { return false }
            for (position, file) in node.directory.files.enumerated() {
                guard let status = try directory.status(file.name.bytes),
                    status.kind == .regular, status.size == file.size
                else { return false }
                if marks.indices.contains(index), marks[index].indices.contains(position),
                    marks[index][position].matches(status)
                {
                    continue
                }
                let opened = try directory.openFile(file.name.bytes)
                guard try PublishedVolume.hash(opened, buffer) == file.digest else { return false }
            }
            for link in node.directory.symlinks {
                guard try directory.status(link.name.bytes)?.kind == .symlink,
                    try directory.readLink(link.name.bytes) == link.target
                else { return false }
            }
        }
        return true
    }

    private static func hash(
        _ file: borrowing OpenFile, _ buffer: ReusableBuffer
    ) throws -> Digest {
        var hasher = DigestHasher()
        buffer.resize(to: 1 << 20)
        while true {
            let count = try file.read(into: buffer.mutableBytes)
            hasher.update(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
            if count < buffer.count { return hasher.finish() }
        }
    }

    // MARK: - Building

    /// Removes what publishers left that were killed; how much that was.
    @discardableResult
    package func clean() throws -> Int {
        try step(.clean)
        let prefixes = [Self.buildingPrefix, Self.retiringPrefix, Self.linkPrefix]
        var names: [[UInt8]] = []
        try root.duplicate().list { name, _ in
            if prefixes.contains(where: { name.starts(with: $0.utf8) }) {
                names.append(Array(name))
            }
        }
        for name in names { try Host.removeTree(name, in: root) }
        var probes: [[UInt8]] = []
        try state.duplicate().list { name, _ in
            if name.starts(with: "probe.".utf8) { probes.append(Array(name)) }
        }
        for name in probes { try state.removeFile(name) }
        return names.count
    }

    /// Calls `fill` with an empty hidden directory of the volume, and makes what it wrote there the version
    /// `digest`; `fill` returns what to remember of it.
    ///
    /// Whatever fails, nothing of it stays visible.
    package func build(_ digest: Digest, _ fill: (String) throws -> [UInt8]) throws {
        let building = Self.buildingPrefix + "\(Identifier.random())"
        let name = Array(building.utf8)
        do {
            try step(.build)
            try root.createDirectory(name, permissions: 0o700)
            let state = try fill("\(path)/\(building)")
            try step(.seal)
            try seal(name)
            try step(.durable)
            try root.synchronizeFileSystem()
            try step(.record)
            try write(state, digest)
            try putName(name, digest)
        } catch {
            // The first failure is the one to hear of; what stays is hidden, and removed by the next publisher.
            _ = try? Host.removeTree(name, in: root)
            throw error
        }
        try step(.nameDurable)
        try root.synchronize()
    }

    /// Takes away what the restore left of its own, and write access to the top.
    private func seal(_ name: [UInt8]) throws {
        let directory = try root.openDirectory(name)
        let modified = try directory.status().modified
        try directory.setPermissions(0o700)
        try Host.removeTree(Array(RestoreLayout.stateName.utf8), in: directory)
        try directory.setModified(modified)
        try directory.setPermissions(Self.versionMode)
    }

    private func write(_ bytes: [UInt8], _ digest: Digest) throws {
        let name = PublishedVolume.name(digest)
        try DiskFileSystem().replace(
            "\(path)/\(RestoreLayout.stateName)/versions/\(String(decoding: name, as: UTF8.self))",
            bytes)
    }

    private func putName(_ building: [UInt8], _ digest: Digest) throws {
        let name = PublishedVolume.name(digest)
        try step(.name)
        if try root.status(name) != nil {
            // Damaged, or somebody else's: out of the way, so that the name never names half of it.
            let aside = Array("\(Self.retiringPrefix)\(Identifier.random())".utf8)
            try root.rename(name, to: root, aside)
            try root.rename(building, to: root, name, replacing: false)
            try Host.removeTree(aside, in: root)
        } else {
            try root.rename(building, to: root, name, replacing: false)
        }
    }

    /// Lets `current` name a version; the one that it named before, if that is another.
    package func setCurrent(_ digest: Digest) throws -> Digest? {
        let old = try current()
        guard old != digest else { return nil }
        let name = PublishedVolume.name(digest)
        try step(.current)
        try retired.removeFile(name)
        let link = Array("\(Self.linkPrefix)\(Identifier.random())".utf8)
        try root.createSymlink(link, target: name)
        do { try root.rename(link, to: root, Self.currentName) } catch {
            // The next publisher removes it.
            _ = try? root.removeFile(link)
            throw error
        }
        try step(.currentDurable)
        try root.synchronize()
        try step(.mark)
        if let old, try root.status(PublishedVolume.name(old)) != nil { try markRetired(old) }
        return old
    }

    private func markRetired(_ digest: Digest) throws {
        let name = PublishedVolume.name(digest)
        try retired.removeFile(name)
        _ = try retired.createFile(name, permissions: 0o644)
    }

    // MARK: - Retiring

    /// A version that is not current.
    package struct Old: Sendable {
        /// Its snapshot.
        package let digest: Digest
        /// Since when it is not current.
        package let since: Timestamp
        /// Whether somebody put a file into `.cas/keep` for it.
        package let isKept: Bool
    }

    /// The versions that are not current, the oldest first, and the time on this file system.
    package func old(isDryRun: Bool = false) throws -> (versions: [Old], now: Timestamp) {
        let current = try current()
        let now = try isDryRun ? SystemClock().now() : time()
        let kept = try keptNames()
        let versions = try versions().filter { $0 != current }.map { digest in
            let name = PublishedVolume.name(digest)
            if try retired.status(name) == nil, !isDryRun { try markRetired(digest) }
            let since = try retired.status(name)?.modified ?? now
            return Old(
                digest: digest, since: since,
                isKept: kept.contains { $0.starts(with: name) })
        }
        return (versions.sorted { ($0.since, $0.digest) < ($1.since, $1.digest) }, now)
    }

    private func keptNames() throws -> [[UInt8]] {
        var names: [[UInt8]] = []
        try state.openDirectory(Self.keepName).list { name, _ in names.append(Array(name)) }
        return names
    }

    /// The time by the clock that stamps the files here, which may be another machine's.
    private func time() throws -> Timestamp {
        let name = Array("probe.\(Identifier.random())".utf8)
        let file = try state.createFile(name)
        let time = try file.status().modified
        try state.removeFile(name)
        return time
    }

    /// Removes a version: first its name, then its files.
    package func retire(_ digest: Digest) throws {
        let name = PublishedVolume.name(digest)
        try step(.retire)
        let aside = Array("\(Self.retiringPrefix)\(Identifier.random())".utf8)
        try root.rename(name, to: root, aside)
        try root.synchronize()
        try records.removeFile(name)
        try retired.removeFile(name)
        try step(.remove)
        try Host.removeTree(aside, in: root)
    }
}
