package import CASCore
package import CASOCI
package import CASWire

/// A digest as a client of images says it: the store knows blobs by their SHA-256 alone.
package typealias ExpectedDigest = OCIDigest

extension OCIDigest {
    /// What a SHA-512 is called before anything is known by it.
    package var stand: Digest { Digest.of(Array(description.utf8)) }
}

/// What a repository of images has, or is to have.
struct NamedDigest: Hashable, Sendable {
    let name: String
    let digest: Digest
}

/// A manifest to be put, as the door read it; the store does not look into its bytes.
package struct NewManifest: Sendable {
    /// The repository, a name without a tag.
    package var name: String
    /// The manifest byte for byte, at most `Limits.manifestBytes`.
    package var bytes: [UInt8]
    /// Its content type, which pulls are answered with.
    package var mediaType: String
    /// What kind of artifact it is; empty for none.
    package var artifactType = ""
    /// The manifest that it is about, which need not be there.
    package var subject: Digest?
    /// Its SHA-512, where somebody is to find it by that too.
    package var sha512: [UInt8]?
    /// Tags that are to name it, at most `Limits.tagsPerManifest`.
    package var tags: [String] = []
    /// Whether it was pushed by its digest, and so stays where nothing else in its name holds it.
    package var isByDigest = false
    /// Blobs that have to be linked in the repository, in the order of the manifest.
    package var blobs: [Digest] = []
    /// Manifests that have to be linked in the repository.
    package var manifests: [Digest] = []
    /// What it names too and need not be there: kept with it where it is.
    package var optional: [Digest] = []
    /// What each of the tags has to name now.
    package var precondition = Precondition.any
    /// Whether each of the tags has to name something now.
    package var movesOnly = false
    /// Who puts it.
    package var provenance = Provenance()

    /// A manifest of nothing yet.
    package init(name: String, bytes: [UInt8], mediaType: String) {
        self.name = name
        self.bytes = bytes
        self.mediaType = mediaType
    }
}

/// What became of a manifest.
package enum PutManifestResult: Hashable, Sendable {
    /// It is there, with its tags, durable.
    case done(Digest)
    /// These are not linked in the repository: nothing was changed.
    case missing([Digest])
    /// A tag names something else than the precondition says: nothing was changed.
    case conflict
}
