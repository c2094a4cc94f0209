package import CASCore
package import CASWire

/// What an image is to be called, and where.
package struct ImageTransferOptions: Sendable {
    /// The image.
    package var image: NamedImage
    /// The ref to move to it.
    package var ref: RefName
    /// Where it comes from, for the history of that ref.
    package var provenance: Provenance
    /// What the ref has to name now.
    package var precondition = Precondition.any
    /// When the ref may go away; nil for never.
    package var expires: Timestamp?
    /// Seconds after which it may go away, renewed by fetches; zero for never.
    package var lifetime: UInt64 = 0
    /// Limits on requests.
    package var limits = Limits.standard

    /// A transfer, everything else as usual.
    package init(image: NamedImage, ref: RefName, provenance: Provenance) {
        self.image = image
        self.ref = ref
        self.provenance = provenance
    }
}

/// What a transfer of an image did.
package struct ImageTransferSummary: Sendable {
    /// Its manifest.
    package var digest: Digest
    /// All manifests and blobs of it, each once.
    package var all = WarmCounts()
    /// Those that lacked.
    package var misses = WarmCounts()
    /// Bytes received from the source.
    package var receivedBytes: UInt64 = 0
    /// Bytes sent to the target.
    package var sentBytes: UInt64 = 0
    /// What the ref of the target named before.
    package var previous: Digest?
    /// Whether a ref of the target moved.
    package var isMoved = false
}

/// Brings an image from one store to another, or gives it another name in its own.
package enum ImageTransfer {
    private static let rounds = 5

    /// Moves a ref of `target` to an image of `source`, with everything of it that lacks there.
    ///
    /// What is about the image comes along. Throws as a push does; run again, it goes on where it stopped.
    package static func run(
        _ options: ImageTransferOptions, from source: any StoreConnection,
        to target: any StoreConnection, counters: ProgressCounters
    ) throws -> ImageTransferSummary {
        guard try target.describe().takesImages else { throw ImageFailure.notTaken(options.ref) }
        let push = Identifier.random()
        do {
            var transfer = TransferOptions(
                want: "", ref: options.ref, provenance: options.provenance)
            transfer.limits = options.limits
            let run = try TreeTransfer(source, target, push, transfer, counters)
            return try move(options, target, run, counters, push)
        } catch let error as CASError where !error.code.isTransient {
            // The store need not keep room for it; if it does not hear of it, it forgets by itself.
            try? target.abandon(push: push)
            throw error
        }
    }

    /// Gives an image of a store another ref there; nothing is read or sent.
    package static func tag(
        _ options: ImageTransferOptions, in store: any StoreConnection
    ) throws -> ImageTransferSummary {
        try move(options, store, nil, ProgressCounters(), .random())
    }

    private static func move(
        _ options: ImageTransferOptions, _ target: any StoreConnection, _ run: TreeTransfer?,
        _ counters: ProgressCounters, _ push: Identifier
    ) throws -> ImageTransferSummary {
        let images = options.image.contents(as: options.ref.name)
        var summary = ImageTransferSummary(digest: options.image.digest)
        for size in images.flatMap({ $0.manifests.map(\.size) + $0.blobs.map(\.size) }) {
            summary.all.add(size)
        }
        var request = PushRequest(
            pushID: push, ref: options.ref, snapshot: options.image.digest,
            precondition: options.precondition, provenance: options.provenance,
            expires: options.expires, lifetime: options.lifetime)
        request.kind = .manifest
        request.images = images
        var missing: [Digest] = []
        for round in 0..<(run == nil ? 1 : rounds) {
            if let run {
                try run.send(images, forced: Set(missing))
                if round == 0 { summary.misses = run.blobs }
            }
            let response = try target.commit(request, records: ReusableBuffer(capacity: 0))
            switch response.outcome {
            case .done, .unchanged:
                summary.isMoved = response.outcome == .done
                summary.previous = response.previous
                summary.receivedBytes = counters.transferred
                summary.sentBytes = run?.sentBytes ?? 0
                return summary
            case .conflict:
                throw request.precondition.failure(options.ref, present: response.previous)
            case .missing: missing = response.missing
            }
        }
        throw CASError(
            .dataLoss,
            run == nil
                ? "the store lacks a part of this image"
                : "the store goes on lacking what was sent to it",
            hint: run == nil ? "push the image again" : "run cas doctor on the server",
            digest: missing.first)
    }
}
