import CASCore
import CASFileSystem
import CASPack
import CASTree
import CASWire
import CASWorkspace
import Synchronization

/// Sends the parts of trees that a store lacks, from another store.
///
/// From the root down, a level of directories at a time: what is below a directory that the target has is
/// not looked at. The target's commit is what finds out whether it has all of it, and then everything is
/// asked about. Used by one thread, which starts others.
final class TreeTransfer {
    private struct Pair: Hashable {
        let directory: SizedDigest
        let attributes: SizedDigest?
    }
    /// Bytes of messages that are in memory at once.
    private static let messageBytes: UInt64 = 16 << 20
    /// Files asked about at once.
    private static let askedFiles = 50_000
    /// Files, and their bytes, that one worker asks for in one request.
    private static let batchFiles = 2_000
    private static let batchBytes: UInt64 = 32 << 20

    let push: Identifier
    private let source: any StoreConnection
    private let target: any StoreConnection
    private let counters: ProgressCounters
    private let limits: Limits
    private let uploaders: [RecordUploader]
    private let listedAbove: UInt64?
    private var files: [(digest: Digest, size: UInt64)] = []
    private var sent: Set<Digest> = []
    private var misses = WarmCounts()
    /// Files whose content was sent for another one.
    private var repeats = WarmCounts()
    private var messageCount = 0

    init(
        _ source: any StoreConnection, _ target: any StoreConnection, _ push: Identifier,
        _ options: TransferOptions, _ counters: ProgressCounters
    ) throws {
        let description = try source.describe()
        listedAbove =
            description.givesChunkLists
            // Smaller ones are their own only chunk.
            ? 4 * min(description.chunkerAverageBytes, UInt64(UInt32.max)) : nil
        self.source = source
        self.target = target
        self.push = push
        self.counters = counters
        limits = options.limits
        let count = max(1, min(options.workers, options.limits.streamsPerPush - 1))
        uploaders = (0...count).map { RecordUploader(target, push, stream: $0) }
    }

    /// Manifests and blobs of images that lacked, each once.
    private(set) var blobs = WarmCounts()

    /// Adds what was done to a summary.
    func count(into summary: inout WarmSummary, _ totals: TreeTotals) {
        let gone = (files: misses.files + repeats.files, bytes: misses.bytes + repeats.bytes)
        summary.misses = misses
        summary.hits.files = max(0, Int(clamping: totals.files) - gone.files)
        summary.hits.bytes = totals.bytes - min(totals.bytes, gone.bytes)
        summary.receivedBytes = counters.transferred
        summary.sentMessages = messageCount
        summary.sentBytes = sentBytes
    }

    /// Bytes sent to the target.
    var sentBytes: UInt64 { uploaders.reduce(0) { $0 + $1.sentBytes } }

    /// Sends what lacks; with `isThorough` nothing is taken for granted because what it stands in is there.
    func send(_ snapshot: Snapshot, isThorough: Bool, forced: Set<Digest>) throws {
        var level = [Pair(directory: snapshot.tree, attributes: snapshot.attributes)]
        var visited = Set(level)
        var depth = 0
        while !level.isEmpty {
            guard depth < limits.treeDepth else {
                throw CASError(
                    .resourceExhausted, "a tree is deeper than \(limits.treeDepth) directories")
            }
            var digests = Set(level.map(\.directory.digest))
            digests.formUnion(level.compactMap(\.attributes?.digest))
            var missing = try target.lacking(digests.sorted(), push: push, limits: limits)
            missing.formUnion(digests.intersection(forced))
            var next: [Pair] = []
            let open = level.filter { pair in
                isThorough || missing.contains(pair.directory.digest)
                    || pair.attributes.map { missing.contains($0.digest) } ?? false
            }
            for batch in batches(open) {
                let contents = try read(batch, missing)
                for pair in batch {
                    let asksFiles = isThorough || missing.contains(pair.directory.digest)
                    for child in try children(pair, contents, asksFiles: asksFiles)
                    where visited.insert(child).inserted {
                        next.append(child)
                    }
                }
                guard UInt64(visited.count) <= limits.treeEntries else {
                    throw CASError(.resourceExhausted, "a tree has too many directories")
                }
                if files.count >= TreeTransfer.askedFiles { try sendFiles(forced) }
            }
            level = next
            depth += 1
        }
        try sendFiles(forced)
        for uploader in uploaders { try uploader.flush() }
    }

    /// Sends what lacks of images; layers whose bytes the source makes are read whole.
    func send(_ images: [ImageContents], forced: Set<Digest>) throws {
        let (earlier, earlierRepeats) = (misses, repeats)
        misses = WarmCounts()
        for image in images {
            files += image.manifests.map { ($0.digest, $0.size) }
            files += image.blobs.filter { !$0.isDerived && $0.size > 0 }.map {
                ($0.digest, $0.size)
            }
        }
        try sendFiles(forced)
        for blob in images.flatMap(\.blobs).filter(\.isDerived) {
            let isMissing = try target.missing([blob.digest], push: push)[0]
            guard isMissing || forced.contains(blob.digest) else { continue }
            if sent.insert(blob.digest).inserted { misses.add(blob.size) }
            counters.expect(files: 1, bytes: blob.size)
            try FileTransfer(
                source: source, target: target, push: push, uploader: uploaders[1],
                counters: counters, limits: limits, listedAbove: nil
            ).sendWhole([blob.digest], forced)
        }
        for uploader in uploaders { try uploader.flush() }
        blobs = misses
        (misses, repeats) = (earlier, earlierRepeats)
    }

    // MARK: - Messages

    private func batches(_ pairs: [Pair]) -> [ArraySlice<Pair>] {
        var batches: [ArraySlice<Pair>] = []
        var start = 0
        var bytes: UInt64 = 0
        for (index, pair) in pairs.enumerated() {
            bytes += pair.directory.size + (pair.attributes?.size ?? 0)
            guard bytes >= TreeTransfer.messageBytes || index == pairs.count - 1 else { continue }
            batches.append(pairs[start...index])
            start = index + 1
            bytes = 0
        }
        return batches
    }

    /// Reads the messages of some directories, and hands on those that are missing.
    private func read(
        _ batch: ArraySlice<Pair>, _ missing: Set<Digest>
    ) throws -> TreeContents {
        let contents = try TreeContents(limits: limits)
        var wanted = Set(batch.map(\.directory.digest))
        wanted.formUnion(batch.compactMap(\.attributes?.digest))
        if wanted.remove(.empty) != nil, missing.contains(.empty) {
            // A directory with nothing in it: as a blob it is never sent, and here it has to be.
            let record = ReusableBuffer(capacity: 128)
            RecordCoding.append(kind: .directory, digest: .empty, payload: [], to: record)
            try uploaders[0].append(record.bytes)
            messageCount += 1
        }
        let digests = wanted.sorted()
        for start in stride(from: 0, to: digests.count, by: limits.digestsPerRequest) {
            let end = min(start + limits.digestsPerRequest, digests.count)
            let part = Array(digests[start..<end])
            var handed: Set<Digest> = []
            try BlobStream.take(
                counters, limits, { try source.readBlobs(part, $0) },
                { record in
                    // Hashes it.
                    try contents.insert(record)
                    let digest = record.header.digest
                    guard missing.contains(digest), handed.insert(digest).inserted,
                        record.header.kind.isKeyedByPayload
                    else { return }
                    try self.uploaders[0].append(record.record)
                    self.messageCount += 1
                })
        }
        return contents
    }

    /// The directories within one; its files go to those that are asked about.
    private func children(
        _ pair: Pair, _ contents: TreeContents, asksFiles: Bool
    ) throws -> [Pair] {
        guard let directory = try contents.directory(pair.directory.digest) else {
            throw TreeTransfer.gone(pair.directory.digest)
        }
        var attributes: AttributesDirectory?
        if let digest = pair.attributes?.digest {
            attributes = try contents.attributes(digest)
            guard attributes?.matches(directory) == true else { throw TreeTransfer.gone(digest) }
        }
        if asksFiles {
            for file in directory.files where file.size > 0 {
                files.append((file.digest, file.size))
            }
        }
        return directory.directories.enumerated().map { index, child in
            Pair(
                directory: SizedDigest(digest: child.digest, size: child.size),
                attributes: attributes.map { attributes in
                    let below = attributes.directories[index]
                    return SizedDigest(digest: below.digest, size: below.size)
                })
        }
    }

    private static func gone(_ digest: Digest) -> CASError {
        CASError(
            .dataLoss, "the store did not send a directory of the snapshot as it should be",
            hint: "push the workspace again from where it is still whole", digest: digest)
    }

    // MARK: - Files

    private func sendFiles(_ forced: Set<Digest>) throws {
        let asked = files
        files.removeAll(keepingCapacity: true)
        var order: [(digest: Digest, size: UInt64)] = []
        var seen: Set<Digest> = []
        for file in asked {
            if sent.contains(file.digest), !forced.contains(file.digest) {
                repeats.add(file.size)
            } else if seen.insert(file.digest).inserted {
                order.append(file)
            }
        }
        var missing = try target.lacking(order.map(\.digest), push: push, limits: limits)
        missing.formUnion(seen.intersection(forced))
        var batches: [[(digest: Digest, size: UInt64)]] = [[]]
        var bytes: UInt64 = 0
        for file in order where missing.contains(file.digest) {
            if sent.insert(file.digest).inserted { misses.add(file.size) }
            bytes += file.size
            batches[batches.count - 1].append(file)
            guard
                bytes >= TreeTransfer.batchBytes
                    || batches[batches.count - 1].count >= TreeTransfer.batchFiles
            else { continue }
            batches.append([])
            bytes = 0
        }
        for file in asked where seen.contains(file.digest) && missing.contains(file.digest) {
            // The first of its kind is the one that is sent.
            if seen.remove(file.digest) == nil { repeats.add(file.size) }
        }
        counters.expect(files: UInt64(misses.files), bytes: misses.bytes)
        if batches.last?.isEmpty == true { batches.removeLast() }
        try send(batches, forced)
    }

    private func send(
        _ batches: [[(digest: Digest, size: UInt64)]], _ forced: Set<Digest>
    ) throws {
        guard !batches.isEmpty else { return }
        let next = Mutex(0)
        let (source, target, push) = (source, target, push)
        let (counters, limits, uploaders) = (counters, limits, uploaders)
        let listedAbove = listedAbove
        try WorkerGroup.run(
            count: min(uploaders.count - 1, batches.count), name: "transfer"
        ) { worker in
            do {
                while true {
                    let index = next.withLock { next in
                        defer { next += 1 }
                        return next
                    }
                    guard index < batches.count else { return }
                    try FileTransfer(
                        source: source, target: target, push: push,
                        uploader: uploaders[worker + 1], counters: counters, limits: limits,
                        listedAbove: listedAbove
                    ).send(batches[index], forced)
                }
            } catch {
                // The others end after their batch.
                next.withLock { $0 = batches.count }
                throw error
            }
        }
    }
}
