package import CASCore

/// What a store holds, as sums.
package struct UsageReport: WireMessage {
    /// What refs of one first component of names hold.
    package struct Row: WireMessage {
        /// The component.
        package var prefix: String
        /// Refs below it.
        package var refs: UInt64
        /// Bytes of their trees, shared ones counted each time.
        package var logicalBytes: UInt64

        /// A row from its parts.
        package init(prefix: String, refs: UInt64, logicalBytes: UInt64) {
            self.prefix = prefix
            self.refs = refs
            self.logicalBytes = logicalBytes
        }

        package func encode() -> [UInt8] {
            var output: [UInt8] = []
            output.append(field: 1, text: prefix)
            output.append(field: 2, varint: refs)
            output.append(field: 3, varint: logicalBytes)
            return output
        }

        package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
            self.init(prefix: "", refs: 0, logicalBytes: 0)
            try readFields(bytes, upTo: 3) { number, type, reader in
                switch (number, type) {
                case (1, .lengthDelimited): prefix = try reader.string()
                case (2, .varint): refs = try reader.varint()
                case (3, .varint): logicalBytes = try reader.varint()
                default: return false
                }
                return true
            }
        }
    }

    /// How scattered the files lie that refs name.
    package struct Scatter: Hashable, Sendable {
        /// Refs whose snapshot was measured.
        package var refs: UInt64 = 0
        /// Runs of neighbouring records that fetches of all of them read.
        package var ranges: UInt64 = 0
        /// Bytes of these runs.
        package var readBytes: UInt64 = 0
        /// Bytes of the files.
        package var restoredBytes: UInt64 = 0

        /// Nothing measured.
        package init() {}
    }

    /// Refs.
    package var refs: UInt64
    /// Complete snapshots.
    package var snapshots: UInt64
    /// Distinct files.
    package var blobs: UInt64
    /// Distinct chunks, single ones of files too.
    package var chunks: UInt64
    /// Packs.
    package var packs: UInt64
    /// Bytes of all packs.
    package var storedBytes: UInt64
    /// Bytes of all records once decoded.
    package var rawBytes: UInt64
    /// Bytes of the trees of all refs, shared ones counted each time.
    package var logicalBytes: UInt64
    /// Bytes free on the store's disk.
    package var freeBytes: UInt64
    /// Sums by first component.
    package var rows: [Row]
    /// How scattered the files of refs lie, those that share a snapshot counted each time.
    package var scatter = Scatter()
    /// How it is looked after; nil from a server that does not tell.
    package var health: StoreHealth?
    /// Whether there are images, pushed ones or those that snapshots are.
    package var hasImages = false

    /// A report from its parts.
    package init(
        refs: UInt64, snapshots: UInt64, blobs: UInt64, chunks: UInt64, packs: UInt64,
        storedBytes: UInt64, rawBytes: UInt64, logicalBytes: UInt64, freeBytes: UInt64,
        rows: [Row]
    ) {
        self.refs = refs
        self.snapshots = snapshots
        self.blobs = blobs
        self.chunks = chunks
        self.packs = packs
        self.storedBytes = storedBytes
        self.rawBytes = rawBytes
        self.logicalBytes = logicalBytes
        self.freeBytes = freeBytes
        self.rows = rows
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        let sums = [
            refs, snapshots, blobs, chunks, packs, storedBytes, rawBytes, logicalBytes, freeBytes,
        ]
        for (index, sum) in sums.enumerated() {
            output.append(field: UInt32(index + 1), varint: sum)
        }
        for row in rows { output.append(element: 10, bytes: row.encode()) }
        output.append(field: 11, varint: scatter.refs)
        output.append(field: 12, varint: scatter.ranges)
        output.append(field: 13, varint: scatter.readBytes)
        output.append(field: 14, varint: scatter.restoredBytes)
        output.append(field: 15, message: health)
        output.append(field: 16, flag: hasImages)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var sums = [UInt64](repeating: 0, count: 9)
        var rows: [Row] = []
        var scatter = Scatter()
        var health: StoreHealth?
        var hasImages = false
        try readFields(bytes, upTo: 16) { number, type, reader in
            switch (number, type) {
            case (1...9, .varint): sums[Int(number) - 1] = try reader.varint()
            case (10, .lengthDelimited):
                guard rows.count < limits.digestsPerRequest else {
                    throw WireFailure.tooMany("rows")
                }
                rows.append(try Row(decoding: try reader.bytes(), limits: limits))
            case (11, .varint): scatter.refs = try reader.varint()
            case (12, .varint): scatter.ranges = try reader.varint()
            case (13, .varint): scatter.readBytes = try reader.varint()
            case (14, .varint): scatter.restoredBytes = try reader.varint()
            case (15, .lengthDelimited):
                health = try StoreHealth(decoding: try reader.bytes(), limits: limits)
            case (16, .varint): hasImages = try reader.varint() != 0
            default: return false
            }
            return true
        }
        self.init(
            refs: sums[0], snapshots: sums[1], blobs: sums[2], chunks: sums[3], packs: sums[4],
            storedBytes: sums[5], rawBytes: sums[6], logicalBytes: sums[7], freeBytes: sums[8],
            rows: rows)
        self.scatter = scatter
        self.health = health
        self.hasImages = hasImages
    }
}
