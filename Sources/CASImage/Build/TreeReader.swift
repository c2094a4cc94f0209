import CASClient
import CASCore
import CASOCI
import CASPack
import CASTree
import CASWire
import CASWorkspace
import Synchronization

/// The directories of one snapshot, read from its store at once, with sums over each of them.
final class TreeReader: CASOCI.LayerSource, Sendable {
    /// What was named, and the root of its tree.
    let snapshot: Snapshot
    /// The digest of the snapshot; that of the tree where it has none.
    let digest: Digest
    /// The messages of the tree and of its attributes.
    let contents: TreeContents
    private let sums: [Digest: TreeTotals]

    /// Reads the tree of what a reference names, without its host.
    init(_ path: String, from connection: any StoreConnection, limits: Limits = .standard) throws {
        let plan = try connection.plan(PlanRequest(want: path))
        snapshot = try Snapshot(decoding: plan.snapshotMessage)
        guard
            Digest.of(plan.snapshotMessage) == plan.snapshot
                || (snapshot.attributes == nil && snapshot.tree.digest == plan.snapshot)
        else {
            throw CASError(
                .dataLoss, "the store sent a snapshot that is not what its digest says",
                digest: plan.snapshot)
        }
        digest = plan.snapshot
        let contents = try TreeContents(limits: limits)
        self.contents = contents
        var decoder = RecordStreamDecoder(limits: limits)
        try connection.readTree(plan: plan.planID) { bytes in
            try decoder.push(bytes) { try contents.insert($0) }
        }
        try decoder.finish()
        guard decoder.isEnded else {
            throw CASError(.unavailable, "the store stopped sending in the middle")
        }
        do {
            sums = try TreeWalk.sums(root: snapshot.tree.digest, source: contents, limits: limits)
                .mapValues { $0.totals }
        } catch let error as CASError where error.code == .notFound {
            throw CASError(
                .dataLoss, "the store did not send a directory", digest: error.digest)
        }
    }

    func directory(_ digest: Digest) throws -> Directory? { try contents.directory(digest) }

    func totals(_ digest: Digest) throws -> TreeTotals? { sums[digest] }
}
