import CASCore
import CASOCI

/// Computes a digest of either algorithm over pieces.
struct OCIDigestHasher: ~Copyable {
    private let algorithm: OCIDigest.Algorithm
    private var short = DigestHasher()
    private var long: SHA512Hasher

    /// An empty message.
    init(_ algorithm: OCIDigest.Algorithm) {
        self.algorithm = algorithm
        long = SHA512Hasher()
    }

    /// Adds bytes to the message.
    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        switch algorithm {
        case .sha256: short.update(bytes)
        case .sha512: long.update(bytes)
        }
    }

    /// The digest of the message; nothing can be added afterwards.
    consuming func finish() -> OCIDigest {
        switch algorithm {
        case .sha256: .sha256(short.finish())
        case .sha512: .sha512(long.finish())
        }
    }
}
