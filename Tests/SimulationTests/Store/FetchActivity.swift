import CASCore
import CASPack
import CASRepository
import CASTestSupport
import CASTree
import CASWire

/// A fetch: the plan, then messages and files piece by piece, then everything is compared.
struct FetchActivity {
    private struct Stream {
        let source: any RecordSource
        let isTree: Bool
        var bytes: [UInt8] = []
    }
    private let want: String
    private var fetched: Fetched?
    private var planned: PlanResponse?
    private var shares = 0
    private var share = 0
    private var stream: Stream?
    /// When it was heard of last: its lease counts from there.
    private var lastRequest: UInt64 = 0
    /// Which life of a process it began with.
    private weak var process: SimulatedProcess?

    init(want: String) { self.want = want }

    /// The next call; true at the end.
    mutating func step(
        _ simulation: StoreSimulation, _ repository: Repository, _ process: SimulatedProcess
    ) throws -> Bool {
        // What a process was streaming ends with it.
        if let began = self.process, began !== process { return true }
        if planned != nil, self.process == nil { return true }
        self.process = process
        do {
            if let planned { return try receive(planned, simulation, repository) }
            return try plan(simulation, repository)
        } catch let error as CASError {
            simulation.note("fetch of \(want) failed: \(error)")
            // Whoever rests for longer than a lease may find that what he fetched is gone.
            let rested = simulation.clock.monotonicNanoseconds() - lastRequest
            let isGone = [.notFound, .dataLoss, .failedPrecondition].contains(error.code)
            let isPurged = try planned.map { try simulation.isTouched($0.snapshot) } ?? false
            if isGone, isPurged || rested >= 3_000_000_000_000 || !simulation.isCalm,
                try !simulation.isProtected(planned?.snapshot.description ?? want)
            {
                return true
            }
            guard simulation.isExcused(error, process) else {
                throw simulation.fail("fetch of \(want) failed: \(error)")
            }
            return true
        }
    }

    private mutating func plan(
        _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Bool {
        simulation.note("fetch of \(want)")
        let response: PlanResponse
        let wasProtected = try simulation.isProtected(want)
        do {
            response = try repository.plan(PlanRequest(want: want), domain: .standard)
        } catch let error as CASError
            where [.notFound, .dataLoss, .failedPrecondition].contains(error.code)
        {
            guard try !wasProtected || !simulation.isProtected(want) else {
                throw simulation.fail("\(want) is lost: \(error)")
            }
            return true
        }
        let snapshot = try Snapshot(decoding: response.snapshotMessage)
        fetched = try Fetched(snapshot, limits: simulation.configuration.limits)
        shares = 1 + simulation.draw(3)
        stream = Stream(
            source: try repository.treeRecords(plan: response.planID, domain: .standard),
            isTree: true)
        planned = response
        lastRequest = simulation.clock.monotonicNanoseconds()
        return false
    }

    private mutating func receive(
        _ planned: PlanResponse, _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Bool {
        guard var current = stream else {
            guard share < shares else { return try compare(planned, simulation) }
            stream = Stream(
                source: try repository.dataRecords(
                    plan: planned.planID, share: share, of: shares, domain: .standard),
                isTree: false)
            share += 1
            lastRequest = simulation.clock.monotonicNanoseconds()
            return false
        }
        let buffer = ReusableBuffer()
        if try current.source.next(into: buffer, about: 200 + simulation.draw(4_000)) {
            withExtendedLifetime(buffer) { current.bytes.append(contentsOf: buffer.bytes) }
            stream = current
        } else {
            try fetched?.take(current.bytes, isTree: current.isTree)
            stream = nil
        }
        return false
    }

    private func compare(
        _ planned: PlanResponse, _ simulation: StoreSimulation
    ) throws -> Bool {
        guard let fetched, let tree = simulation.model.trees[planned.snapshot] else {
            throw simulation.fail("\(want) is a snapshot that nobody pushed")
        }
        guard try fetched.isWhole(tree) else {
            throw simulation.fail("a fetch of \(want) brought something else")
        }
        simulation.summary.fetches += 1
        return true
    }
}

extension Fetched {
    /// Whether it is that tree: what came was compared with its digests already.
    func isWhole(_ tree: SampleTree) throws -> Bool {
        try snapshot == tree.snapshot && Set(messages.keys) == Set(tree.messages.map(\.digest))
            && Set(files.keys) == Set(tree.files.keys.filter { $0 != .empty })
            && (tree.snapshot.attributes == nil || folder() == tree.folder)
    }
}
