import CASCompression
import CASCore
import CASFileSystem
import CASPack
import CASTree
import CASWorkspace
import Synchronization

/// A directory from which a repair takes what it is asked for; read when something is asked for first.
final class RepairSource {
    private static let pieceBytes = 1 << 20
    private static let uploadBytes = 4 << 20
    private static let readAttempts = 3

    private let options: RepairOptions
    private let counters: ProgressCounters
    /// The files that a push would take, and the messages of that tree.
    private var workspace: (tree: ScannedTree, messages: AssembledTree?)?
    /// All files, whatever rules leave out.
    private var everything: ScannedTree?

    init(_ options: RepairOptions, _ counters: ProgressCounters) {
        self.options = options
        self.counters = counters
    }

    /// Sends what of these blobs the directory has; from where it was taken, one text for each blob.
    func send(_ wanted: Set<Digest>, _ context: PushContext) throws -> [String] {
        guard !wanted.isEmpty else { return [] }
        let known: (tree: ScannedTree, messages: AssembledTree?)
        if let workspace {
            known = workspace
        } else {
            let tree = try scan(options.scan, cachePath: options.cachePath)
            known = (tree, try messages(of: tree))
            workspace = known
        }
        var rest = wanted
        var sent = try send(files: &rest, known.tree, context)
        if let messages = known.messages { sent += try send(messages: &rest, messages, context) }
        guard !rest.isEmpty else { return sent }
        // Pushed with --include, or moved to where rules leave it out.
        let all: ScannedTree
        if let everything {
            all = everything
        } else {
            var scan = ScanOptions(includes: ["*"], useDefaults: false)
            scan.workers = options.scan.workers
            all = try self.scan(scan, cachePath: nil)
            everything = all
        }
        return sent + (try send(files: &rest, all, context))
    }

    /// The messages of a tree; nil where something in it can not be read.
    private func messages(of tree: ScannedTree) throws -> AssembledTree? {
        guard tree.problems.isEmpty else { return nil }
        return try tree.assemble()
    }

    // MARK: - Reading

    private func scan(_ scan: ScanOptions, cachePath: String?) throws -> ScannedTree {
        let queue = BoundedQueue<PendingFile>(capacity: 1024)
        let result = SharedResult<ScannedTree>()
        let root = options.directory
        let cache = cachePath.flatMap { StatCache.load(path: $0) }
        let counters = counters
        let scanner = try WorkerThread(name: "scan") {
            do {
                let tree = try WorkspaceScan.run(root: root, options: scan, cache: cache) {
                    try queue.put($0)
                }
                result.set(.success(tree))
                queue.close()
            } catch {
                result.set(.failure(error))
                queue.fail(error)
            }
        }
        let hashing = Result {
            try WorkerGroup.run(count: options.workers, name: "hash") { _ in
                let buffer = ReusableBuffer(capacity: RepairSource.pieceBytes)
                while let file = try queue.take() {
                    try RepairSource.hash(file, buffer, counters)
                }
            }
        }
        try scanner.join()
        try hashing.get()
        return try result.get()
    }

    /// Hashes a file; one that is gone, can not be read or goes on changing is left out.
    private static func hash(
        _ file: PendingFile, _ buffer: ReusableBuffer, _ counters: ProgressCounters
    ) throws {
        do {
            for _ in 0..<readAttempts {
                let open = try file.open()
                let before = try open.status()
                guard before.kind == .regular else { break }
                guard let digest = try digest(open, before, buffer) else { continue }
                file.finish(digest: digest, size: before.size, status: before)
                counters.add(files: 1, bytes: before.size)
                return
            }
        } catch let error as CASError
            where error.code == .notFound || error.code == .permissionDenied
            || error.code == .dataLoss
        {
            // What it holds can not be taken; what the refs lack then is told in the end.
        }
        file.markVanished()
    }

    private static func digest(
        _ file: borrowing OpenFile, _ before: FileStatus, _ buffer: ReusableBuffer
    ) throws -> Digest? {
        var hasher = DigestHasher()
        var count: UInt64 = 0
        while true {
            buffer.resize(to: pieceBytes)
            let read = try file.read(into: buffer.mutableBytes)
            hasher.update(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<read]))
            count += UInt64(read)
            if read < pieceBytes { break }
        }
        let digest = hasher.finish()
        guard count == before.size, try file.status().isSameContent(as: before) else { return nil }
        return digest
    }

    // MARK: - Sending

    /// Sends files with these digests, which are removed from the set.
    private func send(
        files wanted: inout Set<Digest>, _ tree: ScannedTree, _ context: PushContext
    ) throws -> [String] {
        guard !wanted.isEmpty else { return [] }
        var paths: [(path: [UInt8], digest: Digest)] = []
        tree.forEachFile { path, digest, _ in
            if wanted.remove(digest) != nil { paths.append((path, digest)) }
        }
        guard !paths.isEmpty else { return [] }
        let root = try DirectoryHandle(path: tree.root)
        let worker = try PushWorker(context, stream: 0)
        for (path, digest) in paths { try worker.take(SourceFile(path, digest, root)) }
        try worker.finish()
        return paths.map { PathText.printable($0.path) }
    }

    /// Sends directories, attributes and the snapshot of a tree with these digests.
    private func send(
        messages wanted: inout Set<Digest>, _ tree: AssembledTree, _ context: PushContext
    ) throws -> [String] {
        let compressor = try Compressor()
        let records = ReusableBuffer(capacity: 64 << 10)
        var sent: [String] = []
        func add(_ kind: RecordKind, _ digest: Digest, _ bytes: [UInt8], _ what: String) throws {
            guard wanted.remove(digest) != nil else { return }
            try RecordCoding.appendFrame(
                kind: kind, digest: digest, rawLength: bytes.count, to: records
            ) { output in try bytes.withUnsafeBytes { try compressor.encode($0, into: output) } }
            sent.append(what)
            guard records.count >= RepairSource.uploadBytes else { return }
            try context.upload(records, stream: 1)
            records.removeAll()
        }
        for directory in tree.directories where !wanted.isEmpty {
            guard
                wanted.contains(directory.directory.digest)
                    || wanted.contains(directory.attributes.digest)
            else { continue }
            let bytes = try directory.encode()
            let path = directory.path.isEmpty ? "." : PathText.printable(directory.path)
            try add(
                .directory, directory.directory.digest, bytes.directory, "\(path) (directory)")
            try add(
                .attributes, directory.attributes.digest, bytes.attributes, "\(path) (attributes)")
        }
        try add(.snapshot, tree.snapshotDigest, tree.snapshotBytes, "the snapshot")
        if records.count > 0 { try context.upload(records, stream: 1) }
        return sent
    }
}
