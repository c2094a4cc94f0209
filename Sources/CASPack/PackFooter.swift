package import CASCore

/// What stands behind the last record of a sealed pack: where each record is (Packs.md, "Footer").
package struct PackFooter: Hashable, Sendable {
    /// Where one record is.
    package struct Entry: Hashable, Sendable {
        /// Its key.
        package var digest: Digest
        /// What its payload is.
        package var kind: RecordKind
        /// How its payload is stored.
        package var codec: FrameCodec
        /// Where its header starts in the pack.
        package var offset: UInt64
        /// Bytes of its payload as stored.
        package var storedLength: UInt32
        /// Bytes of its payload once decoded.
        package var rawLength: UInt32

        /// An entry from its parts.
        package init(
            digest: Digest, kind: RecordKind, codec: FrameCodec, offset: UInt64,
            storedLength: UInt32, rawLength: UInt32
        ) {
            self.digest = digest
            self.kind = kind
            self.codec = codec
            self.offset = offset
            self.storedLength = storedLength
            self.rawLength = rawLength
        }

        /// The entry of a record that starts at `offset`.
        package init(_ header: RecordHeader, offset: UInt64) {
            self.init(
                digest: header.digest, kind: header.kind, codec: header.codec, offset: offset,
                storedLength: UInt32(header.storedLength), rawLength: UInt32(header.rawLength))
        }

        static func precedes(_ left: Entry, _ right: Entry) -> Bool {
            left.digest == right.digest
                ? left.offset < right.offset : left.digest < right.digest
        }
    }

    /// Bytes of one encoded entry.
    package static let entryByteCount = 50
    /// The smallest record there can be.
    private static let leastRecordBytes = RecordHeader.byteCount + RecordHeader.trailerByteCount

    /// Every record of the pack, by digest and then offset.
    package let entries: [Entry]

    /// A footer of these entries, in any order.
    package init(entries: [Entry]) {
        self.entries = entries.sorted(by: Entry.precedes)
    }

    /// The first record with that key; nil if there is none.
    package func find(_ digest: Digest) -> Entry? {
        all(digest).first
    }

    /// Every record with that key, by binary search.
    package func all(_ digest: Digest) -> ArraySlice<Entry> {
        let start = firstIndex { $0.digest >= digest }
        let end = firstIndex { $0.digest > digest }
        return entries[start..<end]
    }

    /// The index of the first entry for which `predicate`, once true always true, is true.
    private func firstIndex(where predicate: (Entry) -> Bool) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = low + (high - low) / 2
            if predicate(entries[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }

    /// Entries and trailer, to stand at `footerOffset` in the pack.
    package func encode(at footerOffset: UInt64) -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(entries.count * PackFooter.entryByteCount + PackTrailer.byteCount)
        for entry in entries {
            output.append(digest: entry.digest)
            output.append(entry.kind.rawValue)
            output.append(entry.codec.rawValue)
            output.append(littleEndian: entry.offset)
            output.append(littleEndian: entry.storedLength)
            output.append(littleEndian: entry.rawLength)
        }
        let checksum = output.withUnsafeBytes { Checksum.crc32c($0) }
        let trailer = PackTrailer(
            footerOffset: footerOffset, entryCount: UInt32(entries.count),
            entriesChecksum: checksum)
        output.append(contentsOf: trailer.encode())
        return output
    }

    /// Reads the entries that `trailer` announced, `trailer.entriesByteCount` bytes; throws `dataLoss`.
    package init(decoding bytes: UnsafeRawBufferPointer, trailer: PackTrailer) throws {
        guard bytes.count == trailer.entriesByteCount,
            Checksum.crc32c(bytes) == trailer.entriesChecksum
        else { throw CASError(.dataLoss, "the footer of a pack is damaged") }
        var reader = ByteReader(bytes)
        var entries: [Entry] = []
        entries.reserveCapacity(Int(trailer.entryCount))
        while !reader.isAtEnd {
            let entry = try PackFooter.entry(&reader)
            let last = UInt64(entry.storedLength) + UInt64(PackFooter.leastRecordBytes)
            guard entry.offset >= UInt64(PackHeader.byteCount), trailer.footerOffset >= last,
                entry.offset <= trailer.footerOffset - last,
                entries.last.map({ Entry.precedes($0, entry) }) ?? true
            else {
                throw CASError(.dataLoss, "the footer of a pack contradicts the pack")
            }
            entries.append(entry)
        }
        self.entries = entries
    }

    private static func entry(_ reader: inout ByteReader) throws -> Entry {
        let digest = try reader.digest()
        guard let kind = RecordKind(rawValue: try reader.uint8()), kind.isStored,
            let codec = FrameCodec(rawValue: try reader.uint8())
        else {
            throw CASError(
                .unimplemented, "a pack has records that this version of cas does not know",
                hint: "use the newest cas")
        }
        return Entry(
            digest: digest, kind: kind, codec: codec, offset: try reader.uint64(),
            storedLength: try reader.uint32(), rawLength: try reader.uint32())
    }
}

/// The last 32 bytes of a sealed pack: where its footer is (Packs.md, "Trailer").
package struct PackTrailer: Hashable, Sendable {
    /// Bytes of a trailer.
    package static let byteCount = 32
    /// The version of the format that this program writes and reads.
    package static let formatVersion: UInt8 = 1
    private static let magic = Array("CASFOOT\0".utf8)
    private static let checkedByteCount = 28

    /// Where the entries start: the end of the last record.
    package let footerOffset: UInt64
    /// How many entries there are.
    package let entryCount: UInt32
    /// The CRC-32C of their bytes.
    package let entriesChecksum: UInt32

    init(footerOffset: UInt64, entryCount: UInt32, entriesChecksum: UInt32) {
        self.footerOffset = footerOffset
        self.entryCount = entryCount
        self.entriesChecksum = entriesChecksum
    }

    /// Bytes of the entries.
    package var entriesByteCount: Int { Int(entryCount) * PackFooter.entryByteCount }

    func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(littleEndian: footerOffset)
        output.append(littleEndian: entryCount)
        output.append(littleEndian: entriesChecksum)
        output.append(contentsOf: PackTrailer.magic)
        output.append(PackTrailer.formatVersion)
        output.append(contentsOf: [0, 0, 0])
        output.append(littleEndian: output.withUnsafeBytes { Checksum.crc32c($0) })
        return output
    }

    /// Whether the last 32 bytes of a pack look like a trailer; if not, the pack is not sealed.
    package static func isPresent(_ bytes: UnsafeRawBufferPointer) -> Bool {
        bytes.count >= byteCount && bytes[16..<24].elementsEqual(magic)
    }

    /// Reads the last 32 bytes of a pack of `packBytes` bytes; throws `dataLoss`.
    package init(decoding bytes: UnsafeRawBufferPointer, packBytes: UInt64) throws {
        guard PackTrailer.isPresent(bytes) else {
            throw CASError(.dataLoss, "a pack has no footer")
        }
        let checked = UnsafeRawBufferPointer(rebasing: bytes[..<PackTrailer.checkedByteCount])
        guard bytes.loadLittle(UInt32.self, at: 28) == Checksum.crc32c(checked) else {
            throw CASError(.dataLoss, "the trailer of a pack is damaged")
        }
        guard bytes[24] == PackTrailer.formatVersion, bytes[25..<28].allSatisfy({ $0 == 0 }) else {
            throw CASError(
                .unimplemented, "a pack has a footer that this version of cas does not know",
                hint: "use the newest cas")
        }
        self.init(
            footerOffset: bytes.loadLittle(UInt64.self, at: 0),
            entryCount: bytes.loadLittle(UInt32.self, at: 8),
            entriesChecksum: bytes.loadLittle(UInt32.self, at: 12))
        // The file's own size proves the count, so that no reader allocates for a lie.
        let tail = UInt64(entriesByteCount + PackTrailer.byteCount)
        guard packBytes >= tail + UInt64(PackHeader.byteCount), footerOffset == packBytes - tail
        else { throw CASError(.dataLoss, "the footer of a pack contradicts the pack's size") }
    }
}
