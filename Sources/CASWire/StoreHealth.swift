package import CASCore

/// When a store was last looked after, and what that found.
package struct StoreHealth: WireMessage {
    /// When the last collection ended; nil if none did yet.
    package var collected: Timestamp?
    /// Trees with a gap, for which that collection deleted nothing.
    package var gaps: UInt64 = 0
    /// When everything had been read and checked the last time; nil if that never was.
    package var scrubbed: Timestamp?
    /// What that found.
    package var findings: UInt64 = 0
    /// When the present round of the server's own scrub began; nil while it does none.
    package var roundBegan: Timestamp?
    /// What that found so far.
    package var roundFindings: UInt64 = 0
    /// Bytes of packs that it has read.
    package var roundDoneBytes: UInt64 = 0
    /// Bytes of all packs when it began, or went on after a restart.
    package var roundBytes: UInt64 = 0
    /// Bytes that are kept for collection on a full disk.
    package var reserveBytes: UInt64 = 0
    /// Whether these were given up, as the disk is full.
    package var isReserveReleased = false

    /// Nothing known.
    package init() {}

    /// How much of the present round is done, from 0 to 1; nil while there is none.
    package var roundFraction: Double? {
        guard roundBegan != nil else { return nil }
        return roundBytes == 0 ? 0 : min(1, Double(roundDoneBytes) / Double(roundBytes))
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, time: collected)
        output.append(field: 2, varint: gaps)
        output.append(field: 3, time: scrubbed)
        output.append(field: 4, varint: findings)
        output.append(field: 5, time: roundBegan)
        output.append(field: 6, varint: roundFindings)
        output.append(field: 7, varint: roundDoneBytes)
        output.append(field: 8, varint: roundBytes)
        output.append(field: 9, varint: reserveBytes)
        output.append(field: 10, flag: isReserveReleased)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init()
        try readFields(bytes, upTo: 10) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): collected = try reader.timestamp()
            case (2, .varint): gaps = try reader.varint()
            case (3, .lengthDelimited): scrubbed = try reader.timestamp()
            case (4, .varint): findings = try reader.varint()
            case (5, .lengthDelimited): roundBegan = try reader.timestamp()
            case (6, .varint): roundFindings = try reader.varint()
            case (7, .varint): roundDoneBytes = try reader.varint()
            case (8, .varint): roundBytes = try reader.varint()
            case (9, .varint): reserveBytes = try reader.varint()
            case (10, .varint): isReserveReleased = try reader.varint() != 0
            default: return false
            }
            return true
        }
    }
}
