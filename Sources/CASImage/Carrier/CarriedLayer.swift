import CASCompression
import CASCore
import CASOCI

/// A layer of an image in a registry, read as the plain archive that it is or was.
struct CarriedLayer: Sendable {
    let registry: RegistryClient
    let descriptor: Descriptor
    /// The digest of the plain archive.
    let diffID: Digest

    /// How it is stored; nil for the plain archive itself.
    var format: StreamCompressor.Format? {
        get throws {
            if descriptor.digest == .sha256(diffID) { return nil }
            switch descriptor.mediaType {
            case MediaType.imageLayerGzip, MediaType.dockerLayerGzip: return .gzip
            case MediaType.imageLayerZstd, MediaType.dockerLayerZstd: return .zstd
            default:
                throw CASError(
                    .unimplemented,
                    "a layer of \(registry.text) is stored as '\(descriptor.mediaType)'",
                    hint: "copy the image as it was, or with layers of gzip or zstd")
            }
        }
    }

    /// Whether parts of it can be asked for.
    var isPlain: Bool { descriptor.digest == .sha256(diffID) }

    /// Reads all of it; throws `dataLoss` at its end if it is another, `resourceExhausted` beyond a size.
    func read(
        maximumBytes: UInt64, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        guard let format = try format else {
            guard descriptor.size <= maximumBytes else { throw tooLarge(maximumBytes) }
            return try registry.read(descriptor, sink)
        }
        let decompressor = try StreamDecompressor(format)
        var hasher = DigestHasher()
        var count: UInt64 = 0
        try registry.read(descriptor) { stored in
            try decompressor.decompress(stored) { bytes in
                count += UInt64(bytes.count)
                guard count <= maximumBytes else { throw tooLarge(maximumBytes) }
                hasher.update(bytes)
                try sink(bytes)
            }
        }
        try decompressor.finish()
        guard hasher.finish() == diffID else { throw another }
    }

    /// The error for bytes that are not those of the layer.
    var another: CASError {
        CASError(
            .dataLoss,
            "layer \(descriptor.digest) of \(registry.text) is not what the image says",
            digest: diffID)
    }

    /// The error for one that unpacks to more than it may.
    func tooLarge(_ maximumBytes: UInt64) -> CASError {
        CASError(
            .resourceExhausted,
            "layer \(descriptor.digest) of \(registry.text) has more than "
                + "\(ByteCount.text(maximumBytes)), which nothing in it needs")
    }
}
