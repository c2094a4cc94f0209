internal import CShims

/// CRC-32C (Castagnoli), the checksum of records and packs; RFC 3720, appendix B.4.
package enum Checksum {
    /// The checksum of `bytes`, continuing from `checksum` (0 at the start).
    package static func crc32c(_ bytes: UnsafeRawBufferPointer, continuing checksum: UInt32 = 0)
        -> UInt32
    {
        cas_crc32c(checksum, bytes.baseAddress, bytes.count)
    }
}
