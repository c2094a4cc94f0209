import CASCore
import CASOCI
import CASRepository
import CASTestSupport
import CASWire

/// An upload as its client sees it: begun, some requests that each bring some bytes, ended by a digest.
///
/// It may rest at any point, over the end of the process too, and goes on where the store says.
struct UploadState {
    enum Outcome {
        case more
        case done
        /// Its client gave up.
        case left
    }
    /// Seconds for which it may rest.
    private static let keptSeconds: Int64 = 86_400
    /// Seconds that one request of it may stand still without losing what was not answered yet.
    private static let requestSeconds: Int64 = 900
    let name: String
    let digest: Digest
    private let bytes: [UInt8]
    private var identifier: Identifier?
    /// Bytes that the store said are durable.
    private var durable = 0
    private var sent = 0
    /// When somebody heard of it last, by the time of day.
    private var used: Int64 = 0
    private var longestRest: Int64 = 0
    /// When the request in progress, or the last one, began.
    private var requested: Int64 = 0
    private var rebuilds = 0
    /// How often it was ended with a digest that is not its own.
    private var wrongDigests = 0
    private var isInDoubt = false
    /// The request that is in progress, and the life of a process that it talks to.
    private var writer: UploadWriter?
    private weak var process: SimulatedProcess?

    init(_ simulation: StoreSimulation, _ name: String, _ digest: Digest) {
        self.name = name
        self.digest = digest
        bytes = simulation.model.images.contents[digest] ?? []
    }

    /// The next call.
    mutating func step(
        _ simulation: StoreSimulation, _ repository: Repository, _ process: SimulatedProcess
    ) throws -> Outcome {
        if self.process !== process {
            writer = nil
            sent = durable
        }
        self.process = process
        longestRest = max(longestRest, simulation.clock.now().seconds - used)
        guard let identifier else { return try begin(simulation, repository) }
        if let writer { return try write(writer, simulation, process) }
        requested = simulation.clock.now().seconds
        if sent == bytes.count, simulation.draw(8) > 0 {
            return try finish(identifier, simulation, repository)
        }
        if simulation.draw(40) == 0 { return try cancel(identifier, simulation, repository) }
        guard try resume(identifier, simulation, repository) else { return .more }
        simulation.note("upload of \(digest.short) goes on at \(sent)")
        let writer = try repository.append(
            name, identifier, at: simulation.draw(3) == 0 ? nil : UInt64(sent), domain: .standard)
        self.writer = writer
        if simulation.draw(3) == 0 { return .more }
        return try write(writer, simulation, process)
    }

    private mutating func begin(
        _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Outcome {
        simulation.note("upload of \(digest.short) to \(name) begins")
        identifier = try repository.beginUpload(name, domain: .standard)
        (durable, sent) = (0, 0)
        isInDoubt = false
        wrongDigests = 0
        used = simulation.clock.now().seconds
        longestRest = 0
        rebuilds = simulation.model.images.rebuilds
        return .more
    }

    /// Asks how far it came; false where it is gone, as it may be.
    private mutating func resume(
        _ identifier: Identifier, _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Bool {
        guard let size = try repository.uploadStatus(name, identifier, domain: .standard) else {
            try mayBeGone("there is no such upload", simulation)
            self.identifier = nil
            return false
        }
        guard size >= durable, size <= bytes.count else {
            throw simulation.fail(
                "an upload of \(digest.short) had \(durable) bytes and has \(size)")
        }
        sent = Int(size)
        durable = sent
        return true
    }

    /// Throws where an upload that was acknowledged is gone and nothing explains it.
    private func mayBeGone(_ what: String, _ simulation: StoreSimulation) throws {
        if try isInDoubt || isExpendable(simulation) { return }
        throw simulation.fail("an upload of \(digest.short) is lost: \(what)")
    }

    /// Whether nothing has to be left of it: the catalog was lost, or nobody went on with it for long, or
    /// somebody asked for the removal of a chunk that it has.
    private func isExpendable(_ simulation: StoreSimulation) throws -> Bool {
        if rebuilds != simulation.model.images.rebuilds { return true }
        let rest = max(longestRest, simulation.clock.now().seconds - used)
        if rest > UploadState.keptSeconds { return true }
        return try isTouched(by: simulation.model.purgeTargets, simulation)
    }

    /// Whether what a request brought may be lost before it was answered: it stood still, or something of it was
    /// removed for good meanwhile.
    private func mayLoseRequest(_ simulation: StoreSimulation) throws -> Bool {
        let stood = simulation.clock.now().seconds - requested
        if stood >= UploadState.requestSeconds { return true }
        return try isTouched(by: nil, simulation)
    }

    /// Whether one of its chunks was removed for good, and is among some.
    private func isTouched(
        by wanted: Set<Digest>?, _ simulation: StoreSimulation
    ) throws -> Bool {
        guard simulation.hasPurges else { return false }
        let purged = try simulation.purgedDigests()
        return (simulation.model.images.chunks[digest] ?? [digest]).contains { chunk in
            purged.contains(chunk) && wanted?.contains(chunk) ?? true
        }
    }

    private mutating func write(
        _ writer: UploadWriter, _ simulation: StoreSimulation, _ process: SimulatedProcess
    ) throws -> Outcome {
        if simulation.draw(12) == 0 {
            simulation.note("upload of \(digest.short): its request breaks off")
            writer.abandon()
            self.writer = nil
            sent = durable
            return .more
        }
        let count = min(bytes.count - sent, simulation.draw(3_000))
        if count > 0 {
            // What is sent and was not answered yet may be durable or not.
            try bytes[sent..<sent + count].withUnsafeBytes { try writer.write($0) }
            sent += count
            if simulation.draw(3) == 0 { return .more }
        }
        simulation.note("upload of \(digest.short) has sent \(sent)")
        let size = try process.answeringUpload { try writer.checkpoint() }
        self.writer = nil
        guard size == UInt64(sent) else {
            throw simulation.fail("an upload of \(digest.short) has \(size) bytes, not \(sent)")
        }
        durable = sent
        used = simulation.clock.now().seconds
        return .more
    }

    private mutating func finish(
        _ identifier: Identifier, _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Outcome {
        // The third time would be the last.
        if wrongDigests < 2, simulation.draw(10) == 0 {
            wrongDigests += 1
            return try finishWrong(identifier, simulation, repository)
        }
        let key = ImageModel.LinkKey(name: name, digest: digest, kind: .blob)
        simulation.note("upload of \(digest.short) to \(name) ends")
        let change = simulation.model.images.begin(.put, key)
        isInDoubt = true
        defer { sent = durable }
        do {
            let algorithm: OCIDigest.Algorithm = simulation.draw(5) == 0 ? .sha512 : .sha256
            let expected = ExpectedDigest.of(bytes, algorithm)
            if case .sha512(let sum) = expected {
                simulation.model.images.tryAlias(sum, digest)
            }
            let found = try repository.finishUpload(
                name, identifier, expecting: expected, domain: .standard)
            guard found == digest else {
                throw simulation.fail("an upload of \(digest.short) became \(found.short)")
            }
            let now = simulation.clock.now().seconds
            simulation.model.images.end(change, .done, used: now)
            if case .sha512 = expected { simulation.model.images.alias(digest) }
            simulation.summary.uploads += 1
            return .done
        } catch {
            simulation.model.images.end(change, .open)
            throw error
        }
    }

    /// Says another digest, which has to be refused; the upload stays.
    private func finishWrong(
        _ identifier: Identifier, _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Outcome {
        simulation.note("upload of \(digest.short) ends with a wrong digest")
        do {
            _ = try repository.finishUpload(
                name, identifier, expecting: .of(bytes + [1]), domain: .standard)
        } catch let error as CASError where error.code == .invalidArgument {
            return .more
        }
        throw simulation.fail("an upload of \(digest.short) was taken for something else")
    }

    private mutating func cancel(
        _ identifier: Identifier, _ simulation: StoreSimulation, _ repository: Repository
    ) throws -> Outcome {
        simulation.note("upload of \(digest.short) is cancelled")
        isInDoubt = true
        _ = try repository.cancelUpload(name, identifier, domain: .standard)
        guard try repository.uploadStatus(name, identifier, domain: .standard) == nil else {
            throw simulation.fail("an upload was cancelled and is there")
        }
        self.identifier = nil
        return .left
    }

    /// Goes on after an error: asks where it is, or begins anew where that is lost; whether that was to be
    /// expected.
    mutating func recover(from error: CASError, _ simulation: StoreSimulation) throws -> Bool {
        writer = nil
        sent = durable
        if error.code == .notFound {
            try mayBeGone(error.description, simulation)
            identifier = nil
            return true
        }
        guard error.code == .unavailable else { return false }
        if try isExpendable(simulation) {
            identifier = nil
            return true
        }
        return try mayLoseRequest(simulation)
    }
}
