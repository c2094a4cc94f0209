package import CASCore

/// A layer whose bytes are not stored but made of a tree: tar headers, which are computed, and files.
package struct DerivedLayer: WireMessage {
    /// Bytes that the description of a part may have.
    package static let maximumPartBytes = 64 << 10

    /// The SHA-256 of its bytes, which is its DiffID.
    package var digest: Digest
    /// How many bytes it has.
    package var size: UInt64
    /// The version of the rules by which it is made.
    package var format: UInt64
    /// Which part of the tree it holds, as whoever made it encodes that.
    package var part: [UInt8]

    /// A layer from its parts.
    package init(digest: Digest, size: UInt64, format: UInt64, part: [UInt8]) {
        self.digest = digest
        self.size = size
        self.format = format
        self.part = part
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, digest: digest)
        output.append(field: 2, varint: size)
        output.append(field: 3, varint: format)
        output.append(field: 4, bytes: part)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var digest: Digest?
        self.init(digest: .zero, size: 0, format: 0, part: [])
        try readFields(bytes, upTo: 4) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): digest = try reader.digest()
            case (2, .varint): size = try reader.varint()
            case (3, .varint): format = try reader.varint()
            case (4, .lengthDelimited): part = try reader.array()
            default: return false
            }
            return true
        }
        guard let digest, part.count <= DerivedLayer.maximumPartBytes else {
            throw WireFailure.lacks("a layer")
        }
        self.digest = digest
    }
}

/// The image that a tree is by some options: what was answered once stays the answer.
package struct DerivedImage: WireMessage {
    /// Bytes that encoded options may have.
    package static let maximumOptionBytes = 64 << 10
    /// Layers that one image may have.
    package static let maximumLayers = 128

    /// The root of the snapshot's tree.
    package var tree: Digest
    /// The options in their one encoding.
    package var options: [UInt8]
    /// The manifest, a blob of the store.
    package var manifest: Digest
    /// Its content type.
    package var mediaType: String
    /// The configuration, a blob of the store.
    package var config: Digest
    /// The layers, in order.
    package var layers: [DerivedLayer]
    /// When it was made, by the store's clock.
    package var created: Timestamp

    /// An image from its parts.
    package init(
        tree: Digest, options: [UInt8], manifest: Digest, mediaType: String, config: Digest,
        layers: [DerivedLayer], created: Timestamp
    ) {
        self.tree = tree
        self.options = options
        self.manifest = manifest
        self.mediaType = mediaType
        self.config = config
        self.layers = layers
        self.created = created
    }

    /// What pulls of it ask for: manifest, configuration and layers.
    package var blobs: [Digest] { [manifest, config] + layers.map(\.digest) }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, digest: tree)
        output.append(field: 2, bytes: options)
        output.append(field: 3, digest: manifest)
        output.append(field: 4, text: mediaType)
        output.append(field: 5, digest: config)
        for layer in layers { output.append(element: 6, bytes: layer.encode()) }
        output.append(field: 7, time: created)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var digests: [UInt32: Digest] = [:]
        self.init(
            tree: .zero, options: [], manifest: .zero, mediaType: "", config: .zero, layers: [],
            created: Timestamp(seconds: 0))
        try readFields(bytes, upTo: 7) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited), (3, .lengthDelimited), (5, .lengthDelimited):
                digests[number] = try reader.digest()
            case (2, .lengthDelimited): options = try reader.array()
            case (4, .lengthDelimited): mediaType = try reader.string()
            case (6, .lengthDelimited):
                guard layers.count < DerivedImage.maximumLayers else {
                    throw WireFailure.tooMany("layers")
                }
                layers.append(try DerivedLayer(decoding: try reader.bytes(), limits: limits))
            case (7, .lengthDelimited): created = try reader.timestamp()
            default: return false
            }
            return true
        }
        guard let tree = digests[1], let manifest = digests[3], let config = digests[5],
            options.count <= DerivedImage.maximumOptionBytes
        else { throw WireFailure.lacks("an image") }
        self.tree = tree
        self.manifest = manifest
        self.config = config
    }
}
