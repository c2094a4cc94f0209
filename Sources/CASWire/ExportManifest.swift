package import CASCore
import CASPack

/// What an exported file says of itself before its records (Export.md).
package struct ExportManifest: WireMessage {
    /// The refs whose snapshots the records hold, as they were when the file was written.
    package var refs: [RefEntry]
    /// The version of the program that wrote it.
    package var software: String
    /// When it was written.
    package var created: Timestamp
    /// What belongs to refs besides their snapshots, each with its ref, in the order of the refs.
    package var images: [RefImages]

    /// A manifest from its parts.
    package init(
        refs: [RefEntry], software: String, created: Timestamp, images: [RefImages] = []
    ) {
        self.refs = refs
        self.software = software
        self.created = created
        self.images = images
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        for entry in refs { output.append(element: 1, bytes: entry.encode()) }
        output.append(field: 2, text: software)
        output.append(field: 3, time: created)
        for image in images { output.append(element: 4, bytes: image.encode()) }
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init(refs: [], software: "", created: Timestamp(seconds: 0))
        try readFields(bytes, upTo: 4) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited):
                guard refs.count < ExportFormat.maximumRefs else {
                    throw WireFailure.tooMany("refs")
                }
                refs.append(try RefEntry(decoding: try reader.bytes(), limits: limits))
            case (2, .lengthDelimited): software = try reader.string()
            case (3, .lengthDelimited): created = try reader.timestamp()
            case (4, .lengthDelimited):
                guard images.count < ExportFormat.maximumRefs else {
                    throw WireFailure.tooMany("images")
                }
                images.append(try RefImages(decoding: try reader.bytes(), limits: limits))
            default: return false
            }
            return true
        }
        guard Set(refs.map(\.name)).count == refs.count else {
            throw CASError(.dataLoss, "a ref stands twice in the export")
        }
        let known = Set(refs.map(\.name))
        let described = images.compactMap(\.ref)
        guard described.count == images.count, Set(described).count == described.count,
            known.isSuperset(of: described)
        else {
            throw CASError(.dataLoss, "the export says of images what belongs to no ref of it")
        }
    }
}

/// The bytes around the records of an exported file.
package enum ExportFormat {
    /// The version that this program writes and reads.
    package static let formatVersion: UInt8 = 1
    /// Refs in one file at most.
    package static let maximumRefs = 10_000
    /// Bytes before the manifest.
    static let headerByteCount = 16
    /// Bytes behind the manifest: the CRC-32C of it and all before it.
    static let manifestTrailerByteCount = 4
    /// Bytes behind the last record: the SHA-256 of all before it.
    package static let trailerByteCount = Digest.byteCount
    private static let magic = Array("CASEXPT\0".utf8)

    /// Header, manifest and its checksum: all that stands before the first record.
    package static func head(_ manifest: ExportManifest) -> [UInt8] {
        let message = manifest.encode()
        var output = magic
        output.reserveCapacity(headerByteCount + message.count + manifestTrailerByteCount)
        output.append(contentsOf: [formatVersion, 0, 0, 0])
        output.append(littleEndian: UInt32(message.count))
        output.append(contentsOf: message)
        output.append(littleEndian: output.withUnsafeBytes { Checksum.crc32c($0) })
        return output
    }

    /// Bytes of the manifest that a header announces.
    static func manifestByteCount(
        _ header: UnsafeRawBufferPointer, limits: Limits
    ) throws -> Int {
        var reader = ByteReader(header)
        guard try reader.array(magic.count) == magic else {
            throw CASError(
                .dataLoss, "this is no file of cas export", hint: "cas export REF... FILE makes one"
            )
        }
        guard try reader.uint8() == formatVersion, try reader.array(3) == [0, 0, 0] else {
            throw CASError(
                .unimplemented, "the export has a format that this version of cas does not know",
                hint: "use the newest cas")
        }
        let count = Int(try reader.uint32())
        guard count <= limits.requestBytes else {
            throw CASError(.resourceExhausted, "the list of refs of the export is too long")
        }
        return count
    }

    /// Whether a file's first eight bytes are those of an export.
    package static func isExport(_ head: [UInt8]) -> Bool { head == magic }

    /// Whether a file's last bytes are those of a whole one: the `end` record and a digest.
    package static func isWhole(lastBytes bytes: UnsafeRawBufferPointer, limits: Limits) -> Bool {
        guard bytes.count == lastByteCount,
            let header = try? RecordHeader(decoding: bytes, limits: limits)
        else { return false }
        return header.kind == .end
    }

    /// How many bytes `isWhole` looks at.
    package static let lastByteCount =
        RecordHeader.byteCount + RecordHeader.trailerByteCount + trailerByteCount
}
