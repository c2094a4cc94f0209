package import CASCore
package import CASPack
package import CASWire

/// An upload to a repository of images, as far as it is durable; expendable.
package struct UploadEntry: Hashable, Sendable {
    /// What it is called.
    package var identifier: Identifier
    /// The repository that it is for.
    package var name: String
    /// Its bytes: those of its parts, and the tail.
    package var size: UInt64
    /// Bytes behind the last cut that is sure.
    package var tail: [UInt8]
    /// Seconds since 1970 when somebody went on with it last.
    package var used: Int64

    /// An upload from its parts.
    package init(
        identifier: Identifier, name: String, size: UInt64 = 0, tail: [UInt8] = [], used: Int64
    ) {
        self.identifier = identifier
        self.name = name
        self.size = size
        self.tail = tail
        self.used = used
    }
}

/// A link, and when it was relied on last.
package struct UsedLink: Hashable, Sendable {
    /// The link.
    package var link: OCILink
    /// Seconds since 1970; not recorded, so that a rebuild gives the time of the rebuild.
    package var used: Int64

    /// A link and its use.
    package init(link: OCILink, used: Int64) {
        self.link = link
        self.used = used
    }
}

/// Questions about images; part of `CatalogReader`.
package protocol ImageReader {
    /// The link of a name to a digest.
    func link(
        _ name: String, _ digest: Digest, _ kind: OCILink.Kind, domain: Domain
    ) throws -> UsedLink?
    /// Links of a name by ascending digest.
    func links(
        _ name: String, _ kind: OCILink.Kind, after: Digest?, limit: Int, domain: Domain
    ) throws -> [OCILink]
    /// All links, by name, kind and digest.
    func links(after: OCILink?, limit: Int, domain: Domain) throws -> [UsedLink]
    /// Links to a digest, by name and kind.
    func links(to digest: Digest, limit: Int, domain: Domain) throws -> [OCILink]
    /// Manifests of a name about another one, by ascending digest.
    func referrers(
        _ name: String, to subject: Digest, after: Digest?, limit: Int, domain: Domain
    ) throws -> [OCILink]
    /// Manifests of all names about another one, by name.
    func referrers(to subject: Digest, domain: Domain) throws -> [OCILink]
    /// Names with links or refs, by their bytes.
    func imageNames(after: String?, limit: Int, domain: Domain) throws -> [String]
    /// Moves of all refs of a name, by tag and sequence.
    func moves(
        named name: String, after: HistoryEntry?, limit: Int, domain: Domain
    ) throws -> [HistoryEntry]
    /// What a manifest names, as any name has it, by ascending digest; nil where none has such a manifest.
    func parts(of manifest: Digest, domain: Domain) throws -> [Digest]?
    /// Manifests that name one of these, by ascending digest; slow, as it looks at every manifest.
    func manifests(naming parts: Set<Digest>, domain: Domain) throws -> [Digest]
    /// The digest of what has a SHA-512.
    func alias(_ sha512: [UInt8], domain: Domain) throws -> Digest?
    /// All such, by ascending SHA-512.
    func aliases(
        after: [UInt8]?, limit: Int, domain: Domain
    ) throws -> [(sha512: [UInt8], digest: Digest)]
    /// The image that a tree is by these options.
    func derivedImage(tree: Digest, options: [UInt8], domain: Domain) throws -> DerivedImage?
    /// All images that a tree is, by options.
    func derivedImages(of tree: Digest, domain: Domain) throws -> [DerivedImage]
    /// Images with this manifest, configuration or layer, by tree and options.
    func derivedImages(
        naming digest: Digest, limit: Int, domain: Domain
    ) throws -> [DerivedImage]
    /// All images, by tree and options.
    func derivedImages(
        after: DerivedImage?, limit: Int, domain: Domain
    ) throws -> [DerivedImage]
    /// One upload.
    func upload(_ identifier: Identifier, domain: Domain) throws -> UploadEntry?
    /// All uploads, by identifier; without their tails.
    func uploads(after: Identifier?, limit: Int, domain: Domain) throws -> [UploadEntry]
    /// How many there are, to one name or to all.
    func uploadCount(to name: String?, domain: Domain) throws -> Int
    /// What an upload is composed of so far, in order, beginning behind so many parts.
    func uploadParts(
        _ identifier: Identifier, after count: Int, limit: Int, domain: Domain
    ) throws -> [ChunkList]
}

/// Changes of images; part of `CatalogTransaction`.
package protocol ImageTransaction: ImageReader {
    /// Adds a link or replaces the one of the same name, digest and kind.
    func insert(link: OCILink, used: Int64, domain: Domain) throws
    /// Notes that a link was relied on; the later time stays.
    func use(
        link name: String, _ digest: Digest, _ kind: OCILink.Kind, at seconds: Int64, domain: Domain
    ) throws
    /// Removes a link; false if there is none.
    func removeLink(
        _ name: String, _ digest: Digest, _ kind: OCILink.Kind, domain: Domain
    ) throws -> Bool
    /// Adds a SHA-512; the first digest stays.
    func insert(alias sha512: [UInt8], _ digest: Digest, domain: Domain) throws
    /// Removes what knows these digests by their SHA-512, and the images of which one is the manifest or
    /// configuration; a layer is made of the tree, whether or not a copy of it is stored.
    func remove(aliasesAndImagesOf digests: [Digest], domain: Domain) throws
    /// Adds an image or replaces that of the same tree and options.
    func insert(derivedImage: DerivedImage, domain: Domain) throws
    /// Removes the image that a tree is by these options.
    func removeDerivedImage(tree: Digest, options: [UInt8], domain: Domain) throws
    /// Adds an upload or replaces what is known of it but its parts.
    func insert(upload: UploadEntry, domain: Domain) throws
    /// Adds parts behind those that an upload has.
    func append(
        parts: [ChunkList], toUpload identifier: Identifier, domain: Domain
    ) throws
    /// Removes an upload with its parts; false if there is none.
    func removeUpload(_ identifier: Identifier, domain: Domain) throws -> Bool
}
