import CASCore
import CASFileSystem
import CASStorage
import CASTestSupport
import Synchronization
import Testing

/// The contract of `ObjectBackend`, kept by every backend, decorated or not.
struct BackendTests {
    @Test(arguments: BackendWorld.Kind.allCases, BackendWorld.Decoration.allCases)
    func `reads back any range of what was put`(
        _ kind: BackendWorld.Kind, _ decoration: BackendWorld.Decoration
    ) throws {
        let world = try BackendWorld(kind, decoration)
        var random = SeededGenerator(seed: 1)
        // One longer than a copy's buffer, one byte, and none.
        for count in [1_200_000, 1, 0] {
            let name = Identifier.random()
            let bytes = random.bytes(count)
            let source = try world.source(bytes)
            #expect(try world.backend.read(name, 0, 10) == nil)
            #expect(try world.backend.put(name, source))
            // The source's own name is not needed any more.
            source.file.close()
            try world.fileSystem.remove(source.path)
            #expect(try world.backend.read(name, 0, count + 5) == bytes)
            #expect(try world.backend.read(name, count, 5) == [])
            #expect(try world.backend.read(name, count + 7, 5) == [])
            for _ in 0..<20 where count > 0 {
                let start = Int.random(in: 0..<count, using: &random)
                let length = Int.random(in: 0...70_000, using: &random)
                #expect(
                    try world.backend.read(name, start, length)
                        == Array(bytes[start..<min(count, start + length)]), "seed 1")
            }
        }
    }

    @Test(arguments: BackendWorld.Kind.allCases, BackendWorld.Decoration.allCases)
    func `leaves an object alone whose name is put again`(
        _ kind: BackendWorld.Kind, _ decoration: BackendWorld.Decoration
    ) throws {
        let world = try BackendWorld(kind, decoration)
        let name = Identifier.random()
        #expect(try world.backend.put(name, try world.source([1, 2, 3])))
        #expect(try !world.backend.put(name, try world.source([4, 5, 6, 7])))
        #expect(try world.backend.read(name, 0, 10) == [1, 2, 3])
        #expect(try world.backend.all() == [ObjectEntry(name: name, size: 3)])
        // And the source of the second stays what it was.
        let source = try world.source([8])
        #expect(try !world.backend.put(name, source))
        #expect(try world.fileSystem.read(source.path, maximumBytes: 9) == [8])
    }

    @Test(arguments: BackendWorld.Kind.allCases)
    func `lets one of several puts of one name win, whole`(_ kind: BackendWorld.Kind) throws {
        let world = try BackendWorld(kind)
        for round in 0..<10 {
            let name = Identifier.random()
            let wins = Mutex(0)
            let bytes = [UInt8](repeating: UInt8(round), count: 50_000)
            try WorkerGroup.run(count: 4, name: "put") { _ in
                let source = try world.source(bytes)
                while true {
                    do {
                        if try world.backend.put(name, source) { wins.withLock { $0 += 1 } }
                        return
                    } catch let error as CASError where error.code == .unavailable {
                        // Another attempt took the copy of this one for a leftover.
                    }
                }
            }
            if kind != .copies { #expect(wins.withLock { $0 } == 1) }
            #expect(try world.backend.read(name, 0, 60_000) == bytes)
        }
    }

    @Test(arguments: BackendWorld.Kind.allCases, BackendWorld.Decoration.allCases)
    func `lists every object once, in order and in pages`(
        _ kind: BackendWorld.Kind, _ decoration: BackendWorld.Decoration
    ) throws {
        let world = try BackendWorld(kind, decoration)
        #expect(try world.backend.all().isEmpty)
        var expected: [ObjectEntry] = []
        for count in 0..<11 {
            let name = Identifier.random()
            try #require(
                try world.backend.put(name, try world.source([UInt8](repeating: 1, count: count))))
            expected.append(ObjectEntry(name: name, size: UInt64(count)))
        }
        expected.sort { $0.name < $1.name }
        #expect(try world.backend.all() == expected)
        for limit in [1, 2, 3, 100] {
            var found: [ObjectEntry] = []
            while true {
                let page = try world.backend.list(after: found.last?.name, limit: limit)
                #expect(page.count <= limit)
                guard !page.isEmpty else { break }
                found += page
            }
            #expect(found == expected, "pages of \(limit)")
        }
        // Behind a name that is no object's.
        let middle = expected[5].name
        try world.backend.delete(middle)
        #expect(try world.backend.list(after: middle, limit: 1) == [expected[6]])
    }

    @Test(arguments: BackendWorld.Kind.allCases, BackendWorld.Decoration.allCases)
    func `deletes an object, and again without an error`(
        _ kind: BackendWorld.Kind, _ decoration: BackendWorld.Decoration
    ) throws {
        let world = try BackendWorld(kind, decoration)
        let names = [Identifier.random(), Identifier.random()]
        for name in names {
            try #require(try world.backend.put(name, try world.source([1, 2, 3])))
        }
        #expect(try world.backend.read(names[0], 0, 3) == [1, 2, 3])
        for _ in 0..<2 {
            try world.backend.delete(names[0])
            #expect(try world.backend.read(names[0], 0, 3) == nil)
        }
        #expect(try world.backend.all().map(\.name) == [names[1]])
        #expect(try world.backend.put(names[0], try world.source([4])))
        #expect(try world.backend.read(names[0], 0, 3) == [4])
    }

    @Test(arguments: BackendWorld.Kind.allCases, BackendWorld.Decoration.allCases)
    func `says that a source is gone`(
        _ kind: BackendWorld.Kind, _ decoration: BackendWorld.Decoration
    ) throws {
        guard kind == .disk || kind == .simulated else { return }
        let world = try BackendWorld(kind, decoration)
        let source = try world.source([1])
        try world.fileSystem.remove(source.path)
        let error = #expect(throws: CASError.self) {
            try world.backend.put(.random(), source)
        }
        #expect(error?.code == .notFound)
        #expect(try world.backend.all().isEmpty)
    }

    @Test func `makes no copy of a file on the same file system`() throws {
        let world = try BackendWorld(.simulated)
        let source = try world.source([UInt8](repeating: 7, count: 100))
        world.simulated.setCapacity(100)
        #expect(try world.backend.put(.random(), source))
        #expect(world.simulated.count(of: .append) == 1)
        let disk = try BackendWorld(.disk)
        let name = Identifier.random()
        let onDisk = try disk.source([1, 2, 3])
        #expect(try disk.backend.put(name, onDisk))
        #expect(
            try DiskFileSystem().status(onDisk.path)?.inode
                == DiskFileSystem().status(disk.backend.place(of: name))?.inode)
    }

    @Test func `leaves files alone that are no objects`() throws {
        let world = try BackendWorld(.simulated)
        for name in ["notes", "\(Identifier.random())", "x.pack", "\(Identifier.random()).new"] {
            let file = try world.fileSystem.open("\(world.root)/objects/\(name)", .create)
            file.close()
        }
        #expect(try world.backend.all().isEmpty)
        #expect(try world.names().count == 4)
    }

    @Test func `reads a run with one read`() throws {
        let world = try BackendWorld(.simulated)
        let name = Identifier.random()
        try #require(
            try world.backend.put(name, try world.source([UInt8](repeating: 7, count: 5_000))))
        let before = world.simulated.count(of: .read)
        for index in 0..<10 { _ = try world.backend.read(name, index * 500, 500) }
        #expect(world.simulated.count(of: .read) - before == 10)
    }

    @Test func `counts calls, bytes and failures`() throws {
        let world = try BackendWorld(.memory, .counted)
        let name = Identifier.random()
        _ = try world.backend.put(name, try world.source([1, 2, 3]))
        _ = try world.backend.read(name, 1, 10)
        _ = try world.backend.read(.random(), 1, 10)
        _ = try world.backend.all()
        world.simulated.inject(
            .error(CASError(.unavailable, "injected")), at: 1, kinds: [.deleteObject])
        #expect(throws: CASError.self) { try world.backend.delete(name) }
        try world.backend.delete(name)
        let counters = world.counters
        #expect(counters.puts == 1)
        #expect(counters.reads == 2)
        #expect(counters.readBytes == 2)
        #expect(counters.lists == 2)
        #expect(counters.deletes == 1)
        #expect(counters.failures == 1)
    }
}
