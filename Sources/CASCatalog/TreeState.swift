package import CASCore
package import CASTree

/// What is known of a directory whose whole subtree is present; only complete ones have a state.
package struct TreeState: Hashable, Sendable {
    /// Sums over the subtree, the directory itself counted.
    package var totals: TreeTotals
    /// Levels of directories, 1 for one without subdirectories.
    package var depth: UInt32

    /// A state from its parts.
    package init(totals: TreeTotals, depth: UInt32) {
        self.totals = totals
        self.depth = depth
    }
}

/// A snapshot that is present with everything it names.
package struct CompleteSnapshot: Hashable, Sendable {
    /// The digest of the snapshot message.
    package var snapshot: Digest
    /// The root of its tree.
    package var tree: Digest
    /// The root of its attributes, if it names any.
    package var attributes: Digest?

    /// A snapshot and its roots.
    package init(snapshot: Digest, tree: Digest, attributes: Digest?) {
        self.snapshot = snapshot
        self.tree = tree
        self.attributes = attributes
    }
}
