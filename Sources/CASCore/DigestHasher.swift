internal import CCrypto

/// Computes a SHA-256 over pieces, through libcrypto (which picks the processor's SHA instructions).
///
/// Owned by one thread; `finish` leaves it ready for the next message, so that a worker keeps one.
package struct DigestHasher: ~Copyable {
    private let context: OpaquePointer

    /// An empty message.
    package init() {
        guard let context = EVP_MD_CTX_new() else { preconditionFailure("libcrypto has no memory") }
        self.context = context
        start()
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

    /// The digest of the message so far; the hasher then starts an empty one.
    package mutating func finish() -> Digest {
        let digest = withUnsafeTemporaryAllocation(byteCount: Digest.byteCount, alignment: 8) {
            output in
            let status = EVP_DigestFinal_ex(
                context, output.baseAddress?.assumingMemoryBound(to: UInt8.self), nil)
            precondition(status == 1, "libcrypto refused to finish a digest")
            return Digest(UnsafeRawBufferPointer(output))
        }
        start()
        return digest
    }

    private func start() {
        let status = EVP_DigestInit_ex(context, EVP_sha256(), nil)
        precondition(status == 1, "libcrypto has no SHA-256")
    }
}
