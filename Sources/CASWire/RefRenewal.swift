package import CASCore

/// A new end of a ref that goes on naming what it names, or other image options.
package struct RefRenewal: Hashable, Sendable {
    /// The ref.
    package var name: RefName
    /// The number of the move that made the ref what it is; the renewal holds for that one alone.
    package var move: UInt64
    /// When the ref may go away now; nil for never.
    package var expires: Timestamp?
    /// Seconds from a renewal to `expires`; zero if fetches do not renew it.
    package var lifetime: UInt64
    /// What its image is like from now on; nil where that stays.
    package var imageOptions: String?
    /// Whose ref it is.
    package var domain: Domain

    /// A renewal from its parts.
    package init(
        name: RefName, move: UInt64, expires: Timestamp?, lifetime: UInt64,
        imageOptions: String? = nil, domain: Domain
    ) {
        self.name = name
        self.move = move
        self.expires = expires
        self.lifetime = lifetime
        self.imageOptions = imageOptions
        self.domain = domain
    }
}
