package import CASCore

/// Permission bits and modification time of one file or directory.
package struct FileAttributes: Hashable, Sendable {
    /// The bits of 0o777; set-user-ID, set-group-ID and sticky never travel.
    package var permissions: UInt16
    /// When the content was last modified.
    package var modified: Timestamp

    /// Attributes from their parts; bits beyond 0o777 are dropped.
    package init(permissions: UInt16, modified: Timestamp) {
        self.permissions = permissions & 0o777
        self.modified = modified
    }
}

/// The attributes of one directory and its entries, in the order of its Directory message
/// (Trees.md, "Attributes"): a Merkle tree parallel to that of the content.
package struct AttributesDirectory: Hashable, Sendable {
    /// The version of the encoding that this program writes and reads.
    package static let formatVersion: UInt8 = 1

    /// The directory's own.
    package var own: FileAttributes
    /// Those of its files.
    package var files: [FileAttributes]
    /// Modification times of its symbolic links.
    package var symlinks: [Timestamp]
    /// The encoded attributes of its subdirectories.
    package var directories: [SizedDigest]

    /// Attributes from their parts.
    package init(
        own: FileAttributes, files: [FileAttributes] = [], symlinks: [Timestamp] = [],
        directories: [SizedDigest] = []
    ) {
        self.own = own
        self.files = files
        self.symlinks = symlinks
        self.directories = directories
    }

    /// Whether it has one entry for each entry of `directory`.
    package func matches(_ directory: Directory) -> Bool {
        files.count == directory.files.count && symlinks.count == directory.symlinks.count
            && directories.count == directory.directories.count
    }

    /// The encoded attributes.
    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(32 + 14 * files.count + 12 * symlinks.count + 40 * directories.count)
        output.append(AttributesDirectory.formatVersion)
        AttributesDirectory.append(&output, own)
        output.append(varint: UInt64(files.count))
        for file in files { AttributesDirectory.append(&output, file) }
        output.append(varint: UInt64(symlinks.count))
        for link in symlinks { AttributesDirectory.append(&output, link) }
        output.append(varint: UInt64(directories.count))
        for directory in directories {
            output.append(digest: directory.digest)
            output.append(littleEndian: directory.size)
        }
        return output
    }

    private static func append(_ output: inout [UInt8], _ attributes: FileAttributes) {
        output.append(littleEndian: attributes.permissions)
        append(&output, attributes.modified)
    }

    private static func append(_ output: inout [UInt8], _ time: Timestamp) {
        output.append(littleEndian: time.seconds)
        output.append(littleEndian: time.nanoseconds)
    }

    /// Reads encoded attributes; throws `dataLoss`, or `resourceExhausted` beyond `limits`.
    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        guard bytes.count <= limits.directoryBytes else {
            throw CASError(.resourceExhausted, "attributes of \(bytes.count) bytes are too large")
        }
        var reader = ByteReader(bytes)
        guard try reader.uint8() == AttributesDirectory.formatVersion else {
            throw CASError(
                .unimplemented, "attributes have a format that this version of cas does not know",
                hint: "use the newest cas on both sides")
        }
        let own = try AttributesDirectory.attributes(&reader)
        let files = try AttributesDirectory.list(&reader, itemBytes: 14) {
            try AttributesDirectory.attributes(&$0)
        }
        let symlinks = try AttributesDirectory.list(&reader, itemBytes: 12) {
            try AttributesDirectory.time(&$0)
        }
        let directories = try AttributesDirectory.list(&reader, itemBytes: 40) {
            SizedDigest(digest: try $0.digest(), size: try $0.uint64())
        }
        self.init(own: own, files: files, symlinks: symlinks, directories: directories)
        let canonical = encode()
        guard reader.isAtEnd, canonical.count == bytes.count else {
            throw CASError(.dataLoss, "attributes are not in canonical form")
        }
    }

    /// Reads encoded attributes; throws `dataLoss`, or `resourceExhausted` beyond `limits`.
    package init(decoding bytes: [UInt8], limits: Limits) throws {
        self = try bytes.withUnsafeBytes { try AttributesDirectory(decoding: $0, limits: limits) }
    }

    private static func list<Item>(
        _ reader: inout ByteReader, itemBytes: Int, _ item: (inout ByteReader) throws -> Item
    ) throws -> [Item] {
        let count = try reader.varint()
        guard count <= UInt64(reader.remaining / itemBytes) else {
            throw CASError(.dataLoss, "attributes are cut short")
        }
        var items: [Item] = []
        items.reserveCapacity(Int(count))
        for _ in 0..<count { items.append(try item(&reader)) }
        return items
    }

    private static func attributes(_ reader: inout ByteReader) throws -> FileAttributes {
        let permissions = try reader.uint16()
        guard permissions <= 0o777 else {
            throw CASError(.dataLoss, "attributes hold more than permission bits")
        }
        return FileAttributes(permissions: permissions, modified: try time(&reader))
    }

    private static func time(_ reader: inout ByteReader) throws -> Timestamp {
        let time = Timestamp(
            seconds: Int64(bitPattern: try reader.uint64()), nanoseconds: try reader.uint32())
        guard time.nanoseconds < 1_000_000_000 else {
            throw CASError(.dataLoss, "a time has more than a second of nanoseconds")
        }
        return time
    }
}
