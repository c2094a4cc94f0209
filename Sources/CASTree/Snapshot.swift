package import CASCore

/// What a ref names: the roots of a tree and, normally, of its attributes (Trees.md, "Snapshot").
package struct Snapshot: Hashable, Sendable {
    /// The version of the encoding that this program writes and reads.
    package static let formatVersion: UInt8 = 1
    /// Bytes of an encoded snapshot.
    package static let byteCount = 152
    private static let magic = Array("CASN".utf8)

    /// The root's Directory message.
    package var tree: SizedDigest
    /// The root's attributes; nil for a tree from elsewhere.
    package var attributes: SizedDigest?
    /// The digest that the attributes' root would have with the time of every directory zero: two
    /// snapshots that agree in this and the tree differ in nothing that matters.
    package var stableAttributes: Digest?
    /// Sums over the tree.
    package var totals: TreeTotals

    /// A snapshot from its parts.
    package init(
        tree: SizedDigest, attributes: SizedDigest?, stableAttributes: Digest?, totals: TreeTotals
    ) {
        self.tree = tree
        self.attributes = attributes
        self.stableAttributes = stableAttributes
        self.totals = totals
    }

    /// Whether a push of this over `other` changes nothing but times of directories.
    package func isUnchanged(from other: Snapshot) -> Bool {
        guard tree == other.tree else { return false }
        if attributes == other.attributes { return true }
        return stableAttributes != nil && stableAttributes == other.stableAttributes
    }

    /// The encoded snapshot.
    package func encode() -> [UInt8] {
        var output = Snapshot.magic
        output.reserveCapacity(Snapshot.byteCount)
        output.append(Snapshot.formatVersion)
        output.append((attributes == nil ? 0 : 1) | (stableAttributes == nil ? 0 : 2))
        output.append(contentsOf: [0, 0])
        output.append(digest: tree.digest)
        output.append(littleEndian: tree.size)
        output.append(digest: attributes?.digest ?? .zero)
        output.append(littleEndian: attributes?.size ?? 0)
        output.append(digest: stableAttributes ?? .zero)
        for sum in [totals.files, totals.directories, totals.symlinks, totals.bytes] {
            output.append(littleEndian: sum)
        }
        return output
    }

    /// The digest of the encoded snapshot.
    package var digest: Digest { Digest.of(encode()) }

    /// Reads an encoded snapshot; throws `dataLoss`.
    package init(decoding bytes: UnsafeRawBufferPointer) throws {
        var reader = ByteReader(bytes)
        guard bytes.count >= 8, try reader.array(4) == Snapshot.magic else {
            throw CASError(.dataLoss, "these bytes are not a snapshot")
        }
        guard try reader.uint8() == Snapshot.formatVersion else {
            throw CASError(
                .unimplemented, "a snapshot has a format that this version of cas does not know",
                hint: "use the newest cas on both sides")
        }
        let flags = try reader.uint8()
        guard flags < 4, try reader.uint16() == 0, bytes.count == Snapshot.byteCount else {
            throw CASError(.dataLoss, "a snapshot is damaged")
        }
        tree = SizedDigest(digest: try reader.digest(), size: try reader.uint64())
        let root = SizedDigest(digest: try reader.digest(), size: try reader.uint64())
        let stable = try reader.digest()
        attributes = flags & 1 != 0 ? root : nil
        stableAttributes = flags & 2 != 0 ? stable : nil
        totals = TreeTotals(
            files: try reader.uint64(), directories: try reader.uint64(),
            symlinks: try reader.uint64(), bytes: try reader.uint64())
        guard encode().withUnsafeBytes({ $0.elementsEqual(bytes) }) else {
            throw CASError(.dataLoss, "a snapshot is not in canonical form")
        }
    }

    /// Reads an encoded snapshot; throws `dataLoss`.
    package init(decoding bytes: [UInt8]) throws {
        self = try bytes.withUnsafeBytes { try Snapshot(decoding: $0) }
    }
}
