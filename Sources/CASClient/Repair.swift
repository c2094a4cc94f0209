package import CASCore
import CASFileSystem
package import CASWire
package import CASWorkspace

/// What a repair is asked for.
package struct RepairOptions: Sendable {
    /// Where content may be taken from.
    package var directory: String
    /// Which of its files a push of it would take: the directories of that tree may be what is missing.
    package var scan = ScanOptions()
    /// Where the stat cache of the directory lies; nil for none.
    package var cachePath: String?
    /// Threads that read and hash.
    package var workers: Int
    /// Who does it.
    package var provenance = Provenance()
    /// Limits on trees and requests.
    package var limits = Limits.standard

    /// A repair from a directory, everything else as usual.
    package init(directory: String, workers: Int) {
        self.directory = directory
        self.workers = max(1, min(workers, 16))
    }
}

/// What came of the repair of one ref.
package struct RepairedRef: Sendable {
    /// How it ended.
    package enum Outcome: String, Sendable {
        /// Nothing was missing.
        case whole
        /// What was missing is there now.
        case healed
        /// Something is still missing.
        case lacks
        /// The ref was moved or removed meanwhile.
        case moved
        /// It could not be repaired, for the reason given.
        case refused
    }
    /// The ref.
    package let name: RefName
    /// The snapshot that it names.
    package let snapshot: Digest
    /// How it ended.
    package var outcome = Outcome.whole
    /// Where in the directory content was taken from.
    package var sources: [String] = []
    /// Files, directories and attributes that were given to the store.
    package var sent = 0
    /// What is still missing, the first of it.
    package var lacking: [Digest] = []
    /// How much of it there is.
    package var lackingCount: UInt64 = 0
    /// Why it was refused.
    package var failure: CASError?
}

/// Gives a store what refs lack and a directory has, and nothing else.
///
/// The store says what it lacks when it is asked to commit a snapshot that a ref names already; with
/// everything there it finds the snapshot complete and moves nothing.
package enum Repair {
    /// Repairs refs one after the other; `onResult` hears of each.
    package static func run(
        _ options: RepairOptions, _ refs: [RefEntry], connection: any StoreConnection,
        counters: ProgressCounters, onResult: (RepairedRef) throws -> Void
    ) throws {
        let source = RepairSource(options, counters)
        for entry in refs where entry.target.kind == .snapshot {
            var result = RepairedRef(name: entry.name, snapshot: entry.target.digest)
            do {
                try RefRepair(options, entry, connection, counters, source).run(&result)
            } catch let error as CASError
                where error.code == .permissionDenied || error.code == .dataLoss
                || error.code == .invalidArgument || error.code == .failedPrecondition
            {
                result.outcome = .refused
                result.failure = error
            }
            try onResult(result)
        }
    }
}

/// The repair of one ref.
private struct RefRepair {
    private static let listedSources = 100

    private let entry: RefEntry
    private let connection: any StoreConnection
    private let source: RepairSource
    private let context: PushContext
    private let request: PushRequest

    init(
        _ options: RepairOptions, _ entry: RefEntry, _ connection: any StoreConnection,
        _ counters: ProgressCounters, _ source: RepairSource
    ) {
        self.entry = entry
        self.connection = connection
        self.source = source
        var push = PushOptions(
            directory: options.directory, ref: entry.name, workers: options.workers)
        push.newBytesLimit = .max
        push.limits = options.limits
        var provenance = options.provenance
        provenance.time = SystemClock().now()
        context = PushContext(
            connection: connection, pushID: .random(), options: push, counters: counters,
            describe: { try connection.describe() }, hasBase: { false },
            // The ref has its place in every quota already.
            ask: {})
        request = PushRequest(
            pushID: context.pushID, ref: entry.name, snapshot: entry.target.digest,
            precondition: .digest(entry.target.digest), provenance: provenance,
            expires: entry.expires, lifetime: entry.lifetime)
    }

    func run(_ result: inout RepairedRef) throws {
        var tried: Set<Digest> = []
        while true {
            let answer = try connection.commit(request, records: ReusableBuffer(capacity: 0))
            switch answer.outcome {
            case .done, .unchanged:
                result.outcome = result.sent > 0 ? .healed : .whole
                (result.lacking, result.lackingCount) = ([], 0)
                return
            case .conflict:
                result.outcome = .moved
                return
            case .missing:
                let lacking = Set(answer.missing).subtracting(tried)
                tried.formUnion(lacking)
                context.forgetClaims()
                let sent = try source.send(lacking, context)
                result.sent += sent.count
                result.sources += sent.prefix(Self.listedSources - result.sources.count)
                guard sent.isEmpty else { continue }
                result.outcome = .lacks
                result.lacking = answer.missing
                result.lackingCount = answer.missingCount
                try connection.abandon(push: request.pushID)
                return
            }
        }
    }
}
