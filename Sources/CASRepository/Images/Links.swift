package import CASCore
package import CASWire

/// What repositories of images have.
extension Repository {
    /// The link of a name to a digest, of that kind or, without one, of either, a manifest's first.
    package func link(
        _ name: String, _ digest: Digest, kind: OCILink.Kind? = nil, domain: Domain
    ) throws -> OCILink? { throw CASError(.unimplemented, "links") }

    /// Links of a name by ascending digest, from behind `after`.
    package func links(
        _ name: String, kind: OCILink.Kind, after: Digest?, limit: Int, domain: Domain
    ) throws -> [OCILink] { throw CASError(.unimplemented, "links") }

    /// Manifests of a name that are about another one, by ascending digest, from behind `after`.
    package func referrers(
        _ name: String, to subject: Digest, after: Digest?, limit: Int, domain: Domain
    ) throws -> [OCILink] { throw CASError(.unimplemented, "links") }

    /// Names with links or refs, sorted by their bytes, from behind `after`.
    package func repositories(after: String?, limit: Int, domain: Domain) throws -> [String] {
        throw CASError(.unimplemented, "links")
    }

    /// Names that have a blob, sorted by their bytes.
    package func linkedAnywhere(_ digest: Digest, limit: Int, domain: Domain) throws -> [String] {
        throw CASError(.unimplemented, "links")
    }

    /// Links a blob that another name has; false where that one does not have it.
    package func mount(
        _ digest: Digest, from source: String, to name: String, domain: Domain
    ) throws -> Bool { throw CASError(.unimplemented, "links") }

    /// Ends a link, that of a manifest with all tags of the name that name it, at once; false where there is
    /// none; throws `failedPrecondition` where a tag is created once.
    package func unlink(
        _ name: String, _ digest: Digest, kind: OCILink.Kind, _ provenance: Provenance,
        domain: Domain
    ) throws -> Bool { throw CASError(.unimplemented, "links") }

    /// The digest of what has this SHA-512, of 64 bytes; nil where nobody pushed it under that.
    package func digest(alias sha512: [UInt8], domain: Domain) throws -> Digest? {
        throw CASError(.unimplemented, "links")
    }

    /// Stores a manifest, links it and moves its tags, in one durable step.
    package func putManifest(
        _ manifest: NewManifest, domain: Domain
    ) throws -> PutManifestResult { throw CASError(.unimplemented, "links") }
}
