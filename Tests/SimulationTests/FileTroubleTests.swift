import CASCore
import CASFileSystem
import CASTestSupport
import Glibc
import Testing

/// Files that change, vanish or can not be read while a push is under way.
@Suite struct FileTroubleTests {
    private static let largeBytes = 48 << 20

    /// A push that was stopped by a signal at a moment when it had the large file open.
    private func pushStoppedWhileReading(
        _ world: ProcessWorld, store: [String]
    ) throws -> ProcessWorld.Command {
        for _ in 0..<50 {
            try Host.removeTree(world.path("home/.cache"))
            let command = try world.start(["push", world.path("work"), "--to", "p"] + store)
            while command.process.isRunning {
                guard isOpen("/large", in: command.process.identifier) else { continue }
                command.process.signal(SIGSTOP)
                // Still open: it was not between the last byte and the end.
                if isOpen("/large", in: command.process.identifier) { return command }
                command.process.signal(SIGCONT)
            }
            _ = try command.wait()
        }
        throw CASError(.internalError, "the push was never seen reading")
    }

    private func isOpen(_ name: String, in process: pid_t) -> Bool {
        guard let stream = opendir("/proc/\(process)/fd") else { return false }
        defer { closedir(stream) }
        while let item = readdir(stream) {
            let number = withUnsafeBytes(of: item.pointee.d_name) {
                String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
            }
            var target = [CChar](repeating: 0, count: 4096)
            let count = readlink("/proc/\(process)/fd/\(number)", &target, 4095)
            guard count > 0 else { continue }
            let text = String(
                decoding: target.prefix(count).map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasSuffix(name) { return true }
        }
        return false
    }

    private func writeLarge(_ world: ProcessWorld) throws {
        try DiskFileSystem().createDirectory(world.path("work"))
        var generator = SeededGenerator(seed: 1)
        let file = try DirectoryHandle(path: world.path("work")).createFile(Array("large".utf8))
        let piece = generator.bytes(1 << 20)
        for number in 0..<Self.largeBytes >> 20 {
            var bytes = piece
            bytes[0] = UInt8(number)
            try bytes.withUnsafeBytes { try file.write($0) }
        }
    }

    /// Changes one byte of a file in place.
    private func touch(_ path: String, at offset: Int) throws {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        defer { close(descriptor) }
        var byte = UInt8.random(in: 0...255)
        guard pwrite(descriptor, &byte, 1, off_t(offset)) == 1 else {
            throw failure(Array(path.utf8))
        }
    }

    @Test func `a file that changes once while it is read is read again`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            try writeLarge(world)
            let command = try pushStoppedWhileReading(world, store: world.local)
            try touch(world.path("work/large"), at: Self.largeBytes - 1)
            try touch(world.path("work/large"), at: 0)
            command.process.signal(SIGCONT)
            let result = try command.wait()
            #expect(result.status == 0, "\(result.errors)")
            TreeModel.expect(
                try world.fetched("p", world.local),
                try TreeModel(reading: world.path("work")), "the file as it is now")
        }
    }

    @Test func `a file that goes on changing is named, and nothing is pushed`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            try writeLarge(world)
            let command = try world.start(
                ["push", world.path("work"), "--to", "p"] + world.local)
            var offset = 0
            while command.process.isRunning {
                offset = (offset + 4096) % Self.largeBytes
                try touch(world.path("work/large"), at: offset)
                usleep(500)
            }
            let result = try command.wait()
            #expect(result.status == 1)
            #expect(
                result.errors.contains("large: the file changes while it is read"),
                "\(result.errors)")
            #expect(try world.history("p", world.local).isEmpty)
            try world.succeed(["push", world.path("work"), "--to", "p"] + world.local)
        }
    }

    @Test func `files that vanish before they are read are named and left out`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            try writeLarge(world)
            let work = try DirectoryHandle(path: world.path("work"))
            let names = (0..<900).map { Array("small\($0)".utf8) }
            // Whether some were still to be read when the push was stopped, chance decides.
            for attempt in 1...20 {
                for name in names {
                    let file = try work.createFile(name)
                    try name.withUnsafeBytes { try file.write($0) }
                }
                let command = try pushStoppedWhileReading(world, store: world.local)
                for name in names { try work.removeFile(name) }
                command.process.signal(SIGCONT)
                let result = try command.wait()
                #expect(result.status == 0, "\(result.errors)")
                let fetched = try world.fetched("p", world.local)
                #expect(fetched.entries[Array("large".utf8)] != nil)
                for name in names {
                    guard let entry = fetched.entries[name] else { continue }
                    #expect(entry.content == .file(name))
                }
                if result.errors.contains("left out, since they vanished") {
                    #expect(fetched.entries.count < 900)
                    return
                }
                try #require(attempt < 20, "no file vanished in time: \(result.errors)")
            }
        }
    }

    @Test func `a file that can not be read is named, and nothing is pushed`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            let workspace = try SmallWorkspace(world.path("work"), seed: 1)
            let path = Array(world.path("work/package/file2").utf8)
            try #require(withPath(path) { chmod($0, 0) } == 0)
            // Root reads everything unless it gives up the right to.
            let wrapper =
                geteuid() == 0
                ? ["setpriv", "--inh-caps=-all", "--bounding-set=-dac_override,-dac_read_search"]
                : []
            let push = ["push", workspace.directory, "--to", "p"] + world.local
            let result = try world.run(push, wrapper: wrapper)
            #expect(result.status == 1)
            #expect(result.output.isEmpty)
            #expect(result.errors.contains("package/file2"), "\(result.errors)")
            #expect(result.errors.contains("ermission"), "\(result.errors)")
            #expect(result.errors.contains("hint: "), "\(result.errors)")
            #expect(try world.history("p", world.local).isEmpty)
            let without = try world.run(push + ["--exclude", "file2"], wrapper: wrapper)
            #expect(without.status == 0, "\(without.errors)")
        }
    }

    @Test func `an edit in the same tick of the clock, or under a time to come, is pushed`()
        async throws
    {
        try await onThread {
            let world = try ProcessWorld()
            try DiskFileSystem().createDirectory(world.path("work"))
            let path = world.path("work/file")
            var digests: Set<String> = []
            for round in 0..<30 {
                // In place, of the same size: time alone tells, and it is that of the last push.
                let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
                defer { close(descriptor) }
                let text = Array("content \(100 + round)".utf8)
                try #require(write(descriptor, text, text.count) == text.count)
                // Clocks that were set back leave files of tomorrow behind.
                let time = timespec(tv_sec: 4_000_000_000, tv_nsec: 7)
                if round % 2 == 1 { try #require(futimens(descriptor, [time, time]) == 0) }
                let line = try world.succeed(
                    ["push", world.path("work"), "--to", "p"] + world.local)
                digests.insert(line)
            }
            #expect(digests.count == 30)
            TreeModel.expect(
                try world.fetched("p", world.local),
                try TreeModel(reading: world.path("work")), "the last edit")
        }
    }
}
