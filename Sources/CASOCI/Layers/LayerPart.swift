import CASCore
package import CASTree

/// The part of a tree that one layer holds (Layers.md, "Parts").
package struct LayerPart: Hashable, Sendable {
    /// What it holds of a directory; the directories from the root down to it are in it as well.
    package enum Selection: Hashable, Sendable {
        /// Everything.
        case whole
        /// One file.
        case file(EntryName)
        /// Of all entries but the excluded ones those whose name's hash begins with these bits: with no
        /// bits all of them.
        case group(bits: UInt8, index: UInt64, excluded: [EntryName])
    }

    /// Bytes of a description at most.
    package static let maximumByteCount = 64 << 10

    /// The directory, from the root of the tree, without a slash at either end; empty for the root.
    package let path: [UInt8]
    /// What it holds of it.
    package let selection: Selection

    /// A part from what it holds.
    package init(path: [UInt8], selection: Selection) {
        self.path = path
        self.selection = selection
    }

    /// Whether it holds an entry of its directory.
    package func holds(_ name: EntryName) -> Bool {
        switch selection {
        case .whole: true
        case .file(let file): file == name
        case .group(let bits, let index, let excluded):
            LayerPart.group(name, bits: bits) == index && !excluded.contains(name)
        }
    }

    /// The first `bits` bits of a name's hash: FNV-1a of 64 bits, mixed as SplitMix64 does at its end, so that
    /// one more bit splits each group in two.
    package static func group(_ name: EntryName, bits: UInt8) -> UInt64 {
        guard bits > 0 else { return 0 }
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        hash = (hash ^ (hash >> 30)) &* 0xbf58_476d_1ce4_e5b9
        hash = (hash ^ (hash >> 27)) &* 0x94d0_49bb_1331_11eb
        hash ^= hash >> 31
        return hash >> (64 - UInt64(bits))
    }

    /// What it holds, for people: `/src`, `/lib (3 of 8)`.
    package func text(_ options: LayerOptions) -> String {
        let directory = "/" + PathText.printable(joined(options.prefix, path))
        switch selection {
        case .whole: return directory
        case .file(let name):
            return "/" + PathText.printable(joined(joined(options.prefix, path), name))
        case .group(let bits, let index, _):
            return bits == 0 ? directory : "\(directory) (\(index + 1) of \(1 << bits))"
        }
    }
}

extension LayerPart {
    /// The description in bytes: 1 path, 2 kind (1 whole, 2 file, 3 group), 3 name of the file, 4 bits,
    /// 5 index, 6 each excluded name.
    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, bytes: path)
        switch selection {
        case .whole: output.append(field: 2, varint: 1)
        case .file(let name):
            output.append(field: 2, varint: 2)
            output.append(field: 3, bytes: name.bytes)
        case .group(let bits, let index, let excluded):
            output.append(field: 2, varint: 3)
            output.append(field: 4, varint: UInt64(bits))
            output.append(field: 5, varint: index)
            for name in excluded { output.append(element: 6, bytes: name.bytes) }
        }
        return output
    }

    /// Reads a description; throws `dataLoss` for what is none.
    package init(decoding bytes: [UInt8]) throws {
        guard bytes.count <= LayerPart.maximumByteCount else { throw LayerPart.damaged() }
        self = try bytes.withUnsafeBytes { try LayerPart(fields: Protobuf.Reader($0)) }
        guard encode() == bytes else { throw LayerPart.damaged() }
    }

    private init(fields: Protobuf.Reader) throws {
        var reader = fields
        var path: [UInt8] = []
        var kind: UInt64 = 0
        var file: EntryName?
        var bits: UInt64 = 0
        var index: UInt64 = 0
        var excluded: [EntryName] = []
        while let field = try reader.next() {
            switch (field.number, field.type) {
            case (1, .lengthDelimited): path = try reader.array()
            case (2, .varint): kind = try reader.varint()
            case (3, .lengthDelimited): file = try LayerPart.name(try reader.array())
            case (4, .varint): bits = try reader.varint()
            case (5, .varint): index = try reader.varint()
            case (6, .lengthDelimited): excluded.append(try LayerPart.name(try reader.array()))
            default: throw LayerPart.damaged()
            }
        }
        for part in path.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        where !path.isEmpty { _ = try LayerPart.name(Array(part)) }
        let selection: Selection
        switch kind {
        case 1: selection = .whole
        case 2:
            guard let file else { throw LayerPart.damaged() }
            selection = .file(file)
        case 3:
            guard bits < 64, index >> bits == 0 else { throw LayerPart.damaged() }
            selection = .group(bits: UInt8(bits), index: index, excluded: excluded)
        default: throw LayerPart.damaged()
        }
        self.init(path: path, selection: selection)
    }

    private static func name(_ bytes: [UInt8]) throws -> EntryName {
        do {
            return try EntryName(bytes)
        } catch {
            throw damaged()
        }
    }

    private static func damaged() -> CASError {
        CASError(.dataLoss, "the description of a layer is damaged")
    }
}
