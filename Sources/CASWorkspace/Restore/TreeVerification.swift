package import CASCore
import CASFileSystem
package import CASTree
import Synchronization

/// Compares a directory with a snapshot, by content.
package enum TreeVerification {
    /// One way in which a directory is not the snapshot.
    package struct Difference: Sendable, Hashable {
        /// What kind of difference it is.
        package enum Kind: String, Sendable {
            case missing, extra, content, mode, time, target, type
        }
        /// The path below the directory.
        package let path: [UInt8]
        /// What is different.
        package let kind: Kind
    }

    /// The outcome of a comparison.
    package struct Report: Sendable {
        /// All differences by path.
        package var differences: [Difference] = []
        /// Files that were compared.
        package var files = 0
        /// Bytes that were hashed.
        package var bytes: UInt64 = 0
    }

    /// Compares everything below `directory` but its own `.cas` with a snapshot's tree.
    ///
    /// Times of directories are not compared: they change with every file that an editor saves.
    /// `progress` hears of files and bytes as they are compared, from any thread.
    package static func run(
        directory: String, snapshot: Snapshot, contents: TreeContents, workers: Int,
        limits: Limits = .standard,
        progress: @escaping @Sendable (_ files: UInt64, _ bytes: UInt64) -> Void = { _, _ in }
    ) throws -> Report {
        let layout = try RestoreLayout(snapshot, contents, limits: limits)
        let root = try DirectoryHandle(path: directory)
        let report = Mutex(Report())
        let cursor = SharedCursor(count: layout.nodes.count)
        try WorkerGroup.run(count: max(1, workers), name: "verify") { _ in
            let verifier = DirectoryVerifier(root, progress)
            while let index = cursor.take() {
                try verifier.verify(layout.nodes[index])
            }
            let found = verifier.report
            report.withLock { report in
                report.differences += found.differences
                report.files += found.files
                report.bytes += found.bytes
            }
        }
        var result = report.withLock { $0 }
        result.differences.sort { ByteOrder.precedes($0.path, $1.path) }
        return result
    }
}

/// Compares single directories; one thread each.
private final class DirectoryVerifier {
    private let root: DirectoryHandle
    private let buffer = ReusableBuffer(capacity: 1 << 20)
    private var hasher = DigestHasher()
    var report = TreeVerification.Report()

    private let progress: @Sendable (UInt64, UInt64) -> Void

    init(_ root: DirectoryHandle, _ progress: @escaping @Sendable (UInt64, UInt64) -> Void) {
        self.root = root
        self.progress = progress
    }

    func verify(_ node: RestoreLayout.Node) throws {
        guard let directory = try root.open(beneath: node.path) else {
            // Its parent reports it once; what is below is missing with it.
            return
        }
        var present: Set<[UInt8]> = []
        try directory.duplicate().list { name, _ in present.insert(Array(name)) }
        if node.path.isEmpty { present.remove(Array(RestoreLayout.stateName.utf8)) }
        if let own = node.attributes?.own, !node.path.isEmpty,
            try directory.status().permissions != own.permissions
        {
            add(node.path, .mode)
        }
        for (position, file) in node.directory.files.enumerated() {
            present.remove(file.name.bytes)
            try verify(
                file, node.attributes?.files[position], directory,
                PathBytes.join(node.path, file.name.bytes))
        }
        for link in node.directory.symlinks {
            present.remove(link.name.bytes)
            let path = PathBytes.join(node.path, link.name.bytes)
            guard let status = try directory.status(link.name.bytes) else {
                add(path, .missing)
                continue
            }
            if status.kind != .symlink {
                add(path, .type)
            } else if try directory.readLink(link.name.bytes) != link.target {
                add(path, .target)
            }
        }
        for child in node.directory.directories {
            present.remove(child.name.bytes)
            let path = PathBytes.join(node.path, child.name.bytes)
            guard let status = try directory.status(child.name.bytes) else {
                add(path, .missing)
                continue
            }
            if status.kind != .directory { add(path, .type) }
        }
        for name in present { add(PathBytes.join(node.path, name), .extra) }
    }

    private func verify(
        _ file: FileNode, _ attributes: FileAttributes?, _ directory: DirectoryHandle,
        _ path: [UInt8]
    ) throws {
        guard let status = try directory.status(file.name.bytes) else { return add(path, .missing) }
        guard status.kind == .regular else { return add(path, .type) }
        report.files += 1
        progress(1, 0)
        if status.size != file.size {
            add(path, .content)
        } else if try hash(directory, file.name.bytes) != file.digest {
            add(path, .content)
        }
        if let attributes {
            if status.permissions != attributes.permissions { add(path, .mode) }
            if status.modified != attributes.modified { add(path, .time) }
        } else if status.isExecutable != file.isExecutable {
            add(path, .mode)
        }
    }

    private func hash(_ directory: DirectoryHandle, _ name: [UInt8]) throws -> Digest {
        let file = try directory.openFile(name)
        buffer.resize(to: 1 << 20)
        while true {
            let count = try file.read(into: buffer.mutableBytes)
            hasher.update(UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count]))
            report.bytes += UInt64(count)
            progress(0, UInt64(count))
            if count < buffer.count { return hasher.finish() }
        }
    }

    private func add(_ path: [UInt8], _ kind: TreeVerification.Difference.Kind) {
        report.differences.append(TreeVerification.Difference(path: path, kind: kind))
    }
}
