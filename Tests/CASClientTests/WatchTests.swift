import CASClient
import CASCore
import CASFileSystem
import CASTestSupport
import CASWire
import CASWorkspace
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(10))) struct WatchTests {
    /// A watch that runs on a thread of its own until the end of a test.
    private final class Running: Sendable {
        let watch: Watch
        let events = Mutex<[WatchEvent]>([])
        private let thread: Mutex<WorkerThread?>

        init(_ world: LocalWorld, isPolling: Bool, store: (any StoreConnection)? = nil) throws {
            var timing = WatchTiming()
            timing.quiet = 20
            timing.unrest = 200
            timing.poll = 30
            let box = Box()
            watch = try Watch(
                directory: world.workspace, isPolling: isPolling, timing: timing,
                connection: store ?? world.store,
                options: {
                    var options = PushOptions(
                        directory: world.workspace, ref: world.ref, workers: 2)
                    options.cachePath = world.temporary.path + "/watch-cache"
                    options.newBytesLimit = 1 << 20
                    return options
                }, onEvent: { event in box.owner.withLock { $0 }?.add(event) })
            thread = Mutex(nil)
            box.owner.withLock { $0 = self }
            let watch = watch
            let started = try WorkerThread(name: "watch") { try watch.run() }
            thread.withLock { $0 = started }
        }

        private final class Box: Sendable {
            let owner = Mutex<Running?>(nil)
        }

        private func add(_ event: WatchEvent) { events.withLock { $0.append(event) } }

        func end() throws {
            watch.end()
            try thread.withLock { $0.take() }?.join()
        }

        /// Waits for its own end, which it throws.
        func join() throws { try thread.withLock { $0.take() }?.join() }

        var failures: [CASError] {
            events.withLock { events in
                events.compactMap { if case .failed(let error, _) = $0 { error } else { nil } }
            }
        }
    }

    /// Waits until something holds; the limit is for a bug, not for a slow machine.
    private func wait(_ what: String, _ condition: () throws -> Bool) throws {
        for _ in 0..<3_000 {
            if try condition() { return }
            Sleep.milliseconds(20)
        }
        Issue.record("it never came to this: \(what)")
        throw CASError(.deadlineExceeded, what)
    }

    private func tree(_ world: LocalWorld) throws -> Digest? {
        try world.store.ref(world.ref)?.tree
    }

    private func freshTree(_ world: LocalWorld) throws -> Digest {
        let fresh = try RefName("fresh/tree")
        return try world.push {
            $0.ref = fresh
            $0.cachePath = nil
        }.tree
    }

    @Test(arguments: [false, true])
    func `after the last change the ref is what a fresh push gives`(isPolling: Bool) async throws {
        try await onThread {
            let seed = UInt64.random(in: 0..<1_000_000)
            print("seed \(seed), polling \(isPolling)")
            let world = try LocalWorld()
            var editor = RandomEditor(seed: seed, root: world.workspace)
            try editor.edit(20)
            let running = try Running(world, isPolling: isPolling)
            for round in 0..<(isPolling ? 12 : 40) {
                try editor.edit(Int.random(in: 1...25, using: &editor.generator))
                let wanted = try freshTree(world)
                try wait("round \(round) of seed \(seed)") { try tree(world) == wanted }
            }
            try running.end()
            #expect(try tree(world) == freshTree(world))
        }
    }

    @Test func `a directory that is made and filled at once loses nothing`() async throws {
        try await onThread {
            let world = try LocalWorld()
            try world.write("a", "1")
            let running = try Running(world, isPolling: false)
            try wait("the first push") { try tree(world) != nil }
            for number in 0..<20 {
                // As fast as possible: the watch comes when all is there.
                for depth in 0..<6 {
                    let path = (0...depth).map { "d\(number)-\($0)" }.joined(separator: "/")
                    try world.write("\(path)/file", "\(depth)")
                }
            }
            let wanted = try freshTree(world)
            try wait("all of it") { try tree(world) == wanted }
            try running.end()
        }
    }

    @Test func `what the rules leave out does not wake it, and rules that change count`()
        async throws
    {
        try await onThread {
            let world = try LocalWorld()
            try world.write(".gitignore", "out/\n")
            try world.write("out/x", "1")
            try world.write("a", "1")
            let running = try Running(world, isPolling: false)
            try wait("the first push") { try tree(world) != nil }
            try world.write("out/deep/y", "2")
            try world.write(".gitignore", "")
            let wanted = try freshTree(world)
            try wait("the new rules") { try tree(world) == wanted }
            try world.write("out/deep/z", "3")
            let next = try freshTree(world)
            try wait("what the new rules take") { try tree(world) == next }
            try running.end()
        }
    }

    @Test func `a store that is away is told of and tried again`() async throws {
        try await onThread {
            let world = try LocalWorld()
            try world.write("a", "1")
            let store = DecoratedStore(world.store)
            store.beforeCommit.withLock {
                $0 = { throw CASError(.unavailable, "away") }
            }
            let running = try Running(world, isPolling: false, store: store)
            try wait("the push after the failure") { try tree(world) != nil }
            #expect(running.failures.map(\.message) == ["away"])
            try running.end()
            let isRecovered = running.events.withLock { events in
                events.contains { if case .recovered = $0 { true } else { false } }
            }
            #expect(isRecovered)
        }
    }

    @Test func `a push that is too large is told of, and the watch goes on`() async throws {
        try await onThread {
            let world = try LocalWorld()
            try world.write("a", "1")
            let running = try Running(world, isPolling: false)
            try wait("the first push") { try tree(world) != nil }
            try world.write("large", SeededGenerator.text(seed: 1, count: 3 << 20))
            try wait("the refusal") { !running.failures.isEmpty }
            try DirectoryHandle(path: world.workspace).removeFile(Array("large".utf8))
            try world.write("b", "2")
            let wanted = try freshTree(world)
            try wait("the push after it") { try tree(world) == wanted }
            try running.end()
        }
    }

    @Test(arguments: [false, true])
    func `it ends when the directory is gone`(isPolling: Bool) async throws {
        try await onThread {
            let world = try LocalWorld()
            try world.write("a", "1")
            let running = try Running(world, isPolling: isPolling)
            try wait("the first push") { try tree(world) != nil }
            try Host.removeTree(world.workspace)
            let error = #expect(throws: CASError.self) { try running.join() }
            #expect(error?.code == .notFound)
        }
    }

    @Test func `it ends when the store refuses the caller`() async throws {
        try await onThread {
            let world = try LocalWorld()
            try world.write("a", "1")
            let store = DecoratedStore(world.store)
            store.beforeCommit.withLock {
                $0 = { throw CASError(.unauthenticated, "no such token") }
            }
            let running = try Running(world, isPolling: false, store: store)
            let error = #expect(throws: CASError.self) { try running.join() }
            #expect(error?.code == .unauthenticated)
        }
    }
}

/// Changes a directory at random, as people and their tools do.
struct RandomEditor {
    var generator: SeededGenerator
    private let root: String
    private var counter = 0

    init(seed: UInt64, root: String) {
        generator = SeededGenerator(seed: seed)
        self.root = root
    }

    /// Makes some changes; those that can not be made are none.
    mutating func edit(_ count: Int) throws {
        for _ in 0..<count {
            do { try edit() } catch let error as CASError {
                guard
                    [
                        .notFound, .alreadyExists, .failedPrecondition, .invalidArgument,
                        .internalError,
                    ]
                    .contains(error.code)
                else { throw error }
            }
        }
    }

    private mutating func edit() throws {
        let (directories, files) = try entries()
        let directory = directories.randomElement(using: &generator) ?? ""
        let file = files.randomElement(using: &generator)
        counter += 1
        switch Int.random(in: 0..<10, using: &generator) {
        case 0, 1: try write("\(directory)/f\(counter)")
        case 2:
            let deep = (0..<4).map { "d\(counter)-\($0)" }.joined(separator: "/")
            try DiskFileSystem().createDirectory("\(root)\(directory)/\(deep)")
            try write("\(directory)/\(deep)/f")
        case 3: if let file { try DiskFileSystem().remove(root + file) }
        case 4: if let file { try rename(file, "\(directory)/r\(counter)") }
        case 5:
            if let other = directories.randomElement(using: &generator), other != "" {
                try rename(other, "\(directory)/m\(counter)")
            }
        case 6: if directory != "" { try Host.removeTree(root + directory) }
        case 7:
            // By rename, as editors save.
            if let file {
                try write("/.new")
                try rename("/.new", file)
            }
        default: if let file { try write(file) }
        }
    }

    private func rename(_ old: String, _ new: String) throws {
        try DiskFileSystem().rename(root + old, to: root + new)
    }

    private mutating func write(_ path: String) throws {
        let bytes = generator.bytes(Int.random(in: 1..<40, using: &generator))
        let full = root + path
        let parent = try DirectoryHandle(path: FilePaths.parent(full))
        let name = Array(FilePaths.name(full).utf8)
        try parent.removeFile(name)
        let file = try parent.createFile(name, permissions: 0o644)
        try bytes.withUnsafeBytes { try file.write($0) }
    }

    private func entries() throws -> (directories: [String], files: [String]) {
        var directories = [""]
        var files: [String] = []
        var next = 0
        while next < directories.count {
            let path = directories[next]
            next += 1
            var below: [(String, Bool)] = []
            try DirectoryHandle(path: root + path).list { name, kind in
                below.append((String(decoding: name, as: UTF8.self), kind == .directory))
            }
            for (name, isDirectory) in below.sorted(by: { $0.0 < $1.0 }) {
                if isDirectory {
                    directories.append("\(path)/\(name)")
                } else {
                    files.append("\(path)/\(name)")
                }
            }
        }
        return (directories, files)
    }
}
