package import CASCore

/// A modification time made from content, so that an edit always changes it: programs such as
/// Python trust time and size.
///
/// Between 2000 and 2020, the same everywhere.
package enum DerivedTime {
    private static let start: Int64 = 946_684_800
    private static let span: UInt64 = 631_152_000

    /// The time for content of that digest.
    package static func of(_ digest: Digest) -> Timestamp {
        let words = digest.words
        return Timestamp(
            seconds: start + Int64(words.0 % span), nanoseconds: UInt32(words.1 % 1_000_000_000))
    }
}
