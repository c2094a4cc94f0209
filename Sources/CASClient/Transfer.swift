import CASCompression
package import CASCore
import CASFileSystem
import CASPack
import CASTree
package import CASWire
import CASWorkspace

/// Brings what a ref names from one store to another.
package enum Transfer {
    private static let rounds = 5

    /// Moves a ref of `target` to what `want` names in `source`, with everything that lacks there.
    ///
    /// Records go as they are; each is checked on the way. Throws as push and fetch do.
    package static func run(
        _ want: String, from source: any StoreConnection, to target: any StoreConnection,
        ref: RefName, provenance: Provenance, counters: ProgressCounters,
        limits: Limits = .standard
    ) throws -> WarmSummary {
        let plan = try source.plan(PlanRequest(want: want, have: nil))
        if try target.ref(ref)?.target.digest == plan.snapshot {
            // A ref names only what is complete.
            var summary = WarmSummary(plan: plan)
            let snapshot = try Snapshot(decoding: plan.snapshotMessage)
            summary.hits.files = Int(clamping: snapshot.totals.files)
            summary.hits.bytes = snapshot.totals.bytes
            return summary
        }
        let (snapshot, contents) = try Fetch.messages(plan, have: nil, source, counters, limits)
        guard Digest.of(plan.snapshotMessage) == plan.snapshot else {
            throw CASError(
                .failedPrecondition, "'\(want)' names a tree without a snapshot of its own",
                hint: "fetch it and push it")
        }
        try Fetch.check(want, plan.snapshot, snapshot)
        let files = try Warm.files(snapshot, contents, limits)
        let push = Identifier.random()
        var summary = WarmSummary(plan: plan)
        var missing = try lacking(files.keys.sorted(), target, push, limits)
        for (digest, size) in files {
            if missing.contains(digest) { summary.misses.add(size) } else { summary.hits.add(size) }
        }
        counters.expect(files: UInt64(summary.misses.files), bytes: summary.misses.bytes)
        var request = PushRequest(
            pushID: push, ref: ref, snapshot: plan.snapshot, base: nil, precondition: .any,
            provenance: provenance)
        request.provenance.time = SystemClock().now()
        var stream = 0
        for _ in 0..<rounds {
            try send(missing.sorted(), source, target, push, stream, counters, limits)
            stream += 1
            try sendMessages(plan, snapshot, contents, target, push, stream, limits)
            stream += 1
            let response = try target.commit(request, records: ReusableBuffer(capacity: 0))
            switch response.outcome {
            case .done, .unchanged:
                summary.isMoved = response.outcome == .done
                summary.receivedBytes = counters.transferred
                return summary
            case .conflict: throw request.precondition.failure(ref, present: response.previous)
            case .missing: missing = Set(response.missing).intersection(files.keys)
            }
        }
        throw CASError(
            .dataLoss, "the store goes on lacking what was sent to it",
            hint: "run cas doctor on the server")
    }

    /// Which of these digests a store lacks.
    private static func lacking(
        _ digests: [Digest], _ target: any StoreConnection, _ push: Identifier, _ limits: Limits
    ) throws -> Set<Digest> {
        var missing: Set<Digest> = []
        for start in stride(from: 0, to: digests.count, by: limits.digestsPerRequest) {
            let end = min(start + limits.digestsPerRequest, digests.count)
            let batch = Array(digests[start..<end])
            for (digest, isMissing) in zip(batch, try target.missing(batch, push: push))
            where isMissing {
                missing.insert(digest)
            }
        }
        return missing
    }

    private static func send(
        _ digests: [Digest], _ source: any StoreConnection, _ target: any StoreConnection,
        _ push: Identifier, _ stream: Int, _ counters: ProgressCounters, _ limits: Limits
    ) throws {
        let uploader = try RecordUploader(target, push, stream: stream)
        // One connection: the records of a file have to come in order, and the source sends runs of packs.
        try Warm.fetch(digests, source, workers: 1, counters, limits) { TransferSink(uploader) }
        try uploader.flush()
    }

    private static func sendMessages(
        _ plan: PlanResponse, _ snapshot: Snapshot, _ contents: TreeContents,
        _ target: any StoreConnection, _ push: Identifier, _ stream: Int, _ limits: Limits
    ) throws {
        let uploader = try RecordUploader(target, push, stream: stream)
        var kinds: [Digest: RecordKind] = [:]
        try TreeWalk.run(
            root: snapshot.tree.digest, attributes: snapshot.attributes?.digest, source: contents,
            limits: limits
        ) { step in
            kinds[step.digest] = .directory
            if let attributes = step.attributesDigest { kinds[attributes] = .attributes }
            return true
        }
        let missing = try lacking(kinds.keys.sorted(), target, push, limits)
        for digest in missing.sorted() {
            guard let kind = kinds[digest], let message = contents.message(digest) else { continue }
            try uploader.append(kind, digest, message)
        }
        try uploader.append(.snapshot, plan.snapshot, plan.snapshotMessage)
        try uploader.flush()
    }
}

/// Gathers records and uploads them; one thread each.
private final class RecordUploader: @unchecked Sendable {
    // Used by one thread at a time: the transfer has one connection.
    private static let uploadBytes = 4 << 20

    private let target: any StoreConnection
    private let push: Identifier
    private let stream: Int
    private var sequence = 0
    private let records = ReusableBuffer(capacity: RecordUploader.uploadBytes)
    private let compressor: Compressor

    init(_ target: any StoreConnection, _ push: Identifier, stream: Int) throws {
        compressor = try Compressor()
        self.target = target
        self.push = push
        self.stream = stream
    }

    func append(_ record: RecordView) throws {
        RecordCoding.append(record.header, payload: record.payload, to: records)
        try flush(atLeast: RecordUploader.uploadBytes)
    }

    func append(_ kind: RecordKind, _ digest: Digest, _ payload: [UInt8]) throws {
        try RecordCoding.appendFrame(
            kind: kind, digest: digest, rawLength: payload.count, to: records
        ) { output in try payload.withUnsafeBytes { try compressor.encode($0, into: output) } }
        try flush(atLeast: RecordUploader.uploadBytes)
    }

    /// Says that the chunks that follow compose one blob.
    func beginFile() { RecordCoding.appendMark(kind: .fileStart, to: records) }

    func flush(atLeast bytes: Int = 1) throws {
        guard records.count >= bytes else { return }
        try target.upload(push: push, stream: stream, sequence: sequence, records: records)
        sequence += 1
        records.removeAll()
    }
}

/// Hands checked records on to a store.
private final class TransferSink: BlobSink {
    private let uploader: RecordUploader

    init(_ uploader: RecordUploader) { self.uploader = uploader }

    func takeSmall(
        _ digest: Digest, _ content: UnsafeRawBufferPointer, _ record: RecordView
    ) throws { try uploader.append(record) }

    func begin(_ digest: Digest, size: UInt64) throws {
        uploader.beginFile()
    }

    func take(_ content: UnsafeRawBufferPointer, _ record: RecordView?) throws {
        if let record { try uploader.append(record) }
    }

    func finish(_ digest: Digest, list: [UInt8]) throws {
        try uploader.append(.chunkList, digest, list)
    }

    func cancel() {}
}
