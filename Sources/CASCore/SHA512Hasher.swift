internal import CCrypto

/// Computes a SHA-512 over pieces, for doors that know blobs by it too; nothing is keyed by it.
///
/// Owned by one thread.
package struct SHA512Hasher: ~Copyable {
    /// Bytes of a SHA-512.
    package static let byteCount = 64
    private let context: OpaquePointer

    /// An empty message.
    package init() {
        guard let context = EVP_MD_CTX_new() else { preconditionFailure("libcrypto has no memory") }
        self.context = context
        let status = EVP_DigestInit_ex(context, EVP_sha512(), nil)
        precondition(status == 1, "libcrypto has no SHA-512")
    }

    deinit {
        EVP_MD_CTX_free(context)
    }

    /// Adds bytes to the message.
    package mutating func update(_ bytes: UnsafeRawBufferPointer) {
        guard bytes.count > 0 else { return }
        let status = EVP_DigestUpdate(context, bytes.baseAddress, bytes.count)
        precondition(status == 1, "libcrypto refused to hash")
    }

    /// The SHA-512 of the message; nothing can be added afterwards.
    package consuming func finish() -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: SHA512Hasher.byteCount) { output, count in
            let status = EVP_DigestFinal_ex(context, output.baseAddress, nil)
            precondition(status == 1, "libcrypto refused to finish a digest")
            count = SHA512Hasher.byteCount
        }
    }

    /// The SHA-512 of bytes.
    package static func of(_ bytes: UnsafeRawBufferPointer) -> [UInt8] {
        var hasher = SHA512Hasher()
        hasher.update(bytes)
        return hasher.finish()
    }
}
