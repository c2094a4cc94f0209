package import CASCore
import CASFileSystem
import CASPack
import CASTree
package import CASWire
import CASWorkspace

/// What an export wrote.
package struct ExportSummary: Sendable {
    /// The refs in the file.
    package var refs: [RefEntry] = []
    /// Files in it, each content once.
    package var files = WarmCounts()
    /// Manifests and blobs of images in it, each content once, that are no files as well.
    package var blobs = WarmCounts()
    /// Names of images below those of refs that were not there or may not be read.
    package var unreadable: [String] = []
    /// Bytes of the file.
    package var bytes: UInt64 = 0
}

/// Writes refs, with everything that they name, as one file (Export.md).
package enum Export {
    private static let batch = 10_000

    /// Writes the refs to `sink`, from the first byte to the last.
    ///
    /// Throws `notFound` for a ref that is not there, and as a fetch does.
    package static func run(
        _ names: [RefName], from source: any StoreConnection, software: String,
        counters: ProgressCounters, limits: Limits = .standard,
        _ sink: (UnsafeRawBufferPointer) throws -> Void
    ) throws -> ExportSummary {
        guard names.count <= ExportFormat.maximumRefs else {
            throw CASError(
                .resourceExhausted,
                "an export holds at most \(ExportFormat.maximumRefs) refs, not \(names.count)")
        }
        var summary = ExportSummary()
        let takesImages = try source.describe().takesImages
        var images: [RefImages] = []
        for name in names where !summary.refs.contains(where: { $0.name == name }) {
            let (entry, belonging) = try source.refWithImages(name, takesImages: takesImages)
            summary.refs.append(entry)
            summary.unreadable += belonging.unreadable
            if !belonging.isEmpty { images.append(belonging) }
        }
        return try withoutActuallyEscaping(sink) { sink in
            let writer = ExportWriter(limits, sink)
            try writer.begin(
                ExportManifest(
                    refs: summary.refs, software: software, created: SystemClock().now(),
                    images: images))
            for entry in summary.refs where entry.target.kind == .snapshot {
                try write(entry, source, writer, counters, limits, &summary)
            }
            for image in images.flatMap(\.images) {
                try write(image, source, writer, counters, limits, &summary)
            }
            summary.bytes = try writer.finish()
            return summary
        }
    }

    private static func write(
        _ entry: RefEntry, _ source: any StoreConnection, _ writer: ExportWriter,
        _ counters: ProgressCounters, _ limits: Limits, _ summary: inout ExportSummary
    ) throws {
        // By digest: a ref may move meanwhile.
        let want = "\(entry.name.name)@\(entry.target.digest)"
        let plan = try source.plan(PlanRequest(want: want, have: nil))
        let snapshot = try Snapshot(decoding: plan.snapshotMessage)
        guard Digest.of(plan.snapshotMessage) == plan.snapshot else {
            throw CASError(
                .failedPrecondition, "'\(entry.name)' names a tree without a snapshot of its own",
                hint: "fetch it and push it")
        }
        try Fetch.check(want, plan.snapshot, snapshot)
        let contents = try TreeContents(limits: limits)
        try BlobStream.take(
            counters, limits, { try source.readTree(plan: plan.planID, $0) },
            { record in
                // Hashes it.
                try contents.insert(record)
                if record.header.kind.isStored { try writer.append(record) }
            })
        let files = try missing(snapshot, contents, writer, limits)
        for file in files { summary.files.add(file.size) }
        counters.expect(files: UInt64(summary.files.files), bytes: summary.files.bytes)
        let sink = ExportSink(writer, counters)
        if files.count == Int(clamping: plan.files) {
            // All that the plan has, in the order of packs.
            try read(files.map(\.digest), sink, source, counters, limits, plan: plan)
        } else {
            // In the order of the tree, which is about that of packs; within a request the store sorts.
            for start in stride(from: 0, to: files.count, by: batch) {
                let end = min(start + batch, files.count)
                try read(
                    files[start..<end].map(\.digest), sink, source, counters, limits, plan: nil)
            }
        }
        for file in files where !writer.contains(file.digest) {
            throw CASError(.dataLoss, "the store did not send a file", digest: file.digest)
        }
    }

    /// Writes what a name has of images: stored blobs some thousand at a time, those that are made one by one.
    private static func write(
        _ image: ImageContents, _ source: any StoreConnection, _ writer: ExportWriter,
        _ counters: ProgressCounters, _ limits: Limits, _ summary: inout ExportSummary
    ) throws {
        var seen: Set<Digest> = [.empty]
        let parts =
            image.manifests.map { (digest: $0.digest, size: $0.size, isDerived: false) }
            + image.blobs.map { (digest: $0.digest, size: $0.size, isDerived: $0.isDerived) }
        let new = parts.filter {
            !writer.contains($0.digest) && seen.insert($0.digest).inserted
        }
        for part in new { summary.blobs.add(part.size) }
        counters.expect(files: UInt64(new.count), bytes: new.reduce(0) { $0 + $1.size })
        let stored = new.filter { !$0.isDerived }.map(\.digest)
        var requests = stride(from: 0, to: stored.count, by: batch).map {
            Array(stored[$0..<min($0 + batch, stored.count)])
        }
        requests += new.filter(\.isDerived).map { [$0.digest] }
        let sink = ExportSink(writer, counters)
        for request in requests {
            try read(request, sink, source, counters, limits, plan: nil)
        }
        for part in new where !writer.contains(part.digest) {
            throw CASError(
                .dataLoss, "the store did not send a part of an image", digest: part.digest)
        }
    }

    /// The files of a tree that were not written yet, each once, in the order of the tree.
    private static func missing(
        _ snapshot: Snapshot, _ contents: TreeContents, _ writer: ExportWriter, _ limits: Limits
    ) throws -> [(digest: Digest, size: UInt64)] {
        let sums = try TreeWalk.totals(
            root: snapshot.tree.digest, source: contents, limits: limits)
        guard sums.totals == snapshot.totals else {
            throw CASError(.dataLoss, "the snapshot says other totals than its tree has")
        }
        var files: [(digest: Digest, size: UInt64)] = []
        var seen: Set<Digest> = []
        var visited: Set<Digest> = []
        try TreeWalk.run(
            root: snapshot.tree.digest, attributes: nil, source: contents, limits: limits
        ) { step in
            guard visited.insert(step.digest).inserted else { return false }
            for file in step.directory.files
            where file.size > 0 && !writer.contains(file.digest)
                && seen.insert(file.digest).inserted
            {
                files.append((file.digest, file.size))
            }
            return true
        }
        return files
    }

    /// Takes a stream of files to its end; one that breaks is asked for again, for the rest.
    private static func read(
        _ digests: [Digest], _ sink: ExportSink, _ source: any StoreConnection,
        _ counters: ProgressCounters, _ limits: Limits, plan: PlanResponse?
    ) throws {
        for attempt in 1...BlobStream.attempts {
            let receiver = try BlobReceiver(sink, limits: limits)
            do {
                if attempt == 1, let plan {
                    return try receive(receiver, counters, limits) {
                        try source.readData(plan: plan.planID, share: 0, of: 1, $0)
                    }
                }
                // The file in which it broke comes first: half of it is written.
                let rest = digests.filter { !sink.writer.contains($0) && $0 != sink.openFile }
                for part in [sink.openFile.map { [$0] } ?? [], rest] {
                    for start in stride(from: 0, to: part.count, by: batch) {
                        try receive(receiver, counters, limits) {
                            try source.readBlobs(
                                Array(part[start..<min(start + batch, part.count)]), $0)
                        }
                    }
                }
                return
            } catch let error as CASError
                where error.isPassing && attempt < BlobStream.attempts
            {
                receiver.cancel()
                Backoff.pause(attempt)
            }
        }
    }

    private static func receive(
        _ receiver: BlobReceiver, _ counters: ProgressCounters, _ limits: Limits,
        _ read: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws {
        var decoder = RecordStreamDecoder(limits: limits)
        try read { bytes in
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
