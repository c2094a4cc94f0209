package import CASCore
package import CASTree

/// The wish to have the layers of a snapshot in a repository of images, made of what the store has of it.
package struct LayersRequest: WireMessage {
    /// A ref or digest, without a host.
    package var want: String
    /// The name of the repository; empty to be told of the layers only.
    package var name: String
    /// How the tree is cut and where it stands, as of a ref: `owner`, `prefix`, `layers`.
    package var imageOptions: String

    /// A wish from its parts.
    package init(want: String, name: String, imageOptions: String) {
        self.want = want
        self.name = name
        self.imageOptions = imageOptions
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, text: want)
        output.append(field: 2, text: name)
        output.append(field: 3, text: imageOptions)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        self.init(want: "", name: "", imageOptions: "")
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): want = try reader.string()
            case (2, .lengthDelimited): name = try reader.string()
            case (3, .lengthDelimited): imageOptions = try reader.string()
            default: return false
            }
            return true
        }
    }
}

/// One layer of a snapshot.
package struct SnapshotLayer: WireMessage {
    /// The SHA-256 of its bytes, which is its DiffID.
    package var digest: Digest
    /// How many bytes it has.
    package var size: UInt64
    /// What it holds, for people: `/workspace/lib (1 of 4)`.
    package var title: String

    /// A layer from its parts.
    package init(digest: Digest, size: UInt64, title: String) {
        self.digest = digest
        self.size = size
        self.title = title
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, digest: digest)
        output.append(field: 2, varint: size)
        output.append(field: 3, text: title)
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var digest: Digest?
        self.init(digest: .zero, size: 0, title: "")
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): digest = try reader.digest()
            case (2, .varint): size = try reader.varint()
            case (3, .lengthDelimited): title = try reader.string()
            default: return false
            }
            return true
        }
        guard let digest else { throw WireFailure.lacks("a layer") }
        self.digest = digest
    }
}

/// The layers of a snapshot, which are in the repository that was named.
package struct LayersResponse: WireMessage {
    /// What is answered where they are still being made: the client asks again.
    package static let unfinished = LayersResponse(
        snapshot: .zero, totals: TreeTotals(), layers: [])

    /// The snapshot.
    package var snapshot: Digest
    /// Sums over its tree.
    package var totals: TreeTotals
    /// The layers, in order.
    package var layers: [SnapshotLayer]

    /// An answer from its parts.
    package init(snapshot: Digest, totals: TreeTotals, layers: [SnapshotLayer]) {
        self.snapshot = snapshot
        self.totals = totals
        self.layers = layers
    }

    package func encode() -> [UInt8] {
        var output: [UInt8] = []
        output.append(field: 1, digest: snapshot)
        output.append(element: 2, bytes: totals.wire)
        for layer in layers { output.append(element: 3, bytes: layer.encode()) }
        return output
    }

    package init(decoding bytes: UnsafeRawBufferPointer, limits: Limits) throws {
        var snapshot: Digest?
        self.init(snapshot: .zero, totals: TreeTotals(), layers: [])
        try readFields(bytes, upTo: 3) { number, type, reader in
            switch (number, type) {
            case (1, .lengthDelimited): snapshot = try reader.digest()
            case (2, .lengthDelimited): totals = try TreeTotals(wire: try reader.bytes())
            case (3, .lengthDelimited):
                guard layers.count < DerivedImage.maximumLayers else {
                    throw WireFailure.tooMany("layers")
                }
                layers.append(try SnapshotLayer(decoding: try reader.bytes(), limits: limits))
            default: return false
            }
            return true
        }
        guard let snapshot else { throw WireFailure.lacks("a snapshot") }
        self.snapshot = snapshot
    }
}
