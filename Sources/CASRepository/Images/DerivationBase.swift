import CASCatalog
import CASCore
import CASOCI
import CASWire

/// The image of the store on top of which snapshots are images.
struct DerivationBase {
    private static let maximumConfigBytes = 8 << 20

    /// Its manifest, that of the platform where the options name an index, and configuration.
    let image: BaseImage
    /// What the options name.
    let digest: Digest
    /// What has to stay for it: manifests, and layers that lie in this store.
    let kept: [Digest]
    /// Of these, what pulls of an image on top of it ask for.
    let layers: [Digest]

    /// The base of some options; nil where they name none.
    ///
    /// Throws `failedPrecondition` where it is not here, or is no image.
    init?(_ repository: Repository, _ options: SnapshotImageOptions, domain: Domain) throws {
        guard let base = options.base else { return nil }
        var kept = [base.digest]
        func linked(_ digest: Digest, _ isManifest: Bool, _ limit: Int) throws -> [UInt8] {
            guard
                try repository.link(
                    base.name, digest, kind: isManifest ? .manifest : .blob, domain: domain) != nil,
                let bytes = try repository.read(blob: digest, maximumBytes: limit, domain: domain)
            else {
                throw DerivationBase.failure(
                    "the base image \(base.name)@\(base.digest) is not whole in this store")
            }
            return bytes
        }
        var bytes = try linked(base.digest, true, repository.limits.manifestBytes)
        if try JSON(decoding: bytes)["manifests"] != nil {
            let one = try DerivationBase.choose(try ImageIndex(decoding: bytes), options.platform)
            kept.append(one)
            bytes = try linked(one, true, repository.limits.manifestBytes)
        }
        let manifest = try ImageManifest(decoding: bytes)
        guard case .sha256(let configDigest) = manifest.config.digest else {
            throw DerivationBase.failure(
                "the base image names its configuration by another kind of digest")
        }
        let config = try linked(configDigest, false, DerivationBase.maximumConfigBytes)
        layers = try manifest.layers.compactMap { layer in
            if MediaType.isNondistributable(layer.mediaType) { return nil }
            guard case .sha256(let digest) = layer.digest,
                try repository.link(base.name, digest, kind: .blob, domain: domain) != nil
            else { throw DerivationBase.failure("the base image lacks its layer \(layer.digest)") }
            return digest
        }
        digest = base.digest
        self.kept = kept + layers
        image = BaseImage(
            manifest: manifest, config: try ImageConfig(decoding: config), name: base.name,
            digest: .sha256(base.digest))
    }

    private static func failure(_ text: String) -> CASError {
        CASError(
            .failedPrecondition, text,
            hint: "push it there, or give another with --image-option base=NAME@sha256:…")
    }

    private static func choose(_ index: ImageIndex, _ platform: String) throws -> Digest {
        let parts = platform.split(separator: "/").map(String.init)
        let found = index.manifests.first { entry in
            guard let offered = entry.platform else { return false }
            return offered.os == parts[0] && offered.architecture == parts[1]
                && (parts.count < 3 || offered.variant == parts[2])
        }
        guard let found, case .sha256(let digest) = found.digest else {
            throw failure("the base image has nothing for \(platform)")
        }
        return digest
    }
}

extension Repository {
    /// Has a collection that runs look at the image that options name, which a ref says from now on.
    static func keepBase(
        of options: String?, _ transaction: any CatalogTransaction, _ domain: Domain
    ) throws {
        guard let options, let base = try SnapshotImageOptions(options).base,
            // Of one that is not here nothing can be kept, and it is no gap.
            try transaction.location(of: base.digest, domain: domain) != nil
        else { return }
        try transaction.revive([base.digest], domain: domain)
        try transaction.addBarrier(base.digest, domain: domain)
    }
}
