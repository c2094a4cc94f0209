import CASCore
import CASOCI
import CASPack
import CASTree
import CASWorkspace

/// Where a blob stands in the layers of an image.
struct CarriedExtent {
    /// Which layer.
    var layer: Int
    /// Where in its plain archive.
    var offset: UInt64
    var size: UInt64
    var digest: Digest
    /// How it is composed; nil for what is in one piece.
    var list: ChunkList?

    var end: UInt64 { offset + size }

    static func precedes(_ left: CarriedExtent, _ right: CarriedExtent) -> Bool {
        (left.layer, left.offset, left.size) < (right.layer, right.offset, right.size)
    }
}

/// Finds the files of a tree in its layers by making their headers again.
struct CarriedFiles {

    /// Bytes of headers for an entry, and for the way to a part, that nothing real has more of: whoever
    /// names the same tree in all layers is not followed.
    private static let entryBytes: UInt64 = 8 << 10
    private static let layerBytes: UInt64 = 4 << 20

    /// Where each content stands first.
    private(set) var extents: [Digest: CarriedExtent] = [:]

    /// Throws `dataLoss` where the layers are not those of the tree.
    init(
        _ index: CarrierIndex, _ snapshot: Snapshot, _ contents: TreeContents, limits: Limits
    ) throws {
        var budget =
            CarriedFiles.entryBytes * snapshot.totals.entries
            + CarriedFiles.layerBytes * UInt64(index.layers.count)
        let source = Source(contents: contents)
        for (number, layer) in index.layers.enumerated() {
            var finder = Finder(
                layer: number, size: layer.size, extents: extents, budget: budget)
            extents = [:]
            try LayerEncoder(index.options, limits: limits).encode(
                layer.part, root: snapshot.tree.digest, source: source, to: &finder)
            guard finder.position == layer.size else { throw Finder.another() }
            extents = finder.extents
            budget = finder.budget
        }
    }

    /// The totals are for whoever cuts a tree; here it is cut.
    private struct Source: LayerSource {
        let contents: TreeContents

        func directory(_ digest: Digest) throws -> Directory? { try contents.directory(digest) }
        func totals(_ digest: Digest) throws -> TreeTotals? { nil }
    }

    private struct Finder: LayerConsumer {
        let layer: Int
        let size: UInt64
        var extents: [Digest: CarriedExtent]
        /// Bytes of headers that may still come, over all layers.
        var budget: UInt64
        var position: UInt64 = 0

        init(layer: Int, size: UInt64, extents: [Digest: CarriedExtent], budget: UInt64) {
            self.layer = layer
            self.size = size
            self.extents = extents
            self.budget = budget
        }

        static func another() -> CASError {
            CarrierFormat.damaged("its layers are not those of its tree")
        }

        private mutating func advance(_ count: UInt64) throws {
            guard count <= size - position else { throw Finder.another() }
            position += count
        }

        mutating func bytes(_ bytes: UnsafeRawBufferPointer) throws {
            guard UInt64(bytes.count) <= budget else {
                throw CASError(.resourceExhausted, "the layers of the image have too many entries")
            }
            budget -= UInt64(bytes.count)
            try advance(UInt64(bytes.count))
        }

        mutating func file(_ digest: Digest, size: UInt64) throws {
            let start = position
            try advance(size)
            if extents[digest] == nil {
                extents[digest] = CarriedExtent(
                    layer: layer, offset: start, size: size, digest: digest)
            }
        }
    }
}
