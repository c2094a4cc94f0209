import CASCore
package import CASOCI

/// An image that somebody named, its manifest and configuration read.
package struct ResolvedImage: Sendable {
    /// Bytes of a configuration at most.
    package static let configurationBytes = 4 << 20

    /// What the reference itself names.
    package let top: RegistryManifest
    /// The image: that, or the one of its platform.
    package let image: RegistryManifest
    /// The image's manifest.
    package let manifest: ImageManifest
    /// The configuration's bytes.
    package let configuration: [UInt8]

    /// Resolves what a reference names; throws `notFound`.
    package init(
        _ reference: ImageReference, in repository: any ImageRepository, platform: ImagePlatform
    ) throws {
        top = try ResolvedImage.top(reference, in: repository)
        if MediaType.isIndex(top.mediaType) {
            let index = try ImageIndex(decoding: top.bytes)
            let chosen = try platform.choose(index, of: "\(reference)")
            guard let found = try repository.manifest(chosen.digest.description) else {
                throw CASError(
                    .notFound, "\(reference) names an image that is not there: \(chosen.digest)")
            }
            image = found
        } else {
            image = top
        }
        guard MediaType.isManifest(image.mediaType) else {
            throw CASError(
                .invalidArgument, "\(reference) is of type '\(image.mediaType)', which is no image",
                hint: "images of Docker's first schema have to be pushed anew")
        }
        manifest = try ImageManifest(decoding: image.bytes)
        configuration = try repository.bytes(
            manifest.config, maximumBytes: ResolvedImage.configurationBytes)
    }

    /// What a reference itself names; throws `notFound`.
    package static func top(
        _ reference: ImageReference, in repository: any ImageRepository
    ) throws -> RegistryManifest {
        guard let found = try repository.manifest(reference.selector) else {
            throw CASError(.notFound, "there is no image \(reference)")
        }
        return found
    }
}
