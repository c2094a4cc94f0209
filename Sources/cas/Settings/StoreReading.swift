import CASClient
import CASCore
import CASPack
import CASTree
import CASWire
import CASWorkspace

/// A snapshot that somebody named, checked against its digest.
struct ResolvedSnapshot {
    let ref: RefName?
    let digest: Digest
    let snapshot: Snapshot
    let plan: PlanResponse
}

/// Reads trees of a store piece by piece; what was read stays.
final class StoreReader: DirectorySource {
    private let connection: any StoreConnection
    private let contents: TreeContents

    init(_ connection: any StoreConnection) throws {
        self.connection = connection
        contents = try TreeContents()
    }

    /// The snapshot that a reference names, or the run of that name; throws `notFound`.
    func resolve(_ reference: Reference) throws -> ResolvedSnapshot {
        try Runs.resolving(reference, connection, resolveRef)
    }

    private func resolveRef(_ reference: Reference) throws -> ResolvedSnapshot {
        let plan = try connection.plan(PlanRequest(want: reference.path))
        let snapshot = try Snapshot(decoding: plan.snapshotMessage)
        // Without a snapshot of its own, a tree goes by its own digest.
        guard
            Digest.of(plan.snapshotMessage) == plan.snapshot
                || (snapshot.attributes == nil && snapshot.tree.digest == plan.snapshot)
        else {
            throw CASError(
                .dataLoss, "the store sent a snapshot that is not what its digest says",
                digest: plan.snapshot)
        }
        if case .digest(let digest, _) = reference.target,
            digest != plan.snapshot, digest != snapshot.tree.digest
        {
            throw CASError(.dataLoss, "the store answered with another snapshot", digest: digest)
        }
        return ResolvedSnapshot(
            ref: plan.ref, digest: plan.snapshot, snapshot: snapshot, plan: plan)
    }

    func directory(_ digest: Digest) throws -> Directory? {
        if let known = try contents.directory(digest) { return known }
        try read([digest])
        return try contents.directory(digest)
    }

    func attributes(_ digest: Digest) throws -> AttributesDirectory? {
        if let known = try contents.attributes(digest) { return known }
        try read([digest])
        return try contents.attributes(digest)
    }

    private func read(_ digests: [Digest]) throws {
        var decoder = RecordStreamDecoder()
        try connection.readBlobs(digests) { bytes in
            try decoder.push(bytes) { try contents.insert($0) }
        }
        try decoder.finish()
    }

    /// What stands at a path of a tree.
    enum Entry {
        case directory(Digest, AttributesDirectory?, attributes: Digest?)
        case file(FileNode, FileAttributes?)
        case symlink(SymlinkNode)
    }

    /// What stands at a path; throws `notFound` naming the part that is not there.
    func entry(_ path: String, in snapshot: Snapshot) throws -> Entry {
        var digest = snapshot.tree.digest
        var attributesDigest = snapshot.attributes?.digest
        let parts = path.utf8.split(separator: UInt8(ascii: "/")).filter {
            !$0.elementsEqual([UInt8(ascii: ".")])
        }
        for (index, part) in parts.enumerated() {
            guard let directory = try directory(digest) else { throw StoreReader.gone(digest) }
            let attributes = try attributesDigest.flatMap { try self.attributes($0) }
            let name = Array(part)
            if let at = directory.directories.firstIndex(where: { $0.name.bytes == name }) {
                digest = directory.directories[at].digest
                attributesDigest = attributes.flatMap {
                    $0.directories.indices.contains(at) ? $0.directories[at].digest : nil
                }
                continue
            }
            if index == parts.count - 1 {
                if let at = directory.files.firstIndex(where: { $0.name.bytes == name }) {
                    return .file(
                        directory.files[at],
                        attributes.flatMap { $0.files.indices.contains(at) ? $0.files[at] : nil })
                }
                if let link = directory.symlinks.first(where: { $0.name.bytes == name }) {
                    return .symlink(link)
                }
            }
            let missing = parts[...index].map { PathText.printable(Array($0)) }
            throw CASError(
                .notFound, "there is no '\(missing.joined(separator: "/"))' in it",
                hint: "cas ls shows what there is")
        }
        return .directory(
            digest, try attributesDigest.flatMap { try attributes($0) },
            attributes: attributesDigest)
    }

    static func gone(_ digest: Digest) -> CASError {
        CASError(.dataLoss, "the store lacks a directory of this tree", digest: digest)
    }
}
