import CASFileSystem
import Foundation
import Testing

/// What the everyday commands print, with a store on this machine.
@Suite struct EverydayCommandTests {
    @Test func `push prints the snapshot and says what it did`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let first = try fixture.cas("push work").errors
        #expect(first.contains("new: 5 files, 110 B; "))
        #expect(first.contains("largest new files:\n  44 B  run.sh\n  33 B  train.py\n"))
        try fixture.cas("push work --to team/project --message first")
        try fixture.cas("push work --to team/project")
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.cas("push --to team/project", directory: "work")
        try Snapshot.check(fixture, "push")
    }

    @Test func `push as JSON is one document`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let result = try fixture.cas("push work --to team/project:v1 --json")
        let document = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
        let members = try #require(document as? [String: Any])
        #expect(members["ref"] as? String == "team/project:v1")
        try Snapshot.check(fixture, "push-json")
    }

    @Test func `a ref that expires says so`() throws {
        let fixture = try CommandLineFixture()
        try fixture.write("work/train.py", "print(1)\n")
        try fixture.cas("push work --to team/try --expires 7d")
        try fixture.cas("push work --to team/try --expires 7d --json")
        try fixture.cas("tag team/try team/try:short --expires 90m")
        try fixture.cas("tag team/try team/try:kept")
        try fixture.cas("ls")
        try fixture.cas("push work --to team/try")
        try fixture.cas("ls --json")
        try fixture.cas("push work --to team/try --expires soon")
        try fixture.cas("tag team/try team/try:long --expires 999999d")
        try Snapshot.check(fixture, "expires")
    }

    @Test func `push warns of links that leave, of secrets and of names that fold`() throws {
        let fixture = try CommandLineFixture()
        try fixture.write("work/.env", "PASSWORD=1\n")
        try fixture.write("work/readme", "a")
        try fixture.write("work/README", "b")
        try FileManager.default.createSymbolicLink(
            atPath: fixture.path("work/passwords"), withDestinationPath: "/etc/passwd")
        #expect(mkfifo(fixture.path("work/pipe"), 0o600) == 0)
        try fixture.cas("push work --to team/project")
        try Snapshot.check(fixture, "push-findings")
    }

    @Test func `push leaves out and brings back what flags and files say`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.write("work/.casignore", "!first.log\n")
        try fixture.cas(["push", "work", "--to", "p", "--exclude", "*.csv", "--include", "/build"])
        try fixture.cas("ls p --recursive")
        try Snapshot.check(fixture, "push-selection")
    }

    @Test func `a dry run changes nothing`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --dry-run")
        #expect(try DiskFileSystem().status(fixture.path("home/.local")) == nil)
        try fixture.cas("push work --to p")
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.cas("push work --to p --dry-run")
        try fixture.cas("log p")
        try Snapshot.check(fixture, "push-dry-run")
    }

    @Test func `push uses the project file`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.write(
            "work/cas.yaml", "to: team/from-file:v3\nexclude: ['*.csv']\nentry: train.py\n")
        try fixture.cas("push work/data")
        try fixture.cas("push work")
        try fixture.cas("config work")
        try Snapshot.check(fixture, "project-file")
    }

    @Test func `fetch, update and verify`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --to team/project")
        try fixture.cas("fetch team/project copy")
        try fixture.cas("verify team/project copy")
        try fixture.write("work/model.py", "answer = 43\n")
        try FileManager.default.removeItem(atPath: fixture.path("work/train.py"))
        try fixture.cas("push work --to team/project")
        try fixture.cas("fetch copy", environment: ["CAS_REF": "team/project"])
        #expect(try fixture.read("copy/model.py") == "answer = 43\n")
        #expect(try DiskFileSystem().status(fixture.path("copy/train.py")) == nil)
        try fixture.cas("fetch team/project copy --json")
        try fixture.cas("verify team/project copy --json")
        try Snapshot.check(fixture, "fetch")
    }

    @Test func `verify names what differs`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --to p")
        try fixture.cas("fetch p copy")
        try fixture.write("copy/model.py", "answer = 44\n")
        try fixture.write("copy/extra", "x")
        try FileManager.default.removeItem(atPath: fixture.path("copy/train.py"))
        try FileManager.default.setAttributes(
            [.posixPermissions: 0o600], ofItemAtPath: fixture.path("copy/run.sh"))
        try fixture.cas("verify p copy")
        try fixture.cas("verify p copy --json")
        try Snapshot.check(fixture, "verify")
    }

    @Test func `an update stops before the user's own changes`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --to p")
        try fixture.cas("fetch p copy")
        try fixture.write("copy/model.py", "answer = my own\n")
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.cas("push work --to p")
        try fixture.cas("fetch p copy")
        #expect(try fixture.read("copy/model.py") == "answer = my own\n")
        try fixture.cas("fetch p copy --keep")
        #expect(try fixture.read("copy/model.py") == "answer = my own\n")
        try fixture.cas("fetch p copy --force")
        #expect(try fixture.read("copy/model.py") == "answer = 43\n")
        try Snapshot.check(fixture, "fetch-conflict")
    }

    @Test func `run executes in a managed directory`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --to p")
        try fixture.cas("run p -- ./run.sh --epochs 3")
        let status = try fixture.cas(["run", "p", "--", "sh", "-c", "exit 7"]).status
        #expect(status == 7)
        let edit = "echo changed > model.py"
        _ = try fixture.run(["run", "p", "--", "sh", "-c", edit])
        let again = try fixture.run(["run", "p", "--", "cat", "model.py"])
        #expect(again.output == "answer = 42\n")
        #expect(again.errors.contains("restored, since"), "\(again.errors)")
        #expect(!again.errors.contains("--force"), "\(again.errors)")
        try fixture.cas("run p -- no-such-command")
        try fixture.cas("run p")
        try Snapshot.check(fixture, "run")
    }

    @Test func `status shows what a push would change`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("status work --to p")
        try fixture.cas("push work --to p")
        try fixture.cas("status work --to p")
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.write("work/new/file", "new")
        try FileManager.default.removeItem(atPath: fixture.path("work/data/labels.csv"))
        try fixture.cas("status work --to p")
        try Snapshot.check(fixture, "status")
    }
}
