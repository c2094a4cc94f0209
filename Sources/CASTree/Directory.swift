package import CASCore

/// A regular file in a directory.
package struct FileNode: Hashable, Sendable {
    /// Its name.
    package var name: EntryName
    /// The SHA-256 of its content.
    package var digest: Digest
    /// Bytes of its content.
    package var size: UInt64
    /// Whether anybody may execute it.
    package var isExecutable: Bool

    /// A file from its parts.
    package init(name: EntryName, digest: Digest, size: UInt64, isExecutable: Bool) {
        self.name = name
        self.digest = digest
        self.size = size
        self.isExecutable = isExecutable
    }
}

/// A directory in a directory.
package struct DirectoryNode: Hashable, Sendable {
    /// Its name.
    package var name: EntryName
    /// The digest of its encoded message.
    package var digest: Digest
    /// Bytes of its encoded message.
    package var size: UInt64

    /// A directory from its parts.
    package init(name: EntryName, digest: Digest, size: UInt64) {
        self.name = name
        self.digest = digest
        self.size = size
    }
}

/// A symbolic link in a directory.
package struct SymlinkNode: Hashable, Sendable {
    /// Its name.
    package var name: EntryName
    /// What it points at, as the file system has it.
    package var target: [UInt8]

    /// A link from its parts.
    package init(name: EntryName, target: [UInt8]) {
        self.name = name
        self.target = target
    }
}

/// The content of one directory: a Directory message of the Remote Execution API, v2, in canonical
/// encoding (Trees.md, "Directory").
///
/// Same content, same bytes, same digest, on any machine.
package struct Directory: Hashable, Sendable {
    /// Files by ascending name.
    package var files: [FileNode]
    /// Directories by ascending name.
    package var directories: [DirectoryNode]
    /// Symbolic links by ascending name.
    package var symlinks: [SymlinkNode]

    /// A directory of these entries, each list sorted by name and no name used twice.
    package init(
        files: [FileNode] = [], directories: [DirectoryNode] = [], symlinks: [SymlinkNode] = []
    ) {
        self.files = files
        self.directories = directories
        self.symlinks = symlinks
    }

    /// Number of entries.
    package var count: Int { files.count + directories.count + symlinks.count }

    /// The message's bytes.
    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.reserveCapacity(count * 112)
        for file in files {
            let digest = Directory.sizedDigestLength(file.size)
            let length =
                Directory.fieldLength(file.name.wire.count) + Directory.fieldLength(digest)
                + (file.isExecutable ? 2 : 0)
            Directory.open(&output, field: 1, length: length)
            output.append(element: 1, bytes: file.name.wire)
            Directory.append(&output, field: 2, file.digest, file.size, digest)
            output.append(field: 4, flag: file.isExecutable)
        }
        for directory in directories {
            let digest = Directory.sizedDigestLength(directory.size)
            let length =
                Directory.fieldLength(directory.name.wire.count) + Directory.fieldLength(digest)
            Directory.open(&output, field: 2, length: length)
            output.append(element: 1, bytes: directory.name.wire)
            Directory.append(&output, field: 2, directory.digest, directory.size, digest)
        }
        for link in symlinks {
            let target = WireText.encode(link.target)
            let length =
                Directory.fieldLength(link.name.wire.count) + Directory.fieldLength(target.count)
            Directory.open(&output, field: 3, length: length)
            output.append(element: 1, bytes: link.name.wire)
            output.append(element: 2, bytes: target)
        }
        return output
    }

    private static func open(_ output: inout [UInt8], field: UInt8, length: Int) {
        output.append(field << 3 | 2)
        output.append(varint: UInt64(length))
    }

    private static func append(
        _ output: inout [UInt8], field: UInt8, _ digest: Digest, _ size: UInt64, _ length: Int
    ) {
        open(&output, field: field, length: length)
        output.append(1 << 3 | 2)
        output.append(UInt8(Digest.hexadecimalCount))
        digest.withBytes { bytes in
            for byte in bytes {
                output.append(hexadecimalDigit(byte >> 4))
                output.append(hexadecimalDigit(byte & 15))
            }
        }
        output.append(field: 2, varint: size)
    }

    @inline(__always)
    private static func hexadecimalDigit(_ nibble: UInt8) -> UInt8 {
        nibble < 10 ? 0x30 + nibble : 0x57 + nibble
    }

    /// Bytes of an encoded Digest message.
    private static func sizedDigestLength(_ size: UInt64) -> Int {
        2 + Digest.hexadecimalCount + (size == 0 ? 0 : 1 + varintLength(size))
    }

    /// Bytes of a length-delimited field with a key of one byte.
    private static func fieldLength(_ count: Int) -> Int { 1 + varintLength(UInt64(count)) + count }

    private static func varintLength(_ value: UInt64) -> Int {
        max(1, (64 - value.leadingZeroBitCount + 6) / 7)
    }
}

extension Directory {
    /// Sorts the entries by name, as the encoding needs them.
    package mutating func sort() {
        files.sort { $0.name < $1.name }
        directories.sort { $0.name < $1.name }
        symlinks.sort { $0.name < $1.name }
    }

    /// The file of that name.
    package func file(_ name: EntryName) -> FileNode? {
        fileIndex(name).map { files[$0] }
    }

    /// Where the file of that name stands in `files`.
    package func fileIndex(_ name: EntryName) -> Int? {
        Directory.index(name, in: files) { $0.name }
    }

    /// The directory of that name.
    package func directory(_ name: EntryName) -> DirectoryNode? {
        directoryIndex(name).map { directories[$0] }
    }

    /// Where the directory of that name stands in `directories`.
    package func directoryIndex(_ name: EntryName) -> Int? {
        Directory.index(name, in: directories) { $0.name }
    }

    /// The symbolic link of that name.
    package func symlink(_ name: EntryName) -> SymlinkNode? {
        Directory.find(name, in: symlinks, { $0.name })
    }

    private static func find<Node>(
        _ name: EntryName, in nodes: [Node], _ key: (Node) -> EntryName
    ) -> Node? {
        index(name, in: nodes, key).map { nodes[$0] }
    }

    private static func index<Node>(
        _ name: EntryName, in nodes: [Node], _ key: (Node) -> EntryName
    ) -> Int? {
        var low = 0
        var high = nodes.count
        while low < high {
            let middle = low + (high - low) / 2
            if key(nodes[middle]) < name { low = middle + 1 } else { high = middle }
        }
        guard low < nodes.count, key(nodes[low]) == name else { return nil }
        return low
    }
}
