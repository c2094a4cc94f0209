import CASFileSystem
import Foundation
import Testing

/// `cas gc`, `cas why` and `cas purge`.
@Suite(.timeLimit(.minutes(10))) struct CollectionCommandTests {
    private static let absent = "sha256:" + String(repeating: "0", count: 64)
    /// SHA-256 of `print(1)` and a line feed.
    private static let code =
        "sha256:cc42155088fca5730758db72b2a5bca33112a941dfaa2d43098ec422ce4ea213"

    private func pushed() throws -> CommandLineFixture {
        let fixture = try CommandLineFixture()
        try fixture.write("work/train.py", "print(1)\n")
        try fixture.write("work/noise", String(repeating: "x", count: 40_000))
        #expect(try fixture.run(words("push work --to team/project:v1")).status == 0)
        return fixture
    }

    private func words(_ line: String) -> [String] { line.split(separator: " ").map(String.init) }

    @Test func `a collection says what it freed, and why it freed nothing`() throws {
        let fixture = try CommandLineFixture()
        try fixture.cas("gc")
        try fixture.write("work/train.py", "print(1)\n")
        #expect(try fixture.run(words("push work --to team/project:v1")).status == 0)
        try fixture.cas("gc")
        try fixture.cas("rm team/project:v1")
        try fixture.cas("gc")
        #expect(try fixture.run(words("rule set team/* --history 0s")).status == 0)
        let dry = try fixture.run(words("gc --dry-run"))
        #expect(dry.status == 0 && dry.output.isEmpty)
        #expect(dry.errors.contains("could be freed\n"), "\(dry.errors)")
        let real = try fixture.run(words("gc"))
        #expect(real.status == 0 && real.output.isEmpty)
        #expect(real.errors.contains("deleted ") && real.errors.contains(", freed "))
        try fixture.cas("gc --json")
        try fixture.cas("gc now")
        try Snapshot.check(fixture, "gc")
    }

    @Test func `what keeps something is told with the path to it`() throws {
        let fixture = try pushed()
        try fixture.cas("why team/project:v1")
        try fixture.cas("why \(Self.code)")
        try fixture.cas("why \(Self.code) --json")
        try fixture.cas("pin team/project:v1")
        try fixture.cas("rm team/project:v1")
        try fixture.cas("why \(Self.code)")
        try fixture.cas("why \(Self.absent)")
        try fixture.cas("why team/nothing")
        try fixture.cas("why")
        try Snapshot.check(fixture, "why")
    }

    @Test func `a purge says what held it, and nothing brings it back`() throws {
        let fixture = try pushed()
        try fixture.cas("purge \(Self.code) --reason key --dry-run")
        try fixture.cas("purge \(Self.code) --reason key")
        // Only its bytes are looked for; at once, not once the patience for other collections is over.
        try fixture.cas("purge \(Self.code) --reason key --json")
        try fixture.cas("fetch team/project:v1 copy")
        try fixture.cas("push work --to team/project:v2")
        try fixture.cas("purge team/project:v1 --reason licence")
        try fixture.cas("ls")
        try fixture.cas("purge \(Self.absent) --reason key")
        try fixture.cas("purge \(Self.code)")
        try fixture.cas(["purge", Self.code, "--reason", ""])
        try Snapshot.check(fixture, "purge")
    }

    @Test func `over a server each takes its rights`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        var tokens: [String: String] = [:]
        for (name, scope) in [
            ("admin", "admin"), ("ann", "read+write:team"), ("bob", "read:other"),
        ] {
            let made = try fixture.run(
                words("token create \(name) --scope \(scope) --store store"))
            tokens[name] = made.output.trimmingCharacters(in: .newlines)
        }
        let address = try fixture.serve("--store store --listen 0.0.0.0:0 --plaintext")
            .replacingOccurrences(of: "0.0.0.0", with: "127.0.0.1")
        func environment(_ name: String) -> [String: String] {
            ["CAS_SERVER": address, "CAS_TOKEN": tokens[name] ?? ""]
        }
        func cas(_ line: String, _ name: String) throws -> CommandLineFixture.Result {
            try fixture.run(words(line), environment: environment(name))
        }
        let push = try cas("push work --to team/project", "ann")
        #expect(push.status == 0, "\(push.errors)")
        let digest = try #require(push.output.split(separator: "@").last)
            .trimmingCharacters(in: .newlines)
        let why = try cas("why \(digest)", "ann")
        #expect(why.status == 0 && why.output.contains("team/project:latest"), "\(why.errors)")
        let hidden = try cas("why \(digest)", "bob")
        #expect(!hidden.output.contains("team"), "\(hidden.output)")
        #expect(!hidden.errors.contains("team/project"), "\(hidden.errors)")
        for line in ["gc", "purge \(digest) --reason x"] {
            let refused = try cas(line, "ann")
            #expect(refused.status == 1 && refused.output.isEmpty)
            #expect(refused.errors.contains("admin"), "\(refused.errors)")
        }
        let collected = try cas("gc --json", "admin")
        #expect(collected.status == 0 && collected.output.hasPrefix("{"), "\(collected.errors)")
        let purged = try cas("purge team/project --reason licence", "admin")
        #expect(purged.status == 0 && purged.output.contains("team/project:latest"))
        #expect(try cas("fetch team/project copy", "ann").status == 1)
        #expect(try fixture.stopServer() == 0)
    }

    @Test func `a server collects by itself and says so in one line`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let server = ["CAS_SERVER": try fixture.serve("--store store --collect-every 1s")]
        #expect(
            try fixture.run(words("push work --to team/project"), environment: server).status == 0)
        var log = ""
        while !log.contains("\"message\":\"collection\"") {
            log = try fixture.read("home/.server-errors")
        }
        #expect(try fixture.stopServer() == 0)
        #expect(log.contains("\"freedBytes\":\""), "\(log)")
    }
}
