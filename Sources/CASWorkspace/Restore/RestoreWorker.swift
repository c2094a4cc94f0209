import CASCompression
import CASCore
import CASFileSystem
package import CASPack
import CASTree

/// Takes the records of one connection and writes files.
///
/// One thread each.
///
/// Small files are hashed in memory and then created; large ones go to a temporary name until the last
/// chunk proved them whole.
package final class RestoreWorker {
    /// A large file whose chunks are coming.
    private struct Large: ~Copyable {
        let digest: Digest
        let terms: [ChunkList.Term]
        var next = 0
        var written: UInt64 = 0
        let places: [Restore.Place]
        let file: OpenFile
        let temporary: [UInt8]
        var hasher = DigestHasher()
    }

    private let restore: Restore
    private let writer: FileWriter
    private let decompressor: Decompressor
    private let raw = ReusableBuffer(capacity: 1 << 20)
    private var hasher = DigestHasher()
    private var large: Large?
    /// Chunks of a blob that nobody needs and that therefore only pass by.
    private var skipping = 0
    /// What the record at hand brought.
    private var progress: (files: UInt64, bytes: UInt64) = (0, 0)

    init(_ restore: Restore) throws {
        self.restore = restore
        writer = try FileWriter(restore)
        decompressor = try Decompressor()
    }

    /// Takes one record; throws `dataLoss` for content that is not what its digest says.
    ///
    /// The result says how many files and bytes of files are written with it.
    @discardableResult
    package func consume(_ record: RecordView) throws -> (files: UInt64, bytes: UInt64) {
        progress = (0, 0)
        switch record.header.kind {
        case .chunk, .directory, .attributes, .snapshot:
            if large != nil { try takeChunk(record) } else { try takeSmall(record) }
        case .chunkList: try begin(record)
        case .failure: throw RecordFailure.error(record)
        case .end:
            guard large == nil, skipping == 0 else { throw RestoreWorker.cutShort() }
        case .event, .pushRequest, .fileStart, .chunkReference:
            throw CASError(
                .dataLoss, "a record of kind \(record.header.kind) does not belong into a fetch")
        }
        return progress
    }

    /// Says that no more records come; throws if a file is incomplete.
    package func finish() throws {
        guard large == nil else { throw RestoreWorker.cutShort() }
        writer.flush()
    }

    /// Removes what is left of a file that did not come whole; the result is how many bytes those were.
    @discardableResult
    package func cancel() -> UInt64 {
        let lost = large?.written ?? 0
        // What stays behind is removed by the next fetch.
        if let temporary = large?.temporary { _ = try? restore.temporaries.removeFile(temporary) }
        if let digest = large?.digest, let places = large?.places {
            restore.unclaim(digest, places)
        }
        large = nil
        skipping = 0
        writer.flush()
        return lost
    }

    private static func cutShort() -> CASError {
        CASError(.dataLoss, "the stream ends within a file", hint: "fetch again")
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

    private func takeSmall(_ record: RecordView) throws {
        if skipping > 0 {
            skipping -= 1
            return
        }
        let digest = record.header.digest
        let places = restore.claim(digest)
        guard let first = places.first else { return }
        let content = try decode(record)
        hasher.update(content)
        guard hasher.finish() == digest else { throw wrong(digest, first) }
        try check(size: UInt64(content.count), digest, places)
        for place in places { try writer.write(content, to: place) }
        progress = (UInt64(places.count), UInt64(places.count * content.count))
        try restore.cache?.keep(digest, places, writer) { try $0.write(content) }
    }

    // MARK: - Large files

    private func begin(_ record: RecordView) throws {
        guard large == nil, skipping == 0 else { throw RestoreWorker.cutShort() }
        let digest = record.header.digest
        let list = try ChunkList(decoding: try decode(record), limits: restore.options.limits)
        let places = restore.claim(digest)
        guard !places.isEmpty else {
            skipping = list.chunks.count
            return
        }
        try check(size: list.size, digest, places)
        let temporary = Array("\(Identifier.random())".utf8)
        large = Large(
            digest: digest, terms: list.terms, places: places,
            file: try restore.temporaries.createFile(temporary), temporary: temporary)
        try takeInline()
    }

    private func takeChunk(_ record: RecordView) throws {
        let content = try decode(record)
        guard let term = large?.terms[large?.next ?? 0], case .chunk(let digest, let length) = term,
            digest == record.header.digest, Int(length) == content.count
        else {
            throw CASError(
                .dataLoss, "a chunk came that is not the next one of its file",
                digest: record.header.digest)
        }
        try append(content)
        try takeInline()
    }

    /// Writes inline terms up to the next chunk, and completes the file behind the last term.
    private func takeInline() throws {
        while let index = large?.next, let count = large?.terms.count {
            guard index < count else { return try complete() }
            guard case .inline(let bytes)? = large?.terms[index] else { return }
            try bytes.withUnsafeBytes { try append($0) }
        }
    }

    /// Writes the content of the next term.
    private func append(_ content: UnsafeRawBufferPointer) throws {
        large?.hasher.update(content)
        try large?.file.write(content)
        large?.written += UInt64(content.count)
        progress.bytes += UInt64(content.count)
        large?.next += 1
    }

    private func complete() throws {
        guard var done = large.take() else { return }
        do {
            guard done.hasher.finish() == done.digest else {
                throw wrong(done.digest, done.places[0])
            }
            for place in done.places.dropFirst() {
                try writer.replace(
                    place, restore.layout.attributes(place, restore.options)
                ) { try copy(done.file, to: $0) }
            }
            let place = done.places[0]
            try writer.rename(
                done.temporary, done.file, to: place,
                restore.layout.attributes(place, restore.options))
            progress.files += UInt64(done.places.count)
            progress.bytes += done.written * UInt64(done.places.count - 1)
            try restore.cache?.keep(done.digest, done.places, writer) {
                try copy(done.file, to: $0)
            }
        } catch {
            try restore.temporaries.removeFile(done.temporary)
            throw error
        }
    }

    /// Makes a second file of the same content: shared blocks where the file system can, else a copy.
    private func copy(_ source: borrowing OpenFile, to target: borrowing OpenFile) throws {
        if target.clone(from: source) { return }
        var offset: UInt64 = 0
        raw.resize(to: 1 << 20)
        while true {
            let count = try source.read(at: offset, into: raw.mutableBytes)
            guard count > 0 else { return }
            try target.write(UnsafeRawBufferPointer(rebasing: raw.bytes[..<count]))
            offset += UInt64(count)
        }
    }

    private func check(size: UInt64, _ digest: Digest, _ places: [Restore.Place]) throws {
        for place in places where writer.node(place).size != size {
            throw CASError(
                .dataLoss, "a file has another size than its directory says", digest: digest,
                path: restore.text(place))
        }
    }

    private func wrong(_ digest: Digest, _ place: Restore.Place) -> CASError {
        CASError(
            .dataLoss, "the store sent other bytes than the file has",
            hint: "run cas doctor; pushing the workspace again heals a damaged store",
            digest: digest, path: restore.text(place))
    }
}
