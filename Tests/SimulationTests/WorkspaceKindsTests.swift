import CASCore
import CASFileSystem
import CASTestSupport
import Glibc
import Testing

/// Workspaces as other programs make them, and very large ones.
@Suite struct WorkspaceKindsTests {
    @Test func `a virtual environment fetched to where it was made runs`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            let made = try world.tool(
                ["python3", "-m", "venv", "--without-pip", world.path("environment")])
            try #require(made.status == 0, "\(made.errors)")
            let script = "import sys, sysconfig; sys.path.insert(0, sysconfig.get_path('purelib'));"
            let place = try world.tool(
                [
                    world.path("environment/bin/python"), "-c",
                    script + "open(sysconfig.get_path('purelib') + '/answer.py', 'w')"
                        + ".write('value = 42')",
                ])
            try #require(place.status == 0, "\(place.errors)")
            try world.succeed(["push", world.path("environment"), "--to", "env"] + world.local)
            let before = try TreeModel(reading: world.path("environment"))
            try Host.removeTree(world.path("environment"))
            let fetched = try world.fetched("env", world.local, into: "environment")
            let differences = fetched.differences(from: before).filter {
                !$0.contains("__pycache__") && !$0.contains("directory")
            }
            #expect(differences.isEmpty, "\(differences)")
            let run = try world.tool(
                [
                    world.path("environment/bin/python"), "-c",
                    "import answer, sys; print(answer.value, sys.prefix)",
                ])
            #expect(run.output == "42 \(world.path("environment"))\n", "\(run.errors)")
        }
    }

    @Test func `one commit cloned under two umasks is one tree, and no file is sent twice`()
        async throws
    {
        try await onThread {
            let world = try ProcessWorld()
            _ = try SmallWorkspace(world.path("origin"), seed: 1)
            let git = ["git", "-c", "user.name=ann", "-c", "user.email=ann@example.com"]
            for words in [["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]] {
                let result = try world.tool(git + words, directory: "origin")
                try #require(result.status == 0, "\(result.errors)")
            }
            var trees: Set<String> = []
            for (round, umask) in ["022", "002"].enumerated() {
                let clone = try world.tool(
                    ["sh", "-c", "umask \(umask) && git clone -q origin clone\(umask)"])
                try #require(clone.status == 0, "\(clone.errors)")
                let result = try world.run(
                    ["push", world.path("clone\(umask)"), "--to", "p", "--json"] + world.local)
                #expect(result.status == 0, "\(result.errors)")
                let tree = try #require(result.output.firstMatch(of: /"tree": "([^"]+)"/))
                trees.insert(String(tree.output.1))
                let new = try #require(result.output.firstMatch(of: /"newFiles": ([0-9]+)/))
                #expect((new.output.1 == "0") == (round == 1), "\(result.output)")
            }
            #expect(trees.count == 1)
            let modes = try ["022", "002"].map {
                try TreeModel(reading: world.path("clone\($0)")).entries[Array("large".utf8)]?.mode
            }
            #expect(modes == [0o644, 0o664], "the umasks made no difference: nothing was shown")
        }
    }

    @Test func `a path of 4,000 bytes travels`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            // Beyond what one path may have, whatever stands before it.
            let name = String(repeating: "d", count: 199)
            let levels = TestForm.isFull ? 40 : 20
            let make = "for i in $(seq \(levels)); do mkdir \(name) && cd \(name) || exit 1; done;"
            try DiskFileSystem().createDirectory(world.path("work"))
            let made = try world.tool(["bash", "-c", make + "echo deep > file"], directory: "work")
            try #require(made.status == 0, "\(made.errors)")
            try world.succeed(["push", world.path("work"), "--to", "p"] + world.local)
            try world.succeed(["fetch", "p", world.path("copy")] + world.local)
            let read = "for i in $(seq \(levels)); do cd \(name) || exit 1; done; cat file"
            let result = try world.tool(["bash", "-c", read], directory: "copy")
            #expect(result.output == "deep\n", "\(result.errors)")
            try world.succeed(["verify", "p", world.path("copy")] + world.local)
            try world.succeed(["push", world.path("copy"), "--to", "p"] + world.local)
        }
    }

    @Test func `a directory of very many files travels`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            let count = TestForm.isFull ? 100_000 : 5_000
            let work = world.path("work")
            try DiskFileSystem().createDirectory(work)
            let directory = try DirectoryHandle(path: work)
            for number in 0..<count {
                let name = Array("file\(number)".utf8)
                let file = try directory.createFile(name)
                try name.withUnsafeBytes { try file.write($0) }
            }
            try world.startServer()
            let push = try world.run(["push", work, "--to", "p"] + world.server)
            #expect(push.status == 0, "\(push.errors)")
            #expect(push.peakBytes < 512 << 20, "\(push.peakBytes >> 20) MiB")
            let fetch = try world.run(["fetch", "p", world.path("copy")] + world.server)
            #expect(fetch.status == 0, "\(fetch.errors)")
            #expect(fetch.peakBytes < 256 << 20, "\(fetch.peakBytes >> 20) MiB")
            TreeModel.expect(
                try TreeModel(reading: world.path("copy")), try TreeModel(reading: work), "many")
        }
    }

    @Test(.enabled(if: TestForm.isFull, "it takes minutes"))
    func `a file of 5 GiB travels in little memory`() async throws {
        try await onThread {
            let world = try ProcessWorld()
            try DiskFileSystem().createDirectory(world.path("work"))
            let path = world.path("work/large")
            let descriptor = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
            defer { close(descriptor) }
            try #require(ftruncate(descriptor, 5 << 30) == 0)
            try #require(pwrite(descriptor, "middle", 6, 3_000_000_000) == 6)
            let push = try world.run(
                ["push", world.path("work"), "--to", "p", "--large"] + world.local)
            #expect(push.status == 0, "\(push.errors)")
            #expect(push.peakBytes < 512 << 20, "\(push.peakBytes >> 20) MiB")
            let fetch = try world.run(["fetch", "p", world.path("copy")] + world.local)
            #expect(fetch.status == 0, "\(fetch.errors)")
            #expect(fetch.peakBytes < 256 << 20, "\(fetch.peakBytes >> 20) MiB")
            let compared = try world.tool(["cmp", path, world.path("copy/large")])
            #expect(compared.status == 0, "\(compared.output)\(compared.errors)")
        }
    }
}
