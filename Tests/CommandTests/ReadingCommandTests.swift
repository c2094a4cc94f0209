import Foundation
import Testing

/// What the commands print that read refs and trees, with a store on this machine.
@Suite struct ReadingCommandTests {
    private func pushed() throws -> CommandLineFixture {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        _ = try fixture.run(["push", "work", "--to", "team/project:v1", "--message", "one"])
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.write("work/notes/today.txt", "text")
        try FileManager.default.removeItem(atPath: fixture.path("work/train.py"))
        try FileManager.default.createSymbolicLink(
            atPath: fixture.path("work/link"), withDestinationPath: "model.py")
        _ = try fixture.run(["push", "work", "--to", "team/project", "--message", "two"])
        return fixture
    }

    @Test func `ls lists refs and trees`() throws {
        let fixture = try pushed()
        try fixture.cas("ls")
        try fixture.cas("ls team/")
        try fixture.cas("ls other/")
        try fixture.cas("ls team/project")
        try fixture.cas("ls team/project data")
        try fixture.cas("ls team/project model.py")
        try fixture.cas("ls team/project no/such/path")
        try fixture.cas("ls team/project:v1 --recursive --json")
        try Snapshot.check(fixture, "ls")
    }

    @Test func `ls shows modes, sizes and times`() throws {
        let fixture = try pushed()
        let lines = try fixture.run(["ls", "team/project:v1", "--long", "-R"]).output
        #expect(lines.contains(/-rwxr-xr-x +44  2023-11-14T22:13:20Z  [0-9a-f]{12}  run\.sh/))
        #expect(
            lines.contains(/-rw-r--r-- +8  2023-11-14T22:13:20Z  [0-9a-f]{12}  data\/labels\.csv/))
    }

    @Test func `cat prints one file`() throws {
        let fixture = try pushed()
        try fixture.cas("cat team/project model.py")
        try fixture.cas("cat team/project data")
        try fixture.cas("cat team/project link")
        try fixture.cas("cat team/project nothing")
        try Snapshot.check(fixture, "cat")
    }

    @Test func `cat prints a large file whole`() throws {
        let fixture = try CommandLineFixture()
        var generator = SystemRandomNumberGenerator()
        let seed = generator.next()
        var state = seed
        let bytes = (0..<3_000_000).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 56)
        }
        // Twice the same bytes: chunks that repeat come once or twice, and both are right.
        let content = Data(bytes + bytes)
        try fixture.write("work/small", "x")
        try content.write(to: URL(fileURLWithPath: fixture.path("work/large")))
        #expect(try fixture.run(["push", "work", "--to", "p"]).status == 0)
        let result = try fixture.run(["cat", "p", "large"])
        #expect(result.status == 0, "\(result.errors)")
        let printed = try Data(contentsOf: URL(fileURLWithPath: fixture.path("home/.output")))
        #expect(printed == content, "seed \(seed)")
    }

    @Test func `log shows the history of a ref`() throws {
        let fixture = try pushed()
        try fixture.cas("tag team/project:v1 team/project --message back")
        try fixture.cas("rm team/project")
        try fixture.cas("log team/project")
        try fixture.cas("log team/project --limit 1 --json")
        try fixture.cas("log team/nothing")
        try fixture.cas("log team/project --limit 0")
        try Snapshot.check(fixture, "log")
    }

    @Test func `a commit of git is in the history`() throws {
        let fixture = try pushed()
        let commit = String(repeating: "0123456789", count: 4)
        try fixture.write("work/.git/HEAD", "ref: refs/heads/main\n")
        try fixture.write("work/.git/packed-refs", "# pack-refs\n\(commit) refs/heads/main\n")
        _ = try fixture.run(["push", "work/data", "--to", "g"])
        let log = try fixture.run(["log", "g"]).output
        #expect(log.contains("commit 012345678901"))
    }

    @Test func `diff shows changes by content`() throws {
        let fixture = try pushed()
        try fixture.cas("diff team/project:v1 team/project")
        try fixture.cas("diff team/project team/project")
        try fixture.cas("diff team/project:v1 team/project --json")
        try fixture.cas("diff a.example/x b.example/x")
        try Snapshot.check(fixture, "diff")
    }

    @Test func `tag and rm move refs`() throws {
        let fixture = try pushed()
        try fixture.cas("tag team/project team/project:good")
        try fixture.cas("tag team/project:v1 team/project:good --if-match none")
        try fixture.cas("tag team/project:v1 team/project:good --json")
        try fixture.cas("rm team/project:good --json")
        try fixture.cas("rm team/project:good")
        try fixture.cas("tag team/project sha256:00")
        try Snapshot.check(fixture, "tag-rm")
    }

    @Test func `usage shows what the store holds`() throws {
        let fixture = try pushed()
        try fixture.cas("usage")
        try fixture.cas("usage --json")
        try Snapshot.check(fixture, "usage")
    }
}
