import CASCore

/// How large the pieces are that large blobs are cut into; fixed for the life of a store.
package struct ChunkerParameters: Hashable, Sendable {
    /// What new stores use; chosen by measurement (ops/decisions/0001-chunk-size-and-level.md).
    package static let standard = ChunkerParameters(uncheckedAverageBytes: 256 * 1024, seed: 0)

    /// The size that cuts aim at: a power of two from 1 KiB to 1 MiB.
    package let averageBytes: Int
    /// Changes every word of the rolling hash; 0 for the published table.
    package let seed: UInt32

    /// Checks the average; throws `invalidArgument` unless it is a power of two in REAPI's range.
    package init(averageBytes: Int, seed: UInt32 = 0) throws {
        guard averageBytes >= 1024, averageBytes <= 1 << 20, averageBytes.nonzeroBitCount == 1
        else {
            throw CASError(
                .invalidArgument, "the average chunk size \(averageBytes) is not allowed",
                hint: "use a power of two from 1024 to 1048576")
        }
        self.init(uncheckedAverageBytes: averageBytes, seed: seed)
    }

    private init(uncheckedAverageBytes: Int, seed: UInt32) {
        averageBytes = uncheckedAverageBytes
        self.seed = seed
    }

    /// The same with chunks that are so many times as large, a power of two, at most `maximumBytes` each: for what would
    /// have too many.
    package func coarser(by factor: Int, maximumBytes: Int) -> ChunkerParameters {
        var average = averageBytes
        while average < averageBytes * factor, average * 8 <= maximumBytes { average *= 2 }
        return ChunkerParameters(uncheckedAverageBytes: average, seed: seed)
    }

    /// No cut before this many bytes.
    package var minimumBytes: Int { averageBytes / 4 }
    /// A cut at this many bytes at the latest; a blob of at most this size is its own only chunk.
    package var maximumBytes: Int { averageBytes * 4 }
}
