package import CASCore
package import CASTree

/// Where trees come from that become layers: memory or a store.
package protocol LayerSource {
    /// The directory with that digest; nil if it is not there.
    func directory(_ digest: Digest) throws -> Directory?
    /// Sums over the directory with that digest and everything below; nil if they are not known.
    func totals(_ digest: Digest) throws -> TreeTotals?
}

/// What of an image's options counts for the bytes of its layers.
package struct LayerOptions: Hashable, Sendable {
    /// Bytes of a prefix at most.
    package static let maximumPrefixBytes = 1_024

    /// The directory of the image in which the tree stands, without a slash at either end; empty for its
    /// root.
    package let prefix: [UInt8]
    /// The number of the user that owns everything in the tree.
    package let userID: UInt32
    /// The number of the group.
    package let groupID: UInt32

    /// Options of a path as somebody writes it (`/workspace`); throws `invalidArgument`.
    package init(prefix: [UInt8] = [], userID: UInt32 = 0, groupID: UInt32 = 0) throws {
        let parts = prefix.split(separator: UInt8(ascii: "/"))
        guard prefix.count <= LayerOptions.maximumPrefixBytes else {
            throw CASError(
                .invalidArgument,
                "a directory of the image has more than \(LayerOptions.maximumPrefixBytes) bytes")
        }
        for part in parts { _ = try EntryName(Array(part)) }
        self.prefix = Array(parts.joined(separator: [UInt8(ascii: "/")]))
        self.userID = userID
        self.groupID = groupID
    }

    /// The directories from the root of the image to that of the tree, outermost first.
    var ancestors: [[UInt8]] {
        guard !prefix.isEmpty else { return [] }
        let borders = prefix.indices.filter { prefix[$0] == UInt8(ascii: "/") }
        return borders.map { Array(prefix[..<$0]) } + [prefix]
    }
}

extension LayerSource {
    func present(_ digest: Digest, _ path: [UInt8]) throws -> Directory {
        guard let directory = try directory(digest) else {
            throw CASError(
                .notFound, "a directory of the tree is missing", digest: digest,
                path: PathText.printable(path))
        }
        return directory
    }

    func sums(_ digest: Digest, _ path: [UInt8]) throws -> TreeTotals {
        guard let totals = try totals(digest) else {
            throw CASError(
                .failedPrecondition, "the tree is not complete", digest: digest,
                path: PathText.printable(path))
        }
        return totals
    }
}

/// A path with one more name.
func joined(_ path: [UInt8], _ name: EntryName) -> [UInt8] {
    joined(path, name.bytes)
}

/// A path behind another one; either may be empty.
func joined(_ path: [UInt8], _ rest: [UInt8]) -> [UInt8] {
    if path.isEmpty { return rest }
    if rest.isEmpty { return path }
    var output: [UInt8] = []
    output.reserveCapacity(path.count + 1 + rest.count)
    output += path
    output.append(UInt8(ascii: "/"))
    output += rest
    return output
}
