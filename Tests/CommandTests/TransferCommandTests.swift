import CASFileSystem
import CASTestSupport
import Foundation
import Testing

/// A port of this machine that takes connections and never answers.
private final class SilentServer {
    private let descriptor: Int32
    let address: String

    init() throws {
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        self.descriptor = descriptor
        var name = sockaddr_in()
        name.sin_family = sa_family_t(AF_INET)
        name.sin_addr.s_addr = inet_addr("127.0.0.1")
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let isBound = withUnsafeMutablePointer(to: &name) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(descriptor, pointer, length) == 0 && listen(descriptor, 8) == 0
                    && getsockname(descriptor, pointer, &length) == 0
            }
        }
        address = "http://127.0.0.1:\(UInt16(bigEndian: name.sin_port))"
        try #require(isBound)
    }

    deinit { close(descriptor) }
}

/// `export`, `import` and `copy`.
@Suite(.timeLimit(.minutes(10))) struct TransferCommandTests {
    @Test func `export refs to a file, and import it elsewhere`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --to team/project:v1 --message first")
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.cas("push work --to team/project --expires 7d")
        try fixture.cas("export team/project:v1 team/project both.cas")
        try fixture.cas("export team/project both.cas")
        try fixture.cas("import both.cas --store other")
        try fixture.cas("import both.cas --store other --json")
        try fixture.cas("log team/project:v1 --store other")
        try fixture.cas("fetch team/project copy --store other")
        try fixture.cas("verify team/project copy")
        try fixture.cas("export team/project both.cas --force --json")
        try fixture.cas("push work/data --to team/project:v1 --store third")
        try fixture.cas("export team/project:v1 one.cas")
        try fixture.cas("import one.cas --store third")
        try fixture.cas("import one.cas --store third --force")
        #expect(try DiskFileSystem().list(fixture.root).filter { $0.hasSuffix(".new") } == [])
        try Snapshot.check(fixture, "export")
    }

    @Test func `what is no export is refused, and what can not be exported`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        try fixture.cas("push work --to p")
        try fixture.cas("export p p.cas")
        let whole = try Data(contentsOf: URL(fileURLWithPath: fixture.path("p.cas")))
        try whole.dropLast(10).write(to: URL(fileURLWithPath: fixture.path("cut.cas")))
        var damaged = whole
        damaged[whole.count / 2] ^= 1
        try damaged.write(to: URL(fileURLWithPath: fixture.path("damaged.cas")))
        try fixture.write("text.cas", "no export at all\n")
        try fixture.cas("import cut.cas --store other")
        // Not in the snapshot: which record the byte belongs to depends on the compressor.
        let result = try fixture.run(["import", "damaged.cas", "--store", "other"])
        #expect(result.status == 1 && result.errors.contains("damaged"), "\(result.errors)")
        try fixture.cas("import text.cas --store other")
        try fixture.cas("import - --store other", input: "no export at all\n")
        try fixture.cas("import gone.cas --store other")
        try fixture.cas("import work --store other")
        try fixture.cas("ls --store other")
        try fixture.cas("export no/such no.cas")
        try fixture.cas("export p work")
        try fixture.cas("export b.example/p a.example/q q.cas")
        try fixture.cas("export p a.example/q q.cas")
        try fixture.cas("export p")
        try fixture.cas("export p - --json")
        #expect(try DiskFileSystem().status(fixture.path("no.cas")) == nil)
        try Snapshot.check(fixture, "export-refusals")
    }

    @Test func `an export goes through a pipe`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        #expect(try fixture.run(["push", "work", "--to", "p"]).status == 0)
        let cas = try CommandLineFixture.executable()
        let pipe = Process()
        pipe.executableURL = URL(fileURLWithPath: "/bin/sh")
        pipe.arguments = [
            "-c", "set -e; \"$0\" export p - | \"$0\" import - --store other", cas,
        ]
        pipe.currentDirectoryURL = URL(fileURLWithPath: fixture.root)
        pipe.environment = ["HOME": "\(fixture.root)/home", "PATH": "/usr/bin:/bin"]
        pipe.standardError = FileHandle.nullDevice
        pipe.standardOutput = FileHandle.nullDevice
        try pipe.run()
        pipe.waitUntilExit()
        #expect(pipe.terminationStatus == 0)
        #expect(
            try fixture.run(["cat", "p", "model.py", "--store", "other"]).output == "answer = 42\n")
    }

    @Test(arguments: [SIGINT, SIGTERM])
    func `an export that is interrupted leaves no file`(_ number: Int32) throws {
        let fixture = try CommandLineFixture()
        try fixture.write("out/before.cas", "an older one")
        // A server that takes connections and answers nothing.
        let silent = try SilentServer()
        let process = try ChildProcess(
            try CommandLineFixture.executable(),
            ["export", "p", "out/p.cas", "--server", silent.address],
            environment: ["HOME": "\(fixture.root)/home", "PATH": "/usr/bin:/bin"],
            directory: fixture.root, output: fixture.path("export.out"),
            errors: fixture.path("export.err"))
        func unfinished() throws -> [String] {
            try DiskFileSystem().list(fixture.path("out")).filter { $0.hasSuffix(".new") }
        }
        while try unfinished().isEmpty, process.isRunning { Sleep.milliseconds(20) }
        #expect(try unfinished().count == 1)
        process.signal(number)
        #expect(process.wait().status == 128 + number)
        #expect(try DiskFileSystem().list(fixture.path("out")) == ["before.cas"])
        if number == SIGINT {
            let errors = try fixture.read("export.err")
            #expect(errors.contains("interrupted: no file was written"), "\(errors)")
        }
    }

    @Test func `copy from one store to another sends what is new`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        let first = try fixture.serve("--store first")
        let second = try fixture.serve("--store second").dropFirst("http://".count)
        let host = first.dropFirst("http://".count)
        let from = ["CAS_SERVER": first]
        try fixture.cas("push work --to p --message first", environment: from)
        try fixture.cas("copy p \(second)/team/p", environment: from)
        try fixture.cas("copy p \(second)/team/p", environment: from)
        try fixture.write("work/model.py", "answer = 43\n")
        try fixture.cas("push work --to p --message second --expires 7d", environment: from)
        try fixture.cas("copy \(host)/p \(second)/team/p --json")
        try fixture.cas("log \(second)/team/p")
        try fixture.cas("copy \(second)/team/p backup/p --store backup")
        try fixture.cas("fetch backup/p copy --store backup")
        try fixture.cas("verify \(host)/p copy")
        try fixture.cas("copy p q", environment: from)
        try fixture.cas("copy \(host)/p q", environment: from)
        try fixture.cas("copy \(host)/p \(second)/p --store backup")
        try fixture.cas("copy no/such \(second)/p", environment: from)
        try Snapshot.check(fixture, "copy")
    }

    @Test func `each host gets its own credentials`() throws {
        let fixture = try CommandLineFixture()
        try fixture.writeProject()
        func serve(_ store: String, _ scope: String) throws -> (host: String, token: String) {
            let made = try fixture.run(
                ["token", "create", "ann", "--scope", scope, "--store", store])
            let token = made.output.trimmingCharacters(in: .newlines)
            let address = try fixture.serve("--store \(store) --listen 0.0.0.0:0 --plaintext")
                .replacingOccurrences(of: "http://0.0.0.0", with: "127.0.0.1")
            return (address, token)
        }
        #expect(try fixture.run(["push", "work", "--to", "p", "--store", "first"]).status == 0)
        let first = try serve("first", "read")
        let second = try serve("second", "read+write:team")
        let words = ["copy", "\(first.host)/p", "\(second.host)/team/p"]
        let own = ["CAS_SERVER": "http://\(first.host)", "CAS_TOKEN": first.token]
        let refused = try fixture.run(words, environment: own)
        #expect(refused.status == 1)
        #expect(
            refused.errors.contains("CAS_TOKEN belongs to the host of CAS_SERVER"),
            "\(refused.errors)")
        let login = try fixture.run(
            ["login", "http://\(second.host)"], input: second.token + "\n")
        #expect(login.status == 0, "\(login.errors)")
        let done = try fixture.run(words, environment: own)
        #expect(done.status == 0, "\(done.errors)")
        let other = try fixture.run(
            ["copy", "\(first.host)/p", "\(second.host)/other/p"], environment: own)
        #expect(other.status == 1, "a name that the token does not cover")
        let read = try fixture.run(["cat", "\(second.host)/team/p", "model.py"])
        #expect(read.output == "answer = 42\n")
    }
}
