package import CASCore
import CASTree

/// What an image says of the snapshot that it carries (Carrier.md, "Index").
package struct CarrierIndex: Hashable, Sendable {
    /// The version of the format that this program writes and reads.
    package static let formatVersion: UInt64 = 1
    /// Bytes of an encoded index at most: 127 layers with descriptions of 64 KiB.
    package static let maximumByteCount = 9 << 20

    /// A layer that holds files of the tree.
    package struct Layer: Hashable, Sendable {
        /// The digest of the plain archive.
        package var diffID: Digest
        /// Its bytes.
        package var size: UInt64
        /// What of the tree it holds.
        package var part: LayerPart

        /// A layer from its parts.
        package init(diffID: Digest, size: UInt64, part: LayerPart) {
            self.diffID = diffID
            self.size = size
            self.part = part
        }
    }

    /// The snapshot, encoded.
    package var snapshot: [UInt8]
    /// Where it came from, encoded; empty where that is not told.
    package var provenance: [UInt8]
    /// What its ref said of its image, as text.
    package var imageOptions: String
    /// Where the tree stands in its layers.
    package var options: LayerOptions
    /// The version of the rules by which they are made.
    package var layerRules: UInt64
    /// The layers with the files.
    package var layers: [Layer]
    /// The plain archives with messages that stand in no other.
    package var messages: [Digest]

    /// An index from its parts, by the rules of this program.
    package init(
        snapshot: [UInt8], provenance: [UInt8] = [], imageOptions: String = "",
        options: LayerOptions, layers: [Layer], messages: [Digest]
    ) {
        self.snapshot = snapshot
        self.provenance = provenance
        self.imageOptions = imageOptions
        self.options = options
        layerRules = UInt64(LayerEncoder.formatVersion)
        self.layers = layers
        self.messages = messages
    }
}

extension CarrierIndex {
    /// The index in bytes.
    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, varint: CarrierIndex.formatVersion)
        output.append(field: 2, bytes: snapshot)
        output.append(field: 3, bytes: provenance)
        output.append(field: 4, text: imageOptions)
        output.append(field: 5, bytes: options.prefix)
        output.append(field: 6, varint: UInt64(options.userID))
        output.append(field: 7, varint: UInt64(options.groupID))
        output.append(field: 8, varint: layerRules)
        for layer in layers {
            var message: [UInt8] = []
            message.append(field: 1, bytes: layer.diffID.bytes)
            message.append(field: 2, varint: layer.size)
            message.append(field: 3, bytes: layer.part.encode())
            output.append(element: 9, bytes: message)
        }
        for digest in messages { output.append(element: 10, bytes: digest.bytes) }
        return output
    }

    /// Reads an index; throws `dataLoss` for what is none, `unimplemented` for one of a newer version.
    ///
    /// Fields that this program does not know are skipped.
    package init(decoding bytes: [UInt8]) throws {
        guard bytes.count <= CarrierIndex.maximumByteCount else {
            throw CASError(.resourceExhausted, "the index of a carried snapshot is too large")
        }
        self = try bytes.withUnsafeBytes { try CarrierIndex(fields: Protobuf.Reader($0)) }
    }

    private init(fields: Protobuf.Reader) throws {
        var reader = fields
        var version: UInt64 = 0
        var prefix: [UInt8] = []
        var owner: (user: UInt64, group: UInt64) = (0, 0)
        self.init(snapshot: [], options: try LayerOptions(), layers: [], messages: [])
        layerRules = 0
        while let field = try reader.next() {
            switch (field.number, field.type) {
            case (1, .varint):
                version = try reader.varint()
                guard version == CarrierIndex.formatVersion else { throw CarrierIndex.newer() }
            case (2, .lengthDelimited): snapshot = try reader.array()
            case (3, .lengthDelimited): provenance = try reader.array()
            case (4, .lengthDelimited): imageOptions = try reader.string()
            case (5, .lengthDelimited): prefix = try reader.array()
            case (6, .varint): owner.user = try reader.varint()
            case (7, .varint): owner.group = try reader.varint()
            case (8, .varint): layerRules = try reader.varint()
            case (9, .lengthDelimited): layers.append(try CarrierIndex.layer(try reader.bytes()))
            case (10, .lengthDelimited): messages.append(try CarrierIndex.digest(&reader))
            case (1...10, _): throw CarrierIndex.damaged()
            default: try reader.skip(field.type)
            }
            guard layers.count + messages.count <= ComposedImage.maximumLayers else {
                throw CASError(
                    .resourceExhausted, "a carried snapshot names more layers than an image has")
            }
        }
        guard version > 0, snapshot.count == Snapshot.byteCount,
            let user = UInt32(exactly: owner.user), let group = UInt32(exactly: owner.group)
        else { throw CarrierIndex.damaged() }
        guard layerRules == UInt64(LayerEncoder.formatVersion) else { throw CarrierIndex.newer() }
        do {
            options = try LayerOptions(prefix: prefix, userID: user, groupID: group)
        } catch { throw CarrierIndex.damaged() }
        guard options.prefix == prefix else { throw CarrierIndex.damaged() }
    }

    private static func layer(_ bytes: UnsafeRawBufferPointer) throws -> Layer {
        var reader = Protobuf.Reader(bytes)
        var diffID: Digest?
        var size: UInt64 = 0
        var part: [UInt8] = []
        while let field = try reader.next() {
            switch (field.number, field.type) {
            case (1, .lengthDelimited): diffID = try digest(&reader)
            case (2, .varint): size = try reader.varint()
            case (3, .lengthDelimited): part = try reader.array()
            case (1...3, _): throw damaged()
            default: try reader.skip(field.type)
            }
        }
        guard let diffID else { throw damaged() }
        return Layer(diffID: diffID, size: size, part: try LayerPart(decoding: part))
    }

    private static func digest(_ reader: inout Protobuf.Reader) throws -> Digest {
        let bytes = try reader.bytes()
        guard bytes.count == Digest.byteCount else { throw damaged() }
        return Digest(bytes)
    }

    private static func damaged() -> CASError {
        CASError(.dataLoss, "the index of a carried snapshot is damaged")
    }

    private static func newer() -> CASError {
        CASError(
            .unimplemented,
            "a snapshot is carried in a form that this version of cas does not know",
            hint: "use the newest cas")
    }
}
