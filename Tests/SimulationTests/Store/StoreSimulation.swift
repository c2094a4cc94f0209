import CASCatalog
import CASChunking
import CASCore
import CASFileSystem
import CASPack
import CASRepository
import CASStorage
import CASTestSupport

/// What went wrong in a simulation.
struct SimulationFailure: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// A store with everybody who uses it, on a machine that fails: one seed is one course of events.
///
/// Clients, the clock, faults, deaths and power cuts are drawn step by step. With two processes, one also works
/// in the middle of the other's operations. `@unchecked Sendable`: all of it runs on one thread.
final class StoreSimulation: @unchecked Sendable {
    /// Where sealed packs lie.
    enum Place: CaseIterable {
        case directory, copies, objects
    }
    /// What is drawn, and how often.
    struct Settings {
        var steps = 400
        var clients = 4
        var neglect: Neglect?
        /// Whether there are images; nil for those seeds that are even.
        var hasImages: Bool?
        /// What clients do first, whoever has time.
        var script: [SimulatedClient.Call] = []
        /// The one thing that fails; nil for what is drawn.
        var fault: PlannedFault?
        /// Whether everything is printed as it happens.
        var isTraced = false
    }
    /// What a simulation did.
    struct Summary {
        var operations = 0
        var commits = 0
        /// Those of the file system and of objects, as faults count them.
        var machineOperations = 0
        var pushes = 0
        var fetches = 0
        var reboots = 0
        var deaths = 0
        var rebuilds = 0
        var collections = 0
        /// Blobs that collections took.
        var deleted = 0
        var purges = 0
        var uploads = 0
        var manifests = 0
        var pulls = 0
        /// Snapshots that were answered as images.
        var derived = 0
        /// Of these, those on top of an image.
        var based = 0
        /// Blobs that were pulled as zstd frames.
        var framed = 0
        /// Equal for equal courses of events.
        var trace: UInt64 = 0
    }

    let seed: UInt64
    let settings: Settings
    let place: Place
    /// How often something is made to fail.
    enum Faultiness {
        case none, rare, common
    }
    let faultiness: Faultiness
    /// Whether somebody removes content for good.
    let hasPurges: Bool
    /// Whether half of what clients do is about images.
    let hasImages: Bool
    var script: [SimulatedClient.Call]
    /// Whether a collection was broken off that may have ended links.
    var isCollectedInDoubt = false
    let configuration: RepositoryConfiguration
    let clock = TestClock()
    let objects = InMemoryObjects()
    let records: SampleRecords
    var machine = SimulatedFileSystem()
    var catalog: InMemoryCatalog
    var processes: [SimulatedProcess] = []
    private(set) var clients: [SimulatedClient] = []
    var model = StoreModel()
    var random: SeededGenerator
    private var identifiers: SeededGenerator
    let trace: SimulationTrace
    var summary = Summary()
    private(set) var step = 0
    /// Since when nothing was made to fail.
    var isCalm = true
    /// Files that may stay behind.
    var strays: Set<String> = []
    var commitFault: (left: Int, fault: CommitFault)?
    /// Whether operations count, may fail and let others work.
    var isObserved = false
    /// Who collects.
    weak var collecting: CollectionToken?
    private var depth = 0
    private var nestedFailure: (any Error)?

    init(seed: UInt64, _ settings: Settings = Settings()) throws {
        self.seed = seed
        self.settings = settings
        random = SeededGenerator(seed: seed)
        identifiers = SeededGenerator(seed: ~seed)
        place = Place.allCases[Int.random(in: 0..<3, using: &random)]
        let drawn = [Faultiness.none, .rare, .rare, .common][Int.random(in: 0..<4, using: &random)]
        faultiness = settings.fault == nil ? drawn : .none
        hasPurges = Int.random(in: 0..<4, using: &random) == 0
        script = settings.script
        hasImages = settings.hasImages ?? (seed % 2 == 0)
        catalog = StoreSimulation.makeCatalog(settings)
        trace = SimulationTrace(isPrinted: settings.isTraced)
        configuration = try StoreSimulation.configuration()
        records = try SampleRecords(configuration.chunker)
        if place == .copies { machine.setLinks(.nowhere) }
        let processCount = Int.random(in: 1...2, using: &random)
        for number in 0..<settings.clients {
            clients.append(SimulatedClient(self, number: number, home: number % processCount))
        }
        for number in 0..<processCount { processes.append(makeProcess(number)) }
    }

    static func configuration() throws -> RepositoryConfiguration {
        var configuration = RepositoryConfiguration(activeDirectory: "/store/active")
        configuration.chunker = try ChunkerParameters(averageBytes: 1024)
        configuration.packBytes = 6_000
        configuration.checkpointBytes = 3_000
        configuration.storesInBackground = false
        configuration.checkpointedEventBytes = 2_000
        return configuration
    }

    /// A new catalog.
    static func makeCatalog(_ settings: Settings) -> InMemoryCatalog {
        InMemoryCatalog(neglecting: Set([settings.neglect?.ofCatalog].compactMap { $0 }))
    }

    /// Runs the whole course of events; throws `SimulationFailure` where the store is wrong.
    func run() throws -> Summary {
        try Identifier.$source.withValue({ [unowned self] in nextIdentifier() }) {
            for number in processes.indices { try reopen(number) }
            isObserved = true
            plan(settings.fault)
            while step < settings.steps {
                step += 1
                try act()
                try settle()
            }
            summary.machineOperations = machine.operationCount
            try finish()
        }
        summary.trace = trace.hash
        return summary
    }

    private func nextIdentifier() -> Identifier {
        Identifier(high: identifiers.next(), low: identifiers.next())
    }

    func draw(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
    func fail(_ text: String) -> SimulationFailure { SimulationFailure(text) }

    // MARK: - Processes

    func makeProcess(_ number: Int) -> SimulatedProcess {
        SimulatedProcess(
            number == 0 ? "A" : "B", machine: machine, neglect: settings.neglect, observer: self)
    }

    func backend(_ process: SimulatedProcess) throws -> any ObjectBackend {
        switch place {
        case .objects:
            ProcessBackend(process, InMemoryBackend(objects, machine: process.machine))
        case .directory, .copies:
            try DirectoryBackend(
                directory: "/store/packs", fileSystem: ProcessFileSystem(process))
        }
    }

    /// Starts a process anew.
    func reopen(_ number: Int) throws {
        let process = makeProcess(number)
        processes[number] = process
        note("\(process.name) opens the store")
        try process.open { process in
            try Repository.open(
                makeConfiguration(), fileSystem: ProcessFileSystem(process),
                objects: try backend(process),
                catalog: ProcessCatalog(process, catalog), clock: clock)
        }
    }

    /// Whether what a process was asked may fail with that error.
    func isExcused(_ error: CASError, _ process: SimulatedProcess) -> Bool {
        if !process.isAlive { return true }
        guard !isCalm else { return false }
        return error.code == .unavailable || error.code == .resourceExhausted
    }

    func note(_ text: @autoclosure () -> String) { trace.note("\(step): \(text())") }

    // MARK: - Others meanwhile

    /// Lets the other process work in the middle of an operation of this one.
    private func interleave(_ process: SimulatedProcess) throws {
        guard depth == 0, processes.count > 1, !process.isWriting, draw(24) == 0,
            let other = processes.first(where: { $0 !== process }), other.isAlive
        else { return }
        depth += 1
        defer { depth -= 1 }
        do {
            for _ in 0...draw(4) where other.isAlive { try work(other) }
        } catch {
            nestedFailure = nestedFailure ?? error
        }
    }

    /// One piece of work of a process: a client's, or its own.
    func work(_ process: SimulatedProcess) throws {
        let number = processes.firstIndex { $0 === process } ?? 0
        switch draw(14) {
        case 0: return try handOver(process)
        case 1..<5: return try collect(process)
        default: break
        }
        let own = clients.filter { $0.home == number }
        try own[draw(own.count)].step(process)
    }

    func handOver(_ process: SimulatedProcess) throws {
        note("\(process.name) hands over")
        do {
            try process.repository?.storeSealedPacks()
        } catch let error as CASError {
            // Two processes may put the same pack, and one of them then tries again.
            guard isExcused(error, process) || [.unavailable, .notFound].contains(error.code)
            else {
                throw fail("handing over failed: \(error)")
            }
        }
    }

    /// Throws what went wrong in the middle of somebody's operation.
    func throwNested() throws {
        if let nestedFailure { throw nestedFailure }
    }
}

extension StoreSimulation: OperationObserver {
    func willPerform(_ operation: String, _ path: String, by process: SimulatedProcess) throws {
        guard isObserved else { return }
        summary.operations += 1
        trace.operation(process.name, operation, path)
        try process.countDown()
        try interleave(process)
    }

    func faultOfCommit() -> CommitFault? {
        guard isObserved else { return nil }
        summary.commits += 1
        guard let armed = commitFault else { return nil }
        commitFault = armed.left > 1 ? (armed.left - 1, armed.fault) : nil
        guard armed.left <= 1 else { return nil }
        note("at the commit: \(armed.fault)")
        return armed.fault
    }
}

/// What happened, as lines for a person and as a number that is equal for equal courses.
final class SimulationTrace {
    private static let kept = 80
    private let isPrinted: Bool
    private(set) var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    private var lines: [String] = []

    init(isPrinted: Bool) { self.isPrinted = isPrinted }

    func note(_ line: String) {
        add(line)
        lines.append(line)
        if lines.count > SimulationTrace.kept * 2 { lines.removeFirst(SimulationTrace.kept) }
        if isPrinted { print(line) }
    }

    func operation(_ process: String, _ operation: String, _ path: String) {
        let line = "    \(process) \(operation) \(path)"
        add(line)
        if isPrinted { print(line) }
    }

    private func add(_ line: String) {
        for byte in line.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }

    /// The last lines.
    var end: String { lines.suffix(SimulationTrace.kept).joined(separator: "\n") }
}
