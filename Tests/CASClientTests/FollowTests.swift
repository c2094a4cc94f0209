import CASClient
import CASCore
import CASFileSystem
import CASTestSupport
import CASWire
import CASWorkspace
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(10))) struct FollowTests {
    /// Events of a follow, which end it when a test has seen enough.
    private final class Running: Sendable {
        let events = BoundedQueue<FollowEvent>(capacity: 100)
        private let isEnded = Atomic(false)
        private let thread: WorkerThread

        init(_ world: LocalWorld, store: (any StoreConnection)? = nil) throws {
            let options = FetchOptions(want: "", destination: world.destination, workers: 2)
            let follow = Follow(world.ref, options, store ?? world.store)
            let box = Box()
            thread = try WorkerThread(name: "follow") {
                try follow.run(
                    counters: ProgressCounters(),
                    isEnded: {
                        box.owner.withLock { $0 }?.isEnded.load(ordering: .relaxed) ?? false
                    }
                ) { event in
                    while box.owner.withLock({ $0 }) == nil { Sleep.milliseconds(1) }
                    try box.owner.withLock { $0 }?.events.put(event)
                }
            }
            box.owner.withLock { $0 = self }
        }

        private final class Box: Sendable {
            let owner = Mutex<Running?>(nil)
        }

        func next() throws -> FollowEvent? { try events.take() }

        func nextUpdate() throws -> FetchSummary {
            guard case .updated(let summary, _, _) = try next() else {
                throw CASError(.internalError, "that was no update")
            }
            return summary
        }

        /// Ends it; something has to move once more so that it notices.
        func end(_ world: LocalWorld) throws {
            isEnded.store(true, ordering: .relaxed)
            try world.write("end", "\(UInt64.random(in: 0...UInt64.max))")
            _ = try world.push()
            try thread.join()
        }
    }

    private func text(_ world: LocalWorld, _ name: String) throws -> String? {
        let bytes = try DiskFileSystem().read("\(world.destination)/\(name)", maximumBytes: 1 << 20)
        return bytes.map { String(decoding: $0, as: UTF8.self) }
    }

    @Test func `a ref that is not there yet is waited for`() async throws {
        try await onThread {
            let world = try LocalWorld()
            let running = try Running(world)
            guard case .absent = try running.next() else {
                Issue.record("nothing was said of a ref that is not there")
                return
            }
            try world.write("a", "1")
            _ = try world.push()
            #expect(try running.nextUpdate().restore.written == 1)
            #expect(try text(world, "a") == "1")
            try running.end(world)
        }
    }

    @Test func `what is edited while the data comes is kept and named`() async throws {
        try await onThread {
            let world = try LocalWorld()
            for name in ["changed", "gone", "quiet"] { try world.write(name, "1") }
            _ = try world.push()
            var options = FetchOptions(
                want: world.ref.description, destination: world.destination, workers: 2)
            options.restore.isGentle = true
            options.restore.keep = true
            _ = try Fetch.run(options, connection: world.store, counters: ProgressCounters())
            try world.write("changed", "2")
            try world.write("quiet", "2")
            try world.write("new", "2")
            try DirectoryHandle(path: world.workspace).removeFile(Array("gone".utf8))
            _ = try world.push()
            let store = DecoratedStore(world.store)
            let destination = world.destination
            store.onContent.withLock {
                $0 = {
                    let directory = try DirectoryHandle(path: destination)
                    for name in ["changed", "gone"] {
                        try directory.removeFile(Array(name.utf8))
                        let file = try directory.createFile(Array(name.utf8))
                        try Array("my own".utf8).withUnsafeBytes { try file.write($0) }
                    }
                }
            }
            let summary = try Fetch.run(options, connection: store, counters: ProgressCounters())
            #expect(try text(world, "changed") == "my own")
            #expect(try text(world, "gone") == "my own")
            #expect(try text(world, "quiet") == "2")
            #expect(try text(world, "new") == "2")
            #expect(summary.restore.left.count == 2, "\(summary.restore.left)")
        }
    }

    @Test func `each move arrives, edits are kept and named, removal is waited out`() async throws {
        try await onThread {
            let world = try LocalWorld()
            try world.write("a", "1")
            try world.write("mine", "1")
            _ = try world.push()
            let running = try Running(world)
            #expect(try running.nextUpdate().restore.written == 2)
            let mine = try DirectoryHandle(path: world.destination)
            try mine.removeFile(Array("mine".utf8))
            let edited = try mine.createFile(Array("mine".utf8))
            try Array("my own".utf8).withUnsafeBytes { try edited.write($0) }
            try world.write("a", "2")
            try world.write("mine", "2")
            try world.write("new", "2")
            _ = try world.push()
            let second = try running.nextUpdate()
            #expect(second.restore.left.count == 1)
            #expect(try text(world, "a") == "2")
            #expect(try text(world, "new") == "2")
            #expect(try text(world, "mine") == "my own")
            try world.store.removeRef(world.ref, RefUpdate(target: .zero))
            guard case .removed = try running.next() else {
                Issue.record("the removal was not told")
                return
            }
            #expect(try text(world, "a") == "2")
            try world.write("a", "3")
            _ = try world.push()
            _ = try running.nextUpdate()
            #expect(try text(world, "a") == "3")
            try running.end(world)
        }
    }

    @Test func `new files come first, changed ones by rename, deletions last`() async throws {
        try await onThread {
            let world = try LocalWorld()
            for name in ["changed", "gone", "same"] { try world.write(name, "1 \(name)") }
            try world.link("link", "gone")
            try world.write("big", SeededGenerator.text(seed: 1, count: 3 << 20))
            _ = try world.push()
            let running = try Running(world)
            _ = try running.nextUpdate()
            let events = try #require(FileEvents.open())
            _ = try events.watch(path: world.destination)
            let handle = try DirectoryHandle(path: world.workspace)
            try handle.removeFile(Array("gone".utf8))
            try handle.removeFile(Array("link".utf8))
            try world.link("link", "new")
            try world.write("changed", "2 changed")
            try world.write("big", SeededGenerator.text(seed: 2, count: 3 << 20))
            try world.write("new", "2 new")
            try world.write("new-big", SeededGenerator.text(seed: 3, count: 3 << 20))
            _ = try world.push()
            _ = try running.nextUpdate()
            var order: [String] = []
            for event in try events.read() where !event.kinds.isDisjoint(with: .names) {
                let name = String(decoding: event.name, as: UTF8.self)
                let isRemoval = event.kinds.rawValue & 0x200 != 0
                if !name.isEmpty, name != ".cas" { order.append((isRemoval ? "-" : "") + name) }
            }
            #expect(order.last == "-gone", "\(order)")
            #expect(Set(order.prefix(2)) == ["new", "new-big"], "\(order)")
            #expect(Set(order.dropFirst(2).dropLast()) == ["changed", "big", "link"], "\(order)")
            try running.end(world)
        }
    }

    @Test func `a directory that becomes a file, and back`() async throws {
        try await onThread {
            let world = try LocalWorld()
            try world.write("thing/inside", "1")
            _ = try world.push()
            let running = try Running(world)
            _ = try running.nextUpdate()
            try Host.removeTree(world.workspace + "/thing")
            try world.write("thing", "a file")
            _ = try world.push()
            _ = try running.nextUpdate()
            #expect(try text(world, "thing") == "a file")
            try Host.removeTree(world.workspace + "/thing")
            try world.write("thing/other", "2")
            _ = try world.push()
            _ = try running.nextUpdate()
            #expect(try text(world, "thing/other") == "2")
            #expect(try world.differences() == [])
            try running.end(world)
        }
    }

    @Test func `a store that is away is told of once, and its return too`() async throws {
        try await onThread {
            let world = try LocalWorld()
            try world.write("a", "1")
            _ = try world.push()
            let store = DecoratedStore(world.store)
            let running = try Running(world, store: store)
            _ = try running.nextUpdate()
            let failures = Mutex(3)
            store.onRef.withLock {
                $0 = {
                    let isAway = failures.withLock { left in
                        left -= 1
                        return left >= 0
                    }
                    if isAway { throw CASError(.unavailable, "away") }
                }
            }
            guard case .failed(let error) = try running.next() else {
                Issue.record("the failure was not told")
                return
            }
            #expect(error.message == "away")
            guard case .recovered = try running.next() else {
                Issue.record("the return was not told")
                return
            }
            try world.write("a", "2")
            _ = try world.push()
            _ = try running.nextUpdate()
            try running.end(world)
        }
    }
}
