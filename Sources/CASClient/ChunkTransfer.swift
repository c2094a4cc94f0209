import CASCompression
import CASCore
import CASFileSystem
import CASPack
import CASWorkspace

/// Sends large files of which the target has a part: only the chunks that it lacks are read.
extension FileTransfer {
    /// A file in several chunks, as the source composes it.
    private struct Listed {
        let list: ChunkList
        let record: [UInt8]
    }
    /// Chunks asked for in one request.
    private static let batchChunks = 2_000

    /// Sends these files as far as the target has some of their chunks; those of which it has none are left,
    /// to be read whole.
    func sendChunks(of digests: [Digest], _ forced: Set<Digest>) throws -> [Digest] {
        let lists = try lists(of: digests)
        let chunks = Set(lists.values.flatMap(\.list.chunks))
        var missing = try target.lacking(chunks.sorted(), push: push, limits: limits)
        missing.formUnion(chunks.intersection(forced))
        var whole: [Digest] = []
        var partly: [(digest: Digest, listed: Listed)] = []
        for digest in digests {
            guard let listed = lists[digest] else { continue }
            if listed.list.chunks.allSatisfy({ missing.contains($0) }) {
                whole.append(digest)
            } else {
                partly.append((digest, listed))
            }
        }
        // In the order of the first file that has each, which is about that of the source's packs.
        var wanted: [Digest] = []
        for (_, listed) in partly {
            for chunk in listed.list.chunks where missing.remove(chunk) != nil {
                wanted.append(chunk)
            }
        }
        for start in stride(from: 0, to: wanted.count, by: Self.batchChunks) {
            try sendWhole(
                Array(wanted[start..<min(start + Self.batchChunks, wanted.count)]), forced,
                areChunks: true)
        }
        for (_, listed) in partly { try compose(listed) }
        try uploader.flush()
        return whole
    }

    /// The chunk lists of files; one that the source has in one piece is sent.
    private func lists(of digests: [Digest]) throws -> [Digest: Listed] {
        var lists: [Digest: Listed] = [:]
        var small: Set<Digest> = []
        let asked = Set(digests)
        let decompressor = try Decompressor()
        let raw = ReusableBuffer(capacity: 64 << 10)
        try BlobStream.take(
            counters, limits, { try source.readChunkLists(digests, $0) },
            { record in
                let header = record.header
                switch header.kind {
                case .end: return
                case .failure: throw RecordFailure.error(record)
                case .chunkList, .chunk, .directory, .attributes, .snapshot:
                    guard asked.contains(header.digest) else {
                        throw CASError(
                            .dataLoss, "the store sent something else than was asked for",
                            digest: header.digest)
                    }
                default: throw FileTransfer.unsent(header.digest)
                }
                raw.resize(to: header.rawLength)
                try decompressor.decode(
                    record.payload, codec: header.codec, rawLength: header.rawLength,
                    into: raw.mutableBytes)
                guard header.kind == .chunkList else {
                    guard Digest.of(raw.bytes) == header.digest else {
                        throw CASError(
                            .dataLoss, "the store sent other bytes than the file has",
                            digest: header.digest)
                    }
                    guard small.insert(header.digest).inserted else { return }
                    try uploader.append(record.record)
                    counters.add(files: 1, bytes: UInt64(header.rawLength))
                    return
                }
                lists[header.digest] = Listed(
                    list: try ChunkList(decoding: raw.bytes, limits: limits),
                    record: Array(record.record))
            })
        for digest in digests where lists[digest] == nil && !small.contains(digest) {
            throw FileTransfer.unsent(digest)
        }
        return lists
    }

    /// Says how a file is composed of chunks that the target has by now, which checks that it is.
    private func compose(_ listed: Listed) throws {
        uploader.beginFile()
        for case .chunk(let digest, let length) in listed.list.terms {
            try uploader.refer(to: digest, length: Int(length))
        }
        try listed.record.withUnsafeBytes { try uploader.append($0) }
        counters.add(files: 1, bytes: listed.list.size)
    }

    static func unsent(_ digest: Digest) -> CASError {
        CASError(.dataLoss, "the store did not send a file", digest: digest)
    }
}
