import CASCore
import CASFileSystem
import CASStorage
import CASTestSupport
import Testing

/// What backends do where operations fail, answers are lost and the power goes.
struct BackendFaultTests {
    private static let simulatedKinds: [BackendWorld.Kind] = [
        .simulated, .device, .copies, .memory,
    ]
    private static let failure = CASError(.unavailable, "injected")

    private static func content(_ index: Int) -> [UInt8] {
        [UInt8](repeating: UInt8(index + 1), count: 300 + index)
    }

    /// Objects of a short life: which calls on them returned.
    private struct Outcome {
        var names = (0..<4).map { _ in Identifier.random() }
        var put: Set<Int> = []
        var deleted: Set<Int> = []

        /// Puts four objects and deletes the first one.
        mutating func run(_ world: BackendWorld) {
            for (index, name) in names.enumerated() {
                // What fails is simply not among what was done.
                guard let source = try? world.source(BackendFaultTests.content(index)),
                    (try? world.backend.put(name, source)) != nil
                else { continue }
                put.insert(index)
            }
            if (try? world.backend.delete(names[0])) != nil { deleted.insert(0) }
        }

        /// Every object is whole or absent, and as the calls that returned left it.
        func check(_ backend: any ObjectBackend, _ comment: Comment) throws {
            let listed = try backend.all()
            for (index, name) in names.enumerated() {
                let content = BackendFaultTests.content(index)
                let bytes = try backend.read(name, 0, 1_000)
                #expect(bytes == nil || bytes == content, comment)
                #expect(
                    listed.contains(ObjectEntry(name: name, size: UInt64(content.count)))
                        == (bytes != nil), comment)
                if deleted.contains(index) {
                    #expect(bytes == nil, comment)
                } else if put.contains(index), index > 0 {
                    #expect(bytes != nil, "object \(index) is lost, \(comment)")
                }
            }
            #expect(listed.allSatisfy { names.contains($0.name) }, comment)
        }
    }

    private static func operationCount(_ kind: BackendWorld.Kind) throws -> Int {
        let world = try BackendWorld(kind)
        world.simulated.inject(.powerCut, at: .max)
        var outcome = Outcome()
        outcome.run(world)
        #expect(outcome.put.count == 4 && outcome.deleted == [0])
        return world.simulated.operationCount
    }

    @Test(arguments: simulatedKinds)
    func `keeps objects whole or absent where any operation fails`(
        _ kind: BackendWorld.Kind
    ) throws {
        let count = try Self.operationCount(kind)
        for number in 1...count {
            for isLost in [false, true] {
                let world = try BackendWorld(kind)
                world.simulated.inject(
                    isLost ? .lostAnswer(Self.failure) : .error(Self.failure), at: number)
                var outcome = Outcome()
                outcome.run(world)
                let comment: Comment = "\(kind): operation \(number), answer lost: \(isLost)"
                try outcome.check(world.backend, comment)
                // Each call can be repeated until it succeeds, and leaves nothing behind.
                outcome.run(world)
                #expect(outcome.put.count == 4 && outcome.deleted == [0], comment)
                try outcome.check(world.backend, comment)
                guard kind != .memory else { continue }
                #expect(try world.names().allSatisfy { $0.hasSuffix(".pack") }, comment)
            }
        }
    }

    @Test(arguments: simulatedKinds)
    func `keeps what was put through a power cut at any operation`(
        _ kind: BackendWorld.Kind
    ) throws {
        let count = try Self.operationCount(kind)
        for number in 1...count + 1 {
            for seed in 0..<(TestForm.isFull ? 50 : 5) as Range<UInt64> {
                let world = try BackendWorld(kind)
                world.simulated.inject(.powerCut, at: number)
                var outcome = Outcome()
                outcome.run(world)
                let machine = world.simulated.afterPowerCut(seed: seed)
                world.setLinks(of: machine)
                let backend: any ObjectBackend =
                    kind == .memory
                    ? InMemoryBackend(world.objects, machine: machine)
                    : try DirectoryBackend(
                        directory: "\(world.root)/objects", fileSystem: machine)
                try outcome.check(
                    backend, "\(kind): power cut at operation \(number), seed \(seed)")
            }
        }
    }

    @Test func `leaves no half of a copy behind on a full disk`() throws {
        let world = try BackendWorld(.copies)
        let source = try world.source(Self.content(0))
        world.simulated.setCapacity(400)
        let error = #expect(throws: CASError.self) {
            try world.backend.put(.random(), source)
        }
        #expect(error?.code == .resourceExhausted)
        #expect(try world.names().isEmpty)
    }

    @Test func `finishes a copy that a crash cut short`() throws {
        let world = try BackendWorld(.copies)
        let name = Identifier.random()
        for suffix in ["\(Identifier.random()).new", "\(Identifier.random()).new"] {
            let file = try world.fileSystem.open("\(world.root)/objects/\(name).\(suffix)", .create)
            try [1, 2].withUnsafeBytes { try file.append($0) }
            file.close()
        }
        #expect(try world.backend.put(name, try world.source([7, 8, 9])))
        #expect(try world.names() == ["\(name).pack"])
    }

    @Test(arguments: [SimulatedFileSystem.Operation.putObject, .deleteObject, .listObjects])
    func `a retry takes a lost answer for what it is`(
        _ operation: SimulatedFileSystem.Operation
    ) throws {
        let world = try BackendWorld(.memory, .retried)
        let name = Identifier.random()
        let source = try world.source([1, 2, 3])
        if operation == .putObject {
            world.simulated.inject(.lostAnswer(Self.failure), at: 1, kinds: [operation])
            // There already, by the first attempt.
            #expect(try !world.backend.put(name, source))
        } else {
            #expect(try world.backend.put(name, source))
        }
        #expect(try world.backend.read(name, 0, 9) == [1, 2, 3])
        if operation == .listObjects {
            world.simulated.inject(.lostAnswer(Self.failure), at: 1, kinds: [operation])
        }
        #expect(try world.backend.all() == [ObjectEntry(name: name, size: 3)])
        if operation == .deleteObject {
            world.simulated.inject(.lostAnswer(Self.failure), at: 1, kinds: [operation])
        }
        try world.backend.delete(name)
        #expect(try world.backend.read(name, 0, 9) == nil)
        #expect(world.pauses.all == [1])
    }

    @Test func `a retry gives up in the end, and at once where it can not help`() throws {
        let world = try BackendWorld(.memory, .retried)
        let source = try world.source([1])
        world.simulated.cutPower()
        let error = #expect(throws: CASError.self) { try world.backend.put(.random(), source) }
        #expect(error?.code == .unavailable)
        #expect(world.pauses.all == [1, 2, 3, 4])
        let other = try BackendWorld(.memory, .retried)
        other.simulated.inject(
            .error(CASError(.permissionDenied, "injected")), at: 1, kinds: [.listObjects])
        #expect(throws: CASError.self) { try other.backend.all() }
        #expect(other.pauses.all.isEmpty)
    }
}
