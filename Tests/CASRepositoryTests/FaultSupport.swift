import CASCatalog
import CASCore
import CASFileSystem
import CASPack
import CASRepository
import CASStorage
import CASTestSupport
import CASTree
import CASWire
import Testing

/// A machine that a store runs on, and what of the store is elsewhere.
struct FaultWorld {
    /// Where sealed packs lie.
    enum Place: CaseIterable, Sendable {
        /// In a directory of the same file system.
        case directory
        /// In a directory of a file system that has no hard links.
        case copies
        /// Behind a backend with S3's rules, whose calls count as operations.
        case objects
    }
    let place: Place
    let fileSystem: SimulatedFileSystem
    let catalog: InMemoryCatalog
    let objects: InMemoryObjects

    /// An empty store's.
    init(_ place: Place) {
        self.init(place, SimulatedFileSystem(), InMemoryCatalog(), InMemoryObjects())
    }

    private init(
        _ place: Place, _ fileSystem: SimulatedFileSystem, _ catalog: InMemoryCatalog,
        _ objects: InMemoryObjects
    ) {
        self.place = place
        self.fileSystem = fileSystem
        self.catalog = catalog
        self.objects = objects
        if place == .copies { fileSystem.setLinks(.nowhere) }
    }

    private func backend() throws -> any ObjectBackend {
        guard place == .objects else {
            return try DirectoryBackend(directory: "/store/packs", fileSystem: fileSystem)
        }
        return InMemoryBackend(objects, machine: fileSystem)
    }

    func open() throws -> Repository {
        try Repository.open(
            try FaultScript.configuration(), fileSystem: fileSystem, objects: try backend(),
            catalog: catalog, clock: TestClock())
    }

    /// Makes a new catalog in the place of one that is lost.
    func rebuilt() throws -> (repository: Repository, report: RebuildReport) {
        try Repository.rebuildIndex(
            try FaultScript.configuration(), fileSystem: fileSystem, objects: try backend(),
            catalog: InMemoryCatalog(), clock: TestClock())
    }

    func afterProcessDeath() -> FaultWorld {
        FaultWorld(place, fileSystem.afterProcessDeath(), catalog, objects)
    }

    func afterPowerCut(seed: UInt64) -> FaultWorld {
        FaultWorld(place, fileSystem.afterPowerCut(seed: seed), catalog, objects)
    }

    /// A copy, also of the objects, that what is done to the other does not touch.
    init(copying world: FaultWorld) {
        let objects = InMemoryObjects()
        for name in world.objects.names { objects[name] = world.objects[name] }
        self.init(
            world.place, world.fileSystem.afterProcessDeath(), InMemoryCatalog(), objects)
    }

    /// Whether nothing was written at all.
    var isEmpty: Bool { fileSystem.fileSizes.isEmpty && objects.names.isEmpty }
}

/// A fixed sequence of changes to a store, and what of it was acknowledged.
struct FaultScript {
    /// One change.
    struct Step {
        let push: TestPush
        let tree: SampleTree
    }
    let steps: [Step]
    /// Indices of steps that were acknowledged, in order.
    private(set) var acknowledged: [Int] = []

    /// The script that tests run, made once.
    static let sample = Result { try FaultScript(seed: 1) }

    /// Pushes of overlapping trees to two refs, small enough to be run hundreds of times.
    init(seed: UInt64) throws {
        var random = SeededGenerator(seed: seed)
        var folder = SampleFolder()
        folder.files["large"] = SampleFolder.File(content: random.bytes(5_000))
        folder.files["small"] = SampleFolder.File(content: SampleFolder.content(300, &random))
        var steps: [Step] = []
        for index in 0..<5 {
            folder.files["file-\(index)"] = SampleFolder.File(content: random.bytes(700))
            folder.folders["inner"] = .random(&random, depth: 1, largestFile: 400)
            if index == 3 {
                folder.files["large"] = SampleFolder.File(content: random.bytes(9_000))
            }
            var push = try TestPush("project-\(index % 2)")
            push.bodyBytes = 2_048
            steps.append(Step(push: push, tree: try SampleTree(folder)))
        }
        self.steps = steps
    }

    static func configuration() throws -> RepositoryConfiguration {
        var configuration = try TestStore.configuration(nil)
        // Packs are sealed and uploads saved in the middle of the sequence.
        configuration.packBytes = 6_000
        configuration.checkpointBytes = 3_000
        return configuration
    }

    /// Runs all steps; one that throws is not acknowledged.
    ///
    /// Returns the errors.
    mutating func run(_ repository: Repository) -> [any Error] {
        var errors: [any Error] = []
        for index in steps.indices where !acknowledged.contains(index) {
            do {
                let response = try repository.push(steps[index].tree, steps[index].push)
                if response.outcome == .done || response.outcome == .unchanged {
                    acknowledged.append(index)
                }
            } catch {
                errors.append(error)
            }
        }
        return errors
    }

    /// Opens the store, runs all steps and ends; false if it did not even open.
    mutating func runWhole(_ world: FaultWorld) throws -> Bool {
        let repository: Repository
        do {
            repository = try world.open()
        } catch is CASError {
            return false
        }
        _ = run(repository)
        do { try repository.close() } catch is CASError {}
        world.catalog.reopen()
        return true
    }

    /// Checks that everything acknowledged is whole and everything else whole or absent.
    func check(_ repository: Repository, _ comment: Comment) throws {
        for index in steps.indices {
            let step = steps[index]
            do {
                try step.tree.expectWhole(in: repository, nil, comment)
            } catch let error as CASError {
                if acknowledged.contains(index) {
                    Issue.record("push \(index) is lost: \(error), \(comment)")
                }
            }
            let history = try repository.history(
                step.push.ref, before: nil, limit: 100, domain: .standard)
            let moves = history.filter { $0.pushID == step.push.pushID }
            #expect(moves.count <= 1, comment)
            if acknowledged.contains(index) { #expect(moves.count == 1, comment) }
            for move in moves {
                #expect(move.target?.digest == step.tree.digest, comment)
            }
        }
        for name in ["project-0", "project-1"] {
            let name = try RefName(name)
            let history = try repository.history(
                name, before: nil, limit: 100, domain: .standard)
            let entry = try repository.ref(name, domain: .standard)
            #expect(entry?.target == history.first?.target, comment)
            #expect(entry?.sequence == history.first?.sequence, comment)
            // What a ref names is whole, acknowledged or not.
            guard let entry else { continue }
            let step = try #require(steps.first { $0.tree.digest == entry.target.digest }, comment)
            try step.tree.expectWhole(in: repository, name.description, comment)
        }
    }

    /// Repeats what was not acknowledged, which has to succeed, and checks everything.
    mutating func finish(_ repository: Repository, _ comment: Comment) throws {
        try check(repository, comment)
        let errors = run(repository)
        #expect(errors.isEmpty, "\(errors), \(comment)")
        #expect(acknowledged.count == steps.count, comment)
        try check(repository, comment)
    }
}
