package import CASClient
package import CASCore
import CASPack
package import CASWire

/// What the store knows of the snapshots of an image, asked once: refs may move while it is built.
package struct WorkspaceOrigin: Sendable {
    /// Under which names the snapshots are read, in the order given: by digest where refs name them.
    package private(set) var paths: [String] = []
    /// The newest move of a ref that names one of them; nil where no ref is known.
    package private(set) var newest: Provenance?
    /// The commits of the snapshots, the last one first.
    package private(set) var revision: String?

    /// Asks about what these references name.
    package init(_ references: [Reference], _ connection: any StoreConnection) throws {
        for reference in references {
            guard case .ref(let name) = reference.target, let entry = try connection.ref(name)
            else {
                paths.append(reference.path)
                continue
            }
            paths.append(
                entry.target.kind == .snapshot
                    ? "\(name.name)@\(entry.target.digest)" : reference.path)
            let provenance = entry.provenance
            if newest.map({ $0.time < provenance.time }) ?? true { newest = provenance }
            // The last one is the code.
            if !provenance.gitCommit.isEmpty, !provenance.gitModified {
                revision = provenance.gitCommit
            }
        }
    }
}
