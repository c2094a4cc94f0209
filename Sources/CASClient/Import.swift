package import CASCore
import CASPack
package import CASWire

/// Where the bytes of an exported file come from.
package protocol ImportSource: AnyObject {
    /// Fills `target` as far as there are bytes; 0 at the end.
    func read(into target: UnsafeMutableRawBufferPointer) throws -> Int
    /// Goes back to the first byte; false where that can not be done.
    func rewind() throws -> Bool
}

/// What an import did with one ref.
package struct ImportedRef: Sendable {
    /// The ref as the file has it.
    package var entry: RefEntry
    /// What it named before in the store; nil for nothing.
    package var previous: Digest?
    /// Whether it moved; false if it named this already.
    package var isMoved: Bool
    /// What became of the image that its snapshot was where the file was written; nil for none.
    package var image: CarriedImage?
}

/// What an import did.
package struct ImportSummary: Sendable {
    /// The refs in the order of the file.
    package var refs: [ImportedRef] = []
    /// Bytes of the file.
    package var fileBytes: UInt64 = 0
    /// Bytes sent, or written to a local store.
    package var sentBytes: UInt64 = 0
    /// Records that the store lacked.
    package var sentRecords = 0
    /// Records that it had.
    package var knownRecords = 0
}

/// Brings the refs of an exported file into a store (Export.md).
package enum Import {
    /// Uploads what the store lacks, and then moves the refs: all of them in one step, or none.
    ///
    /// More than a commit takes are moved in steps of so many, and a store of an older program moves one after
    /// the other: then a repeated import goes on. No ref moves before the whole file was read and its checksum proved right. Without `force` a ref
    /// that names something else in the store is refused (`failedPrecondition`) before anything is uploaded.
    /// `onRef` hears of each ref that moved, also where a later one then fails.
    package static func run(
        _ source: any ImportSource, into target: any StoreConnection, force: Bool,
        counters: ProgressCounters, limits: Limits = .standard,
        onRef: (ImportedRef) -> Void = { _ in }
    ) throws -> ImportSummary {
        let run = ImportRun(source, target, counters, limits)
        do {
            return try run.run(force: force, onRef)
        } catch let error as CASError where !error.code.isTransient {
            // The store need not keep room for it; if it does not hear of it, it forgets by itself.
            try? target.abandon(push: run.push)
            throw error
        }
    }
}

/// One import on its way; one thread.
private final class ImportRun {
    private typealias Pending = (entry: RefEntry, previous: RefEntry?, images: RefImages?)
    private static let rounds = 4
    private static let pieceBytes = 1 << 20
    /// Bytes of the requests that one commit carries.
    private static let commitBytes = 4 << 20

    private let source: any ImportSource
    private let target: any StoreConnection
    private let counters: ProgressCounters
    private let limits: Limits
    /// Under which records are uploaded.
    private(set) var push = Identifier.random()
    private var summary = ImportSummary()
    private var pending: [Pending] = []
    private var movesSeveralRefs = false
    private var takesImages = false
    /// Images of snapshots that the file tells of.
    private var derived: [RefName: Digest] = [:]
    /// What the store said that it lacks.
    private var forced: Set<Digest> = []

    init(
        _ source: any ImportSource, _ target: any StoreConnection, _ counters: ProgressCounters,
        _ limits: Limits
    ) {
        self.source = source
        self.target = target
        self.counters = counters
        self.limits = limits
    }

    func run(force: Bool, _ onRef: (ImportedRef) -> Void) throws -> ImportSummary {
        let description = try target.describe()
        movesSeveralRefs = description.movesSeveralRefs
        takesImages = description.takesImages
        for round in 0..<ImportRun.rounds {
            let records = try ImportRecords(target, push, round, forced, counters, limits)
            try read(records) { manifest in
                if round == 0 { pending = try check(manifest, force) }
            }
            try records.finish(&summary)
            try commit(records, onRef)
            if pending.isEmpty {
                deriveImages()
                return summary
            }
            guard try source.rewind() else { break }
        }
        let rest = pending.map { "'\($0.entry.name)'" }.joined(separator: ", ")
        throw CASError(
            .dataLoss, "the export does not hold all of \(rest), which did not move",
            hint: "export it again; from a pipe it is read once only, and what the store lost "
                + "meanwhile can not be sent again", digest: forced.min())
    }

    private func read(
        _ records: ImportRecords, _ onManifest: (ExportManifest) throws -> Void
    ) throws {
        var decoder = ExportDecoder(limits: limits)
        let piece = ReusableBuffer(capacity: ImportRun.pieceBytes)
        while true {
            piece.removeAll()
            let count = try piece.append(maximum: ImportRun.pieceBytes) {
                try source.read(into: $0)
            }
            guard count > 0 else { break }
            try decoder.push(
                piece.bytes, onManifest: onManifest, onRecord: { try records.take($0) })
        }
        try decoder.finish()
        summary.fileBytes = decoder.takenBytes
    }

    /// Moves refs until the store says that it lacks something.
    private func commit(_ records: ImportRecords, _ onRef: (ImportedRef) -> Void) throws {
        var isFirst = true
        while !pending.isEmpty {
            // What was uploaded belongs to the push of the first; with its commit it is the store's.
            let request = next(isFirst ? push : .random())
            let part = Array(pending.prefix(1 + request.others.count))
            let response = try target.commit(
                request, records: records.snapshots(part.map(\.entry.target.digest)))
            switch response.outcome {
            case .done, .unchanged: break
            case .missing:
                forced = Set(response.missing)
                return
            case .conflict:
                let name = response.ref ?? request.ref
                throw CASError(
                    .aborted, "'\(name)' was moved by somebody else meanwhile",
                    hint: "import it again", digest: response.previous)
            }
            if isFirst { push = .random() }
            isFirst = false
            for (item, response) in zip(part, [response] + response.others) {
                let done = ImportedRef(
                    entry: item.entry, previous: item.previous?.target.digest,
                    isMoved: response.outcome == .done)
                derived[item.entry.name] = item.images?.derived
                summary.refs.append(done)
                onRef(done)
            }
            pending.removeFirst(part.count)
        }
    }

    /// The request for the refs that come next, as many as one commit takes.
    private func next(_ push: Identifier) -> PushRequest {
        var request = request(pending[0], push)
        guard movesSeveralRefs else { return request }
        var bytes = 0
        var manifestBytes = request.manifestBytes
        for item in pending.dropFirst().prefix(limits.refsPerCommit - 1) {
            let other = self.request(item, .random())
            bytes += other.encode().count
            manifestBytes += other.manifestBytes
            guard bytes < ImportRun.commitBytes, manifestBytes <= limits.broughtManifestBytes else {
                break
            }
            request.others.append(other)
        }
        return request
    }

    /// What the store has under these names; throws where that is something else and may not be replaced.
    private func check(_ manifest: ExportManifest, _ force: Bool) throws -> [Pending] {
        var taken: [String] = []
        if !takesImages, let image = manifest.refs.first(where: { $0.target.kind == .manifest }) {
            throw ImageFailure.notTaken(image.name)
        }
        let images = Dictionary(
            manifest.images.compactMap { images in images.ref.map { ($0, images) } },
            uniquingKeysWith: { first, _ in first })
        let found = try manifest.refs.map { entry -> Pending in
            let previous = try target.ref(entry.name)
            if let previous, previous.target != entry.target {
                taken.append("\(entry.name) (\(previous.target.digest))")
            }
            return (entry, previous, images[entry.name])
        }
        guard force || taken.isEmpty else {
            let names = taken.prefix(20).joined(separator: ", ")
            let rest = taken.count > 20 ? " and \(taken.count - 20) more" : ""
            throw CASError(
                .failedPrecondition,
                "the store has other content under \(names)\(rest); nothing was uploaded",
                hint: "--force moves these refs to what the export has")
        }
        return found
    }

    private func request(_ item: Pending, _ push: Identifier) -> PushRequest {
        let (entry, previous) = (item.entry, item.previous)
        var provenance = entry.provenance
        // Whom a token was for is found by the store that sees the token.
        provenance.subject = ""
        var request = PushRequest(
            pushID: push, ref: entry.name, snapshot: entry.target.digest,
            precondition: previous.map { .digest($0.target.digest) } ?? .absent,
            provenance: provenance, expires: entry.lifetime == 0 ? entry.expires : nil,
            lifetime: entry.lifetime, imageOptions: entry.imageOptions)
        request.kind = entry.target.kind
        if takesImages { request.images = item.images?.images ?? [] }
        return request
    }

    /// Has the store make the images that snapshots were elsewhere: they are found by their digests then.
    private func deriveImages() {
        guard takesImages else { return }
        for index in summary.refs.indices {
            let name = summary.refs[index].entry.name
            guard let digest = derived[name] else { continue }
            summary.refs[index].image = CarriedImage.derive(digest, of: name, target)
        }
    }
}

extension PushRequest {
    /// Bytes of the manifests that it brings.
    fileprivate var manifestBytes: Int {
        // A size that is not true the store finds out.
        images.flatMap(\.manifests).reduce(0) { $0 + Int(min($1.size, 4 << 20)) }
    }
}
