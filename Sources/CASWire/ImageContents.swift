package import CASCore

/// A blob that manifests name, as one store tells another of it (Protocol.md, "Images").
package struct ImageBlob: WireMessage {
    /// The blob.
    package var digest: Digest
    /// Its bytes.
    package var size: UInt64
    /// Whether they are made of a tree when somebody reads them.
    package var isDerived: Bool
    /// The SHA-512 by which a manifest names it; empty for none.
    package var sha512: [UInt8]

    /// A blob from its parts.
    package init(digest: Digest, size: UInt64, isDerived: Bool = false, sha512: [UInt8] = []) {
        self.digest = digest
        self.size = size
        self.isDerived = isDerived
        self.sha512 = sha512
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, digest: digest)
        output.append(field: 2, varint: size)
        output.append(field: 3, flag: isDerived)
        output.append(field: 4, bytes: sha512)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var digest: Digest?
        self.init(digest: .zero, size: 0)
        try readFields(bytes, upTo: 4) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): digest = try reader.digest()
            case (2, .varint): size = try reader.varint()
            case (3, .varint): isDerived = try reader.varint() != 0
            case (4, .lengthDelimited): sha512 = try reader.alias()
            default: return false
            }
            return true
        }
        guard let digest else { throw WireFailure.lacks("a digest") }
        self.digest = digest
    }
}

/// A manifest, as one store tells another of it; what it names is in its bytes.
package struct ImageManifestEntry: WireMessage {
    /// The manifest.
    package var digest: Digest
    /// Its bytes.
    package var size: UInt64
    /// The content type that it was pushed with.
    package var mediaType: String
    /// Whether it was pushed by its digest, and so stays without a tag.
    package var isRoot: Bool
    /// The SHA-512 that it goes by too; empty for none.
    package var sha512: [UInt8]
    /// Whether it was pushed by that last: answers for its tags call it by that.
    package var isBySHA512: Bool

    /// A manifest from its parts.
    package init(
        digest: Digest, size: UInt64, mediaType: String, isRoot: Bool = false,
        sha512: [UInt8] = [], isBySHA512: Bool = false
    ) {
        self.digest = digest
        self.size = size
        self.mediaType = mediaType
        self.isRoot = isRoot
        self.sha512 = sha512
        self.isBySHA512 = isBySHA512
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, digest: digest)
        output.append(field: 2, varint: size)
        output.append(field: 3, text: mediaType)
        output.append(field: 4, flag: isRoot)
        output.append(field: 5, bytes: sha512)
        output.append(field: 6, flag: isBySHA512)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var digest: Digest?
        self.init(digest: .zero, size: 0, mediaType: "")
        try readFields(bytes, upTo: 6) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): digest = try reader.digest()
            case (2, .varint): size = try reader.varint()
            case (3, .lengthDelimited): mediaType = try reader.string()
            case (4, .varint): isRoot = try reader.varint() != 0
            case (5, .lengthDelimited): sha512 = try reader.alias()
            case (6, .varint): isBySHA512 = try reader.varint() != 0
            default: return false
            }
            return true
        }
        guard let digest, mediaType.utf8.count <= OCILink.maximumTypeBytes else {
            throw WireFailure.lacks("a manifest")
        }
        self.digest = digest
    }
}

/// What a name has of some images: manifests, and the blobs that they name.
package struct ImageContents: WireMessage {
    /// The repository, a name without a tag.
    package var name: String
    /// Manifests and indexes, each once, those that others name before these.
    package var manifests: [ImageManifestEntry]
    /// Configurations, layers and other blobs, each once.
    package var blobs: [ImageBlob]

    /// Contents from their parts.
    package init(
        name: String, manifests: [ImageManifestEntry] = [], blobs: [ImageBlob] = []
    ) {
        self.name = name
        self.manifests = manifests
        self.blobs = blobs
    }

    /// All digests.
    package var digests: [Digest] { manifests.map(\.digest) + blobs.map(\.digest) }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: name)
        for manifest in manifests { output.append(element: 2, bytes: manifest.encode()) }
        for blob in blobs { output.append(element: 3, bytes: blob.encode()) }
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init(name: "")
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): name = try reader.repositoryName()
            case (2, .lengthDelimited):
                guard manifests.count < limits.imageManifests else {
                    throw WireFailure.tooMany("manifests")
                }
                manifests.append(
                    try ImageManifestEntry(decoding: try reader.bytes(), limits: limits))
            case (3, .lengthDelimited):
                guard blobs.count < OCILink.maximumParts else { throw WireFailure.tooMany("blobs") }
                blobs.append(try ImageBlob(decoding: try reader.bytes(), limits: limits))
            default: return false
            }
            return true
        }
        guard !name.isEmpty else { throw WireFailure.lacks("a name") }
        // What is named often would be read and hashed as often.
        guard Set(manifests.map(\.digest)).count == manifests.count,
            Set(blobs.map(\.digest)).count == blobs.count
        else { throw WireFailure.malformed("a list with something twice") }
    }
}

/// What belongs to a ref besides a snapshot: of an image all of it, of a snapshot its image and what that is on
/// top of.
package struct RefImages: WireMessage {
    /// The ref; nil for a digest.
    package var ref: RefName?
    /// What its own name has, and then what the names of images have that its image is on top of.
    package var images: [ImageContents]
    /// The manifest of the image that its snapshot is; nil where nobody asked for that yet.
    package var derived: Digest?
    /// Names of images below it that the caller may not read.
    package var unreadable: [String]
    /// Whether the image is still being made, and nothing else is told: the client asks again.
    package private(set) var isUnfinished = false

    /// What is answered where the image of a ref is still being made.
    package static func unfinished(_ ref: RefName) -> RefImages {
        var images = RefImages(ref: ref)
        images.isUnfinished = true
        return images
    }

    /// Contents from their parts.
    package init(
        ref: RefName?, images: [ImageContents] = [], derived: Digest? = nil,
        unreadable: [String] = []
    ) {
        self.ref = ref
        self.images = images
        self.derived = derived
        self.unreadable = unreadable
    }

    /// Whether there is nothing to say.
    package var isEmpty: Bool { images.isEmpty && derived == nil && unreadable.isEmpty }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: ref?.description ?? "")
        for image in images { output.append(element: 2, bytes: image.encode()) }
        output.append(field: 3, digest: derived)
        for name in unreadable { output.append(element: 4, bytes: Array(name.utf8)) }
        output.append(field: 5, flag: isUnfinished)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init(ref: nil)
        try readFields(bytes, upTo: 5) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): ref = try reader.refName()
            case (2, .lengthDelimited):
                guard images.count < limits.imagesPerRef else {
                    throw WireFailure.tooMany("images")
                }
                images.append(try ImageContents(decoding: try reader.bytes(), limits: limits))
            case (3, .lengthDelimited): derived = try reader.digest()
            case (4, .lengthDelimited):
                guard unreadable.count < limits.imagesPerRef else {
                    throw WireFailure.tooMany("names")
                }
                unreadable.append(try reader.repositoryName())
            case (5, .varint): isUnfinished = try reader.varint() != 0
            default: return false
            }
            return true
        }
    }
}

extension Protobuf.Reader {
    /// A SHA-512, or nothing.
    fileprivate mutating func alias() throws -> [UInt8] {
        let bytes = try array()
        guard bytes.isEmpty || bytes.count == SHA512Hasher.byteCount else {
            throw WireFailure.malformed("a SHA-512")
        }
        return bytes
    }
}
