import CASClient
import CASCore
import CASFileSystem
import CASOCI
import CASPack
import CASWorkspace

/// Writes a layer as its encoder says: headers as they come, and the contents of files read from a store,
/// many small ones with one request.
///
/// Every file is checked against its digest; a large one at its end, so that what was written of it counts
/// for nothing if this throws.
struct LayerWriter: LayerConsumer {
    private enum Part {
        case bytes([UInt8])
        case file(Digest)
    }

    /// A file that is read by itself, and not with others.
    private static let largeBytes: UInt64 = 1 << 20
    /// Bytes and parts that wait for one request.
    private static let batchBytes: UInt64 = 16 << 20
    private static let batchParts = 4_000
    private static let attempts = 5

    /// Streams records of blobs to a sink.
    typealias Reading = ([Digest], (UnsafeRawBufferPointer) throws -> Void) throws -> Void

    private let readBlobs: Reading
    private let limits: Limits
    private let sink: (UnsafeRawBufferPointer) throws -> Void
    private var parts: [Part] = []
    private var bytes: UInt64 = 0

    init(
        _ readBlobs: @escaping Reading, limits: Limits = .standard,
        _ sink: @escaping (UnsafeRawBufferPointer) throws -> Void
    ) {
        self.readBlobs = readBlobs
        self.limits = limits
        self.sink = sink
    }

    mutating func bytes(_ bytes: UnsafeRawBufferPointer) throws {
        parts.append(.bytes(Array(bytes)))
        try add(UInt64(bytes.count))
    }

    mutating func file(_ digest: Digest, size: UInt64) throws {
        guard size <= LayerWriter.largeBytes else {
            try flush()
            return try stream(digest, size)
        }
        parts.append(.file(digest))
        try add(size)
    }

    private mutating func add(_ count: UInt64) throws {
        bytes += count
        if bytes >= LayerWriter.batchBytes || parts.count >= LayerWriter.batchParts { try flush() }
    }

    /// Writes what waits.
    mutating func flush() throws {
        var wanted: Set<Digest> = []
        for case .file(let digest) in parts { wanted.insert(digest) }
        let contents = try read(wanted.sorted())
        for part in parts {
            switch part {
            case .bytes(let bytes): try bytes.withUnsafeBytes { try sink($0) }
            case .file(let digest):
                guard let content = contents[digest] else {
                    throw CASError(.dataLoss, "the store did not send a file", digest: digest)
                }
                try content.withUnsafeBytes { try sink($0) }
            }
        }
        parts.removeAll(keepingCapacity: true)
        bytes = 0
    }

    private func read(_ digests: [Digest]) throws -> [Digest: [UInt8]] {
        guard !digests.isEmpty else { return [:] }
        let collector = FileCollector()
        try retrying(collector) {
            // What came before the connection broke is here.
            try receive(digests.filter { collector.contents[$0] == nil }, collector)
        }
        return collector.contents
    }

    /// Reads again what a connection broke in; whoever writes the layer somewhere does not try that again too.
    private func retrying(_ sink: any BlobSink, _ body: () throws -> Void) throws {
        var attempt = 1
        while true {
            do { return try body() } catch let error as CASError where error.isPassing {
                guard attempt < LayerWriter.attempts else { throw error.repeated }
                sink.cancel()
                Backoff.pause(attempt)
                attempt += 1
            }
        }
    }

    private func stream(_ digest: Digest, _ size: UInt64) throws {
        try withoutActuallyEscaping(sink) { sink in
            let stream = FileStream(size, sink)
            try retrying(stream) {
                stream.restart()
                try receive([digest], stream)
            }
            guard stream.written == size else {
                throw CASError(.dataLoss, "the store sent a file of another size", digest: digest)
            }
        }
    }

    private func receive(_ digests: [Digest], _ sink: any BlobSink) throws {
        let receiver = try BlobReceiver(sink, limits: limits)
        var decoder = RecordStreamDecoder(limits: limits)
        try readBlobs(digests) { bytes in
            try decoder.push(bytes) { try receiver.consume($0) }
        }
        try decoder.finish()
        guard decoder.isEnded else {
            throw CASError(.unavailable, "the store stopped sending in the middle")
        }
        try receiver.finish()
    }
}

/// Keeps the contents of small files.
private final class FileCollector: BlobSink {
    private(set) var contents: [Digest: [UInt8]] = [:]
    private var large: [UInt8] = []

    func takeSmall(
        _ digest: Digest, _ content: UnsafeRawBufferPointer, _ record: RecordView
    ) throws {
        contents[digest] = Array(content)
    }
    func begin(_ digest: Digest, _ list: ChunkList, _ record: RecordView) throws { large = [] }
    func take(_ content: UnsafeRawBufferPointer, _ record: RecordView?) throws {
        large.append(contentsOf: content)
    }
    func finish(_ digest: Digest) throws { contents[digest] = large }
    func cancel() { large = [] }
}

/// Hands the content of one large file on as it comes; after a break, from where it broke.
private final class FileStream: BlobSink {
    private let size: UInt64
    private let sink: (UnsafeRawBufferPointer) throws -> Void
    private(set) var written: UInt64 = 0
    private var skipped: UInt64 = 0

    init(_ size: UInt64, _ sink: @escaping (UnsafeRawBufferPointer) throws -> Void) {
        self.size = size
        self.sink = sink
    }

    func restart() { skipped = written }

    func takeSmall(
        _ digest: Digest, _ content: UnsafeRawBufferPointer, _ record: RecordView
    ) throws { try take(content, record) }
    func begin(_ digest: Digest, _ list: ChunkList, _ record: RecordView) throws {}
    func take(_ content: UnsafeRawBufferPointer, _ record: RecordView?) throws {
        let skip = min(skipped, UInt64(content.count))
        skipped -= skip
        guard skip < content.count else { return }
        let rest = UnsafeRawBufferPointer(rebasing: content[Int(skip)...])
        written += UInt64(rest.count)
        guard written <= size else {
            throw CASError(.dataLoss, "the store sent a file of another size")
        }
        try sink(rest)
    }
    func finish(_ digest: Digest) throws {}
    func cancel() {}
}
