/// Sums over a whole subtree, the directory at its root counted.
package struct TreeTotals: Hashable, Sendable {
    /// Regular files.
    package var files: UInt64
    /// Directories, at least one.
    package var directories: UInt64
    /// Symbolic links.
    package var symlinks: UInt64
    /// Bytes of all files.
    package var bytes: UInt64

    /// Totals from their parts.
    package init(
        files: UInt64 = 0, directories: UInt64 = 0, symlinks: UInt64 = 0, bytes: UInt64 = 0
    ) {
        self.files = files
        self.directories = directories
        self.symlinks = symlinks
        self.bytes = bytes
    }

    /// Files, directories and symbolic links together; the largest number instead of an overflow.
    package var entries: UInt64 {
        TreeTotals.sum(TreeTotals.sum(files, directories), symlinks)
    }

    /// Adds a subtree's totals; a sum that does not fit becomes the largest number, so that a small
    /// graph that names 2^64 files is refused by limits and does not wrap around them.
    package mutating func add(_ other: TreeTotals) {
        files = TreeTotals.sum(files, other.files)
        directories = TreeTotals.sum(directories, other.directories)
        symlinks = TreeTotals.sum(symlinks, other.symlinks)
        bytes = TreeTotals.sum(bytes, other.bytes)
    }

    private static func sum(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let (sum, overflow) = left.addingReportingOverflow(right)
        return overflow ? .max : sum
    }
}
