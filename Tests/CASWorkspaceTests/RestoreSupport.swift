import CASCompression
import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASTree
import CASWorkspace
import Testing

/// A directory as a test describes it.
struct RestoreFolder: Hashable {
    struct File: Hashable {
        var content: [UInt8]
        var permissions: UInt16 = 0o644
        var modified = Timestamp(seconds: 1_600_000_000, nanoseconds: 123_456_789)
    }

    struct Link: Hashable {
        var target: [UInt8]
        var modified = Timestamp(seconds: 1_500_000_000, nanoseconds: 5)
    }

    var files: [[UInt8]: File] = [:]
    var links: [[UInt8]: Link] = [:]
    var folders: [[UInt8]: RestoreFolder] = [:]
    var permissions: UInt16 = 0o755
    var modified = Timestamp(seconds: 1_400_000_000, nanoseconds: 7)

    /// A folder of text files; a name with slashes makes folders.
    init(_ files: [String: String] = [:]) {
        for (path, text) in files { self[path] = File(content: Array(text.utf8)) }
    }

    /// The file at a path; setting one makes the folders above it.
    subscript(path: String) -> File? {
        get {
            guard let slash = path.firstIndex(of: "/") else { return files[Array(path.utf8)] }
            return folders[Array(path[..<slash].utf8)]?[String(path[path.index(after: slash)...])]
        }
        set {
            guard let slash = path.firstIndex(of: "/") else {
                files[Array(path.utf8)] = newValue
                return
            }
            folders[Array(path[..<slash].utf8), default: RestoreFolder()][
                String(path[path.index(after: slash)...])] = newValue
        }
    }

    /// Puts a link at a name of this folder.
    mutating func link(_ name: String, _ target: String) {
        links[Array(name.utf8)] = Link(target: Array(target.utf8))
    }
}

/// A tree with all its messages and files.
struct RestoreTree {
    private(set) var messages: [Digest: [UInt8]] = [:]
    private(set) var files: [Digest: [UInt8]] = [:]
    private(set) var snapshot = Snapshot(
        tree: SizedDigest(digest: .empty, size: 0), attributes: nil, stableAttributes: nil,
        totals: TreeTotals())
    let folder: RestoreFolder
    var digest: Digest { snapshot.digest }

    init(_ folder: RestoreFolder, hasAttributes: Bool = true) throws {
        self.folder = folder
        var totals = TreeTotals()
        let root = try add(folder, &totals)
        snapshot = Snapshot(
            tree: root.0, attributes: hasAttributes ? root.1 : nil, stableAttributes: nil,
            totals: totals)
    }

    private mutating func add(
        _ folder: RestoreFolder, _ totals: inout TreeTotals
    ) throws -> (SizedDigest, SizedDigest) {
        var directory = Directory()
        var attributes = AttributesDirectory(
            own: FileAttributes(permissions: folder.permissions, modified: folder.modified))
        for (name, file) in folder.files {
            let digest = Digest.of(file.content)
            files[digest] = file.content
            directory.files.append(
                FileNode(
                    name: try EntryName(name), digest: digest, size: UInt64(file.content.count),
                    isExecutable: file.permissions & 0o100 != 0))
        }
        var below: [[UInt8]: SizedDigest] = [:]
        for (name, child) in folder.folders {
            let (sized, childAttributes) = try add(child, &totals)
            directory.directories.append(
                DirectoryNode(name: try EntryName(name), digest: sized.digest, size: sized.size))
            below[name] = childAttributes
        }
        for (name, link) in folder.links {
            directory.symlinks.append(SymlinkNode(name: try EntryName(name), target: link.target))
        }
        directory.sort()
        for file in directory.files {
            guard let described = folder.files[file.name.bytes] else { continue }
            attributes.files.append(
                FileAttributes(permissions: described.permissions, modified: described.modified))
        }
        attributes.symlinks = directory.symlinks.compactMap {
            folder.links[$0.name.bytes]?.modified
        }
        attributes.directories = directory.directories.compactMap { below[$0.name.bytes] }
        totals.add(directory.ownTotals)
        return (insert(directory.encode()), insert(attributes.encode()))
    }

    private mutating func insert(_ message: [UInt8]) -> SizedDigest {
        let digest = Digest.of(message)
        messages[digest] = message
        return SizedDigest(digest: digest, size: UInt64(message.count))
    }

    /// All messages as a client gets them.
    func contents() throws -> TreeContents {
        let contents = try TreeContents()
        let stream = try RestoreStream()
        for (digest, message) in messages { try stream.add(.directory, digest, message) }
        try stream.deliver { try contents.insert($0) }
        return contents
    }
}

/// Records as a store sends them.
final class RestoreStream {
    let bytes = ReusableBuffer()
    private let compressor: Compressor

    init() throws { compressor = try Compressor() }

    func add(_ kind: RecordKind, _ digest: Digest, _ raw: [UInt8]) throws {
        try raw.withUnsafeBytes { raw in
            _ = try RecordCoding.appendFrame(
                kind: kind, digest: digest, rawLength: raw.count, to: bytes
            ) { try compressor.encode(raw, into: $0) }
        }
    }

    /// A blob: one record, or a chunk list with its chunks if it is longer than `piece`.
    func add(blob content: [UInt8], piece: Int = 300_000) throws {
        guard content.count > piece else { return try add(.chunk, Digest.of(content), content) }
        try add(.chunkList, Digest.of(content), RestoreStream.list(content, piece).encode())
        for start in stride(from: 0, to: content.count, by: piece) {
            let chunk = Array(content[start..<min(start + piece, content.count)])
            guard chunk.count > 8 else { continue }
            try add(.chunk, Digest.of(chunk), chunk)
        }
    }

    /// How `add` composes a blob; a short rest is an inline term.
    static func list(_ content: [UInt8], _ piece: Int = 300_000) -> ChunkList {
        ChunkList(
            terms: stride(from: 0, to: content.count, by: piece).map { start in
                let chunk = Array(content[start..<min(start + piece, content.count)])
                return chunk.count > 8
                    ? .chunk(Digest.of(chunk), length: UInt32(chunk.count)) : .inline(chunk)
            })
    }

    /// Hands each record out.
    func deliver(_ body: (RecordView) throws -> Void) throws {
        var decoder = RecordStreamDecoder(limits: .standard)
        try decoder.push(bytes.bytes, body)
        try decoder.finish()
    }
}

/// One destination, and one cache, of a test.
final class RestoreArea {
    let temporary: TemporaryDirectory
    var destination: String { temporary.path + "/destination" }
    var cache: String { temporary.path + "/cache" }

    init() throws { temporary = try TemporaryDirectory("cas-restore-") }

    /// The blobs asked for by the last restore.
    private(set) var asked: [Digest] = []

    /// A restore that was opened and not prepared.
    func open(
        _ tree: RestoreTree, _ change: (inout RestoreOptions) -> Void = { _ in }
    ) throws -> Restore {
        var options = RestoreOptions(workers: 3)
        change(&options)
        return try Restore(
            destination: destination, snapshot: tree.snapshot, snapshotDigest: tree.digest,
            contents: try tree.contents(), state: DestinationState.load(destination),
            options: options)
    }

    /// Everything that a fetch does.
    @discardableResult
    func restore(
        _ tree: RestoreTree, to path: String? = nil,
        _ change: (inout RestoreOptions) -> Void = { _ in }
    ) throws -> RestoreSummary {
        var options = RestoreOptions(workers: 3)
        change(&options)
        let destination = path ?? destination
        let restore = try Restore(
            destination: destination, snapshot: tree.snapshot, snapshotDigest: tree.digest,
            contents: try tree.contents(), state: DestinationState.load(destination),
            options: options)
        let plan = try restore.prepare()
        asked = plan.blobs
        try send(plan.blobs, of: tree, to: restore)
        return try restore.finish()
    }

    /// Sends blobs through one worker.
    func send(_ blobs: [Digest], of tree: RestoreTree, to restore: Restore) throws {
        let stream = try RestoreStream()
        for digest in blobs.sorted() {
            try stream.add(blob: try #require(tree.files[digest]))
        }
        let worker = try restore.makeWorker()
        try stream.deliver { try worker.consume($0) }
        try worker.finish()
    }

    /// What lies in a directory, read without the code under test; `.cas` left out.
    func read(_ path: String? = nil) throws -> RestoreFolder {
        var folder = try RestoreArea.read(DirectoryHandle(path: path ?? destination))
        folder.folders[Array(".cas".utf8)] = nil
        return folder
    }

    private static func read(_ handle: DirectoryHandle) throws -> RestoreFolder {
        var folder = RestoreFolder()
        let own = try handle.status()
        folder.permissions = own.permissions
        folder.modified = own.modified
        var names: [[UInt8]] = []
        try handle.list { name, _ in names.append(Array(name)) }
        for name in names {
            let status = try #require(try handle.status(name))
            switch status.kind {
            case .directory: folder.folders[name] = try read(try handle.openDirectory(name))
            case .symlink:
                folder.links[name] = RestoreFolder.Link(
                    target: try handle.readLink(name), modified: status.modified)
            default:
                let file = try handle.openFile(name)
                let buffer = ReusableBuffer(capacity: Int(status.size) + 1)
                try buffer.append(maximum: Int(status.size) + 1) { try file.read(into: $0) }
                folder.files[name] = RestoreFolder.File(
                    content: Array(buffer.bytes), permissions: status.permissions,
                    modified: status.modified)
            }
        }
        return folder
    }

    // MARK: - What a user does

    private func parent(_ path: String) throws -> DirectoryHandle {
        let full = "\(destination)/\(path)"
        try DiskFileSystem().createDirectory(FilePaths.parent(full))
        return try DirectoryHandle(path: FilePaths.parent(full))
    }

    /// Writes a file as an editor does.
    func write(_ path: String, _ text: String) throws {
        let parent = try parent(path)
        let name = Array(FilePaths.name(path).utf8)
        try parent.removeFile(name)
        let file = try parent.createFile(name, permissions: 0o644)
        try Array(text.utf8).withUnsafeBytes { try file.write($0) }
    }

    /// Writes into a file where it lies, and gives it back the time that it had.
    func overwrite(_ path: String, _ text: String) throws {
        let parent = try parent(path)
        let name = Array(FilePaths.name(path).utf8)
        let status = try #require(try parent.status(name))
        let file = try DiskFileSystem().open("\(destination)/\(path)", .readWrite)
        try file.truncate(to: 0)
        try Array(text.utf8).withUnsafeBytes { try file.append($0) }
        file.close()
        try parent.setModified(name, status.modified)
    }

    /// Changes a byte of a file and nothing else that can be seen.
    func damage(_ path: String) throws {
        let status = try #require(try DiskFileSystem().status(path))
        let parent = try DirectoryHandle(path: FilePaths.parent(path))
        let file = try DiskFileSystem().open(path, .readWrite)
        var bytes = [UInt8](repeating: 0, count: Int(status.size))
        _ = try bytes.withUnsafeMutableBytes { try file.read(at: 0, into: $0) }
        bytes[bytes.count / 2] ^= 1
        try file.truncate(to: 0)
        try bytes.withUnsafeBytes { try file.append($0) }
        file.close()
        try parent.setModified(Array(FilePaths.name(path).utf8), status.modified)
    }

    /// How every file of the destination looks to the kernel.
    func stamps() throws -> [String: FileStatus] {
        var found: [String: FileStatus] = [:]
        var pending: [[UInt8]] = [[]]
        let root = try DirectoryHandle(path: destination)
        while let path = pending.popLast() {
            let handle = try #require(try root.open(beneath: path))
            var names: [[UInt8]] = []
            try handle.list { name, _ in names.append(Array(name)) }
            for name in names where path.isEmpty ? name != Array(".cas".utf8) : true {
                let entry = path.isEmpty ? name : path + [0x2f] + name
                let status = try #require(try handle.status(name))
                if status.kind == .directory {
                    pending.append(entry)
                } else {
                    found[String(decoding: entry, as: UTF8.self)] = status
                }
            }
        }
        return found
    }

    func link(_ path: String, _ target: String) throws {
        let parent = try parent(path)
        try parent.removeFile(Array(FilePaths.name(path).utf8))
        try parent.createSymlink(Array(FilePaths.name(path).utf8), target: Array(target.utf8))
    }

    func makeDirectory(_ path: String) throws {
        try DiskFileSystem().createDirectory("\(destination)/\(path)")
    }

    func remove(_ path: String) throws { try Host.removeTree("\(destination)/\(path)") }

    func text(_ path: String) throws -> String? {
        try read()[path].map { String(decoding: $0.content, as: UTF8.self) }
    }

    /// Names in `.cas/tmp`, where nothing is to stay.
    func leftovers() throws -> [String] { try DiskFileSystem().list("\(destination)/.cas/tmp") }
}

/// The error that `body` throws; nil if it throws none.
func failure(_ body: () throws -> Void) -> CASError? {
    do {
        try body()
        return nil
    } catch {
        return error as? CASError ?? CASError(.unknown, "\(error)")
    }
}

/// Expects an error of a kind whose text has all of `words`.
func expectFailure(
    _ code: CASError.Code, _ words: String..., location: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    let error = failure(body)
    #expect(error?.code == code, "\(String(describing: error))", sourceLocation: location)
    let text = error.map { "\($0) \($0.hint ?? "")" } ?? ""
    for word in words {
        #expect(text.contains(word), "\(text)", sourceLocation: location)
    }
}
