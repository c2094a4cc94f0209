package import CASCore
import CASFileSystem
import CASTree
import Synchronization

/// How a version came by files that an older one has.
package struct SharedFiles: Sendable, Equatable {
    /// Files that are further names of an older version's.
    package var linked = 0
    /// Files that share their blocks with an older version's.
    package var cloned = 0
    /// Files copied from an older version.
    package var copied = 0
    /// Bytes of all of these.
    package var bytes: UInt64 = 0

    /// None.
    package init() {}
}

/// Files of versions that lie on a volume already, by content.
///
/// What still looks as it did when it was published is believed, as an update believes its own files;
/// all else is hashed first. Shared blocks where the file system can, else a further name where mode and
/// time are the same (published files have no write bits), else a copy.
package final class OlderVersions: Sendable {
    /// Versions that are looked into, the current one first.
    static let limit = 4
    private static let sourcesPerBlob = 4
    private static let bufferBytes = 1 << 20

    private struct Source: Sendable {
        let root: DirectoryHandle
        let directory: [UInt8]
        let name: [UInt8]
        let mark: RestoreState.Mark
    }

    private let sources: [Digest: [Source]]
    private let isCloning: Bool
    private let used = Mutex(SharedFiles())

    /// The files of versions; `isCloning` says whether the file system shares blocks.
    init(
        _ versions: [(root: DirectoryHandle, state: RestoreState)], isCloning: Bool, limits: Limits
    )
        throws
    {
        var sources: [Digest: [Source]] = [:]
        for (root, state) in versions.prefix(OlderVersions.limit) {
            let layout = try RestoreLayout(state.snapshot, state.contents, limits: limits)
            let marks = state.trustedMarks
            for (index, node) in layout.nodes.enumerated() {
                for (position, file) in node.directory.files.enumerated() {
                    let known = marks.indices.contains(index) ? marks[index] : []
                    guard sources[file.digest, default: []].count < OlderVersions.sourcesPerBlob
                    else { continue }
                    sources[file.digest, default: []].append(
                        Source(
                            root: root, directory: node.path, name: file.name.bytes,
                            mark: known.indices.contains(position) ? known[position] : .none))
                }
            }
        }
        self.sources = sources
        self.isCloning = isCloning
    }

    /// What was taken so far.
    package var taken: SharedFiles { used.withLock { $0 } }

    /// Whether a blob is in one of the versions.
    package func has(_ digest: Digest) -> Bool { sources[digest] != nil }

    /// Writes a blob to its places as far as an older version has it; the places that are left.
    func restore(
        _ digest: Digest, _ places: [Restore.Place], _ writer: FileWriter
    ) throws -> [Restore.Place] {
        var rest = places
        for source in sources[digest] ?? [] where !rest.isEmpty {
            guard let folder = try source.root.open(beneath: source.directory),
                let file = try folder.openFile(ifPresent: source.name)
            else { continue }
            let status = try file.status()
            guard status.kind == .regular,
                try source.mark.matches(status) || read(file, { _ in }) == digest
            else { continue }
            rest = try rest.filter { place in
                try !take(digest, file, status, folder, source.name, place, writer)
            }
        }
        return rest
    }

    /// Puts one file to one place; false where the copy turned out to be something else.
    private func take(
        _ digest: Digest, _ file: borrowing OpenFile, _ status: FileStatus,
        _ folder: DirectoryHandle, _ name: [UInt8], _ place: Restore.Place, _ writer: FileWriter
    ) throws -> Bool {
        let wanted = writer.restore.layout.attributes(place, writer.restore.options)
        let isSame = status.permissions == wanted.permissions && status.modified == wanted.modified
        if !isCloning, isSame, try writer.link(place, from: folder, name) {
            count(status.size) { $0.linked += 1 }
            return true
        }
        var isCloned = false
        do {
            try writer.replace(place, wanted) { target in
                isCloned = isCloning && target.clone(from: file)
                guard !isCloned else { return }
                guard try read(file, { try target.write($0) }) == digest else {
                    throw NodeCache.damaged(digest)
                }
            }
        } catch let error as CASError where error.code == .dataLoss && error.digest == digest {
            return false
        }
        count(status.size) { if isCloned { $0.cloned += 1 } else { $0.copied += 1 } }
        return true
    }

    private func count(_ bytes: UInt64, _ change: (inout SharedFiles) -> Void) {
        used.withLock { used in
            change(&used)
            used.bytes += bytes
        }
    }

    /// Hands a file over piece by piece; its digest.
    private func read(
        _ source: borrowing OpenFile, _ body: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> Digest {
        let buffer = ReusableBuffer(capacity: OlderVersions.bufferBytes)
        buffer.resize(to: OlderVersions.bufferBytes)
        var hasher = DigestHasher()
        var offset: UInt64 = 0
        while true {
            let count = try source.read(at: offset, into: buffer.mutableBytes)
            guard count > 0 else { return hasher.finish() }
            let piece = UnsafeRawBufferPointer(rebasing: buffer.bytes[..<count])
            hasher.update(piece)
            try body(piece)
            offset += UInt64(count)
        }
    }
}
