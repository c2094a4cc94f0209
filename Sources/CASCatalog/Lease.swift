package import CASCore

/// Timed protection from collection; expendable, as a commit checks completeness again.
package struct Lease: Hashable, Sendable {
    /// What it protects.
    package enum Purpose: UInt8, Sendable, CaseIterable {
        /// Blobs that a push in progress uploaded or was told to be present.
        case push = 1
        /// What a fetch in progress is reading.
        case read = 2
    }

    /// Its random name; that of the push, for a push.
    package var identifier: Identifier
    /// What it protects.
    package var purpose: Purpose
    /// Whose it is.
    package var domain: Domain
    /// The end, in the server's monotonic nanoseconds; a reboot makes it last longer, never shorter.
    package var expires: UInt64
    /// The generation of the store when it was taken: what was condemned then or later is not deleted.
    package var generation: UInt64
    /// The snapshot that is read; nil for a push.
    package var digest: Digest?
    /// The server's monotonic nanoseconds when it was taken first; zero where nobody noted that.
    package var began: UInt64

    /// A lease from its parts.
    package init(
        identifier: Identifier, purpose: Purpose, domain: Domain, expires: UInt64,
        generation: UInt64 = 0, digest: Digest? = nil, began: UInt64 = 0
    ) {
        self.began = began
        self.generation = generation
        self.digest = digest
        self.identifier = identifier
        self.purpose = purpose
        self.domain = domain
        self.expires = expires
    }
}
