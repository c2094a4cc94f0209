package import CASCore

extension Directory {
    /// Reads a message that must be in canonical encoding; throws `dataLoss` for anything else.
    ///
    /// Unknown fields, another order, a name used twice, a forbidden name, a digest in capitals: all
    /// make the message a mere blob. Throws `resourceExhausted` beyond `limits`.
    package init(decodingCanonical bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        guard bytes.count <= limits.directoryBytes else {
            throw CASError(
                .resourceExhausted, "a directory message of \(bytes.count) bytes is too large")
        }
        self.init()
        var reader = Protobuf.Reader(bytes)
        while let field = try reader.next() {
            guard field.type == .lengthDelimited else { throw Directory.foreign() }
            guard count < limits.directoryEntries else {
                throw CASError(
                    .resourceExhausted,
                    "a directory has more than \(limits.directoryEntries) entries")
            }
            let body = try reader.bytes()
            switch field.number {
            case 1: files.append(try Directory.file(body))
            case 2: directories.append(try Directory.subdirectory(body))
            case 3: symlinks.append(try Directory.link(body, limits))
            default: throw Directory.foreign()
            }
        }
        try checkOrder()
        // The only sure test that there is one encoding per content.
        let canonical = encode()
        let isSame = canonical.withUnsafeBytes { $0.elementsEqual(bytes) }
        guard isSame else { throw Directory.foreign() }
    }

    /// Reads a message that must be in canonical encoding; throws `dataLoss` for anything else.
    package init(decodingCanonical bytes: [UInt8], limits: Limits) throws {
        self = try bytes.withUnsafeBytes { try Directory(decodingCanonical: $0, limits: limits) }
    }

    private static func foreign() -> CASError {
        CASError(.dataLoss, "a directory message is not in canonical form")
    }

    private func checkOrder() throws {
        let isSorted =
            Directory.ascends(files, { $0.name }) && Directory.ascends(directories, { $0.name })
            && Directory.ascends(symlinks, { $0.name })
        guard isSorted else { throw Directory.foreign() }
        guard Directory.areDisjoint(files, { $0.name }, directories, { $0.name }),
            Directory.areDisjoint(files, { $0.name }, symlinks, { $0.name }),
            Directory.areDisjoint(directories, { $0.name }, symlinks, { $0.name })
        else { throw CASError(.dataLoss, "a directory message uses a name twice") }
    }

    private static func ascends<Node>(_ nodes: [Node], _ key: (Node) -> EntryName) -> Bool {
        for index in nodes.indices.dropFirst()
        where !(key(nodes[index - 1]) < key(nodes[index])) { return false }
        return true
    }

    /// Whether two ascending lists share no name, by one merge.
    private static func areDisjoint<Left, Right>(
        _ left: [Left], _ leftKey: (Left) -> EntryName, _ right: [Right],
        _ rightKey: (Right) -> EntryName
    ) -> Bool {
        var first = 0
        var second = 0
        while first < left.count, second < right.count {
            let order = ByteOrder.compare(
                leftKey(left[first]).wire, rightKey(right[second]).wire)
            if order == 0 { return false }
            if order < 0 { first += 1 } else { second += 1 }
        }
        return true
    }

    private static func file(_ bytes: UnsafeRawBufferPointer) throws -> FileNode {
        var name: EntryName?
        var sized: SizedDigest?
        var isExecutable = false
        var reader = Protobuf.Reader(bytes)
        while let field = try reader.next() {
            switch (field.number, field.type) {
            case (1, .lengthDelimited): name = try EntryName(wire: reader.array())
            case (2, .lengthDelimited): sized = try sizedDigest(reader.bytes())
            case (4, .varint): isExecutable = try reader.varint() == 1
            default: throw foreign()
            }
        }
        guard let name, let sized else { throw foreign() }
        return FileNode(
            name: name, digest: sized.digest, size: sized.size, isExecutable: isExecutable)
    }

    private static func subdirectory(_ bytes: UnsafeRawBufferPointer) throws -> DirectoryNode {
        var name: EntryName?
        var sized: SizedDigest?
        var reader = Protobuf.Reader(bytes)
        while let field = try reader.next() {
            switch (field.number, field.type) {
            case (1, .lengthDelimited): name = try EntryName(wire: reader.array())
            case (2, .lengthDelimited): sized = try sizedDigest(reader.bytes())
            default: throw foreign()
            }
        }
        guard let name, let sized else { throw foreign() }
        return DirectoryNode(name: name, digest: sized.digest, size: sized.size)
    }

    private static func link(_ bytes: UnsafeRawBufferPointer, _ limits: Limits) throws
        -> SymlinkNode
    {
        var name: EntryName?
        var target: [UInt8]?
        var reader = Protobuf.Reader(bytes)
        while let field = try reader.next() {
            switch (field.number, field.type) {
            case (1, .lengthDelimited): name = try EntryName(wire: reader.array())
            case (2, .lengthDelimited): target = try WireText.decode(reader.array())
            default: throw foreign()
            }
        }
        guard let name, let target else { throw foreign() }
        guard !target.isEmpty, target.count <= limits.symlinkTargetBytes, !target.contains(0) else {
            throw CASError(.dataLoss, "the target of symbolic link '\(name)' is not allowed")
        }
        return SymlinkNode(name: name, target: target)
    }

    private static func sizedDigest(_ bytes: UnsafeRawBufferPointer) throws -> SizedDigest {
        var digest: Digest?
        var size: UInt64 = 0
        var reader = Protobuf.Reader(bytes)
        while let field = try reader.next() {
            switch (field.number, field.type) {
            case (1, .lengthDelimited): digest = Digest(hexadecimalBytes: try reader.bytes())
            case (2, .varint): size = try reader.varint()
            default: throw foreign()
            }
        }
        guard let digest, size <= UInt64(Int64.max) else { throw foreign() }
        return SizedDigest(digest: digest, size: size)
    }
}
