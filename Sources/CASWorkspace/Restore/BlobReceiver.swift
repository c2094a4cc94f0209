import CASCompression
package import CASCore
package import CASPack

/// Where blobs go that were checked.
package protocol BlobSink: AnyObject {
    /// Takes a blob of one record.
    func takeSmall(_ digest: Digest, _ content: UnsafeRawBufferPointer, _ record: RecordView) throws
    /// A blob of several chunks begins, which `list` composes; they follow in order.
    func begin(_ digest: Digest, _ list: ChunkList, _ record: RecordView) throws
    /// Takes a piece of it; `record` is nil for bytes that stand in the list itself.
    func take(_ content: UnsafeRawBufferPointer, _ record: RecordView?) throws
    /// All of it came, and is what its digest says.
    func finish(_ digest: Digest) throws
    /// It did not come whole, or is something else.
    func cancel()
}

/// Takes the records of one connection, checks every blob, and hands it on.
///
/// One thread each. Nothing is believed: each record is hashed, and a list against all that it composes.
package final class BlobReceiver {
    private struct Large: ~Copyable {
        let digest: Digest
        let terms: [ChunkList.Term]
        var next = 0
        var hasher = DigestHasher()
    }

    private let sink: any BlobSink
    private let limits: Limits
    private let decompressor: Decompressor
    private let raw = ReusableBuffer(capacity: 1 << 20)
    private var hasher = DigestHasher()
    private var large: Large?

    /// A receiver for a sink.
    package init(_ sink: any BlobSink, limits: Limits) throws {
        self.sink = sink
        self.limits = limits
        decompressor = try Decompressor()
    }

    /// Takes one record; throws `dataLoss` for content that is not what its digest says.
    package func consume(_ record: RecordView) throws {
        switch record.header.kind {
        case .chunk, .directory, .attributes, .snapshot:
            let content = try decode(record)
            hasher.update(content)
            guard hasher.finish() == record.header.digest else {
                throw BlobReceiver.wrong(record.header.digest)
            }
            if large != nil { return try takeChunk(content, record) }
            try sink.takeSmall(record.header.digest, content, record)
        case .chunkList: try begin(record)
        case .failure: throw RecordFailure.error(record)
        case .end: guard large == nil else { throw BlobReceiver.cutShort() }
        case .event, .pushRequest, .fileStart, .chunkReference:
            throw CASError(
                .dataLoss, "a record of kind \(record.header.kind) does not belong into a fetch")
        }
    }

    /// Says that no more records come; throws if a blob is incomplete.
    package func finish() throws {
        guard large == nil else { throw BlobReceiver.cutShort() }
    }

    /// Gives up a blob that did not come whole.
    package func cancel() {
        if large != nil { sink.cancel() }
        large = nil
    }

    private static func cutShort() -> CASError {
        CASError(.dataLoss, "the stream ends within a file", hint: "run the command again")
    }

    private static func wrong(_ digest: Digest) -> CASError {
        CASError(
            .dataLoss, "the store sent other bytes than the file has",
            hint: "run cas doctor; pushing the workspace again heals a damaged store",
            digest: digest)
    }

    private func decode(_ record: RecordView) throws -> UnsafeRawBufferPointer {
        let header = record.header
        if header.codec == .raw { return record.payload }
        raw.resize(to: header.rawLength)
        try decompressor.decode(
            record.payload, codec: header.codec, rawLength: header.rawLength,
            into: raw.mutableBytes)
        return raw.bytes
    }

    private func begin(_ record: RecordView) throws {
        guard large == nil else { throw BlobReceiver.cutShort() }
        let content = try decode(record)
        let list = try ChunkList(decoding: content, limits: limits)
        try sink.begin(record.header.digest, list, record)
        large = Large(digest: record.header.digest, terms: list.terms)
        try takeInline()
    }

    private func takeChunk(_ content: UnsafeRawBufferPointer, _ record: RecordView) throws {
        guard let term = large?.terms[large?.next ?? 0], case .chunk(let digest, let length) = term,
            digest == record.header.digest, Int(length) == content.count
        else {
            throw CASError(
                .dataLoss, "a chunk came that is not the next one of its file",
                digest: record.header.digest)
        }
        large?.hasher.update(content)
        large?.next += 1
        try sink.take(content, record)
        try takeInline()
    }

    private func takeInline() throws {
        while let index = large?.next, let count = large?.terms.count {
            guard index < count else { return try complete() }
            guard case .inline(let bytes)? = large?.terms[index] else { return }
            try bytes.withUnsafeBytes { bytes in
                large?.hasher.update(bytes)
                try sink.take(bytes, nil)
            }
            large?.next += 1
        }
    }

    private func complete() throws {
        guard var done = large.take() else { return }
        guard done.hasher.finish() == done.digest else {
            sink.cancel()
            throw BlobReceiver.wrong(done.digest)
        }
        try sink.finish(done.digest)
    }
}
