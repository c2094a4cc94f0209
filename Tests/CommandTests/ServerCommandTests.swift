import CASFileSystem
import Foundation
import Testing

/// Commands through a server.
@Suite(.timeLimit(.minutes(10))) struct ServerCommandTests {
    @Test func `a loopback server takes pushes and fetches without credentials`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let server = ["CAS_SERVER": try fixture.serve("--store store")]
        try fixture.cas("push work --to team/project", environment: server)
        try fixture.cas("push work --to team/project", environment: server)
        try fixture.cas("ls", environment: server)
        try fixture.cas("ls team/project data", environment: server)
        try fixture.cas("cat team/project model.py", environment: server)
        try fixture.cas("fetch team/project copy", environment: server)
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.cas("status work --to team/project", environment: server)
        try fixture.cas("push work --to team/project:v2", environment: server)
        try fixture.cas("diff team/project team/project:v2", environment: server)
        try fixture.cas("tag team/project:v2 team/project", environment: server)
        try fixture.cas("fetch team/project copy", environment: server)
        try fixture.cas("verify team/project copy", environment: server)
        try fixture.cas("run team/project -- ./run.sh", environment: server)
        try fixture.cas("rm team/project:v2", environment: server)
        try fixture.cas("log team/project", environment: server)
        try fixture.cas("doctor", environment: server)
        #expect(try fixture.stopServer() == 0)
        try Snapshot.check(fixture, "server")
    }

    @Test func `a reference with a host goes to that server`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let host = try fixture.serve("--store store").dropFirst("http://".count)
        #expect(try fixture.run(["push", "work", "--to", "\(host)/team/x"]).status == 0)
        #expect(try fixture.run(["ls", "\(host)/team/x", "data"]).output == "labels.csv\n")
        #expect(try fixture.run(["fetch", "cas://\(host)/team/x", "copy"]).status == 0)
        #expect(try DiskFileSystem().status(fixture.path("home/.local")) == nil)
        let second = try fixture.run(["serve", "--store", "other", "--listen", String(host)])
        #expect(second.status == 1)
        #expect(second.output.isEmpty)
        #expect(
            second.errors.hasPrefix(
                "error: the server can not listen on \(host): another program uses the port\n"),
            "\(second.errors)")
        #expect(!second.errors.contains("stopped"), "\(second.errors)")
    }

    @Test func `tokens limit what others may do, and end when they are revoked`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let make = ["token", "create", "ann", "--scope", "read+write:team", "--store", "store"]
        let token = try fixture.run(make).output.trimmingCharacters(in: .newlines)
        _ = try fixture.cas("token create reader --scope read --expires 30d --store store")
        let address = try fixture.serve("--store store --listen 0.0.0.0:0 --plaintext")
            .replacingOccurrences(of: "0.0.0.0", with: "127.0.0.1")
        let base = ["CAS_SERVER": address]
        try fixture.cas("ls", environment: base)
        try fixture.cas("push work --to team/x", environment: base)
        let wrong = "cas_\(String(repeating: "0", count: 32))_\(String(repeating: "0", count: 64))"
        try fixture.cas("ls", environment: base.merging(["CAS_TOKEN": wrong]) { $1 })
        try fixture.write("token", token + "\n", permissions: 0o600)
        let mine = base.merging(["CAS_TOKEN_FILE": fixture.path("token")]) { $1 }
        try fixture.cas("push work", environment: mine)
        try fixture.cas("push work --to other/x", environment: mine)
        try fixture.cas("ls", environment: mine)
        try fixture.cas("rm team/work", environment: mine)
        try fixture.cas("token list", environment: mine)
        try fixture.cas("doctor", environment: mine)
        try fixture.cas("login \(address)", input: token + "\n")
        #expect(
            try DiskFileSystem().status(fixture.path("home/.config/cas/credentials"))?.permissions
                == 0o600)
        try fixture.cas("ls", environment: base)
        #expect(try fixture.stopServer() == 0)
        let list = try fixture.cas("token list --store store").output
        let line = try #require(list.split(separator: "\n").first { $0.contains("  ann  ") })
        let identifier = String(line.prefix(32))
        try fixture.cas("token revoke \(identifier) --store store")
        let again = try fixture.serve("--store store --listen 0.0.0.0:0 --plaintext")
            .replacingOccurrences(of: "0.0.0.0", with: "127.0.0.1")
        try fixture.cas(
            "ls", environment: ["CAS_SERVER": again, "CAS_TOKEN_FILE": fixture.path("token")])
        try Snapshot.check(fixture, "tokens")
    }

    @Test func `a token goes to its own server only`() throws {
        let fixture = try CommandLineFixture()
        let address = try fixture.serve("--store store --listen 0.0.0.0:0 --plaintext")
            .replacingOccurrences(of: "0.0.0.0", with: "127.0.0.1")
        let result = try fixture.run(
            ["ls", "--server", address],
            environment: ["CAS_SERVER": "https://cas.example.com", "CAS_TOKEN": "cas_x"])
        #expect(result.status == 1)
        #expect(result.errors.contains("CAS_TOKEN belongs to the host of CAS_SERVER"))
    }

    @Test func `a server tells the addresses that it was given`() throws {
        let fixture = try CommandLineFixture()
        let address = try fixture.serve(
            "--store store --public-url https://CAS.example.org/ "
                + "--cluster-url http://cas.cas:8700 --registry-host 10.0.0.7:30500")
        let output = try fixture.run(["doctor", "--server", address]).output
        for line in [
            "ok  public-url   https://cas.example.org", "ok  cluster-url  http://cas.cas:8700",
            "ok  registry     10.0.0.7:30500",
        ] { #expect(output.contains(line + "\n"), "\(output)") }
    }

    @Test func `serve refuses what would open the store by accident`() throws {
        let fixture = try CommandLineFixture()
        try fixture.cas("serve --listen 0.0.0.0:8700 --store store")
        try fixture.cas("serve --listen nowhere:at:all --store store")
        try fixture.cas("serve --listen foo --store store")
        try fixture.cas("serve --tls-certificate c.pem --tls-key k.pem --store store")
        try fixture.cas("serve --tls-certificate c.pem --store store")
        try fixture.cas("serve --plaintext --tls-certificate c.pem --tls-key k.pem --store store")
        try fixture.cas("serve --anonymous everything --store store")
        try fixture.cas("serve --cluster-url cas.cas:8700 --store store")
        try fixture.cas("serve --public-url ftp://cas.example.org --store store")
        try fixture.cas("serve --registry-host https://cas.example.org --store store")
        try fixture.write("other/file", "x")
        try fixture.cas("serve --store other")
        try Snapshot.check(fixture, "serve-refusals")
    }

    @Test func `a server that is not there is an error that says what to do`() throws {
        let fixture = try CommandLineFixture()
        try fixture.cas("ls --server http://127.0.0.1")
        try fixture.cas("ls http://127.0.0.1:1/team/x")
        try fixture.cas("ls http://127.0.0.1:1/")
        try fixture.cas("ls /")
        try fixture.cas("cat /team x")
        try fixture.cas("ls --server ftp://127.0.0.1")
        try fixture.cas("ls --server https://user:secret@cas.example.com")
        try fixture.cas(
            "ls", environment: ["CAS_SERVER": "http://127.0.0.1:1", "CAS_TOKEN_FILE": "missing"])
        try Snapshot.check(fixture, "no-server")
    }

    @Test func `an interrupted command says so and exits with 130`() throws {
        let fixture = try CommandLineFixture()
        try fixture.write("work/file", "x")
        let address = try fixture.serve("--store store")
        #expect(try fixture.run(["push", "work", "--to", "p", "--server", address]).status == 0)
        // A pipe that nobody writes to keeps the command waiting in a place we know.
        let process = Process()
        let input = Pipe()
        let errors = Pipe()
        process.executableURL = URL(fileURLWithPath: try CommandLineFixture.executable())
        process.arguments = ["login", address]
        process.environment = ["HOME": fixture.path("home")]
        process.standardInput = input
        process.standardError = errors
        try process.run()
        process.interrupt()
        process.waitUntilExit()
        let text = String(
            decoding: errors.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        // Before main has begun, the signal's own meaning counts.
        let isEarly = process.terminationReason == .uncaughtSignal
        #expect(isEarly || process.terminationStatus == 130, "\(text)")
        #expect(isEarly || text.contains("interrupted"))
        withExtendedLifetime(input) {}
    }
}
