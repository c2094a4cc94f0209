import CASCore
import CASFileSystem
import CASTestSupport
import Glibc
import Testing

/// `cas publish` on disks that fill up, under calls that fail, killed, and watches that run out.
@Suite(.timeLimit(.minutes(10))) struct PublishFaultTests {
    /// What is visible on a volume, and that all of it is whole.
    private func check(_ volume: String, _ models: [String: TreeModel]) throws -> Set<String> {
        guard try DiskFileSystem().status(volume) != nil else { return [] }
        let names = try DiskFileSystem().list(volume).filter { !$0.hasPrefix(".") }
        for name in names where name != "current" {
            let model = try #require(models[name], "\(name) is no version")
            let found = try TreeModel(reading: "\(volume)/\(name)")
            #expect(Set(found.entries.keys) == Set(model.entries.keys))
            for (path, entry) in model.entries {
                #expect(found.entries[path]?.content == entry.content)
            }
        }
        if names.contains("current") {
            let target = try DirectoryHandle(path: volume).readLink(Array("current".utf8))
            #expect(names.contains(String(decoding: target, as: UTF8.self)))
        }
        return Set(names)
    }

    /// A world with two versions in its store, and both by their names.
    private func makeWorld() throws -> (
        world: ProcessWorld, models: [String: TreeModel], names: [String]
    ) {
        let world = try ProcessWorld()
        var workspace = try SmallWorkspace(world.path("work"), seed: 3)
        var models: [String: TreeModel] = [:]
        var names: [String] = []
        for tag in ["one", "two"] {
            let line = try world.succeed(
                ["push", workspace.directory, "--to", "p:\(tag)"] + world.local)
            let name = String(line.suffix(64))
            names.append(name)
            models[name] = workspace.model
            try workspace.edit()
        }
        return (world, models, names)
    }

    @Test func `a volume that fills up shows nothing half`() async throws {
        try await onThread {
            let (world, models, names) = try makeWorld()
            var outcomes: Set<Bool> = []
            for pages in stride(from: 8, through: 1_200, by: 149) {
                let disk = try SmallDisk(world.path("volume"), kilobytes: pages * 4)
                let result = try world.run(["publish", "p:one", disk.path] + world.local)
                outcomes.insert(result.status == 0)
                let seen = try check(disk.path, models)
                if result.status != 0 {
                    #expect(result.errors.lowercased().contains("no space"), "\(result.errors)")
                    #expect(seen == [])
                    let hidden = try DiskFileSystem().list(disk.path).filter { $0 != ".cas" }
                    #expect(hidden == [], "\(pages) pages")
                    try disk.grow(kilobytes: 64 << 10)
                    try world.succeed(["publish", "p:one", disk.path] + world.local)
                }
                #expect(try check(disk.path, models) == [names[0], "current"])
            }
            #expect(outcomes.contains(false))
        }
    }

    @Test(arguments: [
        "openat", "mkdirat", "symlinkat", "linkat", "rename,renameat,renameat2", "fsync", "syncfs",
        "fchmod", "utimensat", "unlinkat", "write,pwrite64", "fcntl", "readlinkat",
    ])
    func `every call may fail once`(calls: String) async throws {
        try await onThread {
            let (world, models, names) = try makeWorld()
            let volume = world.path("volume")
            try world.succeed(["publish", "p:one", volume] + world.local)
            var generator = SystemRandomNumberGenerator()
            var failures = 0
            // Counted for each thread: the first ones are where it matters; a few of the later ones in the
            // short form.
            let random = (0..<1).map { _ in Int.random(in: 4...30, using: &generator) }
            for number in TestForm.isFull ? Array(1...80) : Array(1...3) + random {
                let result = try world.run(
                    ["publish", "p:two", volume, "--grace", "0s"] + world.local,
                    wrapper: [
                        "/usr/bin/strace", "-f", "-qq", "-o", "/dev/null", "-e", "trace=\(calls)",
                        "-e", "inject=\(calls):error=EIO:when=\(number)",
                    ])
                let seen = try check(volume, models)
                #expect(seen.contains("current"), "\(calls) \(number)")
                failures += result.status == 0 ? 0 : 1
                // Back to where it was; whatever the failure left has to be no trouble.
                try world.succeed(["publish", "p:one", volume, "--grace", "0s"] + world.local)
                #expect(try check(volume, models).isSuperset(of: [names[0], "current"]))
            }
            print("\(calls): \(failures) failures")
        }
    }

    @Test func `a publisher that is killed leaves whole versions only`() async throws {
        try await onThread {
            let (world, models, names) = try makeWorld()
            let volume = world.path("volume")
            for number in 0..<30 {
                let tag = number.isMultiple(of: 2) ? "one" : "two"
                let command = try world.start(
                    ["publish", "p:\(tag)", volume, "--grace", "0s"] + world.local)
                usleep(UInt32.random(in: 0..<120_000))
                command.process.signal(SIGKILL)
                _ = try command.wait()
                _ = try check(volume, models)
            }
            try world.succeed(["publish", "p:two", volume, "--grace", "0s"] + world.local)
            #expect(try check(volume, models).isSuperset(of: [names[1], "current"]))
            let hidden = try DiskFileSystem().list(volume).filter { $0.hasPrefix(".") }
            #expect(hidden == [".cas"])
        }
    }

    @Test func `a watch without enough watches looks instead`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            for number in 0..<20 {
                try DiskFileSystem().createDirectory(world.path("work/d\(number)"))
            }
            let file = world.path("work/d3/file")
            func write(_ text: String) throws {
                let files = DiskFileSystem()
                if try files.status(file) != nil { try files.remove(file) }
                let handle = try files.open(file, .create)
                try Array(text.utf8).withUnsafeBytes { try handle.append($0) }
                handle.close()
            }
            try write("1")
            // The limit is that of a user in a name space of its own.
            let command = try world.start(
                ["watch", world.path("work"), "--to", "p"] + world.local,
                wrapper: [
                    "/usr/bin/unshare", "-U", "-r", "/bin/sh", "-c",
                    "echo 5 >/proc/sys/user/max_inotify_watches && exec \"$@\"", "sh",
                ])
            func lines() throws -> Int {
                try text("\(command.name).output").split(separator: "\n").count
            }
            func wait(_ count: Int) throws {
                for _ in 0..<3_000 where try lines() < count {
                    let errors = try text("\(command.name).errors")
                    try #require(command.process.isRunning, "\(errors)")
                    usleep(20_000)
                }
                let seen = try lines()
                #expect(seen >= count)
            }
            try wait(1)
            try write("2, and more")
            try wait(2)
            #expect(
                try text("\(command.name).errors").contains(
                    "more directories than this user may watch"))
            command.process.signal(SIGINT)
            #expect(try command.wait().status == 0)
        }
    }
}
