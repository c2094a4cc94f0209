import CASCore
import CASOCI
import CASTestSupport
import CASWire

@testable import CASRepository

/// An image to push: what it names, then its manifest.
struct SampleImage {
    let name: String
    /// Configuration and layers that somebody has to bring; not those that are made of trees.
    let blobs: [Digest]
    /// A layer that a snapshot of another name has.
    let mounted: (digest: Digest, from: String)?
    let manifest: [UInt8]
    let parts: [Digest]
    let isIndex: Bool
    /// Whether snapshots can be on top of it.
    let isBase: Bool
    let subject: Digest?
    let tag: RefName?
    let hasSHA512: Bool

    var digest: Digest { Digest.of(manifest) }
}

/// Cuts a blob as the store does.
private final class PieceCollector: ChunkSink {
    var pieces: [[UInt8]] = []
    func take(chunk: Range<Int>, of buffer: ReusableBuffer, isPiece: Bool) {
        pieces.append(Array(buffer.bytes[chunk]))
    }
    func release() {}
}

extension StoreSimulation {
    /// How the names of images begin.
    static let imageNames = "images/"

    func drawImageName() -> String { StoreSimulation.imageNames + ["a", "b"][draw(2)] }

    func drawImageTag(_ name: String) -> RefName {
        // Valid for any of these: the text is ours.
        guard let tag = try? RefName(name: name, tag: ["latest", "t1"][draw(2)]) else {
            preconditionFailure(name)
        }
        return tag
    }

    /// An image of new layers and of some that were pushed before.
    func drawImage() throws -> SampleImage {
        let name = drawImageName()
        var blobs: [Digest] = []
        for _ in 0...draw(2) { blobs.append(try drawLayer()) }
        let layers = try drawDerivedLayer()
        let isBase = draw(2) == 0
        let config =
            isBase
            ? runnable(blobs + (layers.map { [$0.digest] } ?? []))
            : Array("{\"config\":\(draw(4))}".utf8)
        blobs.insert(try add(blob: config), at: 0)
        let parts = blobs + (layers.map { [$0.digest] } ?? [])
        let subject = draw(6) == 0 ? drawManifest(name) : nil
        let descriptors = parts.map { part in
            Descriptor(
                mediaType: MediaType.imageLayer, digest: .sha256(part),
                size: UInt64(model.images.contents[part]?.count ?? 0))
        }
        let manifest = ImageManifest(
            config: descriptors[0], layers: Array(descriptors.dropFirst()),
            subject: subject.map {
                Descriptor(mediaType: MediaType.imageManifest, digest: .sha256($0), size: 1)
            }, annotations: ["number": "\(draw(3))"])
        return SampleImage(
            name: name, blobs: blobs, mounted: layers, manifest: manifest.encode(), parts: parts,
            isIndex: false, isBase: isBase, subject: subject,
            tag: draw(3) > 0 ? drawImageTag(name) : nil,
            hasSHA512: draw(5) == 0)
    }

    /// The configuration of an image of these layers.
    private func runnable(_ layers: [Digest]) -> [UInt8] {
        let layers = layers.map { "\"\($0)\"" }.joined(separator: ",")
        return Array(
            """
            {"architecture":"amd64","os":"linux","config":{"Env":["N=\(draw(2))"]},\
            "rootfs":{"type":"layers","diff_ids":[\(layers)]}}
            """.utf8)
    }

    /// An index of what was just put.
    func index(of image: SampleImage) -> SampleImage {
        let index = ImageIndex(manifests: [
            Descriptor(mediaType: MediaType.imageManifest, of: image.manifest)
        ])
        return SampleImage(
            name: image.name, blobs: [], mounted: nil, manifest: index.encode(),
            parts: [image.digest], isIndex: true, isBase: false, subject: nil,
            tag: draw(3) > 0 ? drawImageTag(image.name) : nil, hasSHA512: false)
    }

    /// A manifest that a name may have; nil if nobody put one.
    func drawManifest(_ name: String) -> Digest? {
        let known = model.images.links.filter { $0.kind == .manifest && $0.name == name }
        return known.isEmpty ? nil : known[draw(known.count)].digest
    }

    private func drawLayer() throws -> Digest {
        let known = model.images.blobs
        if !known.isEmpty, draw(3) == 0 { return known[draw(known.count)] }
        if draw(3) == 0 { return try add(blob: random.bytes(draw(6_000))) }
        return try add(blob: try drawArchive())
    }

    /// An archive with files of workspaces; sometimes cut off in a place where something new begins.
    private func drawArchive() throws -> [UInt8] {
        var bytes: [UInt8] = []
        for number in 0...draw(3) {
            var content = SampleFolder.content(draw(900), &random)
            if draw(2) == 0, let tree = drawKnownTree(),
                let file = tree.files.keys.sorted().first
            {
                content = tree.files[file] ?? []
            }
            let size = UInt64(content.count)
            TarHeader(
                path: Array("file-\(number)".utf8), kind: .file, mode: 0o644, size: size
            ).append(to: &bytes)
            bytes += content + [UInt8](repeating: 0, count: TarHeader.padding(size))
        }
        if draw(4) == 0 { return bytes + random.bytes(draw(700)) }
        return bytes + [UInt8](repeating: 0, count: 2 * TarHeader.blockBytes)
    }

    private func drawKnownTree() -> SampleTree? {
        let known = model.snapshots
        return known.isEmpty ? nil : model.trees[known[draw(known.count)]]
    }

    /// A layer that a snapshot's image has.
    private func drawDerivedLayer() throws -> (digest: Digest, from: String)? {
        guard draw(6) == 0 else { return nil }
        let known = model.images.derivedImages
        guard !known.isEmpty else { return nil }
        let image = known[draw(known.count)]
        guard let layer = image.blobs.last, image.blobs.count > 1 else { return nil }
        return (layer, image.ref.name)
    }

    /// Makes a blob known to the model, and how the store cuts it.
    private func add(blob bytes: [UInt8]) throws -> Digest {
        let digest = Digest.of(bytes)
        guard model.images.contents[digest] == nil else { return digest }
        let cutter = LayerCutter(configuration.chunker, limits: configuration.limits)
        let collector = PieceCollector()
        try bytes.withUnsafeBytes { try cutter.append($0, to: collector) }
        try cutter.finish(to: collector)
        model.add(blob: bytes, pieces: collector.pieces)
        return digest
    }
}
