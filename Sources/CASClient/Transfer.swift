package import CASCore
import CASFileSystem
import CASPack
import CASTree
package import CASWire
import CASWorkspace

/// What a transfer is asked for.
package struct TransferOptions: Sendable {
    /// What to bring: a ref or digest of the source, without a host.
    package var want: String
    /// The ref of the target to move.
    package var ref: RefName
    /// Where it comes from, for the history of that ref.
    package var provenance: Provenance
    /// When the ref may go away; nil for never.
    package var expires: Timestamp?
    /// Seconds after which it may go away, renewed by fetches; zero for never.
    package var lifetime: UInt64 = 0
    /// What the image is to be like that the snapshot is; nil for what the ref says now.
    package var imageOptions: String?
    /// What belongs to it of images; nil for nothing.
    package var images: NamedImage?
    /// Connections to either side at once.
    package var workers = 4
    /// Limits on trees and requests.
    package var limits = Limits.standard

    /// A transfer, everything else as usual.
    package init(want: String, ref: RefName, provenance: Provenance) {
        self.want = want
        self.ref = ref
        self.provenance = provenance
    }
}

/// Brings what a ref names from one store to another.
package enum Transfer {
    private static let rounds = 5

    /// Moves a ref of `target` to what is wanted of `source`, with everything that lacks there.
    ///
    /// Records go as they are; each is checked on the way. Throws as push and fetch do; run again, it
    /// goes on where it stopped.
    package static func run(
        _ options: TransferOptions, from source: any StoreConnection,
        to target: any StoreConnection, counters: ProgressCounters
    ) throws -> WarmSummary {
        let plan = try source.plan(PlanRequest(want: options.want, have: nil))
        let snapshot = try Snapshot(decoding: plan.snapshotMessage)
        guard Digest.of(plan.snapshotMessage) == plan.snapshot else {
            throw CASError(
                .failedPrecondition,
                "'\(options.want)' names a tree without a snapshot of its own",
                hint: "fetch it and push it")
        }
        try Fetch.check(options.want, plan.snapshot, snapshot)
        try snapshot.totals.check(options.limits)
        var options = options
        if let images = options.images, let text = options.imageOptions {
            options.imageOptions = images.imageOptions(text, as: options.ref.name)
        }
        var summary = WarmSummary(plan: plan)
        if let present = try target.ref(options.ref), present.target.digest == plan.snapshot,
            present.lifetime == options.lifetime, options.expires == nil,
            options.imageOptions ?? present.imageOptions == present.imageOptions,
            options.images?.images.isEmpty ?? true
        {
            // A ref names only what is complete.
            summary.previous = plan.snapshot
            summary.hits.files = Int(clamping: snapshot.totals.files)
            summary.hits.bytes = snapshot.totals.bytes
            return summary
        }
        let push = Identifier.random()
        do {
            let run = try TreeTransfer(source, target, push, options, counters)
            try move(run, snapshot, target, options, &summary)
            if let digest = options.images?.images.derived {
                summary.image = CarriedImage.derive(digest, of: options.ref, target)
            }
            return summary
        } catch let error as CASError where !error.code.isTransient {
            // The store need not keep room for it; if it does not hear of it, it forgets by itself.
            try? target.abandon(push: push)
            throw error
        }
    }

    private static func move(
        _ run: TreeTransfer, _ snapshot: Snapshot, _ target: any StoreConnection,
        _ options: TransferOptions, _ summary: inout WarmSummary
    ) throws {
        let images = options.images?.contents(as: options.ref.name) ?? []
        var request = PushRequest(
            pushID: run.push, ref: options.ref, snapshot: summary.plan.snapshot, base: nil,
            precondition: .any, provenance: options.provenance, expires: options.expires,
            lifetime: options.lifetime, imageOptions: options.imageOptions)
        request.images = images
        let records = ReusableBuffer(capacity: 512)
        RecordCoding.append(
            kind: .snapshot, digest: summary.plan.snapshot, payload: summary.plan.snapshotMessage,
            to: records)
        var missing: [Digest] = []
        var fruitless = 0
        for round in 0..<rounds {
            try run.send(snapshot, isThorough: round > 0, forced: Set(missing))
            try run.send(images, forced: Set(missing))
            let response = try target.commit(request, records: records)
            switch response.outcome {
            case .done, .unchanged:
                summary.isMoved = response.outcome == .done
                summary.previous = response.previous
                run.count(into: &summary, snapshot.totals)
                summary.blobs = run.blobs
                return
            case .conflict:
                throw request.precondition.failure(options.ref, present: response.previous)
            case .missing:
                fruitless = response.missing == missing ? fruitless + 1 : 0
                guard fruitless < 2 else { break }
                missing = response.missing
            }
        }
        throw CASError(
            .dataLoss, "the store goes on lacking what was sent to it",
            hint: "run cas doctor on the server", digest: missing.first)
    }
}
