import CASChunking
import CASCompression
import CASCore
import CASFileSystem
import CASPack
import CASTree
import CASWorkspace

/// A file to be read: found by the scan, or asked for by the store afterwards.
struct SourceFile {
    /// The digest that it had when it was pushed last; nil if it was not, or has to be sent anyway.
    let previous: Digest?
    /// The digest that it must have, since the tree that is being pushed says so; nil before that.
    let expected: Digest?
    /// Whether it was counted before, because it is read again to be sent.
    var isRepeated: Bool { expected != nil }
    let path: () -> [UInt8]
    let open: () throws -> OpenFile
    let finish: (Digest, UInt64, FileStatus) -> Void
    let vanish: () -> Void
}

/// Reads files, hashes them, asks which the store lacks, compresses those and sends them.
///
/// One thread each, with one upload stream; keeps its buffers from file to file.
final class PushWorker {
    /// Raw bytes that are gathered before the store is asked about them.
    private static let batchBytes = 4 << 20
    private static let batchFiles = 4096
    /// Bytes of records that are sent in one request.
    private static let uploadBytes = 4 << 20
    private static let pieceBytes = 8 << 20
    private static let readAttempts = 3

    private struct Item {
        let digest: Digest
        let range: Range<Int>
        let path: () -> [UInt8]
    }

    private let context: PushContext
    private let stream: Int
    private var hasUploaded = false
    private let compressor: Compressor
    private var hasher = DigestHasher()
    private let raw = ReusableBuffer(capacity: PushWorker.batchBytes + (2 << 20))
    /// For pieces of large files, so that these do not force out what `raw` gathers.
    private let large = ReusableBuffer(capacity: 0)
    private let records = ReusableBuffer(capacity: PushWorker.uploadBytes + (2 << 20))
    private var items: [Item] = []
    /// Chunks in `records`.
    private var pending: Set<Digest> = []

    init(_ context: PushContext, stream: Int) throws {
        self.context = context
        self.stream = stream
        compressor = try Compressor()
    }

    /// Takes one file; sends what has come together.
    func take(_ source: SourceFile) throws {
        for _ in 0..<PushWorker.readAttempts {
            guard let file = try open(source) else {
                if source.expected != nil { throw changed(source) }
                source.vanish()
                context.noteVanished(source.path())
                return
            }
            if try read(file, source) { return }
        }
        throw CASError(
            .aborted, "the file changes while it is read",
            hint: "stop what writes to it, or leave it out with --exclude",
            path: PathText.printable(source.path()))
    }

    /// Opens a file; nil if there is none any more.
    ///
    /// Nothing but the file system is asked here: what a store does not find is not a file that vanished.
    private func open(_ source: SourceFile) throws -> OpenFile? {
        do {
            let file = try located(source) { try source.open() }
            guard try file.status().kind == .regular else { return nil }
            return file
        } catch let error as CASError where error.code == .notFound {
            return nil
        }
    }

    /// What to say of a file that is not any more what the tree that is being pushed has.
    private func changed(_ source: SourceFile) -> CASError {
        CASError(
            .aborted, "the file was changed since the push began", hint: "push again",
            path: PathText.printable(source.path()))
    }

    private func check(_ digest: Digest, _ source: SourceFile) throws {
        if let expected = source.expected, expected != digest { throw changed(source) }
    }

    /// Says of an error of the file system which file it is about; those of the store have no path.
    private func located<Result: ~Copyable>(
        _ source: SourceFile, _ body: () throws -> Result
    ) throws -> Result {
        do {
            return try body()
        } catch var error as CASError {
            error.path = PathText.printable(source.path())
            if error.code == .permissionDenied {
                error.hint = "make it readable, or leave it out with --exclude or .casignore"
            }
            throw error
        }
    }

    /// Reads and hashes a file; false if it changed meanwhile.
    private func read(_ file: borrowing OpenFile, _ source: SourceFile) throws -> Bool {
        let before = try file.status()
        let chunker = try context.chunker()
        if before.size > UInt64(chunker.parameters.maximumBytes) {
            return try readLarge(file, before, chunker, source)
        }
        let start = raw.count
        // One byte more than it should have shows that it grew.
        let count = try located(source) {
            try raw.append(maximum: Int(before.size) + 1) { try file.read(into: $0) }
        }
        let after = try file.status()
        guard count == Int(before.size), after.isSameContent(as: before) else {
            raw.resize(to: start)
            return false
        }
        hasher.update(UnsafeRawBufferPointer(rebasing: raw.bytes[start...]))
        let digest = hasher.finish()
        try check(digest, source)
        source.finish(digest, before.size, before)
        if !source.isRepeated { context.counters.add(files: 1, bytes: before.size) }
        if try count == 0 || isKnown(digest, source) {
            context.counters.add(known: before.size)
            raw.resize(to: start)
            return true
        }
        items.append(Item(digest: digest, range: start..<start + count, path: source.path))
        if raw.count >= PushWorker.batchBytes || items.count >= PushWorker.batchFiles {
            try sendBatch()
        }
        return true
    }

    /// Whether a file is what it was when the store acknowledged this workspace.
    ///
    /// Should the store have lost it since, the commit says so.
    private func isKnown(_ digest: Digest, _ source: SourceFile) throws -> Bool {
        try source.previous == digest && context.hasBase()
    }

    // MARK: - Small files

    /// Asks about the gathered files and frames those that are missing.
    private func sendBatch() throws {
        guard !items.isEmpty else { return }
        let missing = try context.connection.missing(
            items.map(\.digest), push: context.pushID)
        for (item, isMissing) in zip(items, missing) {
            guard isMissing, context.claim(item.digest) else {
                context.counters.add(known: UInt64(item.range.count))
                continue
            }
            context.noteNew(
                item.path(), size: UInt64(item.range.count), newBytes: UInt64(item.range.count))
            if context.isListing { continue }
            try frame(item, into: records)
            pending.insert(item.digest)
            if records.count >= PushWorker.uploadBytes { try upload() }
        }
        items.removeAll(keepingCapacity: true)
        raw.removeAll()
    }

    private func frame(_ item: Item, into output: ReusableBuffer) throws {
        let content = UnsafeRawBufferPointer(rebasing: raw.bytes[item.range])
        try RecordCoding.appendFrame(
            kind: .chunk, digest: item.digest, rawLength: content.count, to: output
        ) { try compressor.encode(content, into: $0) }
    }

    private func upload() throws {
        guard records.count > 0 else { return }
        try context.upload(records, stream: stream)
        hasUploaded = true
        records.removeAll()
        context.acknowledge(pending)
        pending.removeAll(keepingCapacity: true)
    }

    /// Sends what is left; the last few files go along with the commit if there is room.
    func finish() throws {
        let isFresh = records.count == 0 && !hasUploaded && !context.isListing
        if isFresh, try context.hasBase(), context.reserveInCommit(raw.count) {
            for item in items {
                let size = UInt64(item.range.count)
                guard context.claim(item.digest) else {
                    context.counters.add(known: size)
                    continue
                }
                context.noteNew(item.path(), size: size, newBytes: size)
                try frame(item, into: records)
            }
            context.addToCommit(records)
            records.removeAll()
            items.removeAll()
            raw.removeAll()
            return
        }
        try sendBatch()
        try upload()
    }

    // MARK: - Large files

    /// Cuts and hashes a large file, then sends the chunks that are missing; false if it changed.
    ///
    /// Two readings: the first says which chunks there are, so that a file that the store has costs no
    /// compression and no transfer; the second comes from the page cache.
    private func readLarge(
        _ file: borrowing OpenFile, _ before: FileStatus, _ chunker: Chunker, _ source: SourceFile
    ) throws -> Bool {
        file.adviseSequential()
        var counted: UInt64 = 0
        let found = try located(source) {
            try cut(file, before, chunker) { count in
                guard !source.isRepeated else { return }
                counted += count
                context.counters.add(bytes: count)
            }
        }
        guard let (digest, list) = found else {
            context.counters.take(back: counted)
            return false
        }
        try check(digest, source)
        source.finish(digest, before.size, before)
        if !source.isRepeated { context.counters.add(files: 1) }
        let isKnown = try isKnown(digest, source)
        let (isMissing, chunks) = isKnown ? (false, []) : try ask(digest, list)
        guard isMissing, context.claim(digest) else {
            context.counters.add(known: before.size)
            return true
        }
        let lacking = zip(list.terms, chunks).reduce(UInt64(0)) {
            $0 + ($1.1 ? UInt64($1.0.length) : 0)
        }
        context.noteNew(source.path(), size: before.size, newBytes: lacking)
        context.counters.add(known: before.size - min(before.size, lacking))
        if context.isListing { return true }
        guard try send(file, before, digest, list, chunks) else { return false }
        return true
    }

    /// The digest of a file and its chunks; nil if it is not as long as it was said to be.
    private func cut(
        _ file: borrowing OpenFile, _ before: FileStatus, _ chunker: Chunker,
        _ progress: (UInt64) -> Void
    ) throws -> (Digest, ChunkList)? {
        var terms: [ChunkList.Term] = []
        var whole = DigestHasher()
        var position: UInt64 = 0
        var isAtEnd = false
        large.removeAll()
        defer { large.removeAll() }
        while !isAtEnd || large.count > 0 {
            if !isAtEnd, large.count < chunker.parameters.maximumBytes {
                let room = PushWorker.pieceBytes - large.count
                let count = try large.append(maximum: room) {
                    try file.read(at: position, into: $0)
                }
                position += UInt64(count)
                isAtEnd = count < room
                progress(UInt64(count))
            }
            var used = 0
            while large.count - used >= chunker.parameters.maximumBytes
                || (isAtEnd && used < large.count)
            {
                let rest = UnsafeRawBufferPointer(rebasing: large.bytes[used...])
                let length = chunker.nextCut(rest)
                let chunk = UnsafeRawBufferPointer(rebasing: rest[..<length])
                whole.update(chunk)
                hasher.update(chunk)
                terms.append(.chunk(hasher.finish(), length: UInt32(length)))
                used += length
            }
            large.removeFirst(used)
        }
        guard position == before.size, try file.status().isSameContent(as: before) else {
            return nil
        }
        guard terms.count <= context.options.limits.chunkListTerms else {
            throw CASError(.resourceExhausted, "the file has too many chunks")
        }
        return (whole.finish(), ChunkList(terms: terms))
    }

    private func ask(_ digest: Digest, _ list: ChunkList) throws -> (Bool, [Bool]) {
        let digests = [digest] + list.chunks
        var missing: [Bool] = []
        var start = 0
        while start < digests.count {
            let end = min(start + context.options.limits.digestsPerRequest, digests.count)
            missing += try context.connection.missing(
                Array(digests[start..<end]), push: context.pushID)
            guard missing[0] else { return (false, []) }
            start = end
        }
        return (true, Array(missing.dropFirst()))
    }

    /// Sends the missing chunks between references to the others, and then the list.
    private func send(
        _ file: borrowing OpenFile, _ before: FileStatus, _ digest: Digest, _ list: ChunkList,
        _ missing: [Bool]
    ) throws -> Bool {
        var mark = records.count
        var added: Set<Digest> = []
        func discard() -> Bool {
            // Frames of a file that changed: their bytes may not be what their keys say.
            records.resize(to: mark)
            pending.subtract(added)
            return false
        }
        RecordCoding.appendMark(kind: .fileStart, to: records)
        var offset: UInt64 = 0
        var referredBytes: UInt64 = 0
        for (term, isMissing) in zip(list.terms, missing) {
            guard case .chunk(let chunk, let length) = term else { continue }
            defer { offset += UInt64(length) }
            guard isMissing, !pending.contains(chunk), !context.isAcknowledged(chunk) else {
                RecordCoding.appendMark(
                    kind: .chunkReference, digest: chunk, rawLength: Int(length), to: records)
                // The server reads and hashes what is referred to, which takes it time in silence.
                referredBytes += UInt64(length)
                if referredBytes >= context.options.limits.referredBytesPerRequest / 4 {
                    try upload()
                    (mark, added, referredBytes) = (0, [], 0)
                }
                continue
            }
            large.removeAll()
            defer { large.removeAll() }
            let count = try large.append(maximum: Int(length)) {
                try file.read(at: offset, into: $0)
            }
            guard count == Int(length), try isSame(chunk) else { return discard() }
            try RecordCoding.appendFrame(
                kind: .chunk, digest: chunk, rawLength: count, to: records
            ) { try compressor.encode(large.bytes, into: $0) }
            pending.insert(chunk)
            added.insert(chunk)
            guard records.count >= PushWorker.uploadBytes else { continue }
            guard try file.status().isSameContent(as: before) else { return discard() }
            try upload()
            (mark, added, referredBytes) = (0, [], 0)
        }
        guard try file.status().isSameContent(as: before) else { return discard() }
        let encoded = list.encode()
        try RecordCoding.appendFrame(
            kind: .chunkList, digest: digest, rawLength: encoded.count, to: records
        ) { output in try encoded.withUnsafeBytes { try compressor.encode($0, into: output) } }
        if records.count >= PushWorker.uploadBytes { try upload() }
        return true
    }

    /// Whether what was read again is the chunk that the first reading found.
    ///
    /// A server hashes every record anyway and refuses another one; a local store believes this process.
    private func isSame(_ chunk: Digest) throws -> Bool {
        guard context.connection.isLocal else { return true }
        hasher.update(large.bytes)
        return hasher.finish() == chunk
    }
}
