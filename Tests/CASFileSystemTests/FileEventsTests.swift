import CASCore
import CASFileSystem
import CASTestSupport
import Testing

@Suite struct FileEventsTests {
    private func bytes(_ watch: Int32, _ mask: UInt32, _ name: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(littleEndian: UInt32(bitPattern: watch))
        bytes.append(littleEndian: mask)
        bytes.append(littleEndian: UInt32(0))
        bytes.append(littleEndian: UInt32(name.count))
        return bytes + name
    }

    @Test func `events are decoded one behind the other`() throws {
        let raw = bytes(1, 0x100, [0x61, 0, 0, 0]) + bytes(-1, 0x4000, []) + bytes(2, 0x8000, [])
        let events = try raw.withUnsafeBytes { try FileEvent.decode($0) }
        #expect(events.map(\.watch) == [1, -1, 2])
        #expect(events.map(\.name) == [[0x61], [], []])
        #expect(!events[0].kinds.isDisjoint(with: .names))
        #expect(events[1].kinds == .overflow)
        #expect(events[2].kinds == .ended)
    }

    @Test func `bytes that are no whole events are refused`() throws {
        let raw = bytes(1, 0x100, [0x61, 0, 0, 0])
        for count in 1..<raw.count {
            #expect(throws: CASError.self) {
                _ = try raw[..<count].withUnsafeBytes { try FileEvent.decode($0) }
            }
        }
    }

    @Test func `a watch tells what comes, changes and goes`() throws {
        let directory = try TemporaryDirectory()
        let handle = try DirectoryHandle(path: directory.path)
        let events = try #require(FileEvents.open())
        let watch = try events.watch(handle)
        #expect(try events.watch(handle) == watch)
        #expect(try events.read().isEmpty)
        let name = Array("a".utf8)
        _ = try handle.createFile(name)
        #expect(Readiness.wait([events.descriptor], milliseconds: nil) == [events.descriptor])
        #expect(try events.read().contains { $0.watch == watch && $0.name == name })
        try handle.removeFile(name)
        #expect(try events.read().contains { !$0.kinds.isDisjoint(with: .names) })
        events.unwatch(watch)
        #expect(try events.read().map(\.kinds) == [.ended])
        _ = try handle.createFile(name)
        #expect(try events.read().isEmpty)
    }

    @Test func `a file is not watched`() throws {
        let directory = try TemporaryDirectory()
        let handle = try DirectoryHandle(path: directory.path)
        _ = try handle.createFile(Array("a".utf8))
        let events = try #require(FileEvents.open())
        #expect(throws: CASError.self) { try events.watch(path: directory.path + "/a") }
    }

    @Test func `one thread wakes another`() throws {
        let pipe = try WakePipe()
        #expect(Readiness.wait([pipe.descriptor], milliseconds: 0).isEmpty)
        let thread = try WorkerThread(name: "wake") { pipe.wake(7) }
        #expect(Readiness.wait([pipe.descriptor], milliseconds: nil) == [pipe.descriptor])
        #expect(pipe.take() == [7])
        #expect(pipe.take() == [])
        try thread.join()
    }

    @Test func `a program of its own group ends with its status or its signal`() throws {
        func outcome(_ words: [String], signal: Int32? = nil) throws -> Int32 {
            let group = try ProgramGroup(words, directory: "/")
            if let signal { group.signal(signal) }
            while true {
                if let status = group.status() { return status }
                Sleep.milliseconds(5)
            }
        }
        #expect(try outcome(["sh", "-c", "test \"$PWD\" = / && exit 7"]) == 7)
        #expect(try outcome(["sleep", "1000"], signal: 15) == 143)
        #expect(throws: CASError.self) { try outcome(["/no/such/program"]) }
    }
}
