import CASCore
import CASFileSystem
import CASPack
import CASWorkspace

/// Sends some files from one store to another, over one connection to each.
struct FileTransfer {
    let source: any StoreConnection
    let target: any StoreConnection
    let push: Identifier
    let uploader: RecordUploader
    let counters: ProgressCounters
    let limits: Limits
    /// Bytes above which the source has a file in several chunks; nil where it does not tell which.
    let listedAbove: UInt64?

    func send(_ files: [(digest: Digest, size: UInt64)], _ forced: Set<Digest>) throws {
        let border = listedAbove ?? .max
        let large = files.filter { $0.size > border }.map(\.digest)
        var whole = files.filter { $0.size <= border }.map(\.digest)
        if !large.isEmpty { whole += try sendChunks(of: large, forced) }
        if !whole.isEmpty { try sendWhole(whole, forced) }
    }

    /// Reads these blobs from the first byte to the last.
    func sendWhole(
        _ digests: [Digest], _ forced: Set<Digest>, areChunks: Bool = false
    ) throws {
        var digests = digests
        for attempt in 1...BlobStream.attempts {
            let sink = TransferSink(self, forced, areChunks: areChunks)
            let receiver = try BlobReceiver(sink, limits: limits)
            do {
                try receive(digests, receiver)
                if let lost = digests.first(where: { !sink.done.contains($0) }) {
                    throw FileTransfer.unsent(lost)
                }
                return try uploader.flush()
            } catch let error as CASError
                where error.isPassing && attempt < BlobStream.attempts
            {
                receiver.cancel()
                Backoff.pause(attempt)
                digests.removeAll { sink.done.contains($0) }
            }
        }
    }

    private func receive(_ digests: [Digest], _ receiver: BlobReceiver) throws {
        var decoder = RecordStreamDecoder(limits: limits)
        try source.readBlobs(digests) { bytes in
            counters.add(transferred: UInt64(bytes.count))
            try decoder.push(bytes) { try receiver.consume($0) }
        }
        try decoder.finish()
        guard decoder.isEnded else {
            throw CASError(.unavailable, "the store stopped sending in the middle")
        }
        try receiver.finish()
    }
}

/// Hands checked records on to a store; of a large file only the chunks that it lacks.
private final class TransferSink: BlobSink {
    private let transfer: FileTransfer
    private let forced: Set<Digest>
    /// Whether what comes are parts of files, which are counted as such once they are whole.
    private let areChunks: Bool
    private var missing: Set<Digest> = []
    private var list: [UInt8] = []
    private var size: UInt64 = 0
    /// Files that were handed on whole.
    private(set) var done: Set<Digest> = []

    init(_ transfer: FileTransfer, _ forced: Set<Digest>, areChunks: Bool) {
        self.areChunks = areChunks
        self.transfer = transfer
        self.forced = forced
    }

    func takeSmall(
        _ digest: Digest, _ content: UnsafeRawBufferPointer, _ record: RecordView
    ) throws {
        try transfer.uploader.append(record.record)
        done.insert(digest)
        if !areChunks { transfer.counters.add(files: 1, bytes: UInt64(content.count)) }
    }

    func begin(_ digest: Digest, _ list: ChunkList, _ record: RecordView) throws {
        let chunks = Set(list.chunks)
        missing = try transfer.target.lacking(
            chunks.sorted(), push: transfer.push, limits: transfer.limits)
        missing.formUnion(chunks.intersection(forced))
        self.list = Array(record.record)
        size = list.size
        transfer.uploader.beginFile()
    }

    func take(_ content: UnsafeRawBufferPointer, _ record: RecordView?) throws {
        transfer.counters.add(bytes: UInt64(content.count))
        guard let record else { return }
        if missing.remove(record.header.digest) != nil {
            try transfer.uploader.append(record.record)
        } else {
            try transfer.uploader.refer(to: record.header.digest, length: content.count)
        }
    }

    func finish(_ digest: Digest) throws {
        try self.list.withUnsafeBytes { try transfer.uploader.append($0) }
        done.insert(digest)
        transfer.counters.add(files: 1)
    }

    func cancel() {}
}
