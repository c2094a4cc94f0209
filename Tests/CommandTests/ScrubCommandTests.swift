import CASFileSystem
import Foundation
import Testing

/// `cas scrub` and `cas repair`.
@Suite(.timeLimit(.minutes(10))) struct ScrubCommandTests {
    /// Flips a bit in each record of a store where a text stands.
    private func damage(_ text: String, _ fixture: CommandLineFixture) throws {
        var changed = 0
        for name in try DiskFileSystem().list(fixture.path("store/packs")) {
            let url = URL(fileURLWithPath: fixture.path("store/packs/\(name)"))
            var bytes = try Data(contentsOf: url)
            guard let range = bytes.firstRange(of: Data(text.utf8)) else { continue }
            bytes[range.lowerBound] ^= 1
            try FileManager.default.setAttributes(
                [.posixPermissions: 0o644], ofItemAtPath: url.path)
            let file = try FileHandle(forWritingTo: url)
            try file.write(contentsOf: bytes)
            try file.close()
            changed += 1
        }
        #expect(changed == 1)
    }

    @Test func `a damaged store is found so, reported, repaired and sound again`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        #expect(try fixture.run(words("push work --to team/project --store store")).status == 0)
        try fixture.write("work/model.py", "answer = 43\n")
        #expect(try fixture.run(words("push work --to team/other --store store")).status == 0)
        #expect(try fixture.run(words("scrub --store store")).status == 0)
        try damage("answer = 42", fixture)
        let found = try fixture.cas("scrub --store store")
        #expect(found.status == 2)
        try fixture.cas("scrub --report --store store")
        try fixture.cas("repair --from work --store store")
        try fixture.write("backup/old/saved.py", "answer = 42\n")
        try fixture.cas("repair --from backup team/project --store store")
        try fixture.cas("scrub --report --store store")
        let sound = try fixture.run(words("scrub --json --store store"))
        #expect(sound.status == 0 && sound.output.contains("\"findings\": 0"))
        #expect(try fixture.run(words("fetch team/project copy --store store")).status == 0)
        #expect(try fixture.read("copy/model.py") == "answer = 42\n")
        try Snapshot.check(fixture, "scrub")
    }

    @Test func `an unchanged push heals a store behind a server that was scrubbed`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let address = try fixture.serve("--store store")
        let server = ["CAS_SERVER": address]
        #expect(
            try fixture.run(words("push work --to team/project"), environment: server).status == 0)
        #expect(try fixture.stopServer() == 0)
        try damage("answer = 42", fixture)
        let port = try #require(address.split(separator: ":").last)
        _ = try fixture.serve("--store store --listen 127.0.0.1:\(port)")
        #expect(try fixture.run(words("scrub"), environment: server).status == 2)
        #expect(try fixture.run(words("scrub --report"), environment: server).status == 2)
        let push = try fixture.run(words("push work --to team/project"), environment: server)
        #expect(push.status == 0 && push.errors.contains("team/project:latest is unchanged"))
        #expect(try fixture.run(words("scrub"), environment: server).status == 0)
        #expect(try fixture.run(words("fetch team/project copy"), environment: server).status == 0)
        #expect(try fixture.read("copy/model.py") == "answer = 42\n")
        #expect(try fixture.stopServer() == 0)
    }

    @Test func `a report names what a token may read, and a scrub is an administrator's`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        for ref in ["team/project", "secret/project"] {
            #expect(try fixture.run(words("push work --to \(ref) --store store")).status == 0)
        }
        let token = try fixture.run(
            words("token create ann --scope read:team --store store")
        ).output.trimmingCharacters(in: .newlines)
        try damage("answer = 42", fixture)
        #expect(try fixture.run(words("scrub --store store")).status == 2)
        let address = try fixture.serve("--store store --listen 0.0.0.0:0 --plaintext")
            .replacingOccurrences(of: "0.0.0.0", with: "127.0.0.1")
        let mine = ["CAS_SERVER": address, "CAS_TOKEN": token]
        let report = try fixture.run(words("scrub --report"), environment: mine)
        #expect(report.status == 2 && report.output.contains("team/project"))
        #expect(!report.output.contains("secret"))
        let refused = try fixture.run(words("scrub"), environment: mine)
        #expect(refused.status == 1 && refused.errors.contains("'admin'"))
        #expect(try fixture.stopServer() == 0)
    }

    private func words(_ line: String) -> [String] {
        line.split(separator: " ").map(String.init)
    }
}
