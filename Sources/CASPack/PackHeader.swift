package import CASCore

/// The 64 bytes at the start of every pack (Packs.md, "Pack header").
package struct PackHeader: Hashable, Sendable {
    /// Bytes of a header; the first record starts here.
    package static let byteCount = 64
    /// The version of the format that this program writes and reads.
    package static let formatVersion: UInt8 = 1
    private static let magic = Array("CASPACK\0".utf8)
    private static let checkedByteCount = 60

    /// What the pack holds.
    package var packClass: PackClass
    /// Its random name.
    package var identifier: Identifier
    /// The store's incarnation that created it.
    package var incarnation: Identifier
    /// When it was created, in whole seconds.
    package var created: Timestamp

    /// A header from its parts.
    package init(
        packClass: PackClass, identifier: Identifier, incarnation: Identifier, created: Timestamp
    ) {
        self.packClass = packClass
        self.identifier = identifier
        self.incarnation = incarnation
        self.created = Timestamp(seconds: created.seconds)
    }

    /// The 64 bytes.
    package func encode() -> [UInt8] {
        var output = PackHeader.magic
        output.append(PackHeader.formatVersion)
        output.append(packClass.rawValue)
        output.append(contentsOf: [0, 0, 0, 0, 0, 0])
        output.append(identifier: identifier)
        output.append(identifier: incarnation)
        output.append(littleEndian: created.seconds)
        output.append(littleEndian: UInt32(0))
        output.append(littleEndian: output.withUnsafeBytes { Checksum.crc32c($0) })
        return output
    }

    /// Reads the first 64 bytes of `bytes`; throws `dataLoss`.
    package init(decoding bytes: UnsafeRawBufferPointer) throws {
        guard bytes.count >= PackHeader.byteCount,
            bytes[..<8].elementsEqual(PackHeader.magic)
        else { throw CASError(.dataLoss, "this is not a pack") }
        let checked = UnsafeRawBufferPointer(rebasing: bytes[..<PackHeader.checkedByteCount])
        guard bytes.loadLittle(UInt32.self, at: 60) == Checksum.crc32c(checked) else {
            throw CASError(.dataLoss, "the header of a pack is damaged")
        }
        guard bytes[8] == PackHeader.formatVersion, let packClass = PackClass(rawValue: bytes[9]),
            bytes[10..<16].allSatisfy({ $0 == 0 }), bytes[56..<60].allSatisfy({ $0 == 0 })
        else {
            throw CASError(
                .unimplemented, "a pack has a format that this version of cas does not know",
                hint: "use the newest cas")
        }
        var reader = ByteReader(UnsafeRawBufferPointer(rebasing: bytes[16..<56]))
        self.packClass = packClass
        identifier = try reader.identifier()
        incarnation = try reader.identifier()
        created = Timestamp(seconds: Int64(bitPattern: try reader.uint64()))
    }
}
