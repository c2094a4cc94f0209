import CASCore
import CASFileSystem
import CASTestSupport
import Foundation
import Testing

/// `watch` and `fetch --follow`: commands that stay.
@Suite(.timeLimit(.minutes(10))) struct LiveCommandTests {
    /// A command that runs, its output in files.
    private final class Running {
        let process: ChildProcess
        let fixture: CommandLineFixture
        let name: String

        init(_ fixture: CommandLineFixture, _ name: String, _ arguments: [String]) throws {
            self.fixture = fixture
            self.name = name
            process = try ChildProcess(
                try CommandLineFixture.executable(), arguments,
                environment: [
                    "HOME": "\(fixture.root)/home", "USER": "ann", "PATH": "/usr/bin:/bin",
                    "LC_ALL": "C",
                ], directory: fixture.root, output: fixture.path("\(name).out"),
                errors: fixture.path("\(name).err"))
        }

        var output: String { get throws { try fixture.read("\(name).out") } }
        var errors: String { get throws { try fixture.read("\(name).err") } }

        /// Waits until something holds; the limit is for a bug, not for a slow machine.
        func wait(_ what: String, _ condition: () throws -> Bool) throws {
            for _ in 0..<3_000 {
                if try condition() { return }
                if !process.isRunning { break }
                Sleep.milliseconds(20)
            }
            let (output, errors) = (try output, try errors)
            Issue.record("\(name) never came to this: \(what)\n\(output)\n\(errors)")
            throw CASError(.deadlineExceeded, what)
        }

        func end(_ signal: Int32) -> Int32 {
            process.signal(signal)
            return process.wait().status
        }
    }

    private func lines(_ text: String) -> Int { text.split(separator: "\n").count }

    private func fetched(_ fixture: CommandLineFixture, _ name: String) -> String? {
        try? fixture.read(name)
    }

    @Test func `what is saved arrives where it is followed, and a command starts anew`() throws {
        let fixture = try CommandLineFixture()
        let address = try fixture.serve("--store store")
        try fixture.writeProject()
        let watch = try Running(
            fixture, "watch", ["watch", "work", "--to", "p:dev", "--server", address])
        try watch.wait("the first push") { lines(try watch.output) == 1 }
        let follow = try Running(
            fixture, "follow",
            [
                "fetch", "--follow", "p:dev", "pod", "--server", address, "--", "sh", "-c",
                "trap 'echo ended; exit 0' TERM; cat model.py; while :; do sleep 0.05; done",
            ])
        try follow.wait("the command's first run") { try follow.output.contains("answer = 42") }
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.write("work/new/deep/file.py", "new\n")
        try follow.wait("the command's second run") { try follow.output.contains("answer = 43") }
        #expect(try follow.output.contains("ended"))
        try follow.wait("the new file") { fetched(fixture, "pod/new/deep/file.py") == "new\n" }
        try fixture.write("pod/train.py", "my own\n")
        try fixture.write("work/train.py", "print(2)\n")
        try fixture.write("work/last.py", "last\n")
        try follow.wait("the last file") { fetched(fixture, "pod/last.py") == "last\n" }
        #expect(try fixture.read("pod/train.py") == "my own\n")
        try follow.wait("the word about the kept file") {
            try follow.errors.contains("left as you changed them:\n  train.py")
        }
        let second = try fixture.run(["watch", "work", "--to", "p:dev", "--server", address])
        #expect(second.status == 1)
        #expect(
            second.errors.contains(
                "another cas watch (process \(watch.process.identifier)) watches this directory"),
            "\(second.errors)")
        #expect(watch.end(SIGINT) == 0)
        #expect(try watch.errors.contains(" snapshots, "))
        #expect(follow.end(SIGTERM) == 0)
    }

    @Test func `a server that goes away and comes back ends neither`() throws {
        let fixture = try CommandLineFixture()
        let address = try fixture.serve("--store store")
        try fixture.writeProject()
        let watch = try Running(
            fixture, "watch", ["watch", "work", "--to", "p:dev", "--poll", "--server", address])
        try watch.wait("the first push") { lines(try watch.output) == 1 }
        let follow = try Running(
            fixture, "follow", ["fetch", "--follow", "p:dev", "pod", "--server", address])
        try follow.wait("the first fetch") { fetched(fixture, "pod/model.py") != nil }
        #expect(try fixture.stopServer(signal: SIGTERM) == 0)
        try follow.wait("the word that it is away") {
            try follow.errors.contains("trying again until it works")
        }
        try fixture.write("work/model.py", "answer = 43\n")
        try watch.wait("the word that it is away") { try watch.errors.contains("trying again in") }
        _ = try fixture.serve(
            "--store store --listen \(address.split(separator: "/").last ?? "")")
        try follow.wait("the update") { fetched(fixture, "pod/model.py") == "answer = 43\n" }
        try follow.wait("the word that it is back") { try follow.errors.contains("answers again") }
        #expect(try follow.errors.components(separatedBy: "until it works").count == 2)
        try watch.wait("the word that it works") { try watch.errors.contains("works again") }
        try fixture.write("pod/note", "x")
        #expect(watch.end(SIGTERM) == 0)
        #expect(follow.end(SIGINT) == 0)
    }

    @Test
    func `a command that ends by itself starts at the next update, and signals are passed on`()
        throws
    {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let push = ["push", "work", "--to", "p", "--store", "store"]
        #expect(try fixture.run(push).status == 0)
        let follow = try Running(
            fixture, "follow",
            [
                "fetch", "--follow", "p", "pod", "--store", "store", "--", "sh", "-c",
                "cat model.py; grep -q 44 model.py || exit 3; trap 'echo usr' USR1; "
                    + "trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done",
            ])
        try follow.wait("its end") { try follow.errors.contains("ended with status 3") }
        try fixture.write("work/model.py", "answer = 44\n")
        #expect(try fixture.run(push).status == 0)
        try follow.wait("its second run") { try follow.output.contains("ready") }
        follow.process.signal(SIGUSR1)
        try follow.wait("the signal") { try follow.output.contains("usr") }
        #expect(follow.end(SIGTERM) == 5)
    }

    @Test func `bad uses are refused`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --to p")
        try fixture.cas("fetch p pod -- true")
        try fixture.cas("fetch --follow p pod --force")
        let digest = String(repeating: "ab", count: 32)
        try fixture.cas("fetch --follow sha256:\(digest) pod")
        try fixture.cas("watch no-such-directory --to p")
        try fixture.cas("watch work --to sha256:\(digest)")
        try Snapshot.check(fixture, "live-refusals")
    }
}
