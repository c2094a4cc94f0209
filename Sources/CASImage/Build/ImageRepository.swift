import CASCore
package import CASOCI

/// A repository of images, wherever it is: behind a registry's protocol, or in a store of this process.
package protocol ImageRepository: Sendable {
    /// The registry, for messages and for references; nil for a store of this process.
    var host: String? { get }
    /// The repository's name.
    var name: String { get }

    /// The manifest of a tag or digest, checked against its digest; nil where there is none.
    func manifest(_ selector: String) throws -> RegistryManifest?
    /// Reads a blob to `sink` as it comes; throws `dataLoss` at its end if it is another.
    func read(
        _ descriptor: Descriptor, _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws
    /// Whether a blob is there.
    func hasBlob(_ digest: OCIDigest, isWritten: Bool) throws -> Bool
    /// Puts a blob that is not there; `write` may be called again. Sources are names in the same place.
    func upload(
        _ digest: OCIDigest, size: UInt64, mountedFrom sources: [String],
        _ write: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws -> RegistryClient.Placement
    /// Puts a manifest under a tag or its digest.
    func put(manifest bytes: [UInt8], mediaType: String, as selector: String) throws
    /// All tags; nil where there is no such repository.
    func tags() throws -> [String]?
    /// What refers to a manifest.
    func referrers(to subject: OCIDigest, artifactType: String?) throws -> [Descriptor]
}

extension ImageRepository {
    /// Reads a small blob whole; throws `resourceExhausted` for a larger one.
    package func bytes(_ descriptor: Descriptor, maximumBytes: Int) throws -> [UInt8] {
        guard descriptor.size <= UInt64(maximumBytes) else {
            throw CASError(
                .resourceExhausted,
                "blob \(descriptor.digest) of \(text) has \(descriptor.size) bytes where at most "
                    + "\(maximumBytes) are taken")
        }
        var bytes: [UInt8] = []
        try read(descriptor) { bytes.append(contentsOf: $0) }
        return bytes
    }

    /// `HOST/NAME`, or the name.
    package var text: String { host.map { "\($0)/\(name)" } ?? name }
}

extension RegistryClient: ImageRepository {
    package var host: String? { location.host }
}
