package import CASCore
package import CASPack

/// What the catalog knows of one pack.
package struct PackEntry: Hashable, Sendable {
    /// The number that locations use; the catalog gives it out.
    package var number: Int64
    /// The random name of its file.
    package var identifier: Identifier
    /// What it holds.
    package var packClass: PackClass
    /// Whether it has a footer and takes no more records.
    package var isSealed: Bool
    /// Whether it lives behind the object backend, from where it is read; only a sealed one does.
    package var isStored: Bool
    /// Bytes from its start that are durable and acknowledged.
    package var committedBytes: UInt64
    /// When it was created.
    package var created: Timestamp
    /// Bytes of the events among its records.
    package var eventBytes: UInt64 = 0
    /// The highest sequence of an event in it; zero without any.
    package var lastEvent: UInt64 = 0
    /// The level at which its records were compressed anew; zero if they were not.
    package var level = 0

    /// A pack from its parts; the number of a new one does not matter.
    package init(
        number: Int64 = 0, identifier: Identifier, packClass: PackClass, isSealed: Bool = false,
        isStored: Bool = false, committedBytes: UInt64, created: Timestamp
    ) {
        self.number = number
        self.identifier = identifier
        self.packClass = packClass
        self.isSealed = isSealed
        self.isStored = isStored
        self.committedBytes = committedBytes
        self.created = created
    }
}
