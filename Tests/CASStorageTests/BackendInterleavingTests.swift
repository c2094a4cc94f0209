import CASCore
import CASFileSystem
import CASStorage
import CASTestSupport
import Synchronization
import Testing

/// What every backend keeps while others put, delete and list, and while calls fail.
struct BackendInterleavingTests {
    private static func content(_ name: Identifier) -> [UInt8] {
        [UInt8](repeating: UInt8(truncatingIfNeeded: name.low), count: 200 + Int(name.low % 50))
    }

    private static func entry(_ name: Identifier) -> ObjectEntry {
        ObjectEntry(name: name, size: UInt64(content(name).count))
    }

    @Test(arguments: BackendWorld.Kind.allCases)
    func `a listing goes on behind what was deleted and put meanwhile`(
        _ kind: BackendWorld.Kind
    ) throws {
        let world = try BackendWorld(kind)
        let names = (0..<20).map { _ in Identifier.random() }.sorted()
        for name in names {
            try #require(try world.backend.put(name, try world.source(Self.content(name))))
        }
        var found: [ObjectEntry] = []
        var gone: Set<Identifier> = []
        while true {
            let page = try world.backend.list(after: found.last?.name, limit: 2)
            guard let last = page.last else { break }
            found += page
            // The one that the next page begins behind, and the one with which it would begin.
            let next = names.first { $0 > last.name }
            for name in [last.name, next].compactMap({ $0 }) {
                try world.backend.delete(name)
                gone.insert(name)
            }
            // In front of the page, where no listing comes by any more.
            let early = Identifier(high: 0, low: last.name.low)
            _ = try world.backend.put(early, try world.source([1]))
        }
        #expect(found.map(\.name) == found.map(\.name).sorted())
        #expect(Set(found.map(\.name)).count == found.count)
        let stayed = names.filter { !gone.contains($0) }
        #expect(Set(stayed).isSubset(of: found.map(\.name)))
        #expect(try world.backend.all().filter { $0.name.high != 0 } == stayed.map(Self.entry))
    }

    @Test(arguments: BackendWorld.Kind.allCases)
    func `what stays is listed once and read whole while others come and go`(
        _ kind: BackendWorld.Kind
    ) throws {
        let world = try BackendWorld(kind, .retried)
        let stays = (0..<12).map { _ in Identifier.random() }.sorted()
        for name in stays {
            try #require(try world.backend.put(name, try world.source(Self.content(name))))
        }
        let busy = Atomic<Int>(3)
        try WorkerGroup.run(count: 5, name: "backend") { number in
            guard number >= 2 else {
                // Lists and reads as long as somebody works.
                while busy.load(ordering: .acquiring) > 0 {
                    let listed = try world.backend.all()
                    let order = listed.map(\.name)
                    #expect(order == order.sorted() && Set(order).count == order.count)
                    #expect(listed.filter { stays.contains($0.name) } == stays.map(Self.entry))
                    for entry in listed {
                        let bytes = try world.backend.read(entry.name, 0, 1_000)
                        #expect(bytes == nil || bytes == Self.content(entry.name))
                        #expect(entry.size == UInt64(Self.content(entry.name).count))
                    }
                }
                return
            }
            defer { busy.subtract(1, ordering: .releasing) }
            for _ in 0..<15 {
                let name = Identifier.random()
                let source = try world.source(Self.content(name))
                #expect(try world.backend.put(name, source))
                #expect(try world.backend.read(name, 0, 1_000) == Self.content(name))
                source.file.close()
                try world.fileSystem.remove(source.path)
                try world.backend.delete(name)
            }
        }
        #expect(try world.backend.all() == stays.map(Self.entry))
    }

    @Test(arguments: BackendWorld.Kind.allCases)
    func `readers of an object that is deleted get all of it or nothing`(
        _ kind: BackendWorld.Kind
    ) throws {
        let world = try BackendWorld(kind)
        for _ in 0..<5 {
            let name = Identifier.random()
            let bytes = SeededBytes.make(40_000)
            try #require(try world.backend.put(name, try world.source(bytes)))
            try WorkerGroup.run(count: 4, name: "read") { number in
                if number == 0 { return try world.backend.delete(name) }
                for _ in 0..<10 {
                    let read = try world.backend.read(name, 100, 30_000)
                    #expect(read == nil || read == Array(bytes[100..<30_100]))
                }
            }
            #expect(try world.backend.read(name, 0, 1) == nil)
        }
    }

    // MARK: - Failures at every call

    /// One of everything, each repeated until it succeeds; the number of failures that it met.
    private static func everything(_ world: BackendWorld) throws -> Int {
        var failures = 0
        func repeated<Result>(_ body: () throws -> Result) throws -> Result {
            while true {
                do { return try body() } catch let error as CASError
                    where error.code == .unavailable
                {
                    failures += 1
                    try #require(failures < 10)
                }
            }
        }
        let names = (0..<5).map { _ in Identifier.random() }.sorted()
        for name in names {
            let source = try repeated { try world.source(content(name)) }
            _ = try repeated { try world.backend.put(name, source) }
            let bytes = try repeated { try world.backend.read(name, 5, 1_000) }
            #expect(bytes == Array(content(name)[5...]))
        }
        var found: [ObjectEntry] = []
        while true {
            let page = try repeated {
                try world.backend.list(after: found.last?.name, limit: 2)
            }
            guard !page.isEmpty else { break }
            found += page
        }
        #expect(found == names.map(entry))
        for name in names.prefix(2) {
            try repeated { try world.backend.delete(name) }
            #expect(try repeated { try world.backend.read(name, 0, 9) } == nil)
        }
        #expect(try repeated { try world.backend.all() } == names.dropFirst(2).map(entry))
        return failures
    }

    @Test(arguments: [BackendWorld.Kind.simulated, .device, .copies, .memory])
    func `each call that fails or loses its answer can be repeated`(
        _ kind: BackendWorld.Kind
    ) throws {
        let all = Set(SimulatedFileSystem.Operation.allCases)
        let failure = CASError(.unavailable, "injected")
        let counting = try BackendWorld(kind)
        counting.simulated.inject(.error(failure), at: .max, kinds: all)
        #expect(try Self.everything(counting) == 0)
        let count = counting.simulated.operationCount
        #expect(count > 20)
        for number in 1...count {
            for isLost in [false, true] {
                let world = try BackendWorld(kind)
                world.simulated.inject(
                    isLost ? .lostAnswer(failure) : .error(failure), at: number, kinds: all)
                let failures = try Self.everything(world)
                #expect(failures <= 1, "\(kind): operation \(number), answer lost: \(isLost)")
            }
        }
    }
}

/// Bytes that do not repeat, so that a part of another place would show.
private enum SeededBytes {
    static func make(_ count: Int) -> [UInt8] {
        var random = SeededGenerator(seed: 7)
        return random.bytes(count)
    }
}
