package import CASCore

/// That a repository of images has a blob or manifest: what pulls from it may see (Protocol.md, "Recorded state").
package struct OCILink: WireMessage {
    /// What a link is to.
    package enum Kind: UInt8, Sendable, CaseIterable {
        /// Bytes that manifests name: a layer or a configuration.
        case blob = 1
        /// A manifest or an index.
        case manifest = 2
    }
    /// Digests that one manifest may name.
    package static let maximumParts = 100_000
    /// Bytes that a media type may have.
    package static let maximumTypeBytes = 1_024

    /// The repository, a name without a tag.
    package var name: String
    /// What is linked.
    package var digest: Digest
    /// As what.
    package var kind: Kind
    /// Its bytes.
    package var size: UInt64
    /// The content type that a manifest was pushed with; empty for a blob.
    package var mediaType: String
    /// What kind of artifact a manifest says it is, or that of its configuration; empty for none.
    package var artifactType: String
    /// The manifest that this one is about.
    package var subject: Digest?
    /// Whether it stays by itself: a manifest that was pushed by its digest, and that no tag, index or subject
    /// in its repository holds or held since.
    package var isRoot: Bool
    /// When it was made first, by the store's clock.
    package var created: Timestamp
    /// What a manifest names and what was there when it was put: configuration, layers, other manifests.
    package var parts: [Digest]
    /// What it names too and what need not be there, as layers that lie elsewhere; kept where it is here.
    package var optional: [Digest]
    /// Whether a manifest was pushed by its SHA-512 last: what answers for its tags call it by then.
    package var isBySHA512: Bool
    /// The bytes of a manifest with all that it names, where no tag and no index of its name holds it, so that it
    /// counts by itself; else zero.
    package var loneBytes: UInt64

    /// A link from its parts.
    package init(
        name: String, digest: Digest, kind: Kind, size: UInt64, mediaType: String = "",
        artifactType: String = "", subject: Digest? = nil, isRoot: Bool = false,
        created: Timestamp, parts: [Digest] = [], optional: [Digest] = [],
        isBySHA512: Bool = false, loneBytes: UInt64 = 0
    ) {
        self.name = name
        self.digest = digest
        self.kind = kind
        self.size = size
        self.mediaType = mediaType
        self.artifactType = artifactType
        self.subject = subject
        self.isRoot = isRoot
        self.created = created
        self.parts = parts
        self.optional = optional
        self.isBySHA512 = isBySHA512
        self.loneBytes = loneBytes
    }

    /// What is kept with it: all that it names.
    ///
    /// What it is about is not: that keeps it.
    package var reached: [Digest] { parts + optional }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: name)
        output.append(field: 2, digest: digest)
        output.append(field: 3, varint: UInt64(kind.rawValue))
        output.append(field: 4, varint: size)
        output.append(field: 5, text: mediaType)
        output.append(field: 6, text: artifactType)
        output.append(field: 7, digest: subject)
        output.append(field: 8, varint: isRoot ? 1 : 0)
        output.append(field: 9, time: created)
        for part in parts { output.append(element: 10, bytes: part.bytes) }
        for part in optional { output.append(element: 11, bytes: part.bytes) }
        output.append(field: 12, flag: isBySHA512)
        output.append(field: 13, varint: loneBytes)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var digest: Digest?
        var kind: Kind?
        self.init(
            name: "", digest: .zero, kind: .blob, size: 0, created: Timestamp(seconds: 0))
        try readFields(bytes, upTo: 13) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): name = try reader.repositoryName()
            case (2, .lengthDelimited): digest = try reader.digest()
            case (3, .varint): kind = try reader.value(Kind.self)
            case (4, .varint): size = try reader.varint()
            case (5, .lengthDelimited): mediaType = try reader.string()
            case (6, .lengthDelimited): artifactType = try reader.string()
            case (7, .lengthDelimited): subject = try reader.digest()
            case (8, .varint): isRoot = try reader.varint() != 0
            case (9, .lengthDelimited): created = try reader.timestamp()
            case (10, .lengthDelimited):
                guard parts.count < OCILink.maximumParts else { throw WireFailure.tooMany("parts") }
                parts.append(try reader.digest())
            case (11, .lengthDelimited):
                guard optional.count < OCILink.maximumParts else {
                    throw WireFailure.tooMany("parts")
                }
                optional.append(try reader.digest())
            case (12, .varint): isBySHA512 = try reader.varint() != 0
            case (13, .varint): loneBytes = try reader.varint()
            default: return false
            }
            return true
        }
        guard let digest, let kind, !name.isEmpty else { throw WireFailure.lacks("a link") }
        self.digest = digest
        self.kind = kind
    }
}
