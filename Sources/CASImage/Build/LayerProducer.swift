import CASCompression
package import CASCore
import CASOCI

/// How the layers of workspaces are stored.
package enum LayerCompression: String, CaseIterable, Sendable {
    case none
    case gzip
    case zstd

    /// How it is compressed; nil if it is not.
    var format: StreamCompressor.Format? {
        switch self {
        case .none: nil
        case .gzip: .gzip
        case .zstd: .zstd
        }
    }

    /// How hard that can be tried; nil if it is not.
    package var levels: ClosedRange<Int>? { format?.levels }

    /// The media type of such a layer.
    package var mediaType: String {
        switch self {
        case .none: MediaType.imageLayer
        case .gzip: MediaType.imageLayerGzip
        case .zstd: MediaType.imageLayerZstd
        }
    }
}

/// A layer, described: what a manifest and a configuration say of it.
package struct LayerDescription: Hashable, Sendable {
    /// The digest of the plain tar.
    package var diffID: Digest
    /// The digest of what is stored.
    package var digest: Digest
    /// The bytes of what is stored.
    package var size: UInt64

    /// A description from its parts.
    package init(diffID: Digest, digest: Digest, size: UInt64) {
        self.diffID = diffID
        self.digest = digest
        self.size = size
    }
}

/// One layer to be: it is described first, and its bytes are asked for only where the target lacks them.
///
/// Any thread may call, one at a time.
package protocol LayerProducer: Sendable {
    /// What it holds, for a line of history: `team/project@sha256:… in /workspace`.
    var title: String { get }
    /// The media type of the layer; nil for that of the others in the image.
    var mediaType: String? { get }
    /// Whether it is in the target, or would be, without being sent: the store there makes it of what it has.
    var isDerived: Bool { get }
    /// Digests and size; may read all of its content once.
    func describe() throws -> LayerDescription
    /// Writes what is stored; exactly what was described.
    func write(_ sink: (UnsafeRawBufferPointer) throws -> Void) throws
    /// Says that a registry found it to be another than was described: what is remembered of it is wrong.
    func distrust()
    /// Gives up what `describe` kept for `write`.
    func close() throws
}

extension LayerProducer {
    package var mediaType: String? { nil }
    package var isDerived: Bool { false }
    package func distrust() {}
}
