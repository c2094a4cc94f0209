import CASCore
import CASPack
import CASRepository
import CASTestSupport
import CASWire

/// A push: digests are asked for, bodies uploaded, then the commit; begun again after trouble.
struct PushActivity {
    private enum Phase {
        case ask
        case upload(bodies: [[UInt8]], next: Int)
        case commit
        case again(PushResponse)
    }
    let tree: SampleTree
    private let marker: String
    private let request: PushRequest
    private let isTrusted: Bool
    private var phase = Phase.ask
    private var messages: [UInt8] = []
    private var rounds = 0
    private var troubles = 0
    /// Whether its commit may have happened.
    private var isInDoubt = false
    /// The options that it gives its ref, asked for from its first commit on.
    private var options: OptionModel.ChangeID?
    /// The time of day at which it was answered.
    private var answered: Int64 = 0

    init(_ simulation: StoreSimulation, client: Int) throws {
        tree = try simulation.drawTree()
        let ref = simulation.drawRef()
        let pushID = Identifier.random()
        isTrusted = simulation.draw(2) == 0
        let kind = simulation.draw(8)
        marker = simulation.begin(ref, tree.digest, pushID, expires: kind == 1)
        var request = PushRequest(
            pushID: pushID, ref: ref, snapshot: tree.digest, precondition: .any,
            provenance: Provenance(author: marker, time: simulation.clock.now()))
        switch kind {
        case 0: request.precondition = .absent
        case 1: request.lifetime = 86_400
        default: break
        }
        if simulation.hasImages, simulation.draw(5) == 0 {
            request.imageOptions = simulation.drawOptions().text
        }
        self.request = request
        simulation.note("client \(client) pushes \(tree.digest.short) to \(ref), \(marker)")
    }

    /// The next call; true at the end.
    mutating func step(
        _ simulation: StoreSimulation, _ repository: Repository, _ process: SimulatedProcess
    ) throws -> Bool {
        do {
            switch phase {
            case .ask: try ask(simulation, repository)
            case .upload(let bodies, let next):
                try upload(simulation, repository, bodies, next)
            case .commit: return try commit(simulation, repository)
            case .again(let response): return try repeated(response, simulation, repository)
            }
            return false
        } catch let error as CASError {
            return try meet(error, simulation, process)
        }
    }

    /// Goes on after an error, or gives up.
    private mutating func meet(
        _ error: CASError, _ simulation: StoreSimulation, _ process: SimulatedProcess
    ) throws -> Bool {
        simulation.note("\(marker) failed: \(error)")
        if error.code == .failedPrecondition, try simulation.isTouched(tree.digest) {
            simulation.end(marker, .refused)
            return true
        }
        guard simulation.isExcused(error, process) else {
            throw simulation.fail("\(marker) failed: \(error)")
        }
        troubles += 1
        guard troubles > 6 || simulation.draw(5) == 0 else {
            // A server that was started anew knows nothing of it, and another may have lost records.
            if case .again = phase { return false }
            phase = .ask
            return false
        }
        // Without a commit it can not have happened.
        if !isInDoubt { simulation.end(marker, .refused) }
        return true
    }

    private mutating func ask(_ simulation: StoreSimulation, _ repository: Repository) throws {
        rounds += 1
        let digests = tree.allDigests.sorted()
        let answers = try repository.missing(digests, push: request.pushID, domain: .standard)
        let needed = Set(zip(digests, answers).filter(\.1).map(\.0))
        simulation.note("\(marker) lacks \(needed.count) of \(digests.count)")
        let buffer = ReusableBuffer()
        for (digest, content) in tree.files.sorted(by: { $0.key < $1.key })
        where needed.contains(digest) {
            try append(content, simulation, repository, to: buffer)
        }
        let records = try simulation.records.messages(tree, only: needed)
        messages = withExtendedLifetime(records) { Array(records.bytes) }
        let bodies = try PushActivity.bodies(buffer, about: 500 + simulation.draw(4_000))
        phase = bodies.isEmpty ? .commit : .upload(bodies: bodies, next: 0)
    }

    /// A file, of a large one only the chunks that the store lacks.
    private func append(
        _ content: [UInt8], _ simulation: StoreSimulation, _ repository: Repository,
        to buffer: ReusableBuffer
    ) throws {
        guard simulation.records.isChunked(content), simulation.draw(2) == 0 else {
            return try simulation.records.append(file: content, to: buffer)
        }
        let chunks = simulation.records.list(content).chunks
        let answers = try repository.missing(chunks, push: request.pushID, domain: .standard)
        try simulation.records.append(
            delta: content, missing: Set(zip(chunks, answers).filter(\.1).map(\.0)), to: buffer)
    }

    /// Whole records in bodies of about so many bytes.
    private static func bodies(_ records: ReusableBuffer, about bytes: Int) throws -> [[UInt8]] {
        var bodies: [[UInt8]] = []
        var body: [UInt8] = []
        try withExtendedLifetime(records) {
            try RecordCoding.forEach(in: records.bytes, limits: .standard) { record in
                body.append(contentsOf: record.record)
                guard body.count >= bytes else { return }
                bodies.append(body)
                body = []
            }
        }
        return body.isEmpty ? bodies : bodies + [body]
    }

    private mutating func upload(
        _ simulation: StoreSimulation, _ repository: Repository, _ bodies: [[UInt8]], _ next: Int
    ) throws {
        simulation.note("\(marker) uploads body \(next + 1) of \(bodies.count)")
        // A body whose answer was lost comes twice.
        for _ in 0...(simulation.draw(10) == 0 ? 1 : 0) {
            try bodies[next].withUnsafeBytes { bytes in
                try repository.upload(
                    push: request.pushID, stream: (rounds + troubles) % 60, sequence: next,
                    records: bytes, trusted: isTrusted, domain: .standard)
            }
        }
        phase = next + 1 < bodies.count ? .upload(bodies: bodies, next: next + 1) : .commit
    }

    private mutating func commit(
        _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Bool {
        simulation.note("\(marker) commits")
        isInDoubt = true
        if options == nil, let text = request.imageOptions {
            options = simulation.model.options.begin(request.ref, text)
        }
        let response = try messages.withUnsafeBytes { bytes in
            try repository.commit(request, records: bytes, trusted: isTrusted, domain: .standard)
        }
        if let options, response.outcome != .missing {
            simulation.model.options.end(options, isDone: response.outcome != .conflict)
        }
        switch response.outcome {
        case .done:
            simulation.end(marker, .done(moved: true), sequence: response.sequence)
            simulation.summary.pushes += 1
            guard simulation.draw(6) == 0 else { return true }
            phase = .again(response)
            answered = simulation.clock.now().seconds
            return false
        case .unchanged:
            simulation.end(marker, .done(moved: false))
        case .conflict:
            simulation.end(marker, .refused)
        case .missing:
            simulation.note("\(marker) lacks \(response.missingCount) at its commit")
            guard rounds < 12 else {
                throw simulation.fail("the store goes on lacking what was sent")
            }
            phase = .ask
            return false
        }
        return true
    }

    /// The commit once more, as by a client that did not get the answer.
    private func repeated(
        _ response: PushResponse, _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Bool {
        // Answers are not remembered for ever.
        guard simulation.clock.now().seconds - answered < 3_600 else { return true }
        simulation.note("\(marker) commits again")
        let second = try repository.commit(
            request, records: UnsafeRawBufferPointer(start: nil, count: 0), trusted: isTrusted,
            domain: .standard)
        guard second.outcome == .done, second.sequence == response.sequence else {
            throw simulation.fail("\(marker) was done twice: \(second)")
        }
        return true
    }
}

extension StoreSimulation {
    /// A tree to push: one that was pushed before, or one much like it.
    func drawTree() throws -> SampleTree {
        let known = model.snapshots
        if known.count > 2, draw(3) == 0, let tree = model.trees[known[draw(known.count)]] {
            return tree
        }
        var folder = SampleFolder()
        if !known.isEmpty, draw(5) > 0, let tree = model.trees[known[draw(known.count)]] {
            folder = tree.folder
        }
        for _ in 0...draw(3) { change(&folder) }
        let tree = try SampleTree(folder, hasAttributes: draw(8) > 0)
        try model.add(tree, records, limits: configuration.limits)
        return tree
    }

    private func change(_ folder: inout SampleFolder) {
        switch draw(10) {
        case 0..<4:
            let count = draw(700)
            folder.files["file-\(draw(6))"] = SampleFolder.File(
                content: SampleFolder.content(count, &random), isExecutable: draw(2) == 0)
        case 4: folder.files["file-\(draw(6))"] = nil
        case 5:
            // Chunks that other large files have too.
            var content = SeededBytes.make(seed: UInt64(draw(2)), count: 4_500 + draw(3_000))
            content[draw(content.count)] &+= 1
            folder.files["large"] = SampleFolder.File(content: content)
        case 6, 7:
            folder.folders["folder-\(draw(3))"] = .random(&random, depth: 2, largestFile: 400)
        case 8:
            let known = model.snapshots
            guard !known.isEmpty, let tree = model.trees[known[draw(known.count)]] else { return }
            folder.folders["borrowed"] = tree.folder.folders["folder-\(draw(3))"]
        default:
            folder.modified = Timestamp(seconds: Int64(draw(1_000_000)))
            folder.symlinks["link"] = Array("target-\(draw(5))".utf8)
        }
    }
}
