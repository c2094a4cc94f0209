/// Whose existence answers these are; one value until tenants are isolated over shared storage.
package struct Domain: RawRepresentable, Hashable, Sendable {
    /// The only domain today.
    package static let standard = Domain(rawValue: 0)
    /// The number stored with recorded state.
    package let rawValue: UInt32

    /// A domain by its number.
    package init(rawValue: UInt32) { self.rawValue = rawValue }
}
