import CASClient
import CASCore
import CASOCI
import CASPack
import CASWire
import CASWorkspace

/// What an image is made of, as `ls` and `diff` show it.
struct ImageParts {
    struct Part: Hashable {
        /// `index`, `manifest`, `config`, `layer`, `blob`; `referrer` for what is about one of these.
        let role: String
        let digest: String
        let size: UInt64
        let mediaType: String
        /// The manifest that names it; nil for the image itself.
        let parent: String?
    }

    let digest: Digest
    private(set) var parts: [Part] = []

    init(_ image: NamedImage, _ connection: any StoreConnection) throws {
        digest = image.digest
        var entries: [Digest: ImageManifestEntry] = [:]
        for entry in image.images.images.flatMap(\.manifests) { entries[entry.digest] = entry }
        try add(image.digest, as: nil, nil, &entries, connection)
        // What is left is about what was shown.
        for entry in image.images.images.flatMap(\.manifests) where entries[entry.digest] != nil {
            try add(entry.digest, as: "referrer", nil, &entries, connection)
        }
    }

    private mutating func add(
        _ digest: Digest, as role: String?, _ parent: String?,
        _ entries: inout [Digest: ImageManifestEntry], _ connection: any StoreConnection
    ) throws {
        guard let entry = entries.removeValue(forKey: digest) else { return }
        let bytes = try SmallBlob.read(digest, connection)
        let summary: ManifestSummary
        do {
            summary = try ManifestSummary(bytes, contentType: entry.mediaType)
        } catch let error as RegistryError {
            throw CASError(.dataLoss, error.message, digest: digest)
        }
        let own = "\(digest)"
        parts.append(
            Part(
                role: role ?? (summary.kind == .index ? "index" : "manifest"), digest: own,
                size: entry.size, mediaType: entry.mediaType, parent: parent))
        for member in summary.members {
            if case .sha256(let below) = member.digest, entries[below] != nil {
                try add(below, as: nil, own, &entries, connection)
                continue
            }
            parts.append(
                Part(
                    role: ImageParts.role(member.role), digest: "\(member.digest)",
                    size: member.size, mediaType: member.mediaType, parent: own))
        }
    }

    private static func role(_ role: ManifestSummary.Role) -> String {
        switch role {
        case .config: "config"
        case .layer: "layer"
        case .manifest: "manifest"
        case .blob, .either: "blob"
        }
    }

    /// Lines for a person, what a manifest names below it.
    var lines: [String] {
        var table = TextTable(.left, .left, .right, .left)
        for part in parts {
            table.add(
                (part.parent == nil ? "" : "  ") + part.role, part.digest,
                ByteCount.text(part.size), printable(part.mediaType))
        }
        return table.lines()
    }

    /// The parts for `--json`.
    var json: JSONText {
        .object([("image", .digest(digest)), ("parts", .list(parts.map(\.json)))])
    }

    /// What this image has and another one has not, without what is about them.
    func lacking(in other: ImageParts) -> [Part] {
        var seen = Set(other.parts.map(\.digest))
        return parts.filter { $0.role != "referrer" && seen.insert($0.digest).inserted }
    }

    /// Layers, and their bytes, that both have.
    func shared(with other: ImageParts) -> (count: Int, bytes: UInt64) {
        let known = Set(other.parts.filter { $0.role == "layer" }.map(\.digest))
        var seen: Set<String> = []
        let both = parts.filter { known.contains($0.digest) && seen.insert($0.digest).inserted }
        return (both.count, both.reduce(0) { $0 + $1.size })
    }
}

extension ImageParts.Part {
    /// The part for `--json`.
    var json: JSONText { .object(members) }

    /// The same with more before it.
    func json(_ more: [(String, JSONText)]) -> JSONText { .object(more + members) }

    private var members: [(String, JSONText)] {
        [
            ("role", .text(role)), ("digest", .text(digest)), ("size", .count(size)),
            ("mediaType", .text(mediaType)), ("parent", .optional(parent)),
        ]
    }
}

/// Reads a blob that fits into memory, such as a manifest.
private final class SmallBlob: BlobSink {
    private var bytes: [UInt8] = []

    static func read(_ digest: Digest, _ connection: any StoreConnection) throws -> [UInt8] {
        let sink = SmallBlob()
        let receiver = try BlobReceiver(sink, limits: .standard)
        var decoder = RecordStreamDecoder()
        try connection.readBlobs([digest]) { bytes in
            try decoder.push(bytes) { try receiver.consume($0) }
        }
        try decoder.finish()
        try receiver.finish()
        guard Digest.of(sink.bytes) == digest else {
            throw CASError(.dataLoss, "the store did not send a manifest", digest: digest)
        }
        return sink.bytes
    }

    private func append(_ content: UnsafeRawBufferPointer) throws {
        guard bytes.count + content.count <= Limits.standard.manifestBytes else {
            throw CASError(.resourceExhausted, "a manifest is too large")
        }
        bytes.append(contentsOf: content)
    }

    func takeSmall(
        _ digest: Digest, _ content: UnsafeRawBufferPointer, _ record: RecordView
    ) throws { try append(content) }
    func begin(_ digest: Digest, _ list: ChunkList, _ record: RecordView) {}
    func take(_ content: UnsafeRawBufferPointer, _ record: RecordView?) throws {
        try append(content)
    }
    func finish(_ digest: Digest) {}
    func cancel() {}
}
