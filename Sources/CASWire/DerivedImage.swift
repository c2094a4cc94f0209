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
    /// The digest of all that its bytes depend on, as other trees may have the same layer; zero for none.
    package var key: Digest

    /// A layer from its parts.
    package init(digest: Digest, size: UInt64, format: UInt64, part: [UInt8], key: Digest = .zero) {
        self.digest = digest
        self.size = size
        self.format = format
        self.part = part
        self.key = key
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, digest: digest)
        output.append(field: 2, varint: size)
        output.append(field: 3, varint: format)
        output.append(field: 4, bytes: part)
        output.append(field: 5, digest: key == .zero ? nil : key)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var digest: Digest?
        self.init(digest: .zero, size: 0, format: 0, part: [], key: .zero)
        try readFields(bytes, upTo: 5) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): digest = try reader.digest()
            case (2, .varint): size = try reader.varint()
            case (3, .varint): format = try reader.varint()
            case (4, .lengthDelimited): part = try reader.array()
            case (5, .lengthDelimited): key = try reader.digest()
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
    /// The manifest or index of the image below; nil for none.
    package var base: Digest?
    /// The layers of the image below, blobs of the store.
    package var inherited: [Digest]

    /// An image from its parts.
    package init(
        tree: Digest, options: [UInt8], manifest: Digest, mediaType: String, config: Digest,
        layers: [DerivedLayer], created: Timestamp, base: Digest? = nil, inherited: [Digest] = []
    ) {
        self.tree = tree
        self.options = options
        self.manifest = manifest
        self.mediaType = mediaType
        self.config = config
        self.layers = layers
        self.created = created
        self.base = base
        self.inherited = inherited
    }

    /// What pulls of it ask for: manifest, configuration and layers.
    package var blobs: [Digest] { [manifest, config] + layers.map(\.digest) + inherited }

    /// What it is found by: that, and the keys of its layers.
    package var names: [Digest] { blobs + layers.map(\.key).filter { $0 != .zero } }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, digest: tree)
        output.append(field: 2, bytes: options)
        output.append(field: 3, digest: manifest)
        output.append(field: 4, text: mediaType)
        output.append(field: 5, digest: config)
        for layer in layers { output.append(element: 6, bytes: layer.encode()) }
        output.append(field: 7, time: created)
        output.append(field: 8, digest: base)
        for layer in inherited { output.append(element: 9, bytes: layer.bytes) }
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var digests: [UInt32: Digest] = [:]
        self.init(
            tree: .zero, options: [], manifest: .zero, mediaType: "", config: .zero, layers: [],
            created: Timestamp(seconds: 0))
        try readFields(bytes, upTo: 9) { number, type, reader in
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
            case (8, .lengthDelimited): base = try reader.digest()
            case (9, .lengthDelimited):
                guard inherited.count < DerivedImage.maximumLayers else {
                    throw WireFailure.tooMany("layers")
                }
                inherited.append(try reader.digest())
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
