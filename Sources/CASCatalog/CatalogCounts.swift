package import CASPack

/// How much a catalog knows of everything.
package struct CatalogCounts: Hashable, Sendable {
    /// Records of one kind in packs of one class that locations point at.
    package struct Records: Hashable, Sendable {
        /// How many there are.
        package var count: UInt64 = 0
        /// Bytes of their payloads as stored.
        package var storedBytes: UInt64 = 0
        /// Bytes of their payloads once decoded.
        package var rawBytes: UInt64 = 0

        /// None at all.
        package init() {}

        /// Counts one more record.
        mutating func add(_ location: BlobLocation) {
            add(
                count: 1, storedBytes: UInt64(location.storedLength),
                rawBytes: UInt64(location.rawLength))
        }

        /// Adds another sum.
        mutating func add(_ other: Records) {
            add(count: other.count, storedBytes: other.storedBytes, rawBytes: other.rawBytes)
        }

        /// Adds to each sum.
        mutating func add(count: UInt64, storedBytes: UInt64, rawBytes: UInt64) {
            self.count += count
            self.storedBytes += storedBytes
            self.rawBytes += rawBytes
        }
    }

    /// Which sum it is.
    package struct Group: Hashable, Sendable {
        /// Kind of the records.
        package var kind: RecordKind
        /// Class of the packs.
        package var packClass: PackClass

        /// A kind of records in packs of one class.
        package init(kind: RecordKind, packClass: PackClass) {
            self.kind = kind
            self.packClass = packClass
        }
    }

    /// Refs that exist.
    package var refs: UInt64 = 0
    /// Complete snapshots.
    package var snapshots: UInt64 = 0
    /// Packs, sealed or not.
    package var packs: UInt64 = 0
    /// Bytes of all packs that are committed.
    package var packBytes: UInt64 = 0
    /// Sums over locations.
    package var records: [Group: Records] = [:]

    /// Nothing at all.
    package init() {}

    /// Blobs: files of one chunk, and files with a chunk list.
    package var blobs: UInt64 {
        (records[Group(kind: .chunk, packClass: .small)]?.count ?? 0)
            + sum(of: .chunkList).count
    }

    /// The sum of one kind over all classes.
    package func sum(of kind: RecordKind) -> Records {
        records.reduce(into: Records()) { sum, element in
            guard element.key.kind == kind else { return }
            sum.add(element.value)
        }
    }

    /// The sum of everything.
    package var total: Records {
        records.values.reduce(into: Records()) { sum, value in
            sum.add(value)
        }
    }
}
