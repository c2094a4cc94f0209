import CASClient
import CASCore
import CASFileSystem
import CASPack
import CASTestSupport
import CASWire

/// The bytes of an exported file in memory.
final class BytesSource: ImportSource {
    private let bytes: [UInt8]
    private let canRewind: Bool
    private var position = 0

    init(_ bytes: [UInt8], canRewind: Bool = true) {
        self.bytes = bytes
        self.canRewind = canRewind
    }

    func read(into target: UnsafeMutableRawBufferPointer) -> Int {
        let part = bytes[position...].prefix(target.count)
        target.copyBytes(from: part)
        position += part.count
        return part.count
    }

    func rewind() -> Bool {
        if canRewind { position = 0 }
        return canRewind
    }
}

extension LocalWorld {
    /// Two refs that share most of what they name: small files, two names for one content, nothing, a large
    /// file in chunks and an edited copy of it.
    static func withTwoRefs(largeBytes: Int = 3_000_000) throws -> LocalWorld {
        let world = try LocalWorld()
        try world.write("a", "1")
        try world.write("same", "1")
        try world.write("empty", "")
        try world.write("run.sh", "#!/bin/sh\n", permissions: 0o755)
        try world.link("link", "a")
        let large = SeededGenerator.text(seed: 1, count: largeBytes)
        try world.write("sub/large", large)
        try world.makeDirectory("sub/deep/nothing")
        _ = try world.push {
            $0.provenance = Provenance(author: "ada", host: "laptop", message: "first")
        }
        try world.write("a", "2")
        try world.write("sub/larger", Array(large[..<(largeBytes / 2)]) + [1, 2, 3] + large)
        let second = try world.second
        _ = try world.push {
            $0.ref = second
            $0.lifetime = 86_400
        }
        return world
    }

    var second: RefName {
        get throws { try RefName("team/other:v2") }
    }

    /// Another store beside the first one, which checks what comes into it.
    func makeOther(_ name: String = "other") throws -> LocalStore {
        try LocalStore(
            directory: "\(temporary.path)/\(name)", create: true, isTrusted: false)
    }

    func export(_ names: [RefName], from other: (any StoreConnection)? = nil) throws -> [UInt8] {
        var bytes: [UInt8] = []
        let summary = try Export.run(
            names, from: other ?? store, software: "test", counters: ProgressCounters()
        ) { bytes.append(contentsOf: $0) }
        guard summary.bytes == UInt64(bytes.count) else {
            throw CASError(.internalError, "\(summary.bytes) are not \(bytes.count)")
        }
        return bytes
    }

    func importing(
        _ bytes: [UInt8], into target: any StoreConnection, force: Bool = false,
        canRewind: Bool = true
    ) throws -> ImportSummary {
        try Import.run(
            BytesSource(bytes, canRewind: canRewind), into: target, force: force,
            counters: ProgressCounters())
    }
}

/// An exported file taken apart, to be put together in another way.
struct TakenApart {
    var manifest: ExportManifest
    var records: [HostileStore.Record] = []

    init(_ bytes: [UInt8]) throws {
        var manifest: ExportManifest?
        var records: [HostileStore.Record] = []
        var decoder = ExportDecoder()
        try bytes.withUnsafeBytes { bytes in
            try decoder.push(
                bytes, onManifest: { manifest = $0 },
                onRecord: { records.append(HostileStore.Record($0)) })
        }
        try decoder.finish()
        guard let manifest else { throw CASError(.dataLoss, "no manifest") }
        self.manifest = manifest
        self.records = records
    }

    /// The file again, with a good end.
    var bytes: [UInt8] {
        let buffer = ReusableBuffer()
        buffer.append(ExportFormat.head(manifest))
        for record in records { buffer.append(record.bytes) }
        RecordCoding.appendMark(kind: .end, to: buffer)
        buffer.append(Digest.of(buffer.bytes).bytes)
        return Array(buffer.bytes)
    }
}
